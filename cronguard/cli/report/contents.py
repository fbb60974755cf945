"""The report's contents as plain values: what is read from the store, in the words of a reader."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from cronguard.cli.output.facts import error_text, state
from cronguard.cli.output.lines import plural
from cronguard.core.alert_rule import alert_rules, is_snoozed
from cronguard.core.clock import readable
from cronguard.core.interfaces import Store
from cronguard.core.model import AlertRecord, JobStatus, RunRecord, Watch
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
    store: Store, statuses: Sequence[JobStatus], place: str, now: datetime, *, limit: int
) -> Report:
    """Read what is to be shown of these jobs; ``limit`` rows of each."""
    watches = {watch.job: watch for watch in store.watches()} if statuses else {}
    known = {status.job for status in statuses}
    order = {"failing": 0, "ok": 1, "never": 2}
    sections = [
        _section(
            status,
            watches.get(status.job),
            store.history(status.job, limit=max(STRIP, limit)),
            now,
            limit,
        )
        for status in sorted(statuses, key=lambda each: (order[state(each)], each.job))
    ]
    failing = sum(section.state == "failing" for section in sections)
    running = sum(bool(status.running) for status in statuses)
    return Report(
        made=when(now) or "",
        store=plain(place),
        summary=f"{plural(len(sections), 'job')}, {failing} failing, {running} running",
        sections=sections,
        alerts=[_alert(each) for each in store.alerts(limit=200) if each.job in known][:50]
        if statuses
        else [],
    )


def _section(
    status: JobStatus,
    watch: Watch | None,
    runs: Sequence[RunRecord],
    now: datetime,
    limit: int,
) -> Section:
    facts = [("Failures in a row", str(status.consecutive_failure_count))]
    rules = alert_rules(watch.channels, watch.expected) if watch else ()
    if rules:
        described = ", ".join(f"{rule.channel} at {rule.threshold}" for rule in rules)
        facts.append(("Tells", described))
    facts.append(("Last success", when(status.last_success_at) or "never"))
    if status.schedule:
        facts.append(("Schedule", f"{status.schedule.cron} ({status.schedule.timezone})"))
    took = [run.duration for run in runs if run.duration is not None and run.status == "success"]
    if took:
        facts.append(("Usually takes", duration(sorted(took)[len(took) // 2]) or ""))
    if status.running:
        facts.append(("Running now", str(status.running)))
    if status.snoozed_until and is_snoozed(status.snoozed_until, now):
        facts.append(("Snoozed until", when(status.snoozed_until) or ""))
    if status.alerts_pending:
        facts.append(("Alerts waiting", str(status.alerts_pending)))
    if status.alerts_dead:
        facts.append(("Alerts given up", str(status.alerts_dead)))
    return Section(
        job=plain(status.job),
        state=state(status),
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
