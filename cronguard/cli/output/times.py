"""Moments and durations as commands show them, and as people type them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from cronguard.cli.output.lines import on_terminal
from cronguard.core.errors import ConfigError
from cronguard.core.rendering import duration
from cronguard.settings.job_values import parse_duration

_RECENT = timedelta(hours=20)


def stamp(when: datetime | None, now: datetime, *, never: str = "-", brief: bool = False) -> str:
    """``2026-11-23 06:00:05``, in UTC; on a terminal with how long ago. ``never`` for None.

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
    """``3 min ago``, ``just now``, ``in 1 h 57 min``."""
    seconds = round((now - when).total_seconds())
    if not seconds:
        return "just now"
    text = (duration(abs(seconds)) or "").replace(".0 s", " s")
    return f"in {text}" if seconds < 0 else f"{' '.join(text.split()[:2])} ago"


def span(seconds: float | None) -> str:
    """How long something took; ``-`` for None."""
    return duration(seconds) or "-"


def to_span(_ctx: click.Context, _param: click.Parameter, value: str | None) -> timedelta | None:
    """Return an option's value such as ``90s``, ``30m``, ``1h30m``, ``90 days``.

    Without a unit it is refused: 30 would be seconds to us, and days to whoever typed it.
    """
    if value is None:
        return None
    number = value.strip()
    if number.replace(".", "", 1).isdigit():
        sentence = f"{number} has no unit: write {number}d for days, {number}h for hours"
        raise click.BadParameter(sentence)
    try:
        seconds = parse_duration(value)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None
    if not seconds:
        raise click.BadParameter(f"{value} is no time at all: give a duration such as 2h or 90d")
    return timedelta(seconds=seconds)


def to_moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """An option's value in ISO 8601, local time where it names no zone."""
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is no date and time such as 2026-11-24T08:00"
        ) from None
