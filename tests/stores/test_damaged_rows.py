"""Rows that cronguard did not write: nobody else's work stops, and `damaged` names them."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from cronguard.core.clock import new_id, rfc3339
from cronguard.core.model import ChannelRule, Failure, Outcome, Owner, Run
from cronguard.runtime.check import check
from cronguard.settings.types import Settings
from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.sqlite.store import SQLiteStore

pytestmark = pytest.mark.one_python

BOTH = {
    "schedule": "schedule = 'nonsense'",
    "threshold": "threshold = -1",
    "count": "consecutive_failure_count = -5",
    "grace": "grace = -1",
    "max_runtime": "max_runtime = 0",
    "no incident": "consecutive_failure_count = 3, incident_id = null",
}
POSTGRES = {
    "channels": "channels = '5'",
    "channels null": "channels = 'null'",
    "channel rules": 'channels = \'[7, {"channel": "a", "threshold": "x"}]\'',
    "sources": "sources = '[1]'",
    "declared": "declared = '7'",
    "infinite": "judged_until = 'infinity', last_success_at = '-infinity'",
    "far": "last_success_at = '20000-01-01'",
    "NaN": "grace = 'NaN'",
}
SQLITE = {
    "channels": "channels = 'a:b:c:d,e'",
    "sources": "sources = '[1]'",
    "declared": "declared = 'nonsense'",
    "judged_until": "judged_until = 'yesterday'",
    "text": "threshold = 'x'",
    "silence": "silence = 'since yesterday'",
}
UNNAMED = {"no incident", "declared", "channels null"}
"""What the next start puts right, or what harms nothing."""


class NoDelivery:
    def deliver_all(self, **_):
        return []


def run_of(job, age=0, lease=90.0):
    started = datetime.now(UTC) - timedelta(seconds=age)
    return Run(new_id(), job, started, Owner("h", 1), (ChannelRule("slack", 1),), lease=lease)


def spoil(store, execute, change):
    """A bad job between two good ones, each with a dead run; what happens is asserted."""
    dead = {job: run_of(job, lease=1e-6) for job in ("a", "bad", "c")}
    for run in dead.values():
        store.start_run(run, is_dead=lambda _: False)
    execute(f"update cronguard_jobs set {change} where job = 'bad'")
    report = check(store, NoDelivery(), Settings(), now=datetime.now(UTC))
    assert {"a", "c"} <= {each.job for each in report.crashed}
    assert {each.job for each in report.jobs} == {"a", "bad", "c"}
    assert {"a", "c"} <= {watch.job for watch in store.watches()}
    assert {"a", "c"} <= {status.job for status in store.jobs()}
    assert len(store.claim_alerts(channels=["slack"], job="a")) == 1
    for job in ("a", "c"):
        run = run_of(job)
        assert store.start_run(run, is_dead=lambda _: False).status == "running"
        ended = store.finish_run(run, Outcome("success", datetime.now(UTC)), started=True)
        assert ended.consecutive_failure_count == 0
    store.alerts()
    return [each.row for each in store.damaged()]


@pytest.mark.parametrize("kind", BOTH | POSTGRES)
def test_a_bad_job_in_postgresql(database, kind):
    """Stops no other; it is named."""
    store = PostgresStore(database.url)
    with database.admin() as db:
        db.execute("set session_replication_role = replica")  # nothing guards the row
        named = spoil(store, db.execute, (BOTH | POSTGRES)[kind])
    assert any("bad" in row for row in named) == (kind not in UNNAMED), named
    store.close()


@pytest.mark.parametrize("kind", BOTH | SQLITE)
def test_a_bad_job_in_sqlite(tmp_path, kind):
    """Stops no other; it is named."""
    store = SQLiteStore(tmp_path / "runs.db")

    def execute(text):
        with sqlite3.connect(store.path) as db:
            db.execute(text)
        db.close()

    named = spoil(store, execute, (BOTH | SQLITE)[kind])
    assert any("bad" in row for row in named) == (kind not in UNNAMED), named
    store.close()


@pytest.mark.parametrize("text", ["", "nonsense", "2026-01-01|x|0|", "2026-01-01T06:00:00|1|0|"])
def test_a_job_whose_silence_cannot_be_read_goes_on(tmp_path, text):
    """Its runs are recorded, which need no silence; a watch that is missing says what is wrong."""
    store = SQLiteStore(tmp_path / "runs.db")
    for count in (1, 2):
        run = run_of("bad")
        store.start_run(run, is_dead=lambda _: False)
        failed = Outcome("failure", datetime.now(UTC), 0.1, Failure("E"))
        ended = store.finish_run(run, failed, started=True)
        assert ended.consecutive_failure_count == count
        with sqlite3.connect(store.path) as db:
            db.execute("update cronguard_jobs set silence = ?", (text,))
        db.close()
    assert [each.key for each in store.damaged()] == ["bad"]
    store.close()


def test_a_bad_run_in_postgresql(database):
    """Of no lease, of no time, of no status: the others are swept and shown."""
    store = PostgresStore(database.url)
    with database.admin() as db:
        for job in ("a", "b", "c"):
            store.start_run(run_of(job), is_dead=lambda _: False)
        db.execute("update cron_execution_logs set lease_expires_at = null where job = 'a'")
        db.execute("update cron_execution_logs set started_at = 'infinity' where job = 'b'")
    assert [each.job for each in store.sweep(Owner("x", 1), is_dead=lambda _: False)] == ["a"]
    assert [len(watch.running) for watch in store.watches()] == [0, 0, 1]
    assert [each.table for each in store.damaged()] == ["cron_execution_logs"]
    assert rfc3339(store.history("c")[0].started_at)
    store.close()


RUNS = {
    "sqlite": ["lease_expires_at = 'x'", "started_at = 'x'", "pid = 'x'"],
    "postgres": ["lease_expires_at = null", "started_at = 'infinity'", "pid = -1, host = null"],
}


@pytest.mark.parametrize(
    ("kind", "change"), [(kind, change) for kind, found in RUNS.items() for change in found]
)
def test_a_bad_run_does_not_hold_up_its_own_job(request, tmp_path, kind, change):
    """Its process is gone, so it is ended as crashed, or left alone: the next start is recorded."""
    if kind == "sqlite":
        store = SQLiteStore(tmp_path / "runs.db")
        store.start_run(run_of("a", lease=1e-6), is_dead=lambda _: False)
        store._file.write(lambda db: db.execute(f"update cron_execution_logs set {change}"))
    else:
        database = request.getfixturevalue("database")
        store = PostgresStore(database.url)
        store.start_run(run_of("a", lease=1e-6), is_dead=lambda _: False)
        with database.connect() as db:
            db.execute(f"update cron_execution_logs set {change}")
    run = run_of("a")
    assert store.start_run(run, is_dead=lambda _: False).status == "running"
    ended = store.finish_run(run, Outcome("success", datetime.now(UTC)), started=True)
    assert ended.consecutive_failure_count == 0
    store.close()
