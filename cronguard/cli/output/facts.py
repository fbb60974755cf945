"""Runs and jobs as ``--json`` gives them, and the words that stand for them in a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cronguard.core.clock import rfc3339_or_none
from cronguard.core.health import STATES, Health, needs_attention
from cronguard.core.model import DETAILS, RunRecord, details_of


def run_facts(record: RunRecord) -> dict[str, Any]:
    """A run: every key is always there, null where nothing is known."""
    return {
        "run_id": record.run_id,
        "status": record.status,
        "started_at": rfc3339_or_none(record.started_at),
        "finished_at": rfc3339_or_none(record.finished_at),
        "duration_seconds": None if record.duration is None else round(record.duration, 6),
        "consecutive_failure_count": record.consecutive_failure_count,
        **dict(zip(DETAILS, details_of(record), strict=True)),
        "host": record.host,
        "pid": record.pid,
    }


def health_facts(health: Health, now: datetime) -> dict[str, Any]:
    """How a job is doing: every key is always there, null where nothing is known."""
    expected = health.expected
    plan = expected.plan
    return {
        "job": health.job,
        "state": health.state,
        "why": health.why,
        "since": rfc3339_or_none(health.since),
        "needs_attention": needs_attention(health, now),
        "also": list(health.states[1:]),
        "consecutive_failure_count": health.failures,
        "threshold": health.threshold,
        "running": len(health.running),
        "running_since": rfc3339_or_none(health.running_since),
        "uncounted_crashes": len(health.dead),
        "last_run": run_facts(health.last_run) if health.last_run else None,
        "last_success_at": rfc3339_or_none(health.last_success_at),
        "next_due_at": rfc3339_or_none(health.next_due),
        "missed": health.missed,
        "snoozed_until": rfc3339_or_none(health.snoozed_until),
        "schedule": plan.cron if plan else None,
        "timezone": plan.timezone if plan else None,
        "grace_seconds": plan.grace if plan else None,
        "max_runtime_seconds": expected.max_runtime,
        "channels": [rule.channel for rule in health.rules],
        "runbook": expected.runbook,
        "alerts_waiting": health.alerts_waiting,
        "alerts_waiting_since": rfc3339_or_none(health.waiting_since),
        "alerts_given_up": health.alerts_given_up,
    }


def state_counts(healths: Sequence[Health]) -> str:
    """How many jobs are in which state, worst first: ``2 failing, 1 late, 47 ok``."""
    found = Counter(each.state for each in healths)
    return ", ".join(f"{found[state]} {state}" for state in STATES if found[state])


def error_text(record: RunRecord) -> str:
    """What went wrong, in a few words; empty if nothing did."""
    failure = record.failure
    if failure is None:
        return ""
    code = f" ({failure.error_code})" if failure.error_code else ""
    place = f" at {failure.error_location}" if failure.error_location else ""
    said = f": {failure.error_message}" if failure.error_message else ""
    return f"{failure.error_type}{code}{place}{said}"
