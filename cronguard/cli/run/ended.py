"""How a command ended."""

from __future__ import annotations

from typing import NamedTuple


class Ended(NamedTuple):
    """How a command ended: its exit code, or minus the signal that ended it."""

    code: int
    interrupted: bool = False
    """SIGINT had been seen before."""
