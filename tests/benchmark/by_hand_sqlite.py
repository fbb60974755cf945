"""The same rows of the same tables, written by hand: what a guarded run is measured against."""

import os
import socket
import sqlite3
import time
import uuid
from datetime import UTC, datetime

INSERT = (
    "INSERT INTO cron_execution_logs (id, job, status, started_at, host, pid, process_space,"
    " process_started, lease_expires_at, holds_lease)"
    " VALUES (?, ?, 'running', ?, ?, ?, ?, ?, ?, 1)"
)
OWNER = (
    socket.gethostname(),
    os.getpid(),
    "5f3b8c1e-0000-4000-8000-123456789abc/pid:[4026531836]",  # as long as a real one
    "1234567",
)
UPDATE = (
    "UPDATE cron_execution_logs SET status = ?, finished_at = ?, duration_ms = ?,"
    " consecutive_failure_count = ?, error_type = ?, holds_lease = 0 WHERE id = ?"
)
STATE = (
    "INSERT INTO cronguard_jobs (job, consecutive_failure_count, last_success_at,"
    " last_counted_run, timezone, grace, registered_at, judged_until)"
    " VALUES (?, ?, ?, ?, 'UTC', 300, ?, ?)"
    " ON CONFLICT (job) DO UPDATE SET"
    " consecutive_failure_count = excluded.consecutive_failure_count,"
    " last_success_at = excluded.last_success_at, last_counted_run = excluded.last_counted_run"
)


def connect(path):
    """One connection, set up as a careful person would."""
    db = sqlite3.connect(path, isolation_level=None, timeout=60)
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def now():
    return datetime.now(UTC).isoformat(timespec="microseconds")


def run(db, job, function):
    """Call the function between the two transactions that a guarded run makes."""
    run_id, began = str(uuid.uuid4()), now()
    db.execute("BEGIN IMMEDIATE")
    db.execute(INSERT, (run_id, job, began, *OWNER, began))
    db.execute("COMMIT")
    start = time.monotonic()
    error = None
    try:
        function()
    except Exception as raised:  # noqa: BLE001
        error = type(raised).__name__
    ended = now()
    milliseconds = (time.monotonic() - start) * 1000
    db.execute("BEGIN IMMEDIATE")
    found = db.execute(
        "SELECT consecutive_failure_count, last_success_at FROM cronguard_jobs WHERE job = ?",
        (job,),
    ).fetchone() or (0, None)
    count = found[0] + 1 if error else 0
    status = "failure" if error else "success"
    db.execute(UPDATE, (status, ended, milliseconds, count, error, run_id))
    db.execute(STATE, (job, count, found[1] if error else ended, run_id, ended, ended))
    db.execute("COMMIT")


def call_of(store, job, function):
    """The function guarded by hand, on one connection that stays open."""
    db = connect(store)
    return lambda: run(db, job, function)
