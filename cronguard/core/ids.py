"""Client-made ids, so that every write can be repeated safely."""

from __future__ import annotations

import os
import time


def new_id() -> str:
    """A version 7 uuid as text: its first 48 bits are the time, so that an index on it grows at
    one end and stays fast at any size (RFC 9562, section 5.7)."""
    when, chance = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big")
    return "%08x-%04x-7%03x-%04x-%012x" % (  # noqa: UP031  # the quickest of all forms
        when >> 16,
        when & 0xFFFF,
        chance >> 68,
        chance >> 48 & 0x3FFF | 0x8000,  # two of its bits are given
        chance & 0xFFFF_FFFF_FFFF,
    )
