"""When a job is expected, and at which of those times it did not start. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import NamedTuple

from cronguard.core.alert_rule import overrun_step
from cronguard.core.clock import rfc3339
from cronguard.core.errors import ConfigError
from cronguard.core.model import Missed, Overrun, Schedule, Watch
from cronguard.core.rendering import duration

EARLY_SECONDS = 10.0
"""How early a run may start and still count as on time, since hosts' clocks differ slightly."""
MOST_OCCURRENCES = 100_000
"""How many are judged in one check, about a second's work; the next check goes on from there."""
MOST_SHOWN = 1_000
"""How many missed occurrences are counted for those who only look."""
_PLAN = ("schedule", "timezone", "grace")
_LONGEST_WAIT = timedelta(days=9 * 366)
"""From one 29 February to the next, over a year 2100."""
_MAX_CLOCK_SETBACK = timedelta(hours=3)


def occurrences(plan: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the times, in UTC and in order, when the job is due in (``after``, ``until``].

    Clock changes are handled as cron does: a time that the day skips comes at the end of the gap, a
    time that the day has twice comes once, and a job that runs every so many minutes goes on.

    Raises:
        ConfigError: This host cannot evaluate a schedule that another host accepted.
    """
    from zoneinfo import ZoneInfo  # few jobs have a schedule

    from cronsim import CronSim, CronSimError

    try:
        local = after.astimezone(ZoneInfo(plan.timezone))
        times = CronSim(plan.cron, local)
        if len(plan.cron.split()) == 6 and not any(p.startswith("*") for p in times.parts[1:3]):  # noqa: PLR2004
            # With seconds, CronSim ignores clock changes unless it is set up like this.
            times = CronSim(plan.cron, local.replace(tzinfo=None))
            times.fixup_tz = local.tzinfo
    except (CronSimError, ValueError, KeyError, OSError):
        raise ConfigError(
            f"its schedule {plan.cron} ({plan.timezone}) cannot be evaluated on this host"
        ) from None
    for due in times:
        moment = due.astimezone(UTC)
        if moment > until:
            return
        # Started inside an hour that comes twice, CronSim repeats times of its first pass.
        if moment > after:
            yield moment


def first_start(watch: Watch, now: datetime) -> datetime:
    """Return the time after which a run's start is to be judged."""
    begin = watch.judged_until or now
    return watch.seen_until or begin - timedelta(seconds=EARLY_SECONDS)


def judge(watch: Watch, starts: Iterable[datetime], now: datetime) -> Missed | None:
    """Judge which occurrences have passed without a start.

    Each start counts for one occurrence, the earliest that it can still meet: a start meets an
    occurrence from `EARLY_SECONDS` before it until its grace is over. An occurrence is judged when
    its grace is over.

    If the clock was set back by up to three hours, nothing is judged twice (cron runs nothing twice
    then either). If it was set back further, judging starts over. Starts at the same microsecond
    count as one if a judgement comes between them.

    Args:
        watch: The job, with its schedule and how far it has been judged.
        starts: The job's starts later than `first_start`, earliest first.
        now: The current time.

    Returns:
        The judgement; None if there is no schedule or no occurrence to judge.
    """
    plan, begin = watch.expected.plan, watch.judged_until
    if plan is None or begin is None:
        return None
    if begin > now + _MAX_CLOCK_SETBACK:
        return _judgement(watch, [], now, None)
    grace, early = timedelta(seconds=plan.grace), timedelta(seconds=EARLY_SECONDS)
    coming = iter(starts)
    start = next(coming, None)
    missed: list[datetime] = []
    due = seen = None
    for count, due in enumerate(occurrences(plan, begin, now - grace), 1):
        while start is not None and start < due - early:
            start = next(coming, None)
        if start is not None and start <= due + grace:
            seen, start = start, next(coming, None)
        else:
            missed.append(due)
        if count == MOST_OCCURRENCES:
            break
    return None if due is None else _judgement(watch, missed, due, seen or watch.seen_until)


def _judgement(
    watch: Watch, missed: list[datetime], until: datetime, seen: datetime | None
) -> Missed:
    latest = missed[-1] if missed else None
    return Missed(
        job=watch.job,
        number=len(missed),
        latest=latest,
        message=missed_sentence(watch.expected.plan, len(missed), missed[0], latest)
        if watch.expected.plan and latest
        else None,
        judged_from=watch.judged_until,
        judged_until=until,
        seen_until=seen,
    )


class Lateness(NamedTuple):
    """How a job stands to its schedule."""

    since: datetime | None
    """The first occurrence that was missed; None if the job is not late."""
    number: int
    """How many were missed in a row; more than `MOST_SHOWN` are not counted on."""
    latest: datetime | None
    """The last one of these."""
    next_due: datetime | None
    """The first occurrence that may still be met."""


def lateness(watch: Watch, last_start: datetime | None, now: datetime) -> Lateness | None:
    """Return whether a job is late, with nothing written and whoever has looked before.

    It is where an occurrence has passed, its grace is over, and nothing has started from
    `EARLY_SECONDS` before it until now. That no run is open is for the caller to see.

    Args:
        watch: The job, with its schedule and how far it has been judged.
        last_start: Its latest start, skipped ones included; None if there was none.
        now: The current time.

    Returns:
        None without a schedule.
    """
    plan = watch.expected.plan
    if plan is None:
        return None
    begin = _registered_at(watch, now)
    if last_start is not None:
        begin = max(begin, last_start + timedelta(seconds=EARLY_SECONDS))
    over = now - timedelta(seconds=plan.grace)
    missed = list(islice(occurrences(plan, begin, over), MOST_SHOWN))
    far = now + _LONGEST_WAIT
    next_due = next(occurrences(plan, max(begin, over), far), None)
    if not missed:
        return Lateness(None, 0, None, next_due)
    return Lateness(missed[0], len(missed), missed[-1], next_due)


def _registered_at(watch: Watch, now: datetime) -> datetime:
    """Return when the schedule began to count.

    At first that is ``judged_until``, which every judgement moves on; what is known then is when
    the schedule was stated.
    """
    known = [watch.judged_until] if watch.judged_until is not None else []
    stated = [watch.sources[name].since for name in _PLAN if name in watch.sources]
    begin = min([*known, max(stated)]) if stated and known else max([*known, *stated], default=now)
    return now if begin > now + _MAX_CLOCK_SETBACK else begin


def missed_sentence(plan: Schedule, number: int, first: datetime, latest: datetime | None) -> str:
    """Return a sentence that says what was missed, for an alert and for people who look."""
    cron = f"{plan.cron} ({plan.timezone})"
    since = rfc3339(first).replace(".000000", "")
    if number == 1 or latest is None:
        return f"no run started for {cron} at {since}"
    until = rfc3339(latest).replace(".000000", "")
    return f"no run started at {number:,} times of {cron}, from {since} to {until}"


def overrun(run_id: str, job: str, elapsed: float, max_runtime: float) -> Overrun | None:
    """Return the overrun of a run after ``elapsed`` seconds; None within ``max_runtime``."""
    step = overrun_step(elapsed, max_runtime)
    if not step:
        return None
    times = "" if step == 1 else f"{step} times "
    return Overrun(
        run_id,
        job,
        step,
        elapsed,
        f"still running after {times}its max_runtime of {duration(max_runtime)}",
    )
