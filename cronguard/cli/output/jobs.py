"""Jobs and their runs as commands show them: in words, as a strip of signs, as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from cronguard.cli.output.layout import COLOURS
from cronguard.cli.output.lines import paint, plural, writable
from cronguard.core.clock import rfc3339_or_none
from cronguard.core.health import STATES, Health, needs_attention
from cronguard.core.model import DETAILS, AlertRule, RunRecord, RunStatus, details_of
from cronguard.core.rendering import duration
from cronguard.core.run_states import RUN_STATES

_MIN_FOR_P95 = 5
_STATED_BY = {"code": "code", "command": "cronguard run", "settings": "settings"}


def run_facts(record: RunRecord) -> dict[str, Any]:
    """Return a run for JSON; every key is always there, null where nothing is known."""
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
    """Return how a job is doing, for JSON, with every key, null where nothing is known."""
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
    """Return how many jobs are in which state, worst first: ``2 failing, 1 late, 47 ok``."""
    found = Counter(each.state for each in healths)
    return ", ".join(f"{found[state]} {state}" for state in STATES if found[state])


def error_text(record: RunRecord) -> str:
    """Return what went wrong, in a few words; empty if nothing did."""
    failure = record.failure
    if failure is None:
        return ""
    code = f" ({failure.error_code})" if failure.error_code else ""
    place = f" at {failure.error_location}" if failure.error_location else ""
    said = f": {failure.error_message}" if failure.error_message else ""
    return f"{failure.error_type}{code}{place}{said}"


class Usual(NamedTuple):
    """How long successful runs take, in seconds."""

    p50: float
    p95: float | None
    """None for too few runs to say."""
    number: int
    """Of how many runs."""


def usual(runs: Iterable[RunRecord]) -> Usual | None:
    """Return how long the runs that succeeded took, by nearest rank; None if none did."""
    took = sorted(
        run.duration for run in runs if run.status == "success" and run.duration is not None
    )
    if not took:
        return None
    p95 = took[-(-95 * len(took) // 100) - 1] if len(took) >= _MIN_FOR_P95 else None
    return Usual(took[-(-len(took) // 2) - 1], p95, len(took))


def usual_text(takes: Usual) -> str:
    """Return how long a job usually takes, in words."""
    most = f"; 95 of 100 within {duration(takes.p95)}" if takes.p95 is not None else ""
    number = f"{takes.number:,} successes" if takes.number > 1 else "success"
    return f"{duration(takes.p50)}{most} (of the last {number})"


def streak_text(health: Health) -> str:
    """Return a job's streak, and from which on it alerts."""
    if not health.failures:
        return "no failure"
    count = plural(health.failures, "failure") + (" in a row" if health.failures > 1 else "")
    return f"{count}; alerts from {health.threshold:,}"


def rule_text(rule: AlertRule) -> str:
    """Return who is notified of a job, and when."""
    again = f", again every {rule.realert_every}" if rule.realert_every else ""
    well = ", and when it works again" if rule.notify_recovery else ""
    return f"{rule.channel} at {plural(rule.threshold, 'failure')}{again}{well}"


def strip(runs: Sequence[RunRecord]) -> str:
    """Return a sign a run, the newest on the right; ``runs`` are newest first."""
    return "".join(paint(sign(run.status), COLOURS[run.status]) for run in reversed(runs))


def legend(runs: Iterable[RunRecord]) -> str:
    """Return what the signs of these runs mean: ``▪ success  ✗ failure``."""
    there = {run.status for run in runs}
    return "  ".join(f"{sign(status)} {status}" for status in RUN_STATES if status in there)


def sign(status: RunStatus) -> str:
    """Return the sign of a run's status; each is another character, not only another colour."""
    state = RUN_STATES[status]
    return writable(state.mark, state.ascii_mark)


def stated_by(origin: str) -> str:
    """Return who states an expectation, in the words of people."""
    return _STATED_BY.get(origin, origin)


def option_text(key: str, given: Any) -> str:
    """Return a job's option as people write it."""
    if isinstance(given, bool):
        return "on" if given else "off"
    if given is None:
        return "off" if key == "max_runtime" else "none"
    if key in ("max_runtime", "grace") and isinstance(given, int | float):
        return duration(given) or "off"
    return ", ".join(map(str, given)) if key == "channels" else str(given)
