"""The time axis that all lanes share: what time it shows, in which zone, with its ticks.

A place on it is a number of thousandths of its width.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from cronguard.cli.output.times import zone_named
from cronguard.core.model import RunRecord
from cronguard.core.rendering import duration

WIDTH = 1000
_AHEAD = 0.08
"""How much of what has been is shown of what comes, for the next times that are due."""
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_WINDOWS = (_HOUR, 6 * _HOUR, _DAY, 7 * _DAY, 30 * _DAY)
_USUAL_WINDOWS = _WINDOWS[2:]
_STEPS = (
    *(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 30)),
    *(hours * _HOUR for hours in (1, 3, 6, 12)),
    *(days * _DAY for days in (1, 2, 5, 10, 30, 60)),
)
_MOST_TICKS = 9


class Tick(NamedTuple):
    """A mark on the axis."""

    at: float
    label: str
    is_day: bool
    """Whether a day begins here."""


class Axis(NamedTuple):
    """The stretch of time that is shown, and how its moments are written."""

    since: datetime
    now: datetime
    until: datetime
    zone: tzinfo
    zone_name: str

    @property
    def window(self) -> str:
        """Return how much of what has been is shown: ``24 hours``, ``7 days``."""
        span = self.now - self.since
        if span > _DAY and not span % _DAY:
            return f"{span // _DAY} days"
        if span > _HOUR and not span % _HOUR:
            return f"{span // _HOUR} hours"
        return "hour" if span == _HOUR else duration(span.total_seconds()) or ""

    def at(self, when: datetime) -> float:
        """Return the place of a moment, that of the nearest end if it is not on the axis."""
        place = WIDTH * ((when - self.since) / (self.until - self.since))
        return round(place, 1) if 0 < place < WIDTH else float(WIDTH * (place > 0))

    def text(self, when: datetime | None) -> str:
        """Return ``2026-11-23 06:00:05``, in the axis's zone; empty for None."""
        return "" if when is None else f"{when.astimezone(self.zone):%Y-%m-%d %H:%M:%S}"

    @property
    def ticks(self) -> list[Tick]:
        """Return the whole hours or days on it, a handful."""
        span = self.now - self.since
        step = next((each for each in _STEPS if span / each <= _MOST_TICKS), _STEPS[-1])
        local = self.since.astimezone(self.zone)
        wall = datetime(local.year, local.month, local.day)  # noqa: DTZ001  # as a clock shows it
        found, last = [], self.since
        while (when := wall.replace(tzinfo=self.zone).astimezone(UTC)) < self.until:
            if when > last:
                last = when  # where a change of clocks skips an hour, the next one is the same
                local = when.astimezone(self.zone)
                is_day = not (local.hour or local.minute)
                day = f"{local.day} {local:%b}" if step > _DAY else f"{local:%a} {local.day}"
                found.append(Tick(self.at(when), day if is_day else f"{local:%H:%M}", is_day))
            wall += step
        return found


def make_axis(now: datetime, window: timedelta, zones: Collection[str] = ()) -> Axis:
    """Return the axis of the last ``window`` and a little of what comes.

    Its times are in the zone of the jobs' schedules if they all have the same, else in UTC.
    """
    name = next(iter(zones)) if len(set(zones)) == 1 else "UTC"
    zone = zone_named(name)
    return Axis(now - window, now, now + window * _AHEAD, zone, "UTC" if zone is UTC else name)


def fitting_window(
    runs: Mapping[str, Sequence[RunRecord]], now: datetime, *, is_whole: bool
) -> timedelta:
    """Return how far back to look: until most of the jobs that ran twice show two runs.

    At least a day, but where the log is not that old; at most 30 days.

    Args:
        runs: Each job's newest runs, newest first.
        now: The current time.
        is_whole: Whether these are all the runs that there are.
    """
    second = sorted(now - each[1].started_at for each in runs.values() if len(each) > 1)
    first = max((now - run.started_at for each in runs.values() for run in each), default=_DAY)
    windows = _WINDOWS if is_whole else _USUAL_WINDOWS
    needed = second[len(second) // 2] if second else timedelta()
    if is_whole:
        needed = max(needed, min(first, _DAY))
    return _first_at_least(windows, needed)


def _first_at_least(windows: Iterable[timedelta], needed: timedelta) -> timedelta:
    return next((each for each in windows if each >= needed), _WINDOWS[-1])
