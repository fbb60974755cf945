"""Keeping what is stated of a job in SQLite; only when that changes anything."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cronguard.core.clock import rfc3339
from cronguard.core.expectations import Known, redeclare, restate
from cronguard.core.model import Expectations, Source, Statement

_COLUMNS = ", ".join(Expectations._fields)
_KNOWN = f"SELECT {_COLUMNS}, sources, declared FROM cronguard_jobs WHERE job = ?"  # noqa: S608  # constants of this package
_KEEP = f"""
    UPDATE cronguard_jobs SET ({_COLUMNS}) = ({", ".join("?" * len(Expectations._fields))}),
        sources = ?, stated = ?, channels = coalesce(?, channels), declared = coalesce(?, declared)
    WHERE job = ?"""  # noqa: S608  # constants of this package


def keep(
    db: sqlite3.Connection,
    job: str,
    stated: Sequence[Statement],
    now: datetime,
    *,
    channels: str | None,
    text: str,
) -> None:
    """Keep what a start states of a job, with its channels; None for those that are kept.

    ``text`` is the same statement by which the next start that states it is recognized.
    """
    before, _ = _known(db, job)
    after = restate(before, stated, now)
    _save(db, job, before, after, now, text=text, channels=channels)


def declare(db: sqlite3.Connection, job: str, stated: Sequence[Statement], now: datetime) -> None:
    """Keep what settings declare of a job that is registered."""
    before, declared = _known(db, job)
    after = redeclare(before, declared, stated, now)
    declaring = {each.name: each.value for each in stated}
    if after != before or declaring != declared:
        _save(db, job, before, after, now, declared=json.dumps(declaring))


def _known(db: sqlite3.Connection, job: str) -> tuple[Known, dict[str, Any]]:
    """What holds for a job, and what was declared of it last."""
    *expected, sources, declared = db.execute(_KNOWN, (job,)).fetchone()
    known = Known(_expected_of(expected), sources_of(sources))
    return known, json.loads(declared) if declared else {}


def _save(
    db: sqlite3.Connection,
    job: str,
    before: Known,
    after: Known,
    now: datetime,
    *,
    text: str | None = None,
    channels: str | None = None,
    declared: str | None = None,
) -> None:
    """Write what holds for a job from now on; a schedule that is another one counts from now on.

    Without ``text`` the next start compares all that it states.
    """
    sources = {name: [each.origin, rfc3339(each.since)] for name, each in after.sources.items()}
    db.execute(_KEEP, (*after.expected, json.dumps(sources), text, channels, declared, job))
    if after.expected.plan != before.expected.plan:
        db.execute(
            "UPDATE cronguard_jobs SET judged_until = ?, seen_until = NULL WHERE job = ?",
            (rfc3339(now), job),
        )


def sources_of(text: str | None) -> dict[str, Source]:
    """Return the sources kept in a job's row; none for None."""
    found: dict[str, Any] = json.loads(text) if text else {}
    return {
        name: Source(origin, datetime.fromisoformat(since))
        for name, (origin, since) in found.items()
    }


def _expected_of(row: Sequence[Any]) -> Expectations:
    expected = Expectations(*row)
    return expected._replace(notify_recovery=bool(expected.notify_recovery))
