"""The page's contents as plain values: what was read from the store, in the words of a reader."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from cronguard.cli.output.alerts import state_word
from cronguard.cli.output.jobs import error_text, rule_text, streak_text, usual, usual_text
from cronguard.cli.output.lines import plural
from cronguard.cli.output.times import distance, short_distance
from cronguard.cli.report.axis import Axis, Tick
from cronguard.cli.report.lanes import Lane, make_lane
from cronguard.cli.report.reading import Readings
from cronguard.core.clock import rfc3339
from cronguard.core.health import (
    STATES,
    WRONG,
    Health,
    by_urgency,
    explain,
    has_undelivered,
    needs_attention,
)
from cronguard.core.model import AlertRecord, RunRecord
from cronguard.core.rendering import duration, plain

_MOST_UNFOLDED = 15
"""So many jobs that are well are shown without having to be unfolded."""
_MOST_ALERTS = 50
_MOST_OF_A_JOB = 10
_ANCHOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
_LINK = re.compile(r"https://[^\s/?#@\\]+(?:[/?#][^\s\\]*)?")


class Figure(NamedTuple):
    """A number that is shown large."""

    kind: str
    """A state, ``running``, ``snoozed``, ``waiting`` or ``given-up``."""
    number: int
    label: str


class Fact(NamedTuple):
    """Something about a job."""

    label: str
    text: str
    link: str | None = None
    """An https address to go to."""


class Row(NamedTuple):
    """One run in a table."""

    started: str
    status: str
    took: str
    failures: str
    host: str
    error: str


class AlertRow(NamedTuple):
    """One alert in a table."""

    decided: str
    job: str
    kind: str
    channel: str
    fate: str


class Job(NamedTuple):
    """One job: its line in the overview, and what is behind it."""

    name: str
    anchor: str
    state: str
    why: str
    since: str
    """How long it has been so; empty if that does not matter or is not known."""
    error: str
    """The last error, while there is a streak of failures."""
    lane: Lane
    last: str
    due: str
    usual: str
    slow: str
    """p95 of how long it takes; empty for too few runs."""
    alerts: str
    has_undelivered: bool
    """Whether an alert was given up or waits for too long."""
    notes: list[str]
    brief: list[str]
    """What its line says where it needs no attention."""
    facts: Sequence[Fact]
    rows: Sequence[Row]
    has_hosts: bool
    """Whether its runs were on several hosts, which are shown then."""
    has_errors: bool
    """Whether one of its runs went wrong."""
    alert_rows: Sequence[AlertRow]


class Report(NamedTuple):
    """Everything that the page shows; every text is one harmless line."""

    headline: str
    is_well: bool
    made: str
    made_at: str
    """The same in RFC 3339, for programs."""
    store: str
    figures: Sequence[Figure]
    window: str
    zone: str
    now: float
    """The place of the present on the axis."""
    ticks: Sequence[Tick]
    wrong: Sequence[Job]
    """Jobs that need attention, worst first."""
    well: Sequence[Job]
    """The others, those with a warning first."""
    is_folded: bool
    """Whether those that are well are folded."""
    alerts: Sequence[AlertRow]
    """The newest alerts of all jobs, newest first."""
    notes: Sequence[str]
    """What else is to be known, such as runs that the store has not taken yet."""


def make_report(readings: Readings, place: str, *, limit: int, notes: Sequence[str] = ()) -> Report:
    """Return the contents of the page.

    Args:
        readings: What the store says.
        place: Where runs are recorded.
        limit: How many runs to list of each job.
        notes: Sentences for the head of the page.
    """
    axis, healths = readings.axis, by_urgency(readings.healths)
    wrong = [each for each in healths if each.state in WRONG or needs_attention(each, axis.now)]
    well = [each for each in healths if each not in wrong]
    alerts = sorted(
        (alert for each in readings.alerts.values() for alert in each),
        key=lambda alert: alert.created_at,
        reverse=True,
    )
    return Report(
        headline=_headline(healths, wrong),
        is_well=not wrong,
        made=f"{axis.text(axis.now)} {axis.zone_name}",
        made_at=rfc3339(axis.now),
        store=plain(place),
        figures=list(_figures(healths)),
        window=axis.window,
        zone=axis.zone_name,
        now=axis.at(axis.now),
        ticks=axis.ticks,
        wrong=[_job(each, readings, limit, index) for index, each in enumerate(wrong)],
        well=[_job(each, readings, limit, len(wrong) + i) for i, each in enumerate(well)],
        is_folded=len(well) > _MOST_UNFOLDED,
        alerts=[_alert_row(axis, alert) for alert in alerts[:_MOST_ALERTS]],
        notes=[plain(note) for note in notes],
    )


def _headline(healths: Sequence[Health], wrong: Sequence[Health]) -> str:
    if not healths:
        return "No job has run yet"
    counts = Counter(each.state for each in healths)
    found = [f"{counts[state]:,} {state}" for state in WRONG if counts[state]]
    others = sum(each.state not in WRONG for each in wrong)
    if others:
        found.append(f"{others:,} to look at")
    jobs = plural(len(healths), "job")
    return f"{', '.join(found)} of {jobs}" if found else f"{jobs}, none failing, stuck or late"


def _figures(healths: Sequence[Health]) -> Iterator[Figure]:
    counts = Counter(each.state for each in healths)
    for state in STATES:
        yield Figure(state, counts[state], state)
    beside = (
        ("running", sum(bool(each.running) for each in healths), "running"),
        ("snoozed", sum(each.snoozed_until is not None for each in healths), "snoozed"),
        ("waiting", sum(each.alerts_waiting for each in healths), "alerts waiting"),
        ("given-up", sum(each.alerts_given_up for each in healths), "alerts given up"),
    )
    for kind, number, label in beside:
        if number:
            yield Figure(kind, number, label)


def _job(health: Health, readings: Readings, limit: int, index: int) -> Job:
    axis, name = readings.axis, health.job
    runs = readings.runs.get(name, ())
    alerts = readings.alerts.get(name, ())
    took, last = usual(runs), health.last_run
    notes = [plain(note) for note in _notes(axis, health)]
    why = plain(explain(health, axis.now, axis.text))
    rows = [_row(axis, run) for run in runs[:limit]]
    return Job(
        name=plain(name),
        anchor=f"job-{name if _ANCHOR.fullmatch(name) else index}",
        state=health.state,
        why=why,
        since=_since(axis, health.since),
        error=plain(error_text(last)) if last is not None and health.failures else "",
        lane=make_lane(
            axis,
            health,
            readings.activity.get(name, ()),
            runs,
            readings.scheduled_since.get(name),
        ),
        last=short_distance(last.started_at, axis.now) if last else "never",
        due=_due(axis, health),
        usual=(duration(took.p50) or "") if took else "",
        slow=(duration(took.p95) or "") if took else "",
        alerts=", ".join(_alert_counts(axis, health, alerts)),
        has_undelivered=has_undelivered(health, axis.now),
        notes=notes,
        brief=[why, *notes] if health.state == "warning" else notes,
        facts=[each._replace(text=plain(each.text)) for each in _facts(axis, health, runs)],
        rows=rows,
        has_hosts=len({row.host for row in rows}) > 1,
        has_errors=any(row.failures or row.error for row in rows),
        alert_rows=[_alert_row(axis, alert) for alert in alerts[:_MOST_OF_A_JOB]],
    )


def _since(axis: Axis, since: datetime | None) -> str:
    return f"since {axis.text(since)}, {distance(since, axis.now)}" if since else ""


def _due(axis: Axis, health: Health) -> str:
    if health.next_due is None:
        return ""
    if health.next_due > axis.now:
        return short_distance(health.next_due, axis.now)
    return "now"


def _alert_counts(axis: Axis, health: Health, alerts: Sequence[AlertRecord]) -> Iterator[str]:
    sent = sum(each.state == "sent" and each.created_at >= axis.since for each in alerts)
    for number, fate in ((sent, "sent"), (health.alerts_waiting, "waiting")):
        if number:
            yield f"{number:,} {fate}"
    if health.alerts_given_up:
        yield f"{health.alerts_given_up:,} given up"


def _notes(axis: Axis, health: Health) -> Iterator[str]:
    """Yield what stands beside the state."""
    if health.running_since is not None and health.state != "stuck":
        several = f"{len(health.running)} runs, " if len(health.running) > 1 else ""
        ago = duration((axis.now - health.running_since).total_seconds())
        yield f"running: {several}for {ago}"
    if health.snoozed_until is not None:
        yield f"snoozed: wakes {distance(health.snoozed_until, axis.now)}"
    if has_undelivered(health, axis.now):
        yield _undelivered(axis, health)
    if health.problem is not None and health.problem not in health.why:
        yield f"cannot be judged: {health.problem}"


def _undelivered(axis: Axis, health: Health) -> str:
    if health.alerts_given_up:
        alerts = (
            "an alert was"
            if health.alerts_given_up == 1
            else f"{health.alerts_given_up} alerts were"
        )
        return f"{alerts} given up (cronguard deliver --given-up tries again)"
    since = health.waiting_since or axis.now
    return f"an alert waits for {duration((axis.now - since).total_seconds())} to be sent"


def _facts(axis: Axis, health: Health, runs: Sequence[RunRecord]) -> Iterator[Fact]:
    expected = health.expected
    if health.last_success_at is not None:
        ago = distance(health.last_success_at, axis.now)
        yield Fact("Last success", f"{axis.text(health.last_success_at)} ({ago})")
    else:
        yield Fact("Last success", "never")
    if health.failures:
        yield Fact("Streak", streak_text(health))
    if health.next_due is not None:
        is_waited_for = health.next_due <= axis.now
        when = "waited for now" if is_waited_for else distance(health.next_due, axis.now)
        yield Fact("Next due", f"{axis.text(health.next_due)} ({when})")
    if expected.plan is not None:
        grace = duration(expected.grace)
        yield Fact("Schedule", f"{expected.schedule} ({expected.timezone}), {grace} of grace")
    if took := usual(runs):
        yield Fact("Usually takes", usual_text(took))
    if expected.max_runtime is not None:
        yield Fact("May take", duration(expected.max_runtime) or "")
    if health.rules:
        yield Fact("Notifies", "; ".join(map(rule_text, health.rules)))
    if health.snoozed_until is not None:
        yield Fact("Snoozed until", axis.text(health.snoozed_until))
    if expected.runbook:
        link = expected.runbook if _LINK.fullmatch(expected.runbook) else None
        yield Fact("Runbook", expected.runbook, link)


def _row(axis: Axis, run: RunRecord) -> Row:
    count = run.consecutive_failure_count
    return Row(
        started=axis.text(run.started_at),
        status=run.status,
        took=duration(run.duration) or "",
        failures=str(count) if count else "",
        host=plain(run.host or ""),
        error=plain(error_text(run)),
    )


def _alert_row(axis: Axis, alert: AlertRecord) -> AlertRow:
    code = f" ({alert.error_code})" if alert.error_code and alert.state != "sent" else ""
    return AlertRow(
        axis.text(alert.created_at),
        plain(alert.job),
        plain(alert.kind),
        plain(alert.channel),
        plain(state_word(alert.state) + code),
    )
