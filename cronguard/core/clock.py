"""Moments as text and back, and ids that sort by their moment."""

from __future__ import annotations

import os
import time
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


def new_id() -> str:
    """Return a new id, so that every write can be repeated safely.

    A version 7 uuid as text: its first 48 bits are the time, so that an index on it grows at
    one end and stays fast at any size (RFC 9562, section 5.7).
    """
    when, chance = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big")
    return "%08x-%04x-7%03x-%04x-%012x" % (  # noqa: UP031  # the quickest of all forms
        when >> 16,
        when & 0xFFFF,
        chance >> 68,
        chance >> 48 & 0x3FFF | 0x8000,  # two of its bits are given
        chance & 0xFFFF_FFFF_FFFF,
    )
