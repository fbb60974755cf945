"""Which expectations hold for a job once somebody has stated some.

Pure functions. Every store calls them inside the transaction of a start or a declaration.
PostgreSQL has the same in SQL, and the same random histories run on both.
"""

# No `from __future__ import annotations` here: with it, a NamedTuple compiles each annotation from
# text, which costs every cron process more than the rest of this module.

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from cronguard.core.model import Expectations, Origin, Run, Source, Statement

_PLAN = ("schedule", "timezone", "grace")
MAX_DECLARING_HOSTS = 20
Declared: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Host → name → value, as the host's settings declared it last; whose changed last at the end."""


class Known(NamedTuple):
    """What holds for a job, and where that comes from."""

    expected: Expectations = Expectations()
    sources: Mapping[str, Source] = MappingProxyType({})
    """Name → source, for what somebody has stated."""


def restate(known: Known, stated: Sequence[Statement], now: datetime) -> Known:
    """Return what holds after a start that states this.

    Each statement replaces what was kept, with one exception: code that gives no schedule leaves
    the schedule alone that settings declare, and its time zone and grace where settings do.
    """
    if _gives_no_schedule(stated) and _origin(known, "schedule") == "settings":
        stated = [
            each
            for each in stated
            if each.origin != "code"
            or each.name not in _PLAN
            or (each.name != "schedule" and _origin(known, each.name) != "settings")
        ]
    return _apply(known, stated, now)


def restate_late(known: Known, run: Run, now: datetime) -> Known:
    """Return what holds after the end of a run whose start was never stored.

    What anybody has stated since the run started stands.
    """
    stated = [
        each
        for each in run.stated
        if each.name not in known.sources or known.sources[each.name].since < run.started_at
    ]
    return restate(known, stated, now)


def redeclare(
    known: Known, declared: Declared, stated: Sequence[Statement], host: str, now: datetime
) -> Known:
    """Return what holds after a host's settings declare this of a job ahead of its runs.

    What is news replaces what was kept: what the host declared otherwise the last time, or, from a
    host that declares for the first time, what no host declares. All else stands as starts have
    stated it since, so two hosts whose settings differ do not take turns; but code that gave no
    schedule did not state one.

    Args:
        known: What holds.
        declared: What each host declared the last time.
        stated: What the host's settings say now.
        host: The host.
        now: The current time.
    """
    before = declared.get(host)
    told = {(name, value) for each in declared.values() for name, value in each.items()}

    def is_news(each: Statement) -> bool:
        if before is None:
            return (each.name, each.value) not in told
        return each.name not in before or before[each.name] != each.value

    return _apply(
        known,
        [
            each
            for each in stated
            if each.name not in known.sources
            or is_news(each)
            or (each.name in _PLAN and _is_without_schedule(known))
        ],
        now,
    )


def declare(declared: Declared, stated: Sequence[Statement], host: str) -> Declared:
    """Return what each host declared the last time, whose changed last at the end."""
    values = {each.name: each.value for each in stated}
    if declared.get(host) == values:
        return declared
    others = {name: values for name, values in declared.items() if name != host}
    return {**dict(list(others.items())[1 - MAX_DECLARING_HOSTS :]), host: values}


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
