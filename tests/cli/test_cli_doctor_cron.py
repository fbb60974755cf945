"""``cronguard doctor --as-cron``: what a job of the crontab would find, asked from a shell."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.one_python

URL = "https://hooks.slack.example/S3NTINEL"


@pytest.fixture
def shell(tmp_path):
    """Run doctor in a shell's environment, on a machine whose ``crontab -l`` prints a text."""
    programs = tmp_path / "bin"
    programs.mkdir()

    def run(crontab, *options, **environ):
        if crontab is not None:
            program = programs / "crontab"
            program.write_text(f"#!/bin/sh\ncat <<'END'\n{crontab}\nEND\n")
            program.chmod(0o755)
        return subprocess.run(
            [sys.executable, "-m", "cronguard", "doctor", *options],
            env={"HOME": str(tmp_path), "PATH": f"{programs}:/usr/bin:/bin", **environ},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def found(done):
    said = json.loads(done.stdout)
    assert "S3NTINEL" not in done.stdout + done.stderr
    values = {each["key"]: (each["value"], each["source"]) for each in said["settings"]}
    return {each["check"]: (each["status"], each["message"]) for each in said["checks"]}, values


def test_variables_that_cron_does_not_have(shell):
    """They are named, and everything else is looked at without them."""
    done = shell(None, "--as-cron", "--json", CRONGUARD_SLACK_WEBHOOK_URL=URL)
    checks, values = found(done)
    status, message = checks["cron"]
    assert status == "warning"
    assert message.startswith("cron does not have CRONGUARD_SLACK_WEBHOOK_URL, which this shell")
    assert values["channels"][0] == "console"
    checks, values = found(shell(None, "--json", CRONGUARD_SLACK_WEBHOOK_URL=URL))
    assert "cron" not in checks
    assert values["channels"][0] == "slack"


@pytest.mark.parametrize(
    "line",
    [
        f"CRONGUARD_SLACK_WEBHOOK_URL={URL}",
        f"  CRONGUARD_SLACK_WEBHOOK_URL = '{URL}'  ",
        f'"CRONGUARD_SLACK_WEBHOOK_URL"="{URL}"',
    ],
)
def test_what_the_crontab_sets(shell, line):
    """As cron reads it; a line that is a job's or a comment sets nothing."""
    crontab = f"# CRONGUARD_STORE=x\n{line}\n15 2 * * * A=b cronguard run nightly -- true"
    checks, values = found(shell(crontab, "--as-cron", "--json", CRONGUARD_SLACK_WEBHOOK_URL=URL))
    assert checks["cron"][0] == "ok"
    assert "CRONGUARD_SLACK_WEBHOOK_URL" in checks["cron"][1]
    assert values["channels"][0] == "slack"
    assert values["store"] == ("default file", "default")


def test_a_secret_that_a_settings_file_names(shell, tmp_path):
    """The file is found from the home folder, and the variable that it names is missed."""
    (tmp_path / "cronguard.toml").write_text('[channel.slack]\nwebhook_url = "env:OUR_HOOK"\n')
    config = str(tmp_path / "cronguard.toml")
    done = shell(None, "--as-cron", "--json", OUR_HOOK=URL, CRONGUARD_CONFIG=config)
    checks, _ = found(done)
    assert "cron does not have CRONGUARD_CONFIG, OUR_HOOK" in checks["cron"][1]
    assert checks["channel slack"][0] == "error"
    assert done.returncode == 1


def test_the_face_for_people(shell):
    """A line of its own, first."""
    done = shell(None, "--as-cron", SUPABASE_URL="https://x.supabase.co")
    assert done.stdout.splitlines()[0].startswith("! cron: cron does not have SUPABASE_URL")


def test_a_crontab_that_cannot_be_read(tmp_path, shell):
    """Nothing is known of it, then."""
    assert "looked at as cron does" in shell(None, "--as-cron").stdout
    (tmp_path / "bin" / "crontab").write_text("no program")
    (tmp_path / "bin" / "crontab").chmod(0o755)
    assert "looked at as cron does" in shell(None, "--as-cron").stdout
