"""Client-made ids, so that every write can be repeated safely."""

from __future__ import annotations

import os
import time


def new_id() -> str:
    """A version 7 uuid as text: its first 48 bits are the time, so that an index on it grows at
    one end and stays fast at any size (RFC 9562, section 5.7)."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
