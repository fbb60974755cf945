"""A start of which `runs.start_unopposed` says that there is more to it, and sweeps in general.

Runs of the job are open or dead, the start states something new, or an outcome is missing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Literal

from cronguard.core.alert_rule import crash, has_expired
from cronguard.core.clock import moment, rfc3339, rfc3339_or_none
from cronguard.core.model import JobState, Owner, Run, RunRecord, Started
from cronguard.stores.sqlite import runs as rows
from cronguard.stores.sqlite.silences import end_silence

_RUNNING = """
    SELECT id, started_at, host, pid, process_space, process_started, holds_lease, lease_expires_at
    FROM cron_execution_logs INDEXED BY cron_execution_logs_running
    WHERE job = ? AND status = 'running'"""


def owners(db: sqlite3.Connection, run: Run, ended: Collection[str]) -> set[Owner]:
    """Return who runs the job in the run's own process space, so that they can be judged."""
    found = db.execute(_RUNNING, (run.job,)).fetchall()
    space = run.owner.space
    return {
        Owner(*row[2:6])
        for row in found
        if space is not None and row[4] == space
        if row[0] != run.run_id and row[0] not in ended
    }


def start(
    db: sqlite3.Connection,
    run: Run,
    now: datetime,
    dead: AbstractSet[Owner],
    *,
    ended: Collection[str] = (),
    reconcile: rows.Reconcile = rows.as_found,
) -> tuple[Started, rows.Seen]:
    """Do `interfaces.Store.start_run` inside a transaction; ``dead`` are known to be."""
    job = rows.find_job(db, run.job, run.run_id)
    may_restate = True
    if job is None:
        # A job that was forgotten while it ran: then this run may have to be skipped.
        # So must one whose row says so already.
        may_restate = db.execute(rows.IS_RUNNING, (run.job,)).fetchone() is not None
        states = not may_restate and not rows.is_there(db, run.run_id)
        job = rows.registered(db, run, now, stated=states)
    found = job.state
    state = reconcile(db, run.job, found)
    if state is not found:
        rows.save_state(db, run.job, state, rfc3339_or_none(state.last_success_at))
        job = job._replace(state=state)
    swept = job._replace(channels=job.channels or run.channels)
    state, holder = sweep_job(db, run, swept, now, dead, ended=ended)
    skipped = job.run_status == "skipped" or (holder is not None and run.overlap == "skip")
    count = state.consecutive_failure_count
    state = end_silence(db, run, state)
    if skipped:
        _insert_skipped(db, run, count)
    else:
        rows.insert_running(db, run, now)
        holder = None
        if may_restate:
            job = rows.restated(db, run, job, now)
    due = (job.has_pending or state is not found) and rows.has_due_alert(db, run.job, now)
    status: Literal["running", "skipped"] = "skipped" if skipped else "running"
    started = Started(status, count, holder, due, None, job.state.expected, job.channels)
    return started._replace(holder=_shown(db, holder)) if holder else started, state


def _shown(db: sqlite3.Connection, run_id: str) -> RunRecord | None:
    from cronguard.stores.sqlite.views import records  # few starts are skipped

    return next(records(db, "id = ?", (run_id,), limit=1), None)


def _insert_skipped(db: sqlite3.Connection, run: Run, count: int) -> None:
    at = rfc3339(run.started_at)
    db.execute(
        """INSERT INTO cron_execution_logs (id, job, status, started_at, finished_at, duration_ms,
               consecutive_failure_count, host, pid)
           VALUES (?, ?, 'skipped', ?, ?, 0, ?, ?, ?) ON CONFLICT (id) DO NOTHING""",
        (run.run_id, run.job, at, at, count, run.owner.host, run.owner.pid),
    )


def sweep_job(
    db: sqlite3.Connection,
    run: Run,
    job: rows.JobRow,
    now: datetime,
    dead: AbstractSet[Owner],
    *,
    ended: Collection[str],
) -> tuple[JobState, str | None]:
    """Count the job's dead runs: (the state after them, the run that still holds the job).

    Those of ``ended`` are neither; they give up the lease.
    """
    holder: str | None = None
    for run_id, started_at, host, pid, space, process, holds, expires in db.execute(
        _RUNNING, (run.job,)
    ).fetchall():
        if run_id == run.run_id:
            continue
        if run_id in ended:
            db.execute(rows.RELEASE, (rfc3339(now + timedelta(seconds=run.lease)), run_id))
            continue
        owner = Owner(host, pid, space, process)
        if space is not None and space == run.owner.space:
            gone = owner in dead
        else:
            gone = has_expired(_readable_moment(expires), now)
        if gone:
            begin = _readable_moment(started_at) or now
            crashed = run._replace(run_id=run_id, started_at=begin, owner=owner, test_mode=False)
            job = job._replace(state=rows.commit(db, crashed, crash(now), job, now).state)
        elif holds:
            holder = run_id
    return job.state, holder


def _readable_moment(text: str | None) -> datetime | None:
    """Return a time in a row; None for a text that nobody can read, so that the job goes on."""
    try:
        return moment(text)
    except (ValueError, TypeError):
        return None
