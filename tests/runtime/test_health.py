"""The health of every job, read from a store with nothing written."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from support.processes import Place

from cronguard.core.clock import new_id
from cronguard.core.errors import StoreError
from cronguard.core.expectations import statements
from cronguard.core.model import ChannelRule, Failure, Outcome, Owner, Run, RunRecord
from cronguard.process.identity import current_owner
from cronguard.runtime.health import dead_runs, read_health, read_history
from cronguard.settings.types import ChannelSettings, Settings
from cronguard.stores.spooled import SpooledStore
from cronguard.stores.sqlite.store import SQLiteStore
from cronguard.testing import MemoryStore

KILLED = """
    import os, signal
    @cron_guarded(job="nightly")
    def job(): os.kill(os.getpid(), signal.SIGKILL)
    job()
    """


def states(store, settings=None, **options):
    found = read_health(store, settings or Settings(), **options)
    return {each.job: each.state for each in found}


def run_of(job, owner=None, age=0.0, **changes):
    started = datetime.now(UTC) - timedelta(seconds=age)
    return Run(new_id(), job, started, owner or current_owner(), **changes)


def never(_owner):
    return False


def test_a_killed_run_is_a_crash_before_anybody_counts_it(tmp_path):
    """Seen as one, and the database is as it was."""
    place = Place(tmp_path)
    place.run(KILLED)
    store = SQLiteStore(place.path)
    before = place.path.read_bytes(), [*store.watches(), *store.jobs()]
    (found,) = read_health(store, Settings())
    assert (found.state, found.failures, found.running) == ("warning", 1, ())
    assert [run.status for run in found.dead] == ["crashed"]
    assert [run.status for run in read_history(store, "nightly", found, limit=9)] == ["crashed"]
    place.run(KILLED)  # its start counts the first
    (found,) = read_health(store, Settings())
    assert (found.state, found.failures) == ("failing", 2)
    assert before[1] != [*store.watches(), *store.jobs()]
    assert [record.status for record in store.history("nightly")] == ["running", "crashed"]
    store.close()


def test_a_run_that_ends_while_one_looks_is_no_crash(monkeypatch):
    """Its process may be gone before it is looked for, and its end recorded after its row was
    read."""
    store, run = MemoryStore(), run_of("nightly")
    store.start_run(run, is_dead=never)

    def ends(_owner):
        store.finish_run(run, Outcome("success", datetime.now(UTC)), started=True)
        return True

    monkeypatch.setattr(dead_runs, "__kwdefaults__", {"here": None, "is_gone": ends})
    assert states(store) == {"nightly": "ok"}


def test_another_hosts_run_is_judged_by_its_lease(tmp_path):
    """Which is the store's clock's business."""
    store = SQLiteStore(tmp_path / "runs.db")
    elsewhere = Owner("other", 1, "elsewhere", "1")
    store.start_run(run_of("living", elsewhere), is_dead=never)
    store.start_run(run_of("dead", elsewhere, lease=1e-6), is_dead=never)
    store.start_run(run_of("here"), is_dead=never)
    assert states(store) == {"dead": "warning", "here": "ok", "living": "ok"}
    store.close()


def test_a_process_that_cannot_be_looked_up_is_alive():
    """As a sweep judges; a row with an impossible pid as well."""
    record = RunRecord("a", "job", "running", datetime.now(UTC), owner=current_owner())

    def fails(_owner):
        raise TypeError

    assert dead_runs([record], is_gone=fails) == frozenset()
    assert dead_runs([record], is_gone=lambda _: True) == {"a"}


def test_declared_jobs_are_among_them():
    """Before anybody has told the store of them, and where there is no database yet."""
    settings = Settings(
        channels=(ChannelSettings("slack", "slack", {}, 3),),
        jobs={"a": {"schedule": "0 6 * * *"}, "b": {}},
    )
    found = read_health(None, settings)
    assert [(each.job, each.state) for each in found] == [("a", "new"), ("b", "new")]
    assert found[0].next_due > datetime.now(UTC)
    assert found[0].threshold == 3
    assert states(MemoryStore(), settings, jobs=["b"]) == {"b": "new"}


def test_a_damaged_row_is_never_green(tmp_path):
    """It is named, with what is wrong, and the others are judged as ever."""
    store = SQLiteStore(tmp_path / "runs.db")
    for job in ("a", "bad", "worse"):
        run = run_of(job)
        store.start_run(run, is_dead=never)
        store.finish_run(run, Outcome("success", datetime.now(UTC)), started=True)
    with closing(sqlite3.connect(store.path)) as db, db:
        db.execute("UPDATE cronguard_jobs SET threshold = -1 WHERE job = 'bad'")
        db.execute("UPDATE cronguard_jobs SET last_success_at = 'x' WHERE job = 'worse'")
    assert states(store) == {"a": "ok", "bad": "warning", "worse": "warning"}
    found = {each.job: each.problem for each in read_health(store, Settings())}
    assert found == {"a": None, "bad": "threshold is below 1", "worse": "it cannot be read"}
    store.close()


class Away:
    """A store's calls, some of which do not reach it."""

    def __init__(self, store):
        self.store, self.away = store, set()

    def __getattr__(self, name):
        if name in self.away:
            raise StoreError("gone", code="timeout")
        return getattr(self.store, name)


@pytest.mark.parametrize("path", ["spool.db", None])
def test_what_waits_on_this_host_is_told_as_well(tmp_path, path):
    """Outcomes that the store has not taken, in their order; runs that began without it."""
    remote = Away(MemoryStore())
    store = SpooledStore(remote, path and tmp_path / path)
    first = run_of("nightly", channels=(ChannelRule("slack"),))
    store.start_run(first, is_dead=never)
    assert states(store) == {"nightly": "ok"}
    remote.away = {"start_run", "finish_run"}
    failure = Outcome("failure", datetime.now(UTC), 1.0, Failure("OSError"))
    store.finish_run(first, failure, started=True)
    (found,) = read_health(store, Settings())
    assert (found.state, found.failures, found.running) == ("warning", 1, ())
    begun = run_of("weekly", age=3600.0, stated=statements(max_runtime=60.0))
    store.start_run(begun, is_dead=never)
    assert [run.run_id for run in read_health(store, Settings())[1].running] == [begun.run_id]
    store.finish_run(run_of("nightly"), failure, started=False)
    assert states(store)["nightly"] == "failing"
    assert [record.status for record in remote.store.history("nightly")] == ["running"]
    nightly = next(each for each in read_health(store, Settings()) if each.job == "nightly")
    for asked, shown in (
        ((), ["failure", "failure"]),
        (("running",), []),
        (("failure",), 2 * ["failure"]),
    ):
        found = read_history(store, "nightly", nightly, limit=9, statuses=asked)
        assert [record.status for record in found] == shown
    store._quiet_until, remote.away = 0.0, set()
    store.finish_run(begun, Outcome("success", datetime.now(UTC)), started=True)
    store.replay()
    assert states(store) == {"nightly": "failing", "weekly": "ok"}
    store.close()
