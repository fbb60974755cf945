"""``cronguard status``: what is wrong first, and what one asks after an alert."""

import os
import re
import signal
import sqlite3
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from support.cli import PATIENCE, TOLD, Cli, Here
from support.terminal import Terminal

from cronguard.cli.output import jobs, layout, lines, times
from cronguard.cli.output.layout import width
from cronguard.cli.status import command, watching
from cronguard.core.clock import new_id
from cronguard.core.errors import StoreError
from cronguard.core.expectations import statements
from cronguard.core.health import STATES
from cronguard.core.model import ChannelRule, Failure, Outcome, Run, Settlement
from cronguard.process.identity import current_owner
from cronguard.stores.sqlite.store import SQLiteStore

pytestmark = pytest.mark.one_python

HOSTILE = "\x1b[31mred\x1b]0;title\x07\r\n\u202eback\x00[bold]markup[/bold]"
HOURLY = statements(schedule="0 * * * *", timezone="Europe/Oslo", max_runtime=1800.0)
HOUR = timedelta(hours=1)


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    return Here(tmp_path, monkeypatch, capsys)


@pytest.fixture
def at_terminal(monkeypatch):
    """Returns a function that makes it a terminal of so many columns and lines."""

    def of(columns, rows=50):
        for module in (lines, layout, times, command):
            monkeypatch.setattr(module, "on_terminal", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(rows))
        monkeypatch.setenv("NO_COLOR", "1")

    return of


class Past:
    """Writes what happened before now, with the store's clock set to each moment."""

    def __init__(self, path):
        self.now = datetime.now(UTC)
        self.moment = self.now
        self.store = SQLiteStore(path)
        self.store._clock = lambda: self.moment

    def run(self, job, ago, status, *, error="ValueError", stated=HOURLY, channels=TOLD, **owner):
        """One run that started so long ago and took four seconds."""
        self.moment = self.now - ago
        who = current_owner()._replace(**owner)
        row = Run(new_id(), job, self.moment, who, channels=channels, stated=stated)
        self.store.start_run(row, is_dead=lambda _: False)
        if status != "running":
            self.moment += timedelta(seconds=4)
            failure = Failure(error, "503", "HTTP 503", "jobs/n.py:4 in run")
            kept = failure if status == "failure" else None
            self.store.finish_run(row, Outcome(status, self.moment, 4.0, kept), started=True)
        self.moment = self.now


@pytest.fixture
def past(here):
    made = Past(here.path)
    with closing(made.store):
        yield made


def fill(past, well=41):
    """5 failing, one of them snoozed, 1 stuck, 2 late, 1 warning, and some that are well."""
    top = (past.now - past.now.replace(minute=0, second=0, microsecond=0)) - timedelta(seconds=1)
    for number in range(5):
        past.run(f"failing_{number}", top + 3 * HOUR, "success")
        for hours in (2, 1, 0):
            past.run(f"failing_{number}", top + hours * HOUR, "failure", error="a.GatewayError")
    past.run("stuck_job", top + 4 * HOUR, "running")
    for number in range(2):
        past.run(f"late_{number}", top + 9 * HOUR, "success")
    past.run("warning_job", top, "failure")
    for number in range(well):
        past.run(f"well_{number:03}", top, "success")
    past.store.snooze("failing_4", past.now + 2 * HOUR)


def rows_of(text):
    """Each line's state and job, of a listing."""
    found = [line.split()[:2] for line in text.splitlines()]
    return [tuple(words) for words in found if words and words[0] in STATES]


WRONG = [
    *(("failing", f"failing_{number}") for number in range(5)),
    ("stuck", "stuck_job"),
    ("late", "late_0"),
    ("late", "late_1"),
    ("warning", "warning_job"),
]

# --- all jobs -------------------------------------------------------------------------------------


def test_nothing_has_run_yet(here):
    """An empty log teaches how to fill it, says where it will be, and creates no file."""
    done = here("status")
    assert done.returncode == 0
    assert "No job has run yet" in done.stdout
    assert "cronguard run nightly -- ./nightly.sh" in done.stdout
    assert str(here.path) in done.stdout
    assert not here.path.exists()
    assert here.json("status")["jobs"] == []


def test_a_job_that_settings_declare(here):
    """It is known before it ever ran, and can be looked at."""
    (here.folder / "cronguard.toml").write_text('[job.nightly]\nschedule = "0 6 * * *"\n')
    assert rows_of(here("status").stdout) == [("new", "nightly")]
    assert here("status", "nightly").stdout.startswith("nightly is new\n")
    assert "nightly is known but has not run yet" in here("history", "nightly").stdout
    assert "No alert of nightly was decided yet" in here("alerts", "nightly").stdout
    assert not here.path.exists()


@pytest.mark.parametrize("columns", [80, 200])
def test_what_is_wrong_is_seen_at_a_glance(here, past, at_terminal, columns):
    """Of 50 jobs a screen shows the 9 wrong ones first, a line each; the others by name."""
    fill(past)
    at_terminal(columns)
    done = here("status")
    shown = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert len(shown) < 50
    assert max(map(width, shown)) <= columns
    assert rows_of(done.stdout)[:9] == WRONG
    assert "3x in 2h: GatewayError (503)" in shown[1] or "3 failures in 2h: " in shown[1]
    assert re.search(r"\bsnoozed (2h|119m|90m|1h)", shown[5])
    assert "running for 4h, at most 30m" in shown[6]
    assert "missed 8 times, first" in shown[7] or "missed 9 times, first" in shown[7]
    words = set(re.split(r"[,\s]+", done.stdout))
    assert {f"well_{number:03}" for number in range(41)} <= words
    assert "50 jobs: 5 failing, 1 stuck, 2 late, 1 warning, 41 ok." in done.stdout


@pytest.mark.parametrize("well", [30, 41, 492])
@pytest.mark.parametrize("rows", [20, 24, 50])
def test_nothing_is_hidden_without_a_word(here, past, at_terminal, well, rows):
    """What fits is a line, then a name, then a number; the last two say how to see more."""
    fill(past, well)
    at_terminal(80, rows)
    text = here("status").stdout
    assert rows_of(text)[:9] == WRONG
    assert len(text.splitlines()) < rows
    named = all(f"well_{number:03}" in text for number in range(well))
    assert named or f"ok       {well} jobs" in text
    has_lines = len(rows_of(text)) == 9 + well
    assert has_lines or "cronguard status --all gives each job a line." in text
    assert f"{well} ok." in text
    assert len(rows_of(here("status", "--all").stdout)) == 9 + well


def test_a_narrow_terminal(here, past, at_terminal):
    """State, job and what is wrong fit 40 columns; what had no room is named."""
    fill(past)
    at_terminal(40)
    shown = here("status").stdout.splitlines()
    assert max(map(width, shown)) <= 40
    assert any(line.startswith("failing  failing_0") for line in shown)
    assert "A wider window shows last runs and when each is due." in " ".join(shown)


def test_elsewhere_everything_is_listed(here, past):
    """A file gets a line for every job, absolute times in UTC, no colour, nothing cut."""
    fill(past)
    text = here("status").stdout
    head, *rest = text.splitlines()
    assert head.split("  ")[0] == "STATE"
    assert "LAST RUN (UTC)" in head
    assert len(rows_of(text)) == 50
    assert rows_of(text)[:9] == WRONG
    assert "3 failures in a row, the last a.GatewayError (503); last worked at" in rest[0]
    assert "ago" not in text
    assert "snoozed until 20" in rest[4]


def test_only_what_needs_somebody(here, past, at_terminal):
    """--failing leaves out what is well, what is below its threshold and what is snoozed."""
    fill(past)
    awake = [each for each in WRONG if each[1] not in ("failing_4", "warning_job")]
    for name in ("failing_4", "warning_job"):
        with here.store() as store:
            for claim in store.claim_alerts(channels=["console"], job=name):
                store.settle_alert(claim, Settlement("sent"))
    for _ in range(2):
        text = here("status", "--failing").stdout
        assert rows_of(text) == awake
        assert "7 of them need somebody; the others are not shown." in text
        at_terminal(80)
    document = here.json("status", "--failing")
    assert [(job["state"], job["job"]) for job in document["jobs"]] == sorted(
        awake, key=lambda each: each[1]
    )
    assert all(job["needs_attention"] for job in document["jobs"])


def test_nobody_is_needed(here):
    """It is said, and not an empty screen."""
    here.record("nightly", "success")
    assert here("status", "--failing").stdout.startswith("✓ No job needs anybody.\n1 job: 1 ok.\n")


def test_alerts_that_did_not_arrive(here, past, at_terminal):
    """They are counted below, and a job that is well otherwise is shown for them."""
    rules = (ChannelRule("slack"), ChannelRule("pager"))
    past.run("nightly", timedelta(hours=2), "failure", stated=(), channels=rules)
    past.run("nightly", HOUR, "failure", stated=(), channels=rules)
    past.run("nightly", timedelta(minutes=5), "success", stated=(), channels=rules)
    (claim,) = past.store.claim_alerts(channels=["slack"])
    past.store.settle_alert(claim, Settlement("dead", "http_404"))
    at_terminal(80)
    text = here("status", "--failing").stdout
    assert rows_of(text) == [("ok", "nightly")]
    assert "1 alert given up" in text
    assert "Alerts that did not arrive: 1 waiting, 1 given up; see cronguard alerts." in text


def test_status_of_some_jobs(here):
    """Those that are named; a mistyped one is answered with the nearest name."""
    for job in ("invoices", "nightly", "weekly"):
        here.record(job, "success")
    assert rows_of(here("status", "weekly", "nightly").stdout) == [
        ("ok", "nightly"),
        ("ok", "weekly"),
    ]
    done = here("status", "nighly")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "cronguard: there is no job 'nighly' (did you mean 'nightly'?): see cronguard status\n"
    )


def test_names_that_are_too_long(here, at_terminal):
    """Both ends stay, since they say which one it is."""
    here.record("a" * 50 + "_first", "success")
    here.record("a" * 50 + "_second", "success")
    at_terminal(80)
    text = here("status", "--all").stdout
    assert "…" in text
    assert "_first" in text
    assert "_second" in text
    assert max(map(width, text.splitlines()[:3])) <= 80


def test_a_run_whose_process_is_gone(here, past, at_terminal):
    """It is a crash that nobody has counted yet, in the listing, of the job, and in its runs."""
    past.run("nightly", HOUR, "success", stated=())
    past.run("nightly", timedelta(minutes=4), "running", stated=(), pid=2**22 + 1, started="1")
    at_terminal(120)
    assert rows_of(here("status").stdout) == [("warning", "nightly")]
    assert "a process is gone" in here("status").stdout
    detail = here("status", "nightly").stdout
    assert "Seems dead    its process is gone; started" in detail
    assert detail.count("its process is gone") == 1
    assert "cronguard history nightly --status crashed  every failure" in detail
    assert "cronguard unlock nightly" in detail
    assert "its process is gone: the job's next start" in here("history", "nightly").stdout
    (job,) = here.json("status")["jobs"]
    assert (job["running"], job["uncounted_crashes"], job["consecutive_failure_count"]) == (0, 1, 1)


def test_why_is_in_the_jobs_zone(here, past, at_terminal):
    """As every other time of that page is; what programs read is in UTC."""
    there = statements(schedule="0 * * * *", timezone="Asia/Kathmandu")  # no whole hour from UTC
    past.run("nightly", 9 * HOUR, "success", stated=there)
    at_terminal(200)
    text = here("status", "nightly").stdout
    (why,) = re.findall(r"(?m)^Why +(.*)$", text)
    assert re.search(r"from \S+ \d\d:00:00 to \S+ \d\d:00:00$", why)
    assert re.search(r" since \S+ \S+", text.splitlines()[0])[0].split()[2] in why
    (job,) = here.json("status")["jobs"]
    assert job["why"].endswith(" UTC")


SAID = {
    "failing": ("failure", "failure"),
    "warning": ("failure",),
    "stuck": ("running",),
    "late": ("success",),
    "ok": ("success",),
}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("failing", "nightly has been failing since 20"),
        ("warning", "nightly has had a warning since 20"),
        ("stuck", "nightly has been stuck since 20"),
        ("late", "nightly has been late since 20"),
        ("ok", "nightly is ok\n"),
    ],
)
def test_each_state_is_a_sentence(here, past, state, said):
    """Read aloud; the state's word is in it."""
    stated = HOURLY if state == "late" else ()
    for status in SAID[state]:
        past.run("nightly", 9 * HOUR, status, stated=stated)
    assert here("status", "nightly").stdout.startswith(said)


def test_a_state_beside_another(here, past):
    """The others follow, each a clause."""
    past.run("nightly", 9 * HOUR, "failure", stated=())
    past.run("nightly", 3 * HOUR, "running", stated=())
    first = here("status", "nightly").stdout.splitlines()[0]
    assert re.fullmatch(r"nightly has been stuck since [\d :-]+, and has a warning", first)


def test_a_job_that_nobody_expects(here, past):
    """In the place of the time at which it is due stands what that means, and what to do."""
    past.run("nightly", HOUR, "success", stated=())
    assert "Next due      nobody states when it should start" in here("status", "nightly").stdout
    past.run("nightly", timedelta(0), "success")
    assert "nobody states" not in here("status", "nightly").stdout


def test_an_alert_that_waits_for_its_next_try(here):
    """It is no fault before a minute has passed, and no face says that all was sent."""
    here.setenv("CRONGUARD_SLACK_WEBHOOK_URL", "http://127.0.0.1:9/x")
    here.record(
        "nightly", "failure", channels=(ChannelRule("slack"),), stated=statements(threshold=1)
    )
    with here.store() as store:
        store.snooze("nightly", datetime.now(UTC) + HOUR)
    done = here("check")
    assert done.returncode == 0
    assert "1 alert of the last minute not sent yet: cronguard alerts says why." in done.stdout
    assert "1 alert waiting" in here("status").stdout
    (check,) = (each for each in here.json("doctor")["checks"] if each["check"] == "alerts")
    assert check["message"].startswith("1 alert waiting for slack (last time: connection_refused")


def test_unlock_is_for_runs_that_seem_dead(here, past, at_terminal):
    """Of one that goes on it is not spoken."""
    past.run("nightly", 4 * HOUR, "running")
    at_terminal(120)
    text = here("status", "nightly").stdout
    assert "unlock" not in text
    assert "Running       for 4 h" in text


# --- one job --------------------------------------------------------------------------------------


def test_what_one_asks_after_an_alert(here, past, at_terminal):
    """Since when, why, the error, how long it takes, its runs, whom it told, what to do."""
    rules = (ChannelRule("slack"), ChannelRule("pager", 5, 3))
    stated = statements(
        **{name: value for name, value, _ in HOURLY}, runbook="https://wiki.example.org/n"
    )
    for hours in range(9, 2, -1):
        past.run("nightly", hours * HOUR, "success", stated=stated, channels=rules)
    for hours in (2, 1):
        past.run("nightly", hours * HOUR, "failure", error="g.GatewayError", channels=rules)
    (claim,) = past.store.claim_alerts(channels=["slack"])
    past.store.settle_alert(claim, Settlement("dead", "slack_no_service"))
    at_terminal(120)
    text = here("status", "nightly").stdout
    facts = {line[:14].strip(): line[14:] for line in text.splitlines() if line[14:]}
    assert text.startswith("nightly has been failing since 20")
    assert facts["Streak"] == "2 failures in a row; alerts from 2"
    assert facts["Error"] == "g.GatewayError (503)"
    assert facts["Message"] == "HTTP 503"
    assert facts["Where"] == "jobs/n.py:4 in run"
    assert facts["Last run"].startswith("failure after 4.0 s, started 20")
    assert facts["Last success"].endswith("(2 h ago)")  # less the seconds that it took
    assert facts["Usually takes"] == "4.0 s; 95 of 100 within 4.0 s (of the last 7 successes)"
    assert facts["Last runs"] == "▪▪▪▪▪▪▪✗✗"
    assert "(in " in facts["Next due"] or "ago)" in facts["Next due"]
    assert facts["Notifies"] == "slack at 2 failures"
    assert "pager at 5 failures, again every 3" in text
    assert "failing to slack, " in facts["Alerts"]
    assert facts["Alerts"].endswith(": given up after 1 try: slack_no_service")
    assert facts["Expected"].startswith("schedule 0 * * * *, timezone Europe/Oslo (code, since 20")
    assert facts["Runbook"] == "https://wiki.example.org/n"
    assert "cronguard history nightly --status failure" in text
    assert "cronguard alerts nightly --state given-up" in text
    assert "Times are in Europe/Oslo." in text


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_one_job_fits_the_terminal(here, past, at_terminal, columns):
    """Whatever is in its messages; commands to copy are never broken."""
    fill(past, 0)
    past.run("failing_0", timedelta(seconds=9), "failure", error="通知.エラー" * 9)
    at_terminal(columns)
    text = here("status", "failing_0").stdout
    wide = [line for line in text.splitlines() if width(line) > columns]
    assert all(line.startswith("  cronguard ") for line in wide)


def test_one_job_elsewhere(here, past):
    """The same facts, in UTC and without how long ago."""
    past.run("nightly", timedelta(hours=2), "failure", stated=())
    past.run("nightly", HOUR, "failure", stated=())
    past.run("long", HOUR, "success", stated=(*HOURLY[:2], *statements(max_runtime=60.0)))
    text = here("status", "nightly").stdout
    assert text.startswith("nightly has been failing since 20")
    assert " ago" not in text
    assert text.endswith("Times are in UTC.\n")
    assert "schedule 0 * * * *, timezone Europe/Oslo, max_runtime" in here("status", "long").stdout


def test_who_said_what_is_expected(here):
    """Each origin once, with its expectations and since when."""
    said = (*statements("settings", schedule="0 6 * * *"), *statements("command", threshold=3))
    here.record("nightly", "success", stated=said)
    text = here("status", "nightly").stdout
    assert "schedule 0 6 * * * (settings, since 20" in text
    assert "threshold 3 (cronguard run, since 20" in text
    expected = here.json("status", "nightly")["jobs"][0]["detail"]["expected"]
    assert expected["threshold"]["stated_by"] == "command"
    assert expected["threshold"]["since"].endswith("Z")
    assert expected["grace"] == {"value": 300.0, "stated_by": None, "since": None}


def test_status_as_json(here):
    """``cronguard.status/3``: every key, times in RFC 3339 with Z, seconds as numbers."""
    plan = statements(schedule="0 6 * * *", timezone="Europe/Oslo", grace=600.0)
    here.record("nightly", "success", "failure", stated=plan)
    document = here.json("status")
    assert list(document) == ["schema", "store", "jobs"]
    assert document["schema"] == "cronguard.status/3"
    (job,) = document["jobs"]
    last = job.pop("last_run")
    for key in ("last_success_at", "since", "next_due_at"):
        assert job.pop(key).endswith("Z")
    assert job.pop("why").startswith("1 failure, the last ValueError")
    assert job == {
        "job": "nightly",
        "state": "warning",
        "also": [],
        "needs_attention": False,
        "consecutive_failure_count": 1,
        "threshold": 2,
        "running": 0,
        "running_since": None,
        "uncounted_crashes": 0,
        "missed": 0,
        "snoozed_until": None,
        "schedule": "0 6 * * *",
        "timezone": "Europe/Oslo",
        "grace_seconds": 600.0,
        "max_runtime_seconds": 1800.0,
        "runbook": None,
        "channels": ["console"],
        "alerts_waiting": 0,
        "alerts_waiting_since": None,
        "alerts_given_up": 0,
    }
    assert last["started_at"].endswith("Z")
    assert (last["status"], last["duration_seconds"]) == ("failure", 0.25)
    (job,) = here.json("status", "nightly")["jobs"]
    assert list(job["detail"]) == ["usual_seconds", "runs", "alerts", "rules", "expected"]
    assert job["detail"]["usual_seconds"] == {"p50": 0.25, "p95": None, "runs": 1}
    assert [run["status"] for run in job["detail"]["runs"]] == ["failure", "success"]


@pytest.mark.parametrize("at", ["terminal", "file"])
@pytest.mark.parametrize("args", [["status"], ["status", "nightly"], ["alerts"]])
def test_stored_text_cannot_harm_a_terminal(here, at_terminal, at, args):
    """Escape sequences, line breaks and direction marks of what was recorded stay inert."""
    if at == "terminal":
        at_terminal(120)
    failure = Failure(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    here.record("nightly", "failure", "failure", failure=failure)
    text = here(*args).stdout
    assert not set(text) & set("\x1b\x07\r\x00\u202e")
    assert "nightly" in text


@pytest.mark.parametrize("at", ["terminal", "file"])
def test_a_hostile_name_is_inert(here, at_terminal, at):
    """A row that another program wrote may have any name; lines and columns stay in shape."""
    if at == "terminal":
        at_terminal(80)
    here.record("nightly", "failure", "failure")
    here.record("other", "success")
    with closing(sqlite3.connect(here.path)) as db, db:
        for table_name in ("cron_execution_logs", "cronguard_jobs", "cronguard_alerts"):
            db.execute(f"UPDATE {table_name} SET job = ? WHERE job = 'nightly'", (HOSTILE,))
    shown = [here("status"), here("status", "--all"), here("status", HOSTILE), here("alerts")]
    for done in shown:
        assert (done.returncode, done.stderr) == (0, "")
        assert not set(done.stdout) & set("\x1b\x07\r\x00\u202e")
        assert "back" in done.stdout
    if at == "terminal":
        assert max(map(width, shown[0].stdout.splitlines()[:3])) <= 80


@pytest.mark.parametrize("kind", ["postgres", "supabase"])
def test_every_face_reads_every_store(here, project, kind):
    """They are shown as a file is: all jobs, one, its runs, its alerts."""
    here.setenv("CRONGUARD_STORE", project.database.url if kind == "postgres" else "supabase")
    here.setenv("SUPABASE_URL", project.url)
    here.setenv("SUPABASE_SECRET_KEY", project.secret_key)
    for code in (0, 3, 3):
        here("run", "nightly", "--", "sh", "-c", f"exit {code}")
    assert rows_of(here("status").stdout) == [("failing", "nightly")]
    detail = here.json("status", "nightly")["jobs"][0]["detail"]
    assert [run["status"] for run in detail["runs"]] == ["failure", "failure", "success"]
    assert detail["usual_seconds"]["runs"] == 1
    failed = ("history", "nightly", "--status", "failure", "--since", "1h", "-n", "1")
    assert [run["error_code"] for run in here.json(*failed)["runs"]] == ["3"]
    assert here.json("history", "nightly", "--since", "2099-01-01")["runs"] == []
    assert [alert["kind"] for alert in here.json("alerts", "nightly")["alerts"]] == ["failing"]


def test_colour_is_not_what_says_it(here, at_terminal, monkeypatch):
    """With colours the words are the same as without."""
    here.record("nightly", "failure", "failure")
    at_terminal(80)
    without = [here("status").stdout, here("status", "nightly").stdout]
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setattr(lines.click, "echo", lambda text, **_: sys.stdout.write(f"{text}\n"))
    for args, plainly in zip((["status"], ["status", "nightly"]), without, strict=True):
        coloured = here(*args).stdout
        assert "\x1b[31mfailing\x1b[0m" in coloured
        passing = r"just now|\d+ m?s( ago)?"  # a second may have gone by
        uncoloured = re.sub(r"\x1b\[\d*m", "", coloured)
        assert re.sub(passing, "", uncoloured) == re.sub(passing, "", plainly)


# --- watch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [["--watch"], ["--watch", "--json"]])
def test_watch_needs_a_terminal(here, args):
    """A clear error, exit 2, and no control character in a file."""
    done = here("status", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--watch draws on a terminal: leave it out for --json or a file" in done.stderr


def test_a_frame_draws_over_the_one_before():
    """Home, each line cleared before it is written, the rest cleared; nothing else is cleared."""
    assert watching.frame(["a", "b"], 80, 9) == "\x1b[H\x1b[Ka\r\n\x1b[Kb\r\n\x1b[J"
    full = watching.frame([str(number) for number in range(9)], 80, 5)
    assert full.endswith("\x1b[K3\r\n\x1b[K… 5 more lines: make the window taller")
    assert full.count("\r\n") == 4
    assert "\x1b]0;" not in watching.frame([HOSTILE], 80, 5)


def test_a_store_that_is_down_while_watching(here, at_terminal, monkeypatch):
    """It is said, above what was there before; the watch goes on."""
    at_terminal(80)
    here.record("nightly", "success")
    drawn = []

    def twice(draw):
        drawn.append(draw(80, 24))
        monkeypatch.setattr(command, "health_of", fails)
        drawn.append(draw(80, 24))

    def fails(*_args, **_options):
        raise StoreError("the store did not answer")

    monkeypatch.setattr(watching, "watch", twice)
    assert here("status", "--watch").returncode == 0
    assert "every 5 s, Ctrl-C ends" in drawn[0][0]
    assert "the store did not answer; below is what was there before." in drawn[1][0]
    assert drawn[1][1:] == drawn[0][1:]


@pytest.mark.parametrize(("key", "code"), [("\x03", 0), ("\x1c", 131), (None, 143)])
def test_watch_leaves_the_terminal_clean(tmp_path, key, code):
    """After Ctrl-C, Ctrl-\\ or an end from outside: the first screen, the cursor, the handlers."""
    cli = Cli(tmp_path)
    assert cli("run", "nightly", "--", "true").returncode == 0
    program = [sys.executable, "-m", "cronguard", "status", "--watch"]
    terminal = Terminal(program, {**cli.environ, "TERM": "xterm"}, tmp_path)
    terminal.wait_for("Recorded in")
    if key:
        terminal.type(key)
    else:
        os.kill(terminal.process.pid, signal.SIGTERM)
    raw = read_to_the_end(terminal)
    assert raw.endswith("\x1b[?7h\x1b[?25h\x1b[?1049l")
    terminal.close()
    assert terminal.process.returncode == code


def test_watch_stops_between_two_screens(monkeypatch, capsys):
    """Ctrl-Z in the middle of one writes nothing there: a handler that does may come in the middle
    of another write. Afterwards the shell has its own screen while this is stopped."""
    stopped, drawn = [], []

    def stop(_pid, number):
        stopped.append((number, signal.getsignal(number), capsys.readouterr().out[-8:]))

    def draw(_columns, _lines):
        drawn.append(capsys.readouterr().out)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGTSTP)
        assert capsys.readouterr().out == ""
        return ["a"]

    monkeypatch.setattr(watching.os, "kill", stop)
    before = {each: signal.getsignal(each) for each in signal.valid_signals()}
    watching.watch(draw, seconds=PATIENCE)
    assert stopped == [(signal.SIGTSTP, signal.SIG_DFL, "\x1b[?1049l")]
    assert drawn[1] == "\x1b[?1049h\x1b[?25l\x1b[?7l"
    assert {each: signal.getsignal(each) for each in signal.valid_signals()} == before


def test_watch_draws_at_once_in_another_size(capsys):
    """A window that gets another size ends the pause."""
    drawn = []

    def draw(_columns, _lines):
        drawn.append(1)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGWINCH)
        return ["a"]

    began = time.monotonic()
    watching.watch(draw, seconds=PATIENCE)
    assert time.monotonic() - began < PATIENCE
    assert capsys.readouterr().out.endswith("\x1b[?1049l")


def test_deliver_is_for_channels_that_are_set_up(here, at_terminal):
    """What waits for others only is said to go out where they are."""
    here.record("nightly", "failure", "failure", channels=(ChannelRule("oncall"),))
    at_terminal(120)
    lines = here("status", "nightly").stdout.splitlines()
    (said,) = [line for line in lines if "cronguard deliver" in line]
    assert said.endswith("sends what waits, on a host that has oncall")
    here.setenv("CRONGUARD_ONCALL_TYPE", "webhook")
    here.setenv("CRONGUARD_ONCALL_URL", "https://oncall.example/")
    here.setenv("CRONGUARD_CHANNELS", "oncall")
    assert "sends what waits, now" in here("status", "nightly").stdout


def read_to_the_end(terminal):
    """What a program still writes, controls and all."""
    said = b""
    try:
        while data := os.read(terminal.master, 4096):
            said += data
    except OSError:
        pass
    return said.decode()


def test_signs_are_what_the_legend_says(here, past, at_terminal):
    """Only of what is there."""
    past.run("nightly", HOUR, "success", stated=())
    past.run("nightly", timedelta(minutes=9), "cancelled", stated=())
    at_terminal(80)
    text = here("status", "nightly").stdout
    assert "▪-" in text
    assert f"the newest on the right: {jobs.legend(past.store.history('nightly'))}" in text
