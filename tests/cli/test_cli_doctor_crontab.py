"""``cronguard doctor`` reads the user's crontab: is each job expected when cron starts it?"""

import json
import os
import subprocess
import sys

import pytest
from support.cli import Cli

pytestmark = pytest.mark.one_python


@pytest.fixture
def found(tmp_path):
    """Return what doctor says of a crontab, on a host whose zone is that of its folder's name."""
    cli = Cli(tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    cli.environ["PATH"] = f"{programs}:{cli.environ['PATH']}"

    def run(crontab, *options):
        program = programs / "crontab"
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{crontab}\nEND\n")
        program.chmod(0o755)
        done = cli("doctor", "--json", *options)
        checks = json.loads(done.stdout)["checks"]
        return [each["message"] for each in checks if each["check"] == "crontab"]

    run.cli = cli
    return run


LATE = "so it will be called late"


def test_lines_that_are_right(found):
    """The same times in the same zone, times that all zones share, and what is no job."""
    assert (
        found("""
CRON_TZ=Europe/Oslo
MAILTO=ops@example.org
15 2 * * *   cronguard run a --schedule "15 2 * * *" -- true
@daily       cd /srv && /srv/bin/cronguard run b --schedule "0 0 * * *" --timezone Europe/Oslo -- x
*/5 * * * *  cronguard run c --schedule "*/5 * * * *" --timezone Asia/Tokyo -- true
* * * * *    cronguard run d --schedule "0 * * * *" -- true
0 7 * * *    cronguard run e --schedule "0 7 * * *" --timezone Europe/Berlin -- true
@reboot      cronguard run f -- true
*/5 * * * *  cronguard check --quiet
0 4 * * *    echo cronguard run g
0 4 * * *    cronguard run 'h -- true
# 0 4 * * *  cronguard run i -- true
""")
        == []
    )


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            [
                "CRON_TZ=Europe/Oslo",
                '0 2 * * * cronguard run a --schedule "0 2 * * *" --timezone UTC -- x',
            ],
            (
                "line 2 starts a at 0 2 * * * (Europe/Oslo), but it is expected at 0 2 * * * (UTC),"
                f" {LATE}: write --timezone Europe/Oslo on that line"
            ),
        ),
        (
            [
                "CRON_TZ=Europe/Oslo",
                "TZ=UTC",
                '@daily python -m cronguard run a --schedule "0 1 * * *" -- x',
            ],
            (
                "line 3 starts a at 0 0 * * * (Europe/Oslo), but it is expected at 0 1 * * *"
                f" (Europe/Oslo), {LATE}: give both the same times"
            ),
        ),
        (
            ["CRON_TZ=Asia/Kolkata", "0 */2 * * * cronguard run a -- x"],
            (
                "line 2 starts a at 0 */2 * * * (Asia/Kolkata), but nobody states that it should,"
                ' so a run that never starts goes unseen: add --schedule "0 */2 * * *" to it'
            ),
        ),
    ],
)
def test_a_line_that_is_not(found, lines, said):
    """It is named, with what to write."""
    assert found("\n".join(lines)) == [said]


def test_what_settings_and_earlier_runs_say(found):
    """They state the schedule of a line that does not."""
    cli = found.cli
    cli("run", "stored", "--schedule", "0 2 * * *", "--timezone", "Asia/Tokyo", "--", "true")
    (cli.folder / "cronguard.toml").write_text(
        '[job.declared]\nschedule = "0 2 * * *"\n[job.zoned]\ntimezone = "Asia/Tokyo"\n'
    )
    crontab = """CRON_TZ=Asia/Tokyo
0 2 * * * cronguard run stored -- true
0 2 * * * cronguard run declared -- true
0 2 * * * cronguard run zoned --schedule "0 2 * * *" -- true"""
    (said,) = found(crontab)
    assert "line 3 starts declared at 0 2 * * * (Asia/Tokyo)" in said
    assert "expected at 0 2 * * * (UTC)" in said
    assert len(found(crontab.replace("Asia/Tokyo", "Europe/Oslo"))) == 3


def test_a_line_of_a_crontab_with_tz(found):
    """TZ is for the jobs, and cron itself does not go by it: the host's zone is cron's."""
    zone = "Asia/Tokyo" if not str(os.path.realpath("/etc/localtime")).endswith("Tokyo") else "UTC"
    (said,) = found(f'TZ={zone}\n0 2 * * * cronguard run a --schedule "0 2 * * *" -- true')
    assert f"expected at 0 2 * * * ({zone})" in said


def test_a_store_that_cannot_be_read(found):
    """What it says of the job is not known, so nothing is said of the line."""
    found.cli.path.write_bytes(b"no database" * 100)
    assert found("0 2 * * * cronguard run a -- true") == []


def test_a_machine_without_cron(tmp_path):
    """There is nothing to say."""
    cli = Cli(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "cronguard", "doctor"],
        env={**cli.environ, "PATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "crontab" not in done.stdout + done.stderr
