"""``cronguard status`` and ``history``: what is shown, to a person and to a script."""

import json
import re
from datetime import datetime

import pytest
from support.cli import Here

from cronguard.cli.output import lines, table
from cronguard.core.expectations import statements
from cronguard.core.model import ChannelRule, Failure

pytestmark = pytest.mark.one_python

HOSTILE = "\x1b[31mred\x1b]0;title\x07\r\n\u202eback\x00[bold]markup[/bold]"


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    return Here(tmp_path, monkeypatch, capsys)


@pytest.fixture
def terminal(monkeypatch):
    """As on a terminal."""
    monkeypatch.setattr(lines, "on_terminal", lambda: True)
    monkeypatch.setattr(table, "on_terminal", lambda: True)
    monkeypatch.setattr("cronguard.cli.output.times.on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")


# --- status ---------------------------------------------------------------------------------------


def test_nothing_has_run_yet(here):
    """An empty log teaches how to fill it, says where it will be, and creates no file."""
    done = here("status")
    assert done.returncode == 0
    assert "No job has run yet" in done.stdout
    assert "cronguard run nightly -- ./nightly.sh" in done.stdout
    assert str(here.path) in done.stdout
    assert not here.path.exists()
    assert here.json("status")["jobs"] == []


def test_status_shows_every_job(here):
    """A line a job: state, streak, last run and last success; a sum and the place below."""
    here.record("well", "success")
    here.record("ill", "success", "failure", "failure")
    here.record("new", "running")
    done = here("status")
    lines = done.stdout.splitlines()
    head, *rows, total = lines
    assert head.split("  ")[0] == "JOB"
    assert [row.split()[:3] for row in rows] == [
        ["ill", "failing", "2"],
        ["new", "ok", "0"],
        ["well", "ok", "0"],
    ]
    assert "running" in rows[1]
    assert "never" in rows[1]
    assert total == f"3 jobs: 1 failing, 2 ok. Recorded in {here.path}."
    assert done.stderr == ""


def test_status_of_some_jobs(here):
    """Those that are named, in that order; a mistyped one is answered with the nearest name."""
    for job in ("invoices", "nightly", "weekly"):
        here.record(job, "success")
    assert [j["job"] for j in here.json("status", "weekly", "nightly")["jobs"]] == [
        "weekly",
        "nightly",
    ]
    done = here("status", "nighly")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "cronguard: there is no job 'nighly' (did you mean 'nightly'?): see cronguard status\n"
    )


def test_status_tells_of_alerts_and_snoozing(here):
    """What has not gone out, what was given up, and until when a job is quiet."""
    here.record(
        "nightly", "failure", "failure", channels=(ChannelRule("slack"), ChannelRule("pager"))
    )
    with here.store() as store:
        slack = store.claim_alerts(channels=["slack"])[0]
        from cronguard.core.model import Settlement

        store.settle_alert(slack, Settlement("dead", "http_404"))
    here("snooze", "nightly", "--for", "2h")
    text = here("status").stdout
    assert "1 alert pending; 1 alert given up (cronguard deliver --dead); snoozed" in text
    (job,) = here.json("status")["jobs"]
    assert (job["alerts_pending"], job["alerts_dead"]) == (1, 1)
    assert job["snoozed_until"].endswith("Z")


def test_status_as_json(here):
    """``cronguard.status/2``: every key, times in RFC 3339 with Z, seconds as numbers."""
    plan = statements(schedule="0 6 * * *", timezone="Europe/Oslo", grace=600.0)
    here.record("nightly", "success", "failure", stated=plan)
    document = here.json("status")
    assert list(document) == ["schema", "store", "jobs"]
    assert document["schema"] == "cronguard.status/2"
    (job,) = document["jobs"]
    last = job.pop("last_run")
    assert datetime.fromisoformat(job.pop("last_success_at")).utcoffset() is not None
    assert datetime.fromisoformat(job.pop("next_due_at")).utcoffset() is not None
    assert job == {
        "job": "nightly",
        "state": "warning",
        "why": "1 failure, the last ValueError; alerts from 2",
        "since": last["finished_at"],
        "needs_attention": False,
        "also": [],
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
        "channels": ["console"],
        "runbook": None,
        "alerts_pending": 0,
        "alerts_pending_since": None,
        "alerts_dead": 0,
    }
    assert last["started_at"].endswith("Z")
    assert (last["status"], last["duration_seconds"]) == ("failure", 0.25)


# --- history --------------------------------------------------------------------------------------


def test_history_is_newest_first(here):
    """Each run with its status, its count and its error; --limit counts from the newest."""
    failure = Failure("psycopg.OperationalError", "57P01", "connection lost", "jobs/n.py:4 in run")
    here.record("nightly", "success", "failure", "failure", failure=failure)
    rows = here("history", "nightly").stdout.splitlines()[1:]
    assert [row.split()[2] for row in rows] == ["failure", "failure", "success"]
    assert "psycopg.OperationalError (57P01) at jobs/n.py:4 in run: connection lost" in rows[0]
    document = here.json("history", "nightly", "--limit", "2")
    assert (document["schema"], document["job"]) == ("cronguard.history/1", "nightly")
    assert [run["consecutive_failure_count"] for run in document["runs"]] == [2, 1]
    assert list(document["runs"][0]) == [
        *("run_id", "status", "started_at", "finished_at", "duration_seconds"),
        *("consecutive_failure_count", "error_type", "error_code", "error_message"),
        *("error_location", "host", "pid"),
    ]


def test_history_of_an_unknown_job(here):
    """Exit 1 and one line, that no job has run if none has."""
    done = here("history", "nightly")
    assert done.returncode == 1
    assert done.stderr == (
        "cronguard: there is no job 'nightly': no job has run yet; see cronguard run --help\n"
    )
    assert here("history", "nightly", "--limit", "0").returncode == 2


# --- how it looks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("at_terminal", [True, False])
def test_stored_text_cannot_harm_a_terminal(here, request, at_terminal):
    """Escape sequences, line breaks, direction marks and markup of a message stay inert."""
    if at_terminal:
        request.getfixturevalue("terminal")
    here.setenv("NO_COLOR", "1")
    here.record("nightly", "failure", failure=Failure("ValueError", None, HOSTILE))
    text = here("history", "nightly").stdout
    assert not set(text) & set("\x1b\x07\r\x00\u202e")
    assert "[bold]markup[/bold]" in text
    assert len([line for line in text.splitlines() if "ValueError" in line]) == 1
    assert json.loads(here("history", "nightly", "--json").stdout)["runs"][0]["error_message"]


def test_a_terminal_gets_a_table_and_relative_times(here, terminal):
    """It says how long ago."""
    here.record("nightly", "success")
    text = here("status").stdout
    assert "nightly" in text
    assert "now)" in text or "ago)" in text


def test_colours_are_for_those_who_want_them(here, terminal):
    """None with NO_COLOR set, none without a terminal."""
    here.record("nightly", "failure")
    here.setenv("NO_COLOR", "1")
    assert "\x1b[" not in here("status").stdout
    assert "\x1b[" not in here("doctor").stdout


def test_columns_are_aligned_whatever_is_in_them(here, capsys):
    """Plain tables line up; a column that holds nothing is left out."""
    table.table(("A", "EMPTY", "B"), [("x", "", "1"), ("longer", "", "2")])
    assert capsys.readouterr().out == "A       B\nx       1\nlonger  2\n"


def test_a_narrow_terminal_is_not_overrun(terminal, monkeypatch, capsys):
    """The last column wraps at words, and goes below the others where it has no room."""
    monkeypatch.setenv("NO_COLOR", "1")
    long = " ".join(f"word{number}" for number in range(20))
    for width, beside in ((60, True), (48, False)):
        monkeypatch.setenv("COLUMNS", str(width))
        table.table(("STARTED", "ERROR"), [("2026-11-25 13:00", long), ("2026-11-25 14:00", "-")])
        lines = capsys.readouterr().out.splitlines()
        assert all(len(line.rstrip()) <= width for line in lines)
        assert all(f"word{number}" in " ".join(lines).split() for number in range(20))
        assert any(line.startswith("2026-11-25 13:00  word0") for line in lines) is beside
        assert any(line.startswith("    ERROR: word0") for line in lines) is not beside


def test_words_that_stand_out(terminal, monkeypatch):
    """A state has its colour, and nothing is out of line for it."""
    lines = []
    monkeypatch.setattr(table, "say", lines.append)
    monkeypatch.delenv("NO_COLOR", raising=False)
    table.table(("JOB", "STATE", "RESULT"), [("a", "failing", "failure"), ("b", "ok", "success")])
    assert "\x1b[31mfailing\x1b[0m" in lines[1]
    plainly = [re.sub(r"\x1b\[\d*m", "", line) for line in lines]
    assert plainly == ["JOB  STATE    RESULT", "a    failing  failure", "b    ok       success"]
