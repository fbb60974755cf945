"""Keeping what is stated of a job in SQLite; only when that changes anything."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from cronguard.core import expectations as rules
from cronguard.core.clock import rfc3339
from cronguard.core.expectations import Declared, Known, redeclare, restate, restate_late
from cronguard.core.model import Expectations, Run, Source, Statement

_COLUMNS = ", ".join(Expectations._fields)
_KNOWN = f"SELECT {_COLUMNS}, sources, declared FROM cronguard_jobs WHERE job = ?"  # noqa: S608  # constants of this package
_KEEP = f"""
    UPDATE cronguard_jobs SET ({_COLUMNS}) = ({", ".join("?" * len(Expectations._fields))}),
        sources = ?, stated = ?
    WHERE job = ?"""  # noqa: S608  # constants of this package


def keep(
    db: sqlite3.Connection,
    run: Run,
    now: datetime,
    *,
    channels: str | None,
    text: str,
    late: bool,
) -> None:
    """Keep what a start states of its job, and its channels.

    Args:
        db: Inside a transaction.
        run: The run that states it.
        now: The store's time.
        channels: As text; None for those that are kept.
        text: The same statement, by which the next start that states it is recognized.
        late: Whether the run's end tells it, since the start was not stored.
    """
    before, _ = _known(db, run.job)
    after = restate_late(before, run, now) if late else restate(before, run.stated, now)
    # Of a late statement some may not hold: a start that states the same must be compared.
    _save(db, run.job, before, after, now, text=None if late else text)
    if channels is not None:
        db.execute(
            "UPDATE cronguard_jobs SET channels = ?, channels_stated = ? WHERE job = ?",
            (channels, bool(run.stated), run.job),
        )


def declare(
    db: sqlite3.Connection, job: str, stated: Sequence[Statement], host: str, now: datetime
) -> None:
    """Keep what a host's settings declare of a job that is registered."""
    before, declared = _known(db, job)
    after = redeclare(before, declared, stated, host, now)
    declaring = rules.declare(declared, stated, host)
    if after != before:
        _save(db, job, before, after, now, text=None)
    if declaring != declared:
        db.execute(
            "UPDATE cronguard_jobs SET declared = ? WHERE job = ?", (json.dumps(declaring), job)
        )


def _known(db: sqlite3.Connection, job: str) -> tuple[Known, Declared]:
    """Return what holds for a job, and what each host declared of it last."""
    *expected, sources, declared = db.execute(_KNOWN, (job,)).fetchone()
    hosts = _object(declared)
    return Known(Expectations(*expected), sources_of(sources)), {
        host: values for host, values in hosts.items() if isinstance(values, dict)
    }


def _save(
    db: sqlite3.Connection,
    job: str,
    before: Known,
    after: Known,
    now: datetime,
    *,
    text: str | None,
) -> None:
    """Write what holds for a job from now on; a schedule that is another one counts from now on.

    Without ``text`` the next start compares all that it states.
    """
    sources = {name: [each.origin, rfc3339(each.since)] for name, each in after.sources.items()}
    db.execute(_KEEP, (*after.expected, json.dumps(sources), text, job))
    if after.expected.plan != before.expected.plan:
        db.execute(
            "UPDATE cronguard_jobs SET judged_until = ?, silence = replace(silence, '|0|', '|1|')"
            " WHERE job = ?",
            (rfc3339(now), job),
        )


def sources_of(text: str | None) -> dict[str, Source]:
    """Return the sources kept in a job's row; none of a text that cannot be read."""
    with suppress(ValueError, TypeError, AttributeError):
        return read_sources(text)
    return {}


def read_sources(text: str | None) -> dict[str, Source]:
    """Return the same; raises ValueError, TypeError or AttributeError."""
    return {
        name: Source(origin, datetime.fromisoformat(since))
        for name, (origin, since) in json.loads(text or "{}").items()
    }


def _object(text: str | None) -> dict[str, Any]:
    """Return a JSON object; empty for what is none, since a row may have been written by hand."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
