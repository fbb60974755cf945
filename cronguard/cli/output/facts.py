"""Runs and jobs as ``--json`` gives them, and the words that stand for them in a table."""

from __future__ import annotations

from typing import Any

from cronguard.core.clock import rfc3339_or_none
from cronguard.core.model import JobStatus, RunRecord


def run_facts(record: RunRecord) -> dict[str, Any]:
    """A run: every key is always there, null where nothing is known."""
    failure = record.failure
    return {
        "run_id": record.run_id,
        "status": record.status,
        "started_at": rfc3339_or_none(record.started_at),
        "finished_at": rfc3339_or_none(record.finished_at),
        "duration_seconds": None if record.duration is None else round(record.duration, 6),
        "consecutive_failure_count": record.consecutive_failure_count,
        "error_type": failure.error_type if failure else None,
        "error_code": failure.error_code if failure else None,
        "error_message": failure.error_message if failure else None,
        "error_location": failure.error_location if failure else None,
        "host": record.host,
        "pid": record.pid,
    }


def job_facts(status: JobStatus) -> dict[str, Any]:
    """A job: every key is always there, null where nothing is known."""
    plan = status.schedule
    return {
        "job": status.job,
        "state": state(status),
        "consecutive_failure_count": status.consecutive_failure_count,
        "running": status.running,
        "last_run": run_facts(status.last_run) if status.last_run else None,
        "last_success_at": rfc3339_or_none(status.last_success_at),
        "snoozed_until": rfc3339_or_none(status.snoozed_until),
        "schedule": plan.cron if plan else None,
        "timezone": plan.timezone if plan else None,
        "grace_seconds": plan.grace if plan else None,
        "alerts_pending": status.alerts_pending,
        "alerts_dead": status.alerts_dead,
    }


def state(status: JobStatus) -> str:
    """``failing`` during a streak, ``never`` before the first run, else ``ok``."""
    if status.consecutive_failure_count:
        return "failing"
    return "ok" if status.last_run else "never"


def error_text(record: RunRecord) -> str:
    """What went wrong, in a few words; empty if nothing did."""
    failure = record.failure
    if failure is None:
        return ""
    code = f" ({failure.error_code})" if failure.error_code else ""
    place = f" at {failure.error_location}" if failure.error_location else ""
    said = f": {failure.error_message}" if failure.error_message else ""
    return f"{failure.error_type}{code}{place}{said}"
