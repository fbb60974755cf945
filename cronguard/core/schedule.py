"""When a job is expected, and at which of those times it did not start. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from cronguard.core.alert_rule import overrun_step
from cronguard.core.clock import rfc3339
from cronguard.core.errors import ConfigError
from cronguard.core.model import Missed, Overrun, Schedule, Watch
from cronguard.core.rendering import duration

EARLY_SECONDS = 10.0
"""How much earlier than due a run may have started: no two hosts' clocks are quite the same."""
MOST_OCCURRENCES = 100_000
"""How many are judged at a time, about a second's work; the next check goes on from there."""
_SETBACK = timedelta(hours=3)


def occurrences(plan: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    """When the job is due later than ``after`` and not later than ``until``, in UTC, in order.

    As cron does it where clocks are changed: a time that the day lacks comes at the end of the gap,
    one that the day has twice comes once, and what runs every so many minutes runs on. Raises
    ConfigError for a schedule that another host understood and this one does not.
    """
    from zoneinfo import ZoneInfo  # few jobs have a schedule

    from cronsim import CronSim, CronSimError

    try:
        local = after.astimezone(ZoneInfo(plan.timezone))
        times = CronSim(plan.cron, local)
        if len(plan.cron.split()) == 6 and not any(p.startswith("*") for p in times.parts[1:3]):  # noqa: PLR2004
            # Times of day with seconds: CronSim minds clock changes only where there are none.
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
        # Begun within an hour that comes twice, CronSim gives times of its first half again.
        if moment > after:
            yield moment


def first_start(watch: Watch, now: datetime) -> datetime:
    """Runs that started later than this are to be judged."""
    begin = watch.judged_until or now
    return watch.seen_until or begin - timedelta(seconds=EARLY_SECONDS)


def judge(watch: Watch, starts: Iterable[datetime], now: datetime) -> Missed | None:
    """Which occurrences have gone by without a start; None if nothing has come due since.

    ``starts`` are the job's starts later than `first_start`, earliest first. Each counts for one
    occurrence, the earliest that it can still meet: from `EARLY_SECONDS` before it until its grace
    is over. An occurrence is judged when its grace is over.

    A clock that was put back by up to three hours judges nothing twice (cron runs nothing twice
    then either); one that was put back further begins anew.
    """
    plan, begin = watch.schedule, watch.judged_until
    if plan is None or begin is None:
        return None
    if begin > now + _SETBACK:
        return _judged(watch, [], now, None)
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
    return None if due is None else _judged(watch, missed, due, seen or watch.seen_until)


def _judged(watch: Watch, missed: list[datetime], until: datetime, seen: datetime | None) -> Missed:
    latest = missed[-1] if missed else None
    return Missed(
        job=watch.job,
        number=len(missed),
        latest=latest,
        message=missed_sentence(watch.schedule, len(missed), latest)
        if watch.schedule and latest
        else None,
        judged_from=watch.judged_until,
        judged_until=until,
        seen_until=seen,
    )


def late_since(watch: Watch, last_start: datetime | None) -> datetime | None:
    """When the job was last due, if it has not started since; None otherwise.

    For what has been judged already: looks at the last occurrence that was, and no further back.
    """
    plan, judged = watch.schedule, watch.judged_until
    if plan is None or judged is None:
        return None
    due = next(occurrences(plan, judged - timedelta(microseconds=1), judged), None)
    early = timedelta(seconds=EARLY_SECONDS)
    if due is None or (last_start is not None and last_start >= due - early):
        return None
    return due


def missed_sentence(plan: Schedule, number: int, latest: datetime) -> str:
    """What was missed, for the alert."""
    cron = f"{plan.cron} ({plan.timezone})"
    at = rfc3339(latest).replace(".000000", "")
    if number == 1:
        return f"no run started for {cron} at {at}"
    return f"no run started at {number:,} of the times of {cron}, the latest {at}"


def overrun(run_id: str, job: str, elapsed: float, max_runtime: float) -> Overrun | None:
    """The news that a run has been going for ``elapsed`` seconds; None while it may."""
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
