"""The runs of every job at once in SQLite: the newest ones, and those of a stretch of time."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any, get_args

from cronguard.core.clock import rfc3339
from cronguard.core.damage import UNREADABLE
from cronguard.core.model import Activity, RunRecord, RunStatus
from cronguard.stores.sqlite.views import records

_STATUSES = frozenset(get_args(RunStatus))


def recent(db: sqlite3.Connection, limit: int) -> list[RunRecord]:
    """Do `cronguard.core.interfaces.Store.recent`."""
    jobs = db.execute("SELECT job FROM cronguard_jobs ORDER BY job").fetchall()
    return [run for job in jobs for run in records(db, "job = ?", job, limit=limit)]


def activity(db: sqlite3.Connection, since: datetime, step: float) -> list[Activity]:
    """Do `cronguard.core.interfaces.Store.activity`.

    The runs are put together here: SQLite takes longer to group by what it has to calculate.
    """
    jobs = {job for (job,) in db.execute("SELECT job FROM cronguard_jobs")}
    rows = db.execute(
        """SELECT job, status, started_at, duration_ms FROM cron_execution_logs
           WHERE started_at >= ?""",
        (rfc3339(since),),
    )
    begin = since.timestamp()
    found: dict[tuple[str, RunStatus, float], list[Any]] = {}
    for job, status, started_at, took in rows:
        if job not in jobs or status not in _STATUSES:
            continue
        try:
            start = datetime.fromisoformat(started_at)
            key = (job, status, (start.timestamp() - begin) // step)
            longest = None if took is None else took / 1000
        except UNREADABLE:
            continue
        known = found.get(key)
        if known is None:
            found[key] = [1, start, start, longest]
            continue
        known[0] += 1
        known[1], known[2] = min(known[1], start), max(known[2], start)
        if longest is not None and (known[3] is None or longest > known[3]):
            known[3] = longest
    return sorted(
        (Activity(job, status, *facts) for (job, status, _), facts in found.items()),
        key=lambda each: (each.job, each.first, each.status),
    )
