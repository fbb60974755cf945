"""A job as ``status --json`` gives it: ``cronguard.status/3``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cronguard.cli.output.alerts import alert_facts
from cronguard.cli.output.jobs import health_facts, run_facts, usual
from cronguard.cli.status.detail import Detail
from cronguard.core.clock import rfc3339
from cronguard.core.health import Health
from cronguard.core.model import RunRecord


def job_facts(health: Health, now: datetime, detail: Detail | None = None) -> dict[str, Any]:
    """Return a job for JSON, with every key, and ``detail`` if it was asked for."""
    facts = health_facts(health, now)
    return {**facts, "detail": _detail_facts(detail)} if detail else facts


def _detail_facts(detail: Detail) -> dict[str, Any]:
    watch = detail.watch
    return {
        "usual_seconds": _usual_facts(detail.runs),
        "runs": [run_facts(run) for run in detail.runs],
        "alerts": [alert_facts(alert) for alert in detail.alerts],
        "rules": [
            {
                "channel": rule.channel,
                "threshold": rule.threshold,
                "realert_every": rule.realert_every,
                "notify_recovery": rule.notify_recovery,
            }
            for rule in detail.health.rules
        ],
        "expected": {
            name: {
                "value": value,
                "stated_by": source.origin if (source := watch.sources.get(name)) else None,
                "since": rfc3339(source.since) if source else None,
            }
            for name, value in watch.expected._asdict().items()
        },
    }


def _usual_facts(runs: Sequence[RunRecord]) -> dict[str, Any] | None:
    takes = usual(runs)
    return None if takes is None else {"p50": takes.p50, "p95": takes.p95, "runs": takes.number}
