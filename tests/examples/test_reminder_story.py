"""The seven nights of the assignment reminder go as they should, and leave nothing private."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from standardwebhooks import Webhook
from support import readme, reminder
from support.hostile import answers, serve
from support.reminder import EXAMPLE

from reminders.trial import commands, people, screen

ENOUGH = 120
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
BLOCK = re.compile(r"^-{20,}\ncronguard: .*?^-{20,}\n", re.DOTALL | re.MULTILINE)


class Told:
    """The example run in folders of its own, and what it left there."""

    def __init__(self, folder, *arguments, **environ):
        for name in ("home", "tmp", "cwd"):
            (folder / name).mkdir()
        before = _files(EXAMPLE)
        places = {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
        kept = {name: os.environ.get(name, "") for name in ("PATH", "PYTHONPATH")}
        self.done = subprocess.run(
            [sys.executable, str(EXAMPLE), *arguments],
            cwd=folder / "cwd",
            env=kept | places | environ,
            capture_output=True,
            text=True,
            timeout=ENOUGH,
            check=False,
        )
        self.out = self.done.stdout
        self.left = sorted(str(path.relative_to(folder)) for path in folder.glob("*/*"))
        self.left += sorted(map(str, _files(EXAMPLE) - before))
        self.folder = next((folder / "tmp").glob("cronguard-example-*"), None)

    def nights(self):
        """(due, sent, outcome, streak) of each night."""
        line = re.compile(
            r"^  \d \w{3} \d\d \w{3} +(\d+) +(\d+) +[\d.]+ s  (\w+)  (\d)", re.MULTILINE
        )
        return [
            (int(due), int(sent), outcome, int(streak))
            for due, sent, outcome, streak in line.findall(self.out)
        ]

    def log(self):
        """Everything in cronguard's log, as text."""
        with closing(sqlite3.connect(self.folder / "cronguard.db")) as db:
            tables = [name for (name,) in db.execute("select name from sqlite_schema")]
            assert {"cron_execution_logs", "cronguard_alerts"} <= set(tables)
            return "\n".join(db.iterdump())


def _files(folder):
    """What is in a folder, but for the interpreter's own cache."""
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


def private(text):
    """Every name in a text that is one of the mentors', and everything like their numbers."""
    text = RUN_ID.sub("", text)  # in which eight digits in a row are chance
    names = [*people.FIRST_NAMES, *people.LAST_NAMES]
    return [name for name in names if name in text] + re.findall(r"\+47|9\d{7}", text)


def check_nights(told):
    """Two good nights, three broken ones, two good ones: what was sent, and the streak."""
    nights = told.nights()
    outcomes = ["success"] * 2 + ["failure"] * 3 + ["success"] * 2
    assert [outcome for *_, outcome, _ in nights] == outcomes
    assert [streak for *_, streak in nights] == [0, 0, 1, 2, 3, 0, 0]
    assert [sent for _, sent, *_ in nights[2:5]] == [60, 0, 0]
    assert all(due == sent for due, sent, outcome, _ in nights if outcome == "success")
    assert all(100 < nights[night][0] < 300 for night in (0, 1, 2, 6))
    assert "none of them twice" in told.out
    assert "No last contact dates that disagree" in told.out


def test_the_story(tmp_path):
    """Two good nights, silence, one alert, silence, recovery; nothing private, nothing left."""
    told = Told(tmp_path)
    assert (told.done.returncode, told.done.stderr) == (0, "")
    check_nights(told)

    (alert,) = BLOCK.findall(told.out)
    before, _, after = told.out.partition(alert)
    assert before.splitlines()[-2].startswith("  4 ")
    assert "\n  5 Fri" in after

    assert "$ cronguard status\nSTATE " in after
    assert f"CRONGUARD_STORE=sqlite:///{told.folder}/cronguard.db cronguard status" in after
    assert told.left == [f"tmp/{told.folder.name}"]
    assert "\x1b" not in told.out

    everything = told.log() + told.out
    assert "GatewayError" in everything
    assert private(everything.replace("1970", "").replace(told.folder.name, "")) == []

    (shown,) = readme.parts("alert")
    assert _timeless(alert) == _timeless(shown.text), f"the README should show:\n{alert}"


def _timeless(alert):
    """An alert without what differs from run to run."""
    for label in ("Last successful run", "Started", "Finished", "Duration", "Host", "Run"):
        alert = re.sub(rf"^({label}:)( +)\S.*$", r"\1\2…", alert, flags=re.MULTILINE)
    return alert


def test_the_story_on_supabase(tmp_path, on_supabase):
    """The same code with one setting; the webhook's address is in Vault, and one alert arrives
    there, signed, and nowhere else."""
    sink = answers()
    with serve(sink) as server:
        environ = on_supabase.environ | {
            "CRONGUARD_WEBHOOK_URL": "vault:cronguard_webhook_url",
            "CRONGUARD_WEBHOOK_SECRET": SECRET,
            "CRONGUARD_STORE_TIMEOUT": "20",  # a busy machine is no outage
        }
        del environ["CRONGUARD_STORE"]  # --store alone says it
        stored = subprocess.run(
            [sys.executable, "-m", "cronguard", "vault", "set", "cronguard_webhook_url"],
            input=server.url,
            env=reminder.environment(tmp_path, **on_supabase.environ),
            capture_output=True,
            text=True,
            check=False,
        )
        assert stored.returncode == 0, stored.stderr
        told = Told(tmp_path, "--store", "supabase", **environ)
        again = Told(_new(tmp_path / "again"), "--store", "supabase", **environ)
    assert (told.done.returncode, told.done.stderr) == (0, "")
    assert "assignments in Supabase" in told.out
    assert "alerts    to webhook" in told.out
    check_nights(told)
    assert BLOCK.findall(told.out) == []
    (request,) = sink.received
    alert = Webhook(SECRET).verify(request.body, request.headers)
    assert (alert["kind"], alert["consecutive_failure_count"]) == ("failing", 2)
    assert alert["last_success_at"] is not None
    assert private(request.body.decode()) == []
    assert [run["streak"] for run in reversed(reminder.runs(on_supabase))] == [0, 0, 1, 2, 3, 0, 0]
    assert again.done.returncode == 1
    assert again.done.stderr.startswith("Error: this project has assignments already")


def _new(folder):
    folder.mkdir()
    return folder


def test_wrong_settings_are_said_and_end_it(tmp_path):
    """A mistake in the environment is the command line's one line and exit code, no traceback."""
    told = Told(tmp_path, CRONGUARD_CHANNELS="slak")
    assert told.done.returncode == 2
    assert "slak" in told.done.stderr
    assert len(told.done.stderr.splitlines()) == 1


def test_ctrl_c_leaves_nothing_behind(tmp_path):
    """130, a word and no traceback; its folder is gone again. A terminal signals all of them."""
    with subprocess.Popen(
        [sys.executable, "-u", str(EXAMPLE)],
        env=os.environ | {"TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout.readline().startswith("Seven nights")
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=ENOUGH)
    assert (process.returncode, err) == (130, "")
    assert "nothing is left behind" in out
    assert [str(p) for p in tmp_path.rglob("*")] == [], out


def test_ctrl_c_while_a_command_is_being_started(monkeypatch):
    """The signal comes when it runs and nobody can name it yet: it is ended all the same."""
    born = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            born.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    usual = signal.getsignal(signal.SIGINT)
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    with pytest.raises(KeyboardInterrupt), commands.started(sleeper, {}) as process:
        process.communicate()
    assert [each.returncode for each in born] == [-signal.SIGKILL]
    assert signal.getsignal(signal.SIGINT) is usual


def test_ctrl_c_while_a_command_runs():
    """It is gone before the interrupt is raised."""
    sleeper = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]

    def interrupted():
        with commands.started(sleeper, {}, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            signal.raise_signal(signal.SIGINT)
            assert process.wait(ENOUGH) == -signal.SIGKILL

    with pytest.raises(KeyboardInterrupt):
        interrupted()


@pytest.mark.parametrize(
    ("terminal", "no_color", "coloured"),
    [(True, "", True), (True, "1", False), (False, "", False)],
)
def test_colours_on_a_terminal_only(monkeypatch, terminal, no_color, coloured):
    """Colours where a person looks who has not said no to them."""
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert ("\x1b" in screen.paint("failure", "failure")) is coloured
