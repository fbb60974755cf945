"""One job's lane: when it was due, when it ran and how long, and how that ended."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import NamedTuple, TypeAlias, get_args

from cronguard.cli.output.lines import plural
from cronguard.cli.report.axis import WIDTH, Axis
from cronguard.core.alert_rule import EARLY_SECONDS
from cronguard.core.errors import ConfigError
from cronguard.core.health import Health
from cronguard.core.model import Activity, RunRecord, RunStatus, Schedule
from cronguard.core.rendering import duration
from cronguard.core.run_states import RUN_STATES, Role
from cronguard.core.schedule import occurrences

SLOTS = 360
"""How many runs a lane can show beside each other; those that are closer are drawn as one."""
_MOST_DUE = 110
"""A lane with more due times than this shows none of them: they would be a line."""
_CLOSE = 3.0
"""Bars of the same kind that are closer than this, in thousandths, are drawn as one."""
_ORDER: tuple[Role, ...] = get_args(Role)
_MOST_NAMED = 40
"""So many bars of a lane say in words what they are, or the page would be too large."""


class Bar(NamedTuple):
    """A stretch of a lane, in thousandths of its width."""

    start: float
    end: float
    kind: RunStatus
    words: str
    """The same in words; empty where many are drawn as one, and where too many would say it."""


class Gap(NamedTuple):
    """A stretch of a lane in which it was due and nothing started, likewise."""

    start: float
    end: float
    words: str


class Lane(NamedTuple):
    """What one job did in the time that the axis shows."""

    bars: Sequence[Bar]
    """In the order of drawing: what is wrong comes last, and so lies above."""
    missed: Sequence[Gap]
    due: Sequence[float]
    """When the job was due, and will be next; empty if that is too often to be shown."""
    words: str
    """All of it in a sentence."""


class _Block(NamedTuple):
    """Runs that are drawn as one bar."""

    start: float
    end: float
    kind: RunStatus
    first: datetime
    number: int
    longest: float | None = None


def make_lane(
    axis: Axis,
    health: Health,
    activity: Sequence[Activity],
    runs: Sequence[RunRecord],
    scheduled_since: datetime | None,
) -> Lane:
    """Return a job's lane.

    Args:
        axis: The time to show.
        health: How the job is doing.
        activity: What its runs came to since the axis begins, by first start.
        runs: Its newest runs, of which some may have begun before the axis does.
        scheduled_since: Since when its schedule holds; None if that is not known.
    """
    drawn = _drawn(axis, health, activity, runs)
    activity = _with_ends(axis, health, activity)
    due = _due(axis, health)
    missed = _missed(axis, health, due, activity, scheduled_since or axis.since)
    return Lane(
        _bars(axis, _joined(sorted(drawn))),
        [_gap(axis, *gap) for gap in missed],
        [axis.at(when) for when in due],
        _sentence(axis, activity, sum(number for _, _, number in missed)),
    )


def _drawn(
    axis: Axis, health: Health, activity: Sequence[Activity], runs: Sequence[RunRecord]
) -> Iterator[_Block]:
    now = axis.at(axis.now)
    per_second = WIDTH / (axis.until - axis.since).total_seconds()
    for _, kind, number, first, last, longest in activity:
        if kind != "running":
            start = end = axis.at(first)
            if longest:
                end += round(longest * per_second, 1)
            if number > 1:
                end = max(end, axis.at(last))
            yield _Block(start, max(start, min(end, now)), kind, first, number, longest)
    for run in runs:
        if run.started_at < axis.since and run.finished_at and run.finished_at > axis.since:
            yield _block(axis, run, run.status, run.finished_at)
    for run in health.running:
        yield _block(axis, run, "running", axis.now)
    for run in (*health.dead, *_kept(axis, health)):
        yield _block(axis, run, run.status, run.finished_at or axis.now)


def _kept(axis: Axis, health: Health) -> list[RunRecord]:
    """Return the runs that began on the axis and whose ends the store has not taken yet."""
    return [run for run in health.kept if run.started_at >= axis.since]


def _with_ends(axis: Axis, health: Health, activity: Sequence[Activity]) -> list[Activity]:
    """Return what the runs came to, with what became of those that look open in the store."""
    found = [each for each in activity if each.status != "running"]
    for run in (*health.running, *health.dead, *health.kept):
        start = run.started_at
        if start >= axis.since:
            found.append(Activity(health.job, run.status, 1, start, start, run.duration))
    return sorted(found, key=lambda each: each.first)


def _block(axis: Axis, run: RunRecord, kind: RunStatus, end: datetime) -> _Block:
    return _Block(axis.at(run.started_at), axis.at(end), kind, run.started_at, 1, run.duration)


def _joined(runs: Iterable[_Block]) -> Iterator[_Block]:
    """Yield the runs, as one those of a kind that would touch; they come in order."""
    last: _Block | None = None
    for run in runs:
        if last is not None and last.kind == run.kind and run.start - last.end < _CLOSE:
            last = last._replace(end=max(last.end, run.end), number=last.number + run.number)
            continue
        if last is not None:
            yield last
        last = run
    if last is not None:
        yield last


def _bars(axis: Axis, runs: Iterable[_Block]) -> list[Bar]:
    drawn = sorted(runs, key=lambda run: _ORDER.index(RUN_STATES[run.kind].role))
    named = set(drawn[-_MOST_NAMED:]) if len(drawn) > _MOST_NAMED else set(drawn)
    return [
        Bar(run.start, run.end, run.kind, _words(axis, run) if run in named else "")
        for run in drawn
    ]


def _words(axis: Axis, run: _Block) -> str:
    if run.number > 1:
        return f"{axis.text(run.first)}: {run.kind}, {run.number:,} runs from then on"
    took = f" after {duration(run.longest)}" if run.longest is not None else ""
    return f"{axis.text(run.first)}: {run.kind}{took}"


def _due(axis: Axis, health: Health) -> Sequence[datetime]:
    plan = health.expected.plan
    if plan is None or health.problem is not None:
        return ()
    try:
        return _times(plan.cron, plan.timezone, axis.since, axis.until)
    except (ConfigError, ValueError, OverflowError):
        return ()


@lru_cache(maxsize=256)
def _times(cron: str, timezone: str, since: datetime, until: datetime) -> Sequence[datetime]:
    """Return the due times if they can be shown. Many jobs have the same."""
    found = tuple(islice(occurrences(Schedule(cron, timezone), since, until), _MOST_DUE + 1))
    return found if len(found) <= _MOST_DUE else ()


_Missed: TypeAlias = tuple[datetime, datetime, int]


def _missed(
    axis: Axis,
    health: Health,
    due: Sequence[datetime],
    activity: Sequence[Activity],
    scheduled_since: datetime,
) -> list[_Missed]:
    """Return (first, last, how many) of the due times in a row that no run met.

    A run meets one if it starts from a little before it until its grace is over, or goes on now and
    did then.
    """
    if not due and health.state == "late" and health.since is not None:
        return [(health.since, axis.now, health.missed)]
    grace = timedelta(seconds=health.expected.grace)
    early = timedelta(seconds=EARLY_SECONDS)
    slot = (axis.now - axis.since) / SLOTS
    firsts = [each.first for each in activity]
    open_since = health.running_since or axis.now
    found: list[_Missed] = []
    is_in_gap = False
    for when in due:
        if when < scheduled_since or when + grace > axis.now or when > open_since:
            continue
        begin = bisect_left(firsts, when - early - slot)
        near = activity[begin : bisect_right(firsts, when + grace)]
        is_met = any(each.last >= when - early for each in near)
        if not is_met:
            first, _, number = found.pop() if is_in_gap else (when, when, 0)
            found.append((first, when, number + 1))
        is_in_gap = not is_met
    return found


def _gap(axis: Axis, first: datetime, last: datetime, number: int) -> Gap:
    times = f"{number:,} times from {axis.text(first)}" if number > 1 else axis.text(first)
    return Gap(axis.at(first), axis.at(last), f"due {times}: nothing started")


def _sentence(axis: Axis, activity: Sequence[Activity], missed: int) -> str:
    counts: dict[str, int] = {}
    for each in activity:
        counts[each.status] = counts.get(each.status, 0) + each.runs
    rest = [f"{number:,} {status}" for status, number in counts.items() if status != "success"]
    if missed:
        rest.append(f"{missed:,} missed")
    total = f"{plural(sum(counts.values()), 'run')} in the last {axis.window}"
    return f"{total}: {', '.join(rest)}" if rest else total
