"""How the states of a run are shown: one table, which all faces read.

What a state does to the streak is in `cronguard.core.model.STREAK`, which every run loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from cronguard.core.model import STREAK, RunStatus

Role: TypeAlias = Literal["good", "busy", "odd", "bad"]
"""What a colour says. The later ones are drawn over the earlier ones."""


class Bar(NamedTuple):
    """A run as it is drawn in a lane that is 28 high; kinds differ in more than colour."""

    top: int
    height: int
    line: Literal["filled", "outlined", "dashed"] = "filled"


class RunState(NamedTuple):
    """How runs in one state are shown."""

    meaning: str
    """The end of "a run that …"."""
    role: Role
    mark: str
    ascii_mark: str
    """The mark where there is no Unicode."""
    bar: Bar


RUN_STATES: Mapping[RunStatus, RunState] = MappingProxyType(
    {
        "success": RunState("did its work", "good", "▪", ".", Bar(10, 12)),
        "failure": RunState("failed", "bad", "✗", "x", Bar(2, 20)),
        "crashed": RunState("was killed, or lost power", "bad", "!", "!", Bar(2, 20, "dashed")),
        "cancelled": RunState("was interrupted on purpose", "odd", "-", "-", Bar(17, 5)),
        "skipped": RunState("did not start, since another was going", "odd", "~", "~", Bar(17, 5)),
        "running": RunState("goes on", "busy", "▸", ">", Bar(8, 14, "outlined")),
    }
)
"""The states in the order in which they are listed."""
FAILURES: tuple[RunStatus, ...] = tuple(each for each in STREAK if STREAK[each] == "grow")
"""The states that count as a failure."""
