"""What a run costs, where that can be counted: nothing here depends on how fast the machine is."""

import json
from pathlib import Path

import pytest
from benchmark import by_hand_sqlite
from support.debian import program
from support.processes import Place
from support.record import recording

from cronguard import cron_guarded
from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.sqlite.store import SQLiteStore

BY_HAND = f"""
import sys
sys.path.insert(0, {str(Path(by_hand_sqlite.__file__).parent)!r})
import by_hand_sqlite
db = by_hand_sqlite.connect(sys.argv[1])
by_hand_sqlite.run(db, "nightly", lambda: None)
db.close()
"""
OURS = """
@cron_guarded
def nightly(): pass
nightly()
"""


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def syncs(place, code, *args):
    """How often a process has the disk write: strace, since nothing inside it can tell."""
    report = place.folder / "strace"
    trace = (program("strace"), "-f", "-o", str(report), "-e", "trace=fdatasync,fsync")
    done = place.run(code, *args, wrapper=trace)
    assert (done.returncode, done.stderr) == (0, "")
    return report.read_text().count("sync(")


@pytest.mark.long
def test_a_process_has_the_disk_write_as_often_as_one_connection(place):
    """A cron process with one run: what it takes to write the same rows by hand."""
    other = place.folder / "by_hand.db"
    for path in (place.path, other):
        store = SQLiteStore(path)
        store.migrate()
        store.close()
    assert syncs(place, OURS) == syncs(place, BY_HAND, other) > 0


def test_two_round_trips_a_run_on_postgresql(database, tmp_path):
    """One at its start, one at its end, success or failure, and none besides."""

    @cron_guarded(threshold=100)
    def nightly(error=None):
        if error:
            raise error

    store = PostgresStore(database.url)
    with recording(store) as record, (tmp_path / "trace").open("w+") as trace:
        nightly()
        (connection,) = store._idle
        connection.pgconn.trace(trace.fileno())
        nightly()
        with pytest.raises(ValueError, match="no luck"):
            nightly(ValueError("no luck"))
        nightly()
        connection.pgconn.untrace()
        trace.seek(0)
        assert trace.read().count("ReadyForQuery") == 2 * 3
        assert record.statuses("nightly") == ["success", "success", "failure", "success"]


RUN = """
import json, os, sys, threading

@cron_guarded
def nightly():
    pass

nightly()
files = {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
print(json.dumps({
    "modules": sorted(sys.modules),
    "threads": [thread.name for thread in threading.enumerate()],
    "files": sorted(path for path in files if path.startswith(os.environ["HOME"])),
}))
"""


MOST_MODULES = 38
"""Modules of cronguard's up to the end of a first run that goes well; 39 in the flat house."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What a process has loaded and holds after a run that went well."""
    place = Place(tmp_path_factory.mktemp("run"))
    done = place.run(RUN)
    assert done.stderr == ""
    return {**json.loads(done.stdout), "path": str(place.path)}


def test_a_run_that_goes_well_loads_little(run):
    """Neither what reads an error nor what tells anybody, and of the base install only wrapt."""
    third_parties = {"anyio", "certifi", "click", "cronsim", "httpcore", "httpx", "platformdirs"}
    assert not third_parties.intersection(run["modules"])
    unwanted = ("privacy", "channels", "cli", "testing", "stores.server", "stores.spool.")
    unwanted += ("core.schedule", "core.rendering", "core.payload", "process.workers")
    unwanted += ("stores.sqlite.starting", "stores.sqlite.silences", "stores.sqlite.outbox")
    unwanted += ("runtime.delivery", "runtime.channel", "settings.plugins", "settings.secret")
    ours = [name for name in run["modules"] if name.partition(".")[0] == "cronguard"]
    found = [name.removeprefix("cronguard.") for name in ours]
    assert not [name for name in found if name.startswith(unwanted)]
    by_preamble = {"guarding.context_manager"}
    assert len(set(found) - by_preamble) <= MOST_MODULES


def test_a_process_has_one_thread_of_ours(run):
    """However many runs it makes."""
    assert run["threads"] == ["MainThread", "cronguard-watchdog"]


def test_a_process_keeps_three_files_open(run):
    """The log, its journal and what its writers share."""
    assert run["files"] == [run["path"], run["path"] + "-shm", run["path"] + "-wal"]
