"""Moments and durations as commands show them, and as people type them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

import click

from cronguard.cli.output.lines import on_terminal
from cronguard.core.errors import ConfigError
from cronguard.core.rendering import duration
from cronguard.core.text import show
from cronguard.settings.job_values import parse_duration

_RECENT = timedelta(hours=20)
_SHORT_UNITS = ((1, 99, "s"), (60, 99, "m"), (3600, 47, "h"), (86400, 10**9, "d"))
"""Seconds in each unit, and how many of them are shown before the next one is taken."""


class Times(NamedTuple):
    """How the moments of a job are shown: in its time zone on a terminal, in UTC elsewhere."""

    now: datetime
    zone: tzinfo
    name: str
    """The zone's, to be said once."""
    is_relative: bool
    """Whether to say how long ago: not in what may be stored or compared."""

    def at(self, when: datetime) -> str:
        """Return ``2026-11-23 06:00:05``, on a terminal with `distance`."""
        text = self.plainly(when)
        return f"{text} ({distance(when, self.now)})" if self.is_relative else text

    def briefly(self, when: datetime) -> str:
        """Return `at` with a short distance, for a column."""
        text = self.plainly(when)
        return f"{text}  {short_distance(when, self.now)}" if self.is_relative else text

    def plainly(self, when: datetime) -> str:
        """Return ``2026-11-23 06:00:05``."""
        return f"{when.astimezone(self.zone):%Y-%m-%d %H:%M:%S}"


def times_of(timezone: str, now: datetime) -> Times:
    """Return how the moments of a job in this time zone are shown; in UTC if it is not known."""
    if not on_terminal():
        return Times(now, UTC, "UTC", is_relative=False)
    zone = zone_named(timezone)
    return Times(now, zone, "UTC" if zone is UTC else timezone, is_relative=True)


def zone_named(timezone: str) -> tzinfo:
    """Return the time zone; UTC if this host does not know it."""
    from zoneinfo import ZoneInfo  # not every command shows a time

    try:
        return UTC if timezone == "UTC" else ZoneInfo(timezone)
    except (ValueError, KeyError, OSError):
        return UTC


def stamp(when: datetime | None, now: datetime, *, never: str = "-", brief: bool = False) -> str:
    """Return ``2026-11-23 06:00:05``, in UTC; on a terminal with how long ago; else ``never``.

    ``brief`` leaves out the half that somebody at a terminal can do without.
    """
    if when is None:
        return never
    text = f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if not on_terminal():
        return text
    if brief:
        text = text[11:16] if abs(now - when) < _RECENT else text[:10]
    return f"{text} ({distance(when, now)})"


def distance(when: datetime, now: datetime) -> str:
    """Return ``3 min ago``, ``just now``, ``in 1 h 57 min``."""
    seconds = round((now - when).total_seconds())
    if not seconds:
        return "just now"
    text = (duration(abs(seconds)) or "").replace(".0 s", " s")
    return f"in {text}" if seconds < 0 else f"{' '.join(text.split()[:2])} ago"


def short_distance(when: datetime, now: datetime) -> str:
    """Return ``3m ago``, ``in 2h``, ``now``: for a column."""
    seconds = round((now - when).total_seconds())
    if not seconds:
        return "now"
    return f"in {short_span(-seconds)}" if seconds < 0 else f"{short_span(seconds)} ago"


def short_span(seconds: float) -> str:
    """Return ``45s``, ``90m``, ``36h``, ``5d``: for a column, in units that options take too."""
    size, unit = next((size, unit) for size, most, unit in _SHORT_UNITS if seconds < size * most)
    return f"{int(seconds // size)}{unit}"


def span(seconds: float | None) -> str:
    """Return how long something took; ``-`` for None."""
    return duration(seconds) or "-"


def to_span(_ctx: click.Context, _param: click.Parameter, value: str | None) -> timedelta | None:
    """Return an option's value such as ``90s``, ``30m``, ``1h30m``, ``90 days``."""
    if value is None:
        return None
    try:
        seconds = parse_duration(value)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None
    if not seconds:
        raise click.BadParameter(f"{value} is no time at all: give a duration such as 2h or 90d")
    return timedelta(seconds=seconds)


def to_moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """Return an option's value in ISO 8601, local time where it names no zone."""
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is not a date and time such as 2026-11-24T08:00"
        ) from None


def to_since(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> timedelta | datetime | None:
    """Return an option's value such as ``2h`` or ``7 days``, or a date, or a date and time.

    What names no zone has none yet: `since_moment` knows whose is meant.
    """
    if value is None:
        return None
    with suppress(ValueError):
        return datetime.fromisoformat(value.strip())
    try:
        return timedelta(seconds=parse_duration(value))
    except ConfigError as error:
        if value.strip().isdigit():
            raise click.BadParameter(str(error)) from None
        raise click.BadParameter(
            f"{show(value)} is neither a duration such as 2h or 7d, nor a date such as 2026-11-24"
            " or 2026-11-24T08:00"
        ) from None


def since_moment(since: timedelta | datetime, now: datetime, zone: tzinfo | None) -> datetime:
    """Return the moment that `to_since` returned; a date without a zone is one of ``zone``.

    None stands for this machine's.
    """
    try:
        if isinstance(since, timedelta):
            return now - since
        if since.tzinfo is None and zone is not None:
            since = since.replace(tzinfo=zone)
        return since.astimezone(UTC)
    except OverflowError:
        raise click.UsageError("--since is too long ago: give a later date") from None
