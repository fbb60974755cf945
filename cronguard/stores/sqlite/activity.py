"""The runs of every job at once in SQLite: the newest ones, and those of a stretch of time."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import get_args

from cronguard.core.clock import rfc3339
from cronguard.core.damage import UNREADABLE
from cronguard.core.model import Activity, RunRecord, RunStatus
from cronguard.stores.sqlite.views import records

_STATUSES = frozenset(get_args(RunStatus))


def recent(db: sqlite3.Connection, limit: int) -> list[RunRecord]:
    """`cronguard.core.interfaces.Store.recent`."""
    jobs = db.execute("SELECT job FROM cronguard_jobs ORDER BY job").fetchall()
    return [run for job in jobs for run in records(db, "job = ?", job, limit=limit)]


def activity(db: sqlite3.Connection, since: datetime, step: float) -> list[Activity]:
    """`cronguard.core.interfaces.Store.activity`.

    The runs are put together here: SQLite takes longer to group by what it has to calculate.
    """
    jobs = {job for (job,) in db.execute("SELECT job FROM cronguard_jobs")}
    rows = db.execute(
        """SELECT job, status, started_at, duration_ms FROM cron_execution_logs
           WHERE started_at >= ?""",
        (rfc3339(since),),
    )
    begin = since.timestamp()
    found: dict[tuple[str, str, float], Activity] = {}
    for job, status, started_at, took in rows:
        if job not in jobs or status not in _STATUSES:
            continue
        try:
            start = datetime.fromisoformat(started_at)
            key = (job, status, (start.timestamp() - begin) // step)
            longest = None if took is None else took / 1000
        except UNREADABLE:
            continue
        run = Activity(job, status, 1, start, start, longest)
        known = found.get(key)
        found[key] = run if known is None else _together(known, run)
    return sorted(found.values(), key=lambda each: (each.job, each.first, each.status))


def _together(one: Activity, other: Activity) -> Activity:
    took = [each.longest for each in (one, other) if each.longest is not None]
    return one._replace(
        runs=one.runs + other.runs,
        first=min(one.first, other.first),
        last=max(one.last, other.last),
        longest=max(took, default=None),
    )
