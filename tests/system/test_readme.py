"""Every command, snippet and table of every README does what it says."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support import readme
from support.hostile import answers, serve
from support.stack.client import Project
from support.stack.install import programs

from cronguard.cli import cli
from cronguard.core.model import Alert
from cronguard.settings import plugins
from cronguard.settings.loading import load_settings

pytestmark = pytest.mark.one_python

ENOUGH = 240


@pytest.fixture
def sandbox(tmp_path):
    """Runs a command line where ``cronguard`` and ``python`` are this interpreter's."""
    return Sandbox(tmp_path)


class Sandbox:
    def __init__(self, folder):
        self.folder = folder
        tools = folder / "bin"
        tools.mkdir()
        for name, module in (("cronguard", "-m cronguard"), ("python", "")):
            tool = tools / name
            tool.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module} "$@"\n')
            tool.chmod(0o755)
        self.environ = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "HOME": str(folder),
            "CRONGUARD_STORE": f"sqlite:///{folder / 'runs.db'}",
            "LANG": "C.UTF-8",
        }

    def __call__(self, *command, **environ):
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environ | environ,
            capture_output=True,
            text=True,
            timeout=ENOUGH,
            check=False,
        )

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def last(self, job):
        done = self("cronguard", "history", job, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["runs"][0]


def each(name):
    return pytest.mark.parametrize(
        "part", [pytest.param(part, id=part.place) for part in readme.parts(name)]
    )


def test_everything_fenced_is_checked():
    """No block of code stands in a README without a test that runs it."""
    assert readme.unmarked() == []
    source = Path(__file__).read_text(encoding="utf-8")
    source += (readme.ROOT / "tests/examples/test_reminder_story.py").read_text(encoding="utf-8")
    assert [name for name in sorted(readme.names()) if f'("{name}")' not in source] == []


@each("script")
def test_scripts_run(part, sandbox):
    """A Python snippet runs as it stands and ends as the README says."""
    done = sandbox(sys.executable, str(sandbox.file("snippet.py", part.text)))
    assert done.returncode == int(part.options.get("exit", 0)), done.stderr
    runs = json.loads(sandbox("cronguard", "status", "--json").stdout)["jobs"]
    assert [run["last_run"]["status"] for run in runs] == [
        "failure" if "exit" in part.options else "success"
    ]


@each("shell")
def test_shell_commands_run(part, sandbox):
    """A shell snippet runs as it stands."""
    done = sandbox("sh", "-e", "-c", part.text)
    assert done.returncode == 0, done.stderr
    assert "exit code 3, as the command's" in done.stdout
    assert sandbox.last("nightly")["error_code"] == "3"


def test_slack_is_two_lines(sandbox):
    """One variable and one command bring a test alert to Slack."""
    (part,) = readme.parts("slack")
    slack = answers()
    with serve(slack) as server:
        commands = part.text.replace("https://hooks.slack.com/services/…", server.url)
        assert commands != part.text
        done = sandbox("sh", "-e", "-c", commands)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(slack.received) == 1


def test_crontab_lines_run(sandbox):
    """Each line of the crontab is five fields and a command that works."""
    (part,) = readme.parts("crontab")
    sandbox.file("nightly.sh", "#!/bin/sh\nexit 3\n").chmod(0o755)
    path, variable, empty, *lines = part.text.splitlines()
    assert path.startswith("PATH=")
    assert variable.startswith("CRONGUARD_SLACK_WEBHOOK_URL=")
    assert not empty
    for line in lines:
        fields = line.split(None, 5)
        assert all(set(field) <= set("0123456789*/") for field in fields[:5])
        assert "--schedule" not in line or f'"{" ".join(fields[:5])}"' in fields[5]
        done = sandbox("sh", "-c", fields[5])
        assert done.returncode == (3 if "nightly" in line else 0), done.stderr
    assert sandbox.last("nightly")["status"] == "failure"
    (job,) = json.loads(sandbox("cronguard", "status", "--json").stdout)["jobs"]
    assert job["schedule"] == "15 2 * * *"


@each("settings")
def test_settings_files_load(part, tmp_path):
    """A settings snippet is read without a word of complaint."""
    (tmp_path / "pyproject.toml").write_text(part.text, encoding="utf-8")
    references = {"SLACK_WEBHOOK_URL": "x", "ONCALL_URL": "x", "ONCALL_SECRET": "x"}
    loaded = load_settings({}, environ=references, cwd=tmp_path, main=None)
    assert (loaded.problems, loaded.warnings) == ((), ())
    notified = [channel.name for channel in loaded.settings.channels if channel.default]
    assert notified == ["slack", "oncall"]
    assert loaded.settings.jobs["assignment_reminder"]["max_runtime"] == 300


def test_a_job_is_expected_before_it_runs(sandbox):
    """The settings alone make `check` know the job."""
    (part,) = readme.parts("expected")
    sandbox.file("pyproject.toml", part.text)
    done = sandbox("cronguard", "check")
    assert (done.returncode, done.stderr) == (0, "")
    (job,) = json.loads(sandbox("cronguard", "status", "--json").stdout)["jobs"]
    assert (job["job"], job["schedule"]) == ("assignment_reminder", "0 6 * * *")
    assert (job["timezone"], job["grace_seconds"]) == ("Europe/Oslo", 900)


def test_a_heartbeat_is_set_up(tmp_path):
    """The snippet names a secret, and is read without complaint."""
    (part,) = readme.parts("heartbeat")
    (tmp_path / "pyproject.toml").write_text(part.text, encoding="utf-8")
    loaded = load_settings({}, environ={}, cwd=tmp_path, main=None)
    assert loaded.problems == ()
    url = loaded.settings.jobs["assignment_reminder"]["heartbeat_url"]
    assert str(url) == "env:REMINDER_HEARTBEAT_URL"


def test_commands_are_those_of_the_help():
    """The table of commands is the help page's, word for word and in its order."""
    (part,) = readme.parts("cli")
    assert part.rows() == [[f"`{name}`", command.help] for name, command in cli.lazy.items()]


def test_options_are_those_of_the_decorator():
    """The table of options is the one that everything else comes from, word for word."""
    (part,) = readme.parts("options")
    assert part.text.splitlines() == readme.options_table()


def test_channels_are_the_built_in_ones():
    """The table of channels names every built-in, its options and which of them are secret."""
    (part,) = readme.parts("channels")
    shown = {name.strip("`"): options for name, options in part.rows()}
    assert set(shown) == set(plugins.builtin_names(plugins.CHANNELS))
    for name, text in shown.items():
        options = plugins.builtin(plugins.CHANNELS, name).OPTIONS
        words = {option: f"`{option.name}`" + " (secret)" * option.secret for option in options}
        required = ", ".join(words[option] for option in options if option.required)
        others = ", ".join(words[option] for option in options if not option.required)
        assert text == "; optional: ".join(filter(None, (required, others))) or "none", name


def test_the_payload_has_its_fields():
    """The JSON document shown has every field of an alert, in order, as a real one has."""
    (part,) = readme.parts("payload")
    shown = json.loads(part.text)
    fields = [field for field in Alert._fields if field != "schema"]
    assert list(shown) == ["schema", *fields]
    assert Alert(**shown).schema == Alert._field_defaults["schema"]


@each("pytest")
def test_the_tests_pass_as_written(part, sandbox):
    """Tests copied from a README pass on the first try."""
    sandbox.file("test_jobs.py", part.text)
    done = sandbox(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{part.text.count('def test_')} passed" in done.stdout
    assert not (sandbox.folder / "runs.db").exists()


@each("contract")
def test_a_plugins_contract_runs_as_written(part, sandbox):
    """A store and a channel pass by what the README says of them."""
    sandbox.file("test_plugin.py", part.text)
    done = sandbox(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* passed", done.stdout)


@pytest.mark.parametrize("page", readme.pages(), ids=lambda page: page.parent.name)
def test_links_lead_somewhere(page):
    """Every relative link names a file that there is, every anchor a heading of that file."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        assert there.exists(), target
        if anchor:
            assert anchor in _anchors(there.read_text(encoding="utf-8")), target


def _anchors(text):
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def test_every_page_is_found_from_the_first():
    """A reader of README.md gets to the README of each package."""
    seen, new = set(), [readme.README]
    while new:
        page = new.pop()
        seen.add(page)
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            path = (page.parent / target).resolve()
            if path.name == "README.md" and path.exists() and path not in seen:
                new.append(path)
    assert set(readme.pages()) <= seen


def test_the_first_page_is_short():
    """What only some readers need stands beside what it is about."""
    assert len(readme.README.read_text(encoding="utf-8").splitlines()) <= 315


def test_the_table_of_proofs_names_tests_that_there_are():
    """Every file and test in tests/README.md is there."""
    tests = readme.ROOT / "tests"
    text = (tests / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+/test_\w+\.py)(?:::(\w+))?`", text)
    assert len(named) > 40
    for file, name in named:
        source = (tests / file).read_text(encoding="utf-8")
        assert not name or re.search(rf"^(def|class) {name}\b", source, re.MULTILINE), (file, name)


def test_the_two_commands_are_what_ci_runs():
    """The commands that a stranger starts with are run as written before every merge."""
    script = readme.ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip("a source distribution has no .ci")
    run = script.read_text(encoding="utf-8").replace(" --quiet", "")
    for part in readme.parts("commands"):
        assert [each for each in part.text.strip().split(" && ") if each not in run] == []


@pytest.mark.long
@pytest.mark.alone
def test_from_nothing_to_a_test_alert_on_supabase(sandbox, stack):
    """Every step as it stands, with the real CLI; only address, key and secret are put in."""
    (part,) = readme.parts("supabase")
    database = stack.database("newer")
    project = Project(database)
    tool = sandbox.folder / "bin" / "supabase"
    tool.write_text(
        "#!/bin/sh\n"
        # What is linked is known to the dashboard alone.
        'test "$*" = link && exit\n'
        'test "$*" = "db push --remote" || exit 9\n'
        f"exec {programs().supabase_cli} db push --remote={database.url} --yes\n"
    )
    tool.chmod(0o755)
    text = part.text.replace("https://PROJECT.supabase.co", project.url)
    text = text.replace("sb_secret_...", project.secret_key)
    _, text = text.split("\n", 1)  # installing is what the other tests have done
    sink = answers()
    with serve(sink) as slack:
        text = text.replace("vault set cron", f"vault set <<< {slack.url} cron")
        done = sandbox("bash", "-euc", text, SUPABASE_TELEMETRY_DISABLED="1", DO_NOT_TRACK="1")
    project.close()
    database.drop()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cronguard_slack_webhook_url  used by slack" in done.stdout
    assert len(sink.received) == 1
    assert "nightly" in done.stdout.splitlines()[-3]
