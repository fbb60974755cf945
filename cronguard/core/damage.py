"""Rows of a store that cannot be what cronguard wrote: left out, so that the others are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar, get_args

from cronguard.core.model import RunStatus, Watch

Row = TypeVar("Row")
Read = TypeVar("Read")

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError)
"""What reading a row raises that another program, or a hand, has written."""


class Damaged(NamedTuple):
    """A row that cannot be what cronguard wrote."""

    table: str
    row: str
    """The job's name or the row's id, as text that can be shown."""
    problem: str
    key: str = ""
    """The same as it is in the row."""


def readable(rows: Iterable[Row], read: Callable[[Row], Read]) -> list[Read]:
    """Return what the rows say that can be read."""
    found = []
    for row in rows:
        try:
            found.append(read(row))
        except UNREADABLE:
            continue
    return found


def watch_problem(watch: Watch) -> str | None:
    """Return what is wrong with what is kept of a job; None if nothing is."""
    try:
        return _problem(watch)
    except UNREADABLE:  # a value of another type
        return "expectations cannot be read"


def _problem(watch: Watch) -> str | None:
    expected = watch.expected
    if watch.consecutive_failure_count < 0:
        return "consecutive_failure_count is below 0"
    if expected.threshold < 1:
        return "threshold is below 1"
    if expected.realert_every is not None and expected.realert_every < 1:
        return "realert_every is below 1"
    if not 0 <= expected.grace < float("inf"):
        return "grace is no duration"
    if expected.max_runtime is not None and not 0 < expected.max_runtime < float("inf"):
        return "max_runtime is no duration"
    if expected.schedule is not None and len(expected.schedule.split()) not in (5, 6):
        return "schedule is no cron expression"
    return None


def damaged_rows(rows: Iterable[tuple[str, str, Callable[[], object]]]) -> list[Damaged]:
    """Return the damaged ones of rows, each its table, its name, and what reads it."""
    from cronguard.core.text import show  # not on a run's path

    found = []
    for table, name, read in rows:
        try:
            value = read()
            problem = watch_problem(value) if isinstance(value, Watch) else None
        except UNREADABLE:
            problem = "it cannot be read"
        if problem:
            found.append(Damaged(table, show(name), problem, name))
    return found


def known_status(status: RunStatus) -> RunStatus:
    """Return the status of a run if it is one; raises ValueError."""
    if status not in get_args(RunStatus):
        raise ValueError("status")
    return status
