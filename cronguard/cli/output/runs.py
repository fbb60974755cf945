"""A job's runs at a glance: a strip of them, and how long they usually take."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cronguard.cli.output.lines import paint
from cronguard.core.model import RunRecord, RunStatus

_MIN_FOR_P95 = 5
_SIGNS: dict[RunStatus, tuple[str, str, str]] = {
    "success": ("▪", ".", "green"),
    "failure": ("✗", "x", "red"),
    "crashed": ("!", "!", "red"),
    "cancelled": ("-", "-", "yellow"),
    "skipped": ("~", "~", "yellow"),
    "running": ("▸", ">", "cyan"),
}
"""Each status's sign, the sign where there is no Unicode, and its colour."""


class Usual(NamedTuple):
    """How long successful runs take, in seconds."""

    p50: float
    p95: float | None
    """None for too few runs to say."""
    number: int
    """Of how many runs."""


def usual(runs: Iterable[RunRecord]) -> Usual | None:
    """Return how long the runs that succeeded took, by nearest rank; None if none did."""
    took = sorted(
        run.duration for run in runs if run.status == "success" and run.duration is not None
    )
    if not took:
        return None
    p95 = took[-(-95 * len(took) // 100) - 1] if len(took) >= _MIN_FOR_P95 else None
    return Usual(took[-(-len(took) // 2) - 1], p95, len(took))


def strip(runs: Sequence[RunRecord]) -> str:
    """Return a sign a run, the newest on the right; ``runs`` are newest first."""
    return "".join(paint(sign(run.status), _SIGNS[run.status][2]) for run in reversed(runs))


def legend(runs: Iterable[RunRecord]) -> str:
    """Return what the signs of these runs mean: ``▪ success  ✗ failure``."""
    there = {run.status for run in runs}
    return "  ".join(f"{sign(status)} {status}" for status in _SIGNS if status in there)


def sign(status: RunStatus) -> str:
    """Return the sign of a run's status; each is another character, not only another colour."""
    unicode, plain, _ = _SIGNS[status]
    try:
        unicode.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeError, LookupError):
        return plain
    return unicode
