"""Times as text and back, and ids that sort by time."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime


def rfc3339(when: datetime) -> str:
    """Return the time as ``2026-11-23T06:00:00.000000Z``.

    It is always in UTC and always has microseconds, so that the text sorts by time.
    """
    if when.tzinfo is not UTC:
        when = when.astimezone(UTC)
    # This takes half the time of isoformat, and every run writes several times.
    return "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ" % (  # noqa: UP031  # the fastest form
        when.year,
        when.month,
        when.day,
        when.hour,
        when.minute,
        when.second,
        when.microsecond,
    )


def rfc3339_or_none(when: datetime | None) -> str | None:
    """Return the time as `rfc3339` does, or None for None."""
    return None if when is None else rfc3339(when)


def readable(when: datetime) -> str:
    """Return the time as ``2026-11-23 06:00:05 UTC``; one without a zone is taken as UTC."""
    utc = when.astimezone(UTC) if when.tzinfo else when
    return f"{utc:%Y-%m-%d %H:%M:%S} UTC"


def moment(text: str | None) -> datetime | None:
    """Return the time that a text written by `rfc3339_or_none` means, or None for None."""
    return None if text is None else datetime.fromisoformat(text)


def new_id() -> str:
    """Return a new id. Clients make ids themselves so that a write can be repeated safely.

    It is a version 7 UUID as text (RFC 9562, section 5.7). Its first 48 bits are the time, so an
    index on it grows at one end and stays fast at any size.
    """
    milliseconds = time.time_ns() // 1_000_000
    random_bits = int.from_bytes(os.urandom(10), "big")
    return "%08x-%04x-7%03x-%04x-%012x" % (  # noqa: UP031  # the fastest form
        milliseconds >> 16,
        milliseconds & 0xFFFF,
        random_bits >> 68,
        random_bits >> 48 & 0x3FFF | 0x8000,  # the first two bits are the variant
        random_bits & 0xFFFF_FFFF_FFFF,
    )
