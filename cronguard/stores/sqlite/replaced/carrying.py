"""What is carried over to the file that was found in the place of the one that was open.

A streak must not fall back, and nobody be told twice, because a file was deleted, rotated or
restored. So the jobs that this process has run go on in the new file as the old one left them, and
so do this process's open runs and the alerts that wait. The old file, still open, says it best;
where it was closed meanwhile (by a fork), what this process remembers must do, and alerts that
waited stay behind.

A file that knows the job's last outcome, or has had a later success, knows better and is left as it
is. Several processes may carry over to the same file: what one has brought, the next one finds.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from cronguard.core.clock import moment, rfc3339, rfc3339_or_none
from cronguard.core.model import JobState, Run
from cronguard.core.run_states import FAILURES
from cronguard.stores.sqlite import runs as rows

_LOG, _JOBS, _ALERTS = "cron_execution_logs", "cronguard_jobs", "cronguard_alerts"
_BUSY_WAIT_MS = 200


class _Job(NamedTuple):
    """A job as it was."""

    state: JobState
    until: datetime
    """Later outcomes are not in the state."""
    row: dict[str, Any] | None = None
    """Its whole row, and that of the run that was counted last, if the old file gave them."""
    last_run: dict[str, Any] | None = None


class _Found(NamedTuple):
    """What the old file holds."""

    jobs: dict[str, _Job]
    runs: dict[str, dict[str, Any]]
    """Rows of this process's open runs."""
    alerts: list[dict[str, Any]]


def carry_over(
    old: sqlite3.Connection | None,
    new: sqlite3.Connection,
    seen: Mapping[str, tuple[datetime, rows.Seen]],
    runs: Mapping[str, Run],
    now: datetime,
) -> None:
    """Write to ``new`` what it must know to go on, in one transaction.

    Args:
        old: A connection to the file that was open; None if it was closed.
        new: A connection to the file that is at the path now; no transaction is open.
        seen: Job → the time and state of the last transaction that read or wrote it here.
        runs: Open runs; those of the process that this one was forked from are left to it.
        now: The store's time.

    Raises:
        sqlite3.Error: The new file did not take it; nothing was written.
    """
    jobs = {
        job: _Job(state if isinstance(state, JobState) else rows.state_of(state), until)
        for job, (until, state) in seen.items()
    }
    found = _Found(jobs, {}, [])
    if old is not None:
        with contextlib.suppress(sqlite3.Error, ValueError), _reading(old):
            found = _Found(
                {job: _as_it_was(old, job, known) for job, known in jobs.items()},
                {run_id: row for run_id in runs for row in _rows(old, _LOG, "id = ?", run_id)},
                list(_rows(old, _ALERTS, "true")),
            )
    new.execute("BEGIN IMMEDIATE")
    try:
        for job, known in found.jobs.items():
            _carry_job(new, job, known, now)
        for run in runs.values():
            if run.run_id in found.runs:
                _insert(new, _LOG, found.runs[run.run_id])
            elif old is not None or run.owner.pid == os.getpid():
                rows.insert_running(new, run, now)
        for alert in found.alerts:
            _carry_alert(new, alert)
        new.execute("COMMIT")
    except BaseException:
        if new.in_transaction:
            new.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def _reading(old: sqlite3.Connection) -> Iterator[None]:
    """Hold the old file's write lock, so that all is there that is still being committed to it.

    Whoever takes the lock later finds the file replaced before writing to it. Where it does not
    come, such as from a process that is stopped, the state without it must do.
    """
    old.execute(f"PRAGMA busy_timeout = {_BUSY_WAIT_MS}")
    try:
        old.execute("BEGIN IMMEDIATE")
    except sqlite3.Error:
        old.execute("BEGIN")
    try:
        yield
    finally:
        old.execute("ROLLBACK")
        old.execute("PRAGMA busy_timeout = 0")


def _as_it_was(old: sqlite3.Connection, job: str, known: _Job) -> _Job:
    """Return the job as the old file has it; as it is known if the file has forgotten it."""
    row = next(_rows(old, _JOBS, "job = ?", job), None)
    there = rows.find_job(old, job)
    if row is None or there is None:
        return known
    state = there.state
    last = next(_rows(old, _LOG, "id = ?", state.last_counted_run), None)
    until = moment(last["finished_at"]) if last else None
    return _Job(state, until or state.last_success_at or known.until, row, last)


def _carry_job(new: sqlite3.Connection, job: str, was: _Job, now: datetime) -> None:
    there = rows.find_job(new, job)
    if there is None and was.row is not None:
        _insert(new, _JOBS, was.row)
    elif there is None:
        rows.register(new, job, now)
        _save(new, job, was.state)
        snoozed = rfc3339_or_none(was.state.snoozed_until)
        new.execute(f"UPDATE {_JOBS} SET snoozed_until = ? WHERE job = ?", (snoozed, job))  # noqa: S608
    else:
        state = _joined(new, job, there.state, was)
        if state is not None:
            _save(new, job, state)
    if was.last_run is not None and was.last_run["status"] != "running":
        _insert(new, _LOG, was.last_run)


def _joined(new: sqlite3.Connection, job: str, there: JobState, was: _Job) -> JobState | None:
    """Return the state that holds both what was and what is there; None to leave that as it is."""
    last = was.state.last_counted_run
    if last in (None, there.last_counted_run) or rows.has_counted(new, last):
        return None
    before, after = was.state.last_success_at, there.last_success_at
    if after is not None and (before is None or after > before):
        return None
    since = new.execute(
        f"SELECT count(*) FROM {_LOG} WHERE job = ? AND finished_at > ?"  # noqa: S608
        f" AND status IN ({', '.join('?' * len(FAILURES))})",
        (job, rfc3339(was.until), *FAILURES),
    ).fetchone()[0]
    count = was.state.consecutive_failure_count
    if after == before and there.consecutive_failure_count - since >= count:
        return None
    return there._replace(
        consecutive_failure_count=count + since,
        last_success_at=before,
        incident_id=was.state.incident_id or (there.incident_id if since else None),
        announced=was.state.announced | (there.announced if since else frozenset()),
        last_counted_run=there.last_counted_run if since else last,
    )


def _carry_alert(new: sqlite3.Connection, alert: dict[str, Any]) -> None:
    """Let an alert that waits wait here; one that waits here and is settled there is settled."""
    if alert["state"] == "pending":
        _insert(new, _ALERTS, alert)
    new.execute(
        f"UPDATE {_ALERTS} SET state = ?, attempts = ?, due_at = ?, claimed_until = ?,"  # noqa: S608
        " settled_at = ?, error_code = ?"
        " WHERE alert_id = ? AND state = 'pending' AND attempts <= ?",
        (
            *(alert["state"], alert["attempts"], alert["due_at"], alert["claimed_until"]),
            *(alert["settled_at"], alert["error_code"], alert["alert_id"], alert["attempts"]),
        ),
    )


def rejoined(
    db: sqlite3.Connection, job: str, there: JobState, seen: tuple[datetime, rows.Seen]
) -> JobState:
    """Return the state of a job to go on with, where the file does not know its last outcome.

    The file is the one that was open, as far as can be told, but holds an earlier state: it was
    restored in place, or another has got its number. Or that outcome has been pruned: then the
    file counted later ones, of other processes.
    """
    until, state = seen
    if _has_gone_on(db, there, until):
        return there
    was = _Job(state if isinstance(state, JobState) else rows.state_of(state), until)
    return _joined(db, job, there, was) or there


def _has_gone_on(db: sqlite3.Connection, there: JobState, until: datetime) -> bool:
    found = db.execute(
        f"SELECT 1 FROM {_LOG} WHERE id = ? AND finished_at > ?",  # noqa: S608
        (there.last_counted_run, rfc3339(until)),
    )
    return found.fetchone() is not None


def _save(db: sqlite3.Connection, job: str, state: JobState) -> None:
    rows.save_state(db, job, state, rfc3339_or_none(state.last_success_at))


def _rows(
    db: sqlite3.Connection, table: str, condition: str, *values: Any
) -> Iterator[dict[str, Any]]:
    found = db.execute(f"SELECT * FROM {table} WHERE {condition}", values)  # noqa: S608
    names = [column[0] for column in found.description]
    for row in found.fetchall():
        yield dict(zip(names, row, strict=True))


def _insert(db: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    """Insert a row, unless one with its key is there."""
    marks = ", ".join("?" * len(row))
    db.execute(
        f"INSERT OR IGNORE INTO {table} ({', '.join(row)}) VALUES ({marks})",  # noqa: S608
        tuple(row.values()),
    )
