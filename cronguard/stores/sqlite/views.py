"""What is shown of jobs and runs in SQLite, and what pruning deletes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from cronguard.core.alert_rule import EARLY_SECONDS, has_expired
from cronguard.core.clock import moment, rfc3339
from cronguard.core.damage import known_status, readable
from cronguard.core.model import DETAILS, JobStatus, Owner, RunRecord, Schedule, from_details

_COLUMNS = (
    *("id", "job", "status", "started_at", "finished_at", "duration_ms"),
    *("consecutive_failure_count", "host", "pid"),
)
_RECORD = ", ".join((*_COLUMNS, *DETAILS))
"""For `record_of`."""
_NEWEST = 100
"""How many of a job's rows are looked at for one that can be read, or for its latest start: most
are in the order of starting."""


def jobs(db: sqlite3.Connection, now: datetime) -> list[JobStatus]:
    """Do `cronguard.core.interfaces.Store.jobs`."""
    found = db.execute(
        f"""SELECT job, consecutive_failure_count, last_success_at, snoozed_until, schedule,
                  timezone, grace,
                  (SELECT count(*) FROM cron_execution_logs r INDEXED BY cron_execution_logs_running
                   WHERE r.job = j.job AND r.status = 'running'),
                  (SELECT count(*) FROM cronguard_alerts a
                   WHERE a.job = j.job AND a.state = 'pending'),
                  (SELECT count(*) FROM cronguard_alerts a
                   WHERE a.job = j.job AND a.state = 'dead'),
                  announced,
                  (SELECT finished_at FROM cron_execution_logs r WHERE r.id = j.incident_id),
                  (SELECT max(started_at) FROM (SELECT started_at FROM cron_execution_logs r
                   WHERE r.job = j.job AND started_at <= ? ORDER BY rowid DESC LIMIT {_NEWEST})),
                  (SELECT min(created_at) FROM cronguard_alerts a
                   WHERE a.job = j.job AND a.state = 'pending')
           FROM cronguard_jobs j ORDER BY job""",  # noqa: S608  # a constant of this module
        (rfc3339(now + timedelta(seconds=EARLY_SECONDS)),),
    ).fetchall()

    def status_of(row: Sequence[Any]) -> JobStatus:
        ran = records(db, "job = ? AND status <> 'skipped'", (row[0],), limit=_NEWEST)
        return JobStatus(
            job=row[0],
            consecutive_failure_count=row[1],
            last_run=next(ran, None),
            last_success_at=moment(row[2]),
            running=row[7],
            snoozed_until=moment(row[3]),
            schedule=Schedule(row[4], row[5], row[6]) if row[4] else None,
            alerts_pending=row[8],
            alerts_dead=row[9],
            announced=frozenset(row[10].split(",") if row[10] else ()),
            failing_since=moment(row[11]),
            last_start_at=moment(row[12]),
            pending_since=moment(row[13]),
        )

    return readable(found, status_of)


def records(
    db: sqlite3.Connection, where: str, values: tuple[Any, ...], *, limit: int
) -> Iterator[RunRecord]:
    """Yield rows that match and can be read, newest first."""
    for row in rows(db, where, values, limit=limit):
        yield from readable([row], record_of)


def running(db: sqlite3.Connection, now: datetime) -> Iterator[RunRecord]:
    """Yield runs that go on and can be read, with their owners and leases, oldest first."""
    yield from readable(running_rows(db), partial(held_of, now))


def running_rows(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Return the runs that are going on, oldest first, for `held_of`."""
    return db.execute(
        f"SELECT {_RECORD}, process_space, process_started, lease_expires_at"  # noqa: S608  # a constant of this module
        " FROM cron_execution_logs WHERE status = 'running' ORDER BY rowid"
    ).fetchall()


def held_of(now: datetime, row: Sequence[Any]) -> RunRecord:
    """Return a run that is going on, with its owner and its lease."""
    *known, space, started, expires = row
    record = record_of(known)
    owner = Owner(record.host or "", record.pid or 0, space, started)
    return record._replace(owner=owner, lease_over=has_expired(moment(expires), now))


def rows(
    db: sqlite3.Connection, where: str, values: tuple[Any, ...], *, limit: int
) -> Iterator[tuple[Any, ...]]:
    """Yield rows that match, newest first, for `record_of`."""
    yield from db.execute(
        f"SELECT {_RECORD} FROM cron_execution_logs WHERE {where} ORDER BY rowid DESC LIMIT ?",  # noqa: S608  # constants of this package
        (*values, limit),
    )


def record_of(row: Sequence[Any]) -> RunRecord:
    """Return a row of the log."""
    return RunRecord(
        run_id=row[0],
        job=row[1],
        status=known_status(row[2]),
        started_at=datetime.fromisoformat(row[3]),
        finished_at=moment(row[4]),
        duration=None if row[5] is None else row[5] / 1000,
        consecutive_failure_count=row[6],
        host=row[7],
        pid=row[8],
        **from_details(row[len(_COLUMNS) :]),
    )


def prune_plan(db: sqlite3.Connection) -> tuple[int, frozenset[int]]:
    """Return the last rowid, and each job's newest run and success, which outlive pruning."""
    last: int = db.execute("SELECT coalesce(max(rowid), 0) FROM cron_execution_logs").fetchone()[0]
    kept: set[int] = set()
    for (job,) in db.execute("SELECT job FROM cronguard_jobs").fetchall():
        for condition in ("1", "status = 'success'"):
            newest = db.execute(
                f"SELECT rowid FROM cron_execution_logs WHERE job = ? AND {condition}"  # noqa: S608  # constants of this loop
                " ORDER BY rowid DESC LIMIT 1",
                (job,),
            ).fetchone()
            if newest:
                kept.add(newest[0])
    return last, frozenset(kept)


class PruneBatch(NamedTuple):
    """A stretch of rowids, so that pruning a large log never holds the lock for long."""

    first: int
    before: str
    kept: frozenset[int]

    @property
    def last(self) -> int:
        """Return the last rowid of the stretch."""
        return self.first + 4_999

    def delete(self, db: sqlite3.Connection) -> int:
        """Delete what has ended before the date; return how many runs."""
        gone = self._ended_before(db)
        db.executemany("DELETE FROM cron_execution_logs WHERE rowid = ?", gone)
        return len(gone)

    def count(self, db: sqlite3.Connection) -> int:
        """Return how many runs `delete` would delete."""
        return len(self._ended_before(db))

    def _ended_before(self, db: sqlite3.Connection) -> list[tuple[int]]:
        found = db.execute(
            """SELECT rowid FROM cron_execution_logs
               WHERE rowid BETWEEN ? AND ? AND status <> 'running'
                 AND coalesce(finished_at, started_at) < ?""",
            (self.first, self.last, self.before),
        ).fetchall()
        return [row for row in found if row[0] not in self.kept]
