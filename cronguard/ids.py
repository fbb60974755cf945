"""Client-made ids, so that every write can be repeated safely."""

from __future__ import annotations

import os
import time


def new_id() -> str:
    """A version 7 uuid as text: its first 48 bits are the time, so that an index on it grows at
    one end and stays fast at any size (RFC 9562, section 5.7)."""
    when = f"{time.time_ns() // 1_000_000:012x}"
    chance = os.urandom(10).hex()
    variant = "89ab"[int(chance[3], 16) & 3]  # two of its four bits are given
    return f"{when[:8]}-{when[8:]}-7{chance[:3]}-{variant}{chance[4:7]}-{chance[7:19]}"
