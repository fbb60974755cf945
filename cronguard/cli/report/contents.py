"""The report's contents as plain values: what is read from the store, in the words of a reader."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from cronguard.cli.output.facts import error_text, state_counts
from cronguard.cli.output.lines import plural
from cronguard.core.clock import readable
from cronguard.core.health import Health, by_urgency
from cronguard.core.interfaces import Store
from cronguard.core.model import AlertRecord, RunRecord
from cronguard.core.rendering import duration, plain

STRIP = 50
"""How many runs the strip of a job shows."""


class Cell(NamedTuple):
    """One run in a strip."""

    status: str
    words: str


class Row(NamedTuple):
    """One run in a table."""

    started: str
    status: str
    took: str
    failures: str
    error: str


class Section(NamedTuple):
    """One job."""

    job: str
    state: str
    facts: Sequence[tuple[str, str]]
    strip: Sequence[Cell]
    rows: Sequence[Row]


class Report(NamedTuple):
    """Everything that the page shows; every text is one harmless line."""

    made: str
    store: str
    summary: str
    sections: Sequence[Section]
    alerts: Sequence[tuple[str, str, str, str, str]]
    """(decided, job, kind, channel, what became of it), newest first."""


def collect(
    store: Store, healths: Sequence[Health], place: str, now: datetime, *, limit: int
) -> Report:
    """Read what is to be shown of these jobs; ``limit`` rows of each."""
    known = {health.job for health in healths}
    sections = [
        _section(
            health,
            store.history(health.job, limit=max(STRIP, limit)) if health.last_start_at else [],
            limit,
        )
        for health in by_urgency(healths)
    ]
    running = sum(bool(health.running) for health in healths)
    counts = f": {state_counts(healths)}" if healths else ""
    return Report(
        made=when(now) or "",
        store=plain(place),
        summary=f"{plural(len(sections), 'job')}{counts}; {running} running",
        sections=sections,
        alerts=[_alert(each) for each in store.alerts(limit=200) if each.job in known][:50]
        if any(health.last_start_at for health in healths)
        else [],
    )


def _section(health: Health, runs: Sequence[RunRecord], limit: int) -> Section:
    facts = [("Why", health.why), ("Failures in a row", str(health.failures))]
    if health.rules:
        described = ", ".join(f"{rule.channel} at {rule.threshold}" for rule in health.rules)
        facts.append(("Tells", described))
    facts.append(("Last success", when(health.last_success_at) or "never"))
    if plan := health.expected.plan:
        facts.append(("Schedule", f"{plan.cron} ({plan.timezone})"))
    took = [run.duration for run in runs if run.duration is not None and run.status == "success"]
    if took:
        facts.append(("Usually takes", duration(sorted(took)[len(took) // 2]) or ""))
    if health.running:
        facts.append(("Running now", str(len(health.running))))
    if health.snoozed_until:
        facts.append(("Snoozed until", when(health.snoozed_until) or ""))
    if health.alerts_waiting:
        facts.append(("Alerts waiting", str(health.alerts_waiting)))
    if health.alerts_dead:
        facts.append(("Alerts given up", str(health.alerts_dead)))
    return Section(
        job=plain(health.job),
        state=health.state,
        facts=[(label, plain(text)) for label, text in facts],
        strip=[_cell(run) for run in reversed(runs[:STRIP])],
        rows=[_row(run) for run in runs[:limit]],
    )


def _cell(run: RunRecord) -> Cell:
    words = f"{when(run.started_at)}: {run.status}"
    if run.failure and run.failure.error_type:
        words += f", {run.failure.error_type}"
    return Cell(run.status, plain(words))


def _row(run: RunRecord) -> Row:
    count = run.consecutive_failure_count
    return Row(
        started=when(run.started_at) or "",
        status=run.status,
        took=duration(run.duration) or "",
        failures="" if count is None else str(count),
        error=plain(error_text(run)),
    )


def _alert(alert: AlertRecord) -> tuple[str, str, str, str, str]:
    fate = {"sent": "sent", "dead": "given up", "pending": "waiting"}[alert.state]
    code = f" ({alert.error_code})" if alert.error_code and alert.state != "sent" else ""
    decided = when(alert.created_at) or ""
    return decided, plain(alert.job), alert.kind, plain(alert.channel), plain(fate + code)


def when(moment: datetime | None) -> str | None:
    """``2026-11-23 06:00:05 UTC``; None for None."""
    return None if moment is None else readable(moment)
