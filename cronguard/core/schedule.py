"""When a job is expected, and at which of those times it did not start. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice, takewhile
from typing import NamedTuple

from cronguard.core.alert_rule import (
    EARLY_SECONDS,
    MAX_CLOCK_SETBACK,
    ends_silence,
    overrun_step,
)
from cronguard.core.errors import ConfigError
from cronguard.core.model import Missed, Overrun, Schedule, Silence, Watch
from cronguard.core.rendering import duration

MOST_OCCURRENCES = 100_000
"""How many are judged in one check, about a second's work; the next check goes on from there."""
MOST_SHOWN = 1_000
"""How many missed occurrences are counted for those who only look."""
_INSTANT = timedelta(microseconds=1)
_PLAN = ("schedule", "timezone", "grace")
_LONGEST_WAIT = timedelta(days=9 * 366)
"""From one 29 February to the next, over a year 2100."""


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
    if watch.silence is not None and not watch.silence.over:
        begin = min(begin, watch.silence.since - _INSTANT)
    return begin - timedelta(seconds=EARLY_SECONDS)


def judge(watch: Watch, starts: Iterable[datetime], now: datetime) -> Missed | None:
    """Judge which occurrences have passed without a start.

    An occurrence is met by any start from `EARLY_SECONDS` before it until its grace is over, and is
    judged then. A silence begins with one that is not met, and ends with the next start.

    If the clock was set back by up to three hours, nothing is judged twice (cron runs nothing twice
    then either). If it was set back further, judging starts over. A start that is still to come was
    noted by a clock that is ahead: until then it neither meets an occurrence nor ends a silence.

    Args:
        watch: The job, with its schedule, how far it has been judged, and its last silence.
        starts: The job's starts later than `first_start`, earliest first.
        now: The current time.

    Returns:
        The judgement; None if there is no schedule or no occurrence to judge.
    """
    plan, begin = watch.expected.plan, watch.judged_until
    if plan is None or begin is None:
        return None
    if begin > now + MAX_CLOCK_SETBACK:
        return _judged_anew(watch, begin, now)
    grace, early = timedelta(seconds=plan.grace), timedelta(seconds=EARLY_SECONDS)
    run_of = _Silences(watch.silence)
    coming = takewhile(lambda start: start <= now + early, starts)
    start = next(coming, None)
    due = None
    for count, due in enumerate(occurrences(plan, begin, now - grace), 1):
        while start is not None and start < due - early:
            run_of.end()
            start = next(coming, None)
        if start is not None and start <= due + grace:
            run_of.end()
        else:
            run_of.miss(due)
        if count == MOST_OCCURRENCES:
            break
    if due is None:
        return None
    if start is not None:
        run_of.end()
    return run_of.judgement(watch, plan, due)


def _judged_anew(watch: Watch, begin: datetime, now: datetime) -> Missed:
    """Return the judgement that ends what a wrong clock has judged."""
    silence = watch.silence
    if silence is None or silence.over or silence.since <= now:
        return Missed(watch.job, 0, None, None, begin, now)
    over = silence._replace(over=True)  # no start could end it before its time comes
    return Missed(watch.job, 0, None, None, begin, now, over, silence.missed)


class _Silences:
    """The silences of a judgement, one after the other. ``last`` is the one that was kept."""

    def __init__(self, last: Silence | None) -> None:
        self._silence = last if last is not None and not last.over else None
        self._before = self._silence.missed if self._silence else 0
        self._untold: list[Silence] = []
        """Those that began and ended while nobody looked."""
        self._latest: datetime | None = None
        self._number = 0

    def miss(self, due: datetime) -> None:
        """Note an occurrence that was not met."""
        self._number, self._latest = self._number + 1, due
        silence = self._silence
        if silence is None:
            self._silence = Silence(due)
        elif silence.over:
            if not self._before:
                self._untold.append(silence)
            self._silence, self._before = Silence(due), 0
        else:
            self._silence = silence._replace(missed=silence.missed + 1)

    def end(self) -> None:
        """Note a start."""
        if self._silence is not None and not self._silence.over:
            self._silence = self._silence._replace(over=True)

    def judgement(self, watch: Watch, plan: Schedule, until: datetime) -> Missed:
        """Return what was found."""
        silence, latest = self._silence, self._latest
        if silence is None or latest is None:
            ended = silence if silence is not None and silence.over else None
            return Missed(watch.job, 0, None, None, watch.judged_until, until, ended, self._before)
        untold = sum(each.missed for each in self._untold)
        first = self._untold[0].since if self._untold else silence.since
        message = missed_sentence(plan, untold + silence.missed, first, latest)
        judged = watch.judged_until
        return Missed(
            watch.job, self._number, latest, message, judged, until, silence, self._before
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
    begin, known = _registered_at(watch, now), _open_silence(watch, last_start, now)
    if known is not None and watch.judged_until is not None:
        begin = watch.judged_until
    elif last_start is not None:
        begin = max(begin, last_start + timedelta(seconds=EARLY_SECONDS))
    over = now - timedelta(seconds=plan.grace)
    missed = list(islice(occurrences(plan, begin, over), MOST_SHOWN))
    next_due = next(occurrences(plan, max(begin, over), now + _LONGEST_WAIT), None)
    if known is not None:
        latest = missed[-1] if missed else watch.judged_until
        return Lateness(known.since, known.missed + len(missed), latest, next_due)
    if not missed:
        return Lateness(None, 0, None, next_due)
    return Lateness(missed[0], len(missed), missed[-1], next_due)


def _open_silence(watch: Watch, last_start: datetime | None, now: datetime) -> Silence | None:
    """Return the silence that was judged and goes on; None if there is none."""
    silence = watch.silence
    if silence is None or silence.over or silence.since > now + MAX_CLOCK_SETBACK:
        return None
    if last_start is None or last_start > now + timedelta(seconds=EARLY_SECONDS):
        return silence  # by a clock that is ahead: the store has ended it if it was to be
    return None if ends_silence(silence, last_start) else silence


def _registered_at(watch: Watch, now: datetime) -> datetime:
    """Return when the schedule began to count.

    At first that is ``judged_until``, which every judgement moves on; what is known then is when
    the schedule was stated.
    """
    known = [watch.judged_until] if watch.judged_until is not None else []
    stated = [watch.sources[name].since for name in _PLAN if name in watch.sources]
    begin = min([*known, max(stated)]) if stated and known else max([*known, *stated], default=now)
    return now if begin > now + MAX_CLOCK_SETBACK else begin


def missed_sentence(
    plan: Schedule,
    number: int,
    first: datetime,
    latest: datetime | None,
    write: Callable[[datetime], str] | None = None,
) -> str:
    """Return a sentence that says what was missed, for an alert and for people who look.

    ``write`` returns a moment as text; by default in the time zone of the schedule.
    """
    write = write or partial(_local, plan.timezone)
    cron = f"{plan.cron} ({plan.timezone})"
    since = write(first)
    if number == 1 or latest is None:
        return f"no run started for {cron} at {since}"
    return f"no run started at {number:,} times of {cron}, from {since} to {write(latest)}"


def _local(timezone: str, when: datetime) -> str:
    """Return ``2026-11-23 06:00:00 CET``."""
    from zoneinfo import ZoneInfo  # few jobs have a schedule

    return f"{when.astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M:%S %Z}"


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
