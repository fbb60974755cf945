"""``cronguard init``, ``prune`` and ``unlock``: the store, looked after."""

import io
import sqlite3
import stat
import sys
from datetime import UTC, datetime, timedelta

import pytest
from support.cli import Cli, Here
from support.hostile import answer, read_request, serve
from support.terminal import Terminal

from cronguard.cli.output.lines import progress
from cronguard.core.clock import rfc3339
from cronguard.core.model import ChannelRule

pytestmark = pytest.mark.one_python


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    return Here(tmp_path, monkeypatch, capsys)


def test_init_makes_the_file_for_its_owner_alone(here):
    """Created once with mode 0600; the second time says that nothing was to be done."""
    here.setenv("CRONGUARD_STORE", f"sqlite:///{here.folder}/deep/down/runs.db")
    path = here.folder / "deep" / "down" / "runs.db"
    assert here("init", "sqlite").stdout == f"{path} created.\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert here("init", "sqlite").stdout == f"{path} is up to date.\n"


def test_init_of_another_kind_of_store(here):
    """Exit 2 and one line if the settings name something else, or nothing known."""
    assert here("init", "oracle").returncode == 2
    here.setenv("CRONGUARD_STORE", "nonsense://x")
    done = here("init", "sqlite")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_prune_keeps_what_is_young(here):
    """Old runs go, with each job's newest, its streak and its last success kept."""
    here.record("nightly", *["success"] * 3, "failure", "failure")
    long_ago = rfc3339(datetime.now(UTC) - timedelta(days=100))
    with sqlite3.connect(here.path) as db:
        db.execute("UPDATE cron_execution_logs SET finished_at = ?", (long_ago,))
    db.close()
    before = here.json("status")["jobs"][0] | {"since": None}  # its first failure goes
    assert here("prune", "--keep", "101d").stdout == (
        "Deleted 0 runs that ended more than 101 days ago.\n"
    )
    done = here("prune", "--keep", "90d")
    assert done.stdout == "Deleted 3 runs that ended more than 90 days ago.\n"
    assert here.json("status")["jobs"][0] == before


@pytest.mark.parametrize(
    "args",
    [
        *([], ["--keep", "soon"], ["--keep", "0d"], ["--keep", "-1d"]),
        *(["--keep", "30"], ["--keep", "2.5"], ["--keep", "23h"], ["--keep", "5min"]),
    ],
)
def test_prune_is_told_how_much_to_keep(here, args):
    """There is no default: what is deleted is gone."""
    done = here("prune", *args)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_prune_says_what_it_would_delete(here):
    """Nothing is gone after a dry run, not even below a day."""
    here.record("nightly", *["success"] * 4)
    done = here("prune", "--keep", "1s", "--dry-run")
    assert "Would delete" in done.stdout
    assert len(here.json("history", "nightly")["runs"]) == 4
    long_ago = rfc3339(datetime.now(UTC) - timedelta(hours=3))
    with sqlite3.connect(here.path) as db:
        db.execute("UPDATE cron_execution_logs SET finished_at = ?", (long_ago,))
    db.close()
    done = here("prune", "--keep", "1 hour 30 min", "--dry-run")
    assert done.stdout == "Would delete 3 runs that ended more than 1 h 30 min ago.\n"
    assert here("prune", "--keep", "90min", "--yes").stdout.startswith("Deleted 3 runs")


def test_prune_of_nothing(here):
    """Deletes nothing and makes no database."""
    assert here("prune", "--keep", "12w").returncode == 0
    assert not here.path.exists()


def test_progress_is_for_those_who_wait(monkeypatch):
    """Shown on a terminal only, once something takes long."""
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", screen)
    with progress("pruning") as advance:
        advance(1, 4)
        assert screen.getvalue() == ""
    monkeypatch.setattr("cronguard.cli.output.lines._PATIENCE_SECONDS", 0)
    with progress("pruning") as advance:
        advance(2, 4)
        assert "pruning" in screen.getvalue()
        assert "50%" in screen.getvalue()
        advance(3, 6)
        advance(6, 6)
    assert "100%" in screen.getvalue()
    screen.isatty = lambda: False
    screen.truncate(0)
    with progress("pruning") as advance:
        advance(3, 4)
    assert screen.getvalue() == ""


def takes_its_time(connection, stop):
    read_request(connection)
    stop.wait(0.05)
    connection.sendall(answer())


def test_a_long_delivery_is_seen_on_a_terminal(here):
    """How far it is, while it takes, and at the end what came of it."""
    for number in range(21):
        here.record(f"job{number}", "failure", "failure", channels=(ChannelRule("webhook"),))
    with serve(takes_its_time) as server:
        environ = Cli(here.folder).environ | {
            "TERM": "xterm",
            "CRONGUARD_WEBHOOK_URL": server.url,
        }
        terminal = Terminal([sys.executable, "-m", "cronguard", "deliver"], environ, here.folder)
        terminal.wait_for("sending ")
        terminal.wait_for("%")
        terminal.wait_for("Sent 21 of 21 alerts.")
        terminal.close()


def test_unlock(here):
    """Lets a job start beside a run that is open; says so when nothing held it."""
    here.record("nightly", "running")
    assert here("unlock", "nightly").stdout == "nightly can start again; 1 open run let go of it.\n"
    assert here("unlock", "nightly").stdout == "No open run holds nightly: it can start.\n"
    done = here("unlock", "nighly")
    assert done.returncode == 1
    assert "did you mean 'nightly'?" in done.stderr
