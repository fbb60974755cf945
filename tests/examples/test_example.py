"""The example tells its story, and its job does what a reminder job must."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import date, timedelta
from importlib import import_module
from types import SimpleNamespace

import httpx
import pytest
from standardwebhooks import Webhook
from support import readme
from support.hostile import answers, serve

pytestmark = pytest.mark.one_python

EXAMPLE = readme.ROOT / "examples" / "assignment_reminder"
NIGHT = date(2026, 3, 2)
ENOUGH = 120
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BLOCK = re.compile(r"^-{20,}\ncronguard: .*?^-{20,}\n", re.DOTALL | re.MULTILINE)


class Told:
    """The example run in folders of its own, and what it left there."""

    def __init__(self, folder, **environ):
        for name in ("home", "tmp", "cwd"):
            (folder / name).mkdir()
        before = _files(EXAMPLE)
        self.done = subprocess.run(
            [sys.executable, str(EXAMPLE)],
            cwd=folder / "cwd",
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
                "HOME": str(folder / "home"),
                "TMPDIR": str(folder / "tmp"),
                **environ,
            },
            capture_output=True,
            text=True,
            timeout=ENOUGH,
            check=False,
        )
        self.out = self.done.stdout
        self.left = sorted(path.relative_to(folder) for path in folder.glob("*/*"))
        self.left += sorted(_files(EXAMPLE) - before)
        (self.folder,) = (folder / "tmp").glob("cronguard-example-*")

    def nights(self):
        """(due, sent, outcome, streak) of each night."""
        line = re.compile(
            r"^  \d \w{3} \d\d \w{3} +(\d+) +(\d+) +[\d.]+ s  (\w+)  (\d)", re.MULTILINE
        )
        return [
            (int(due), int(sent), outcome, int(streak))
            for due, sent, outcome, streak in line.findall(self.out)
        ]

    def private(self):
        """Every name and telephone number that the job had to do with."""
        with closing(sqlite3.connect(self.folder / "mentors.db")) as db:
            rows = db.execute("select distinct mentor, phone from assignments").fetchall()
        return {word for mentor, phone in rows for word in (*mentor.split(), phone[4:])}

    def log(self):
        """Everything in the log, as text."""
        with closing(sqlite3.connect(self.folder / "cronguard.db")) as db:
            tables = [name for (name,) in db.execute("select name from sqlite_schema")]
            assert {"cron_execution_logs", "cronguard_alerts"} <= set(tables)
            return "\n".join(db.iterdump())


def _files(folder):
    """What is in a folder, but for the interpreter's own cache."""
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.mark.long
def test_the_story(tmp_path):
    """Two good nights, silence, one alert, silence, recovery; nothing private, nothing left."""
    notified = Told(tmp_path)
    assert (notified.done.returncode, notified.done.stderr) == (0, "")

    nights = notified.nights()
    assert [outcome for *_, outcome, _ in nights] == ["success"] * 2 + ["failure"] * 3 + [
        "success"
    ] * 2
    assert [streak for *_, streak in nights] == [0, 0, 1, 2, 3, 0, 0]
    assert [sent for _, sent, *_ in nights[2:5]] == [60, 0, 0]
    assert all(due == sent for due, sent, outcome, _ in nights if outcome == "success")
    assert all(100 < nights[night][0] < 300 for night in (0, 1, 2, 6))
    assert "none of them twice" in notified.out

    (alert,) = BLOCK.findall(notified.out)
    before, _, after = notified.out.partition(alert)
    assert before.splitlines()[-2].startswith("  4 ")
    assert "\n  5 Fri" in after

    assert "$ cronguard status\nJOB " in after
    assert f"export CRONGUARD_STORE=sqlite:///{notified.folder}/cronguard.db" in after
    assert [str(path) for path in notified.left] == [f"tmp/{notified.folder.name}"]
    assert "\x1b" not in notified.out

    everything = notified.log() + notified.out
    assert "GatewayError" in everything
    assert [word for word in notified.private() if word in everything] == []

    (shown,) = readme.parts("alert")
    assert _timeless(alert) == _timeless(shown.text), f"the README should show:\n{alert}"


def _timeless(alert):
    """An alert without what differs from run to run."""
    for label in ("Last successful run", "Started", "Finished", "Duration", "Host", "Run"):
        alert = re.sub(rf"^({label}:)( +)\S.*$", r"\1\2…", alert, flags=re.MULTILINE)
    return alert


@pytest.mark.long
def test_a_channel_of_the_environment_is_used_for_real(tmp_path):
    """With a webhook set up, the one alert arrives there, signed, and the screen says so."""
    far_end = answers()
    with serve(far_end) as server:
        notified = Told(tmp_path, CRONGUARD_WEBHOOK_URL=server.url, CRONGUARD_WEBHOOK_SECRET=SECRET)
    assert (notified.done.returncode, notified.done.stderr) == (0, "")
    assert "alerts    to webhook" in notified.out
    assert BLOCK.findall(notified.out) == []
    (request,) = far_end.received
    alert = Webhook(SECRET).verify(request.body, request.headers)
    assert (alert["kind"], alert["consecutive_failure_count"]) == ("failing", 2)
    assert alert["last_success_at"] is not None
    assert [word for word in notified.private() if word in request.body.decode()] == []


def test_wrong_settings_are_said_and_end_it(tmp_path):
    """A mistake in the environment is the command line's one line and exit code, no traceback."""
    notified = Told(tmp_path, CRONGUARD_CHANNELS="slak")
    assert notified.done.returncode == 2
    assert "slak" in notified.done.stderr
    assert len(notified.done.stderr.splitlines()) == 1


def test_ctrl_c_leaves_nothing_behind(tmp_path):
    """130, a word and no traceback; its folder is gone again."""
    with subprocess.Popen(
        [sys.executable, "-u", str(EXAMPLE)],
        env=os.environ | {"TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline().startswith("Seven nights")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=ENOUGH)
    assert (process.returncode, err) == (130, "")
    assert "nothing is left behind" in out
    assert list(tmp_path.iterdir()) == []


# --- the job itself -----------------------------------------------------------------------------


@pytest.fixture
def example(monkeypatch):
    """The example's modules, which import one another by their bare names."""
    names = ("contacts", "database", "dispatch", "gateway", "job", "screen")
    monkeypatch.syspath_prepend(EXAMPLE)
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    modules = {name: import_module(name) for name in names}
    yield SimpleNamespace(**modules)
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def mentors(example, tmp_path):
    """A database of two hundred assignments, some of them due on `NIGHT`."""
    path = tmp_path / "mentors.db"
    example.database.create(path, first_night=NIGHT, assignments=200)
    return path


@pytest.fixture
def gateway(example):
    with example.gateway.Gateway() as gateway:
        yield gateway


def dispatch(example, mentors, gateway, *, days=7):
    """One run of the dispatcher; returns how many messages it sent."""
    with (
        closing(example.database.connect(mentors)) as db,
        httpx.Client(base_url=gateway.url) as client,
    ):
        return example.dispatch.send_due(db, client, NIGHT + timedelta(days=days))


def due(example, mentors, today=NIGHT):
    with closing(example.database.connect(mentors)) as db:
        return example.database.due(db, today)


def test_ten_thousand_assignments_make_two_per_cent_a_night(example, tmp_path):
    """Of 10,000 assignments about 200 fall due on the first night."""
    path = tmp_path / "mentors.db"
    example.database.create(path, first_night=NIGHT)
    assert 150 < len(due(example, path)) < 250


def test_a_repeated_night_sends_nothing(example, mentors, gateway):
    """Whoever was reminded is not reminded again of the same date."""
    first = dispatch(example, mentors, gateway)
    assert first == len(gateway.delivered) > 0
    assert dispatch(example, mentors, gateway) == 0
    assert gateway.repeated == 0


def test_overlapping_nights_send_each_reminder_once(example, mentors, gateway):
    """Two dispatchers at once share the work: nothing is even offered twice to the gateway."""
    todo = len(due(example, mentors, NIGHT + timedelta(days=7)))
    sent, ready = [], threading.Barrier(2)

    def work():
        ready.wait()
        sent.append(dispatch(example, mentors, gateway))

    pair = [threading.Thread(target=work) for _ in range(2)]
    for thread in pair:
        thread.start()
    for thread in pair:
        thread.join(ENOUGH)
    assert sum(sent) == len(gateway.delivered) == todo > 0
    assert gateway.repeated == 0


def test_a_broken_night_is_made_up(example, mentors, gateway):
    """What the gateway did not take is due again, what it took is not."""
    todo = len(due(example, mentors, NIGHT + timedelta(days=7)))
    gateway.breaks_after = 5
    with pytest.raises(example.dispatch.GatewayError):
        dispatch(example, mentors, gateway)
    assert len(gateway.delivered) == 5
    gateway.breaks_after = None
    assert dispatch(example, mentors, gateway) == todo - 5
    assert gateway.repeated == 0


def test_a_death_after_sending_repeats_with_the_same_key(example, mentors, gateway, monkeypatch):
    """Killed between the gateway's yes and the commit: sent again, delivered once."""
    send = example.dispatch.send

    def send_and_die(client, reminder):
        send(client, reminder)
        raise KeyboardInterrupt

    monkeypatch.setattr(example.dispatch, "send", send_and_die)
    with pytest.raises(KeyboardInterrupt):
        dispatch(example, mentors, gateway)
    monkeypatch.setattr(example.dispatch, "send", send)
    todo = len(due(example, mentors, NIGHT + timedelta(days=7)))
    assert dispatch(example, mentors, gateway) == todo == len(gateway.delivered)
    assert gateway.repeated == 1


@pytest.mark.parametrize("way", ["own", "as_proxy", "as_coordinator", "in_bulk"])
def test_every_way_of_registering_a_contact_counts(example, mentors, gateway, way):
    """However a contact is registered, its mentor's date moves and no reminder goes out."""
    (first, *rest) = due(example, mentors)
    register = getattr(example.contacts, f"register_{way}")
    with closing(example.database.connect(mentors)) as db:
        register(db, [first.assignment_id] if way == "in_bulk" else first.assignment_id, NIGHT)
        moved = db.execute(
            "select last_contact_date from assignments where id = ?", (first.assignment_id,)
        )
        assert moved.fetchone() == (str(NIGHT),)
    assert due(example, mentors) == rest
    dispatch(example, mentors, gateway, days=0)
    assert len(gateway.delivered) == len(rest)


def test_a_contact_registered_late_does_not_turn_back_the_date(example, mentors):
    """A contact of last year, entered today, leaves a newer one in force."""
    (first, *_) = due(example, mentors)
    with closing(example.database.connect(mentors)) as db:
        example.contacts.register_own(db, first.assignment_id, NIGHT)
        example.contacts.register_own(db, first.assignment_id, NIGHT - timedelta(days=365))
    assert first.assignment_id not in [reminder.assignment_id for reminder in due(example, mentors)]


def test_the_job_is_guarded_as_its_users_would(example, mentors, gateway, cronguard):
    """Two broken runs make one alert, without the names that the job's error holds."""
    gateway.breaks_after = 0
    for _ in range(3):
        with pytest.raises(example.dispatch.GatewayError, match=r"\+47"):
            example.job.send_reminders(mentors, gateway.url, NIGHT)
    (alert,) = cronguard.alerts
    assert (alert.job, alert.consecutive_failure_count) == ("assignment_reminder", 2)
    assert alert.error_code == "503"
    assert "+47" not in repr(alert)


@pytest.mark.parametrize(
    ("terminal", "no_color", "coloured"),
    [(True, "", True), (True, "1", False), (False, "", False)],
)
def test_colours_on_a_terminal_only(example, monkeypatch, terminal, no_color, coloured):
    """Colours where a person looks who has not said no to them."""
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert ("\x1b" in example.screen.paint("failure", "failure")) is coloured
