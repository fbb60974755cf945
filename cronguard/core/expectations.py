"""Which expectations hold for a job once somebody has stated some.

Pure functions. Every store calls them inside the transaction of a start or a declaration.
PostgreSQL has the same in SQL, and the same random histories run on both.
"""

# No `from __future__ import annotations` here: with it, a NamedTuple compiles each annotation from
# text, which costs every cron process more than the rest of this module.

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from cronguard.core.model import Expectations, Origin, Source, Statement

_PLAN = ("schedule", "timezone", "grace")


class Known(NamedTuple):
    """What holds for a job, and where that comes from."""

    expected: Expectations = Expectations()
    sources: Mapping[str, Source] = MappingProxyType({})
    """Name → source, for what somebody has stated."""


def restate(known: Known, stated: Sequence[Statement], now: datetime) -> Known:
    """Return what holds after a start that states this.

    Each statement replaces what was kept, with one exception: code that gives no schedule leaves
    the schedule alone that settings declare, with its time zone and grace.
    """
    if _gives_no_schedule(stated) and _origin(known, "schedule") == "settings":
        stated = [each for each in stated if each.name not in _PLAN or each.origin != "code"]
    return _apply(known, stated, now)


def redeclare(
    known: Known, declared: Mapping[str, object], stated: Sequence[Statement], now: datetime
) -> Known:
    """Return what holds after settings declare this of a job ahead of its runs.

    What a start has stated goes before, until the declaration changes: ``declared`` is what was
    declared the last time. Code that gave no schedule did not state one.
    """
    return _apply(
        known,
        [
            each
            for each in stated
            if _origin(known, each.name) in (None, "settings")
            or declared.get(each.name, each) != each.value
            or (each.name in _PLAN and _is_without_schedule(known))
        ],
        now,
    )


def _is_without_schedule(known: Known) -> bool:
    return known.expected.schedule is None and _origin(known, "schedule") == "code"


def _gives_no_schedule(stated: Iterable[Statement]) -> bool:
    return any(
        (each.name, each.value, each.origin) == ("schedule", None, "code") for each in stated
    )


def _origin(known: Known, name: str) -> str | None:
    source = known.sources.get(name)
    return source.origin if source else None


def _apply(known: Known, stated: Iterable[Statement], now: datetime) -> Known:
    values: dict[str, Any] = known.expected._asdict()
    sources = dict(known.sources)
    for name, value, origin in stated:
        if name not in values:
            continue  # of a later version
        before = sources.get(name)
        if before is None or values[name] != value or before.origin != origin:
            sources[name] = Source(origin, now)
        values[name] = value
    return Known(Expectations(**values), sources)


def statements(origin: Origin = "code", /, **values: Any) -> tuple[Statement, ...]:
    """Return statements of these values, all of one origin, in the order of `Expectations`."""
    return tuple(
        Statement(name, values[name], origin) for name in Expectations._fields if name in values
    )
