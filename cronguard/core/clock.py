"""Moments as text and back."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(when: datetime) -> str:
    """``2026-11-23T06:00:00.000000Z``: always UTC and always microseconds, so that text sorts."""
    if when.tzinfo is not UTC:
        when = when.astimezone(UTC)
    # Half the time of isoformat, and every run writes several.
    return "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ" % (  # noqa: UP031  # the quickest of all forms
        when.year,
        when.month,
        when.day,
        when.hour,
        when.minute,
        when.second,
        when.microsecond,
    )


def rfc3339_or_none(when: datetime | None) -> str | None:
    """As `rfc3339`; None for None."""
    return None if when is None else rfc3339(when)


def readable(when: datetime) -> str:
    """``2026-11-23 06:00:05 UTC``; a time without a zone is taken for UTC."""
    utc = when.astimezone(UTC) if when.tzinfo else when
    return f"{utc:%Y-%m-%d %H:%M:%S} UTC"


def moment(text: str | None) -> datetime | None:
    """The inverse of `rfc3339_or_none`."""
    return None if text is None else datetime.fromisoformat(text)
