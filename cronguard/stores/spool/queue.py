"""The queue of a host's own database: outcomes that wait to be stored, job by job."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import NamedTuple

from cronguard.core.clock import rfc3339
from cronguard.core.model import Outcome, Run
from cronguard.stores.spool.values import outcome_of, outcome_text, readable, run_of, run_text
from cronguard.stores.sqlite import outbox
from cronguard.stores.sqlite.file import SQLiteFile

_KEPT = timedelta(days=30)
PAGE = 100
_MAX_ENDED = 1000
LONGEST_REPLAY_PAUSE = 3600.0
"""Seconds that an outcome which the store refuses waits at most before it is tried again."""
_FIRST_PAUSE = 15.0


class Entry(NamedTuple):
    """An outcome that waits to be stored. ``seq`` is its place in the queue."""

    seq: int
    run: Run
    outcome: Outcome
    started: bool
    notified: Collection[str]


class Queue(NamedTuple):
    """A job of which outcomes wait."""

    job: str
    refused: str | None
    """The store's code, where it refused the first of them; else None."""


class OutcomeQueue:
    """The queue in a file; every method raises `StoreError`, and nothing else."""

    def __init__(self, file: SQLiteFile, clock: Callable[[], datetime]) -> None:
        self._file = file
        self._clock = clock

    def waiting(self, *, besides: Collection[int] = ()) -> int:
        """Return how many outcomes wait, ``besides`` those in these places."""
        query = "SELECT seq FROM waiting WHERE seq > 0"
        found = self._file.read(lambda db: db.execute(query).fetchall())
        return sum(seq not in besides for (seq,) in found)

    def waits(self, job: str, *, besides: Collection[int] = ()) -> bool:
        """Tell whether outcomes of the job wait; costs the same however many do."""
        query = "SELECT seq FROM waiting WHERE job = ? AND seq > 0 ORDER BY seq LIMIT ?"
        parameters = (job, len(besides) + 1)
        found = self._file.read(lambda db: db.execute(query, parameters).fetchall())
        return any(seq not in besides for (seq,) in found)

    def jobs(self) -> list[str]:
        """Return the jobs of which something may wait."""
        query = "SELECT job FROM queues ORDER BY job"
        return [job for (job,) in self._file.read(lambda db: db.execute(query).fetchall())]

    def ended(self, job: str | None = None) -> list[str]:
        """Return runs, of one job or all, whose outcomes wait.

        Those of which the store took the start come first; it may have taken others too, where its
        answer was lost.
        """
        query = """
            SELECT DISTINCT run_id FROM waiting
            WHERE seq > 0 AND (? IS NULL OR job = ?) ORDER BY NOT started, seq DESC LIMIT ?"""
        found = self._file.read(lambda db: db.execute(query, (job, job, _MAX_ENDED)).fetchall())
        return [run_id for (run_id,) in found]

    def queues(self, first: str | None = None) -> list[Queue]:
        """Return the jobs whose outcomes wait and may be stored now, ``first`` in front.

        One whose outcome was refused is left alone for a while, unless it is ``first``.
        """
        now = rfc3339(self._clock())
        far = rfc3339(self._clock() + timedelta(seconds=LONGEST_REPLAY_PAUSE))
        query = """
            SELECT job, refused FROM queues
            WHERE job IS ? OR retry_at IS NULL OR NOT retry_at BETWEEN ? AND ?
            ORDER BY job IS NOT ?, retry_at IS NOT NULL, retry_at"""
        parameters = (first, now, far, first)
        found = self._file.read(lambda db: db.execute(query, parameters).fetchall())
        return [Queue(*row) for row in found]

    def refused(self) -> list[Queue]:
        """Return the jobs whose outcomes wait since the store refused the first of them."""
        query = "SELECT job, refused FROM queues WHERE refused IS NOT NULL ORDER BY job"
        return [Queue(*row) for row in self._file.read(lambda db: db.execute(query).fetchall())]

    def unreadable(self) -> list[str]:
        """Return the jobs of outcomes that cannot be read any more, one for each."""
        query = "SELECT job FROM waiting WHERE seq < 0 ORDER BY job"
        return [job for (job,) in self._file.read(lambda db: db.execute(query).fetchall())]

    def entries(self, job: str, *, after: int = 0, limit: int = PAGE) -> list[Entry]:
        """Return the first outcomes of a job after a place, in the order in which to store them.

        One that cannot be read any more is set aside, so that the others get their turn.
        """
        query = """
            SELECT seq, run, outcome, started, notified FROM waiting
            WHERE job = ? AND seq > ? ORDER BY seq LIMIT ?"""
        parameters = (job, after, limit)
        found = self._file.read(lambda db: db.execute(query, parameters).fetchall())
        entries, damaged = [], []
        for seq, begun, ended, started, notified in found:
            run, outcome = readable(run_of, begun), readable(outcome_of, ended)
            if run is None or outcome is None:
                damaged.append((seq,))
                continue
            channels = frozenset(notified.split(",") if notified else ())
            entries.append(Entry(seq, run, outcome, bool(started), channels))
        if damaged:

            def work(db: sqlite3.Connection) -> None:
                db.executemany("UPDATE waiting SET seq = -seq WHERE seq = ?", damaged)
                forget_if_empty(db, job)

            self._file.write(work)
            return entries or self.entries(job, after=after, limit=limit)
        return entries

    def tries(self, job: str) -> int:
        """Return how often the store refused a job's first outcome."""
        query = "SELECT tries FROM queues WHERE job = ?"
        row = self._file.read(lambda db: db.execute(query, (job,)).fetchone())
        return row[0] if row else 0

    def refuse(self, job: str, code: str, *, longest: float = LONGEST_REPLAY_PAUSE) -> None:
        """Note that the store refused a job's first outcome: it waits, longer each time."""

        def work(db: sqlite3.Connection) -> None:
            row = db.execute("SELECT tries FROM queues WHERE job = ?", (job,)).fetchone()
            tries = row[0] if row else 0
            retry_at = self._clock() + timedelta(seconds=_pause(tries, longest))
            db.execute(
                "UPDATE queues SET refused = ?, tries = ?, retry_at = ? WHERE job = ?",
                (code, tries + 1, rfc3339(retry_at), job),
            )

        self._file.write(work)

    def drop(self, entry: Entry) -> None:
        """Take out an outcome that has been stored."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM waiting WHERE seq = ?", (entry.seq,))
            db.execute(
                "UPDATE queues SET refused = NULL, tries = 0, retry_at = NULL WHERE job = ?",
                (entry.run.job,),
            )
            forget_if_empty(db, entry.run.job)
            outbox.prune(db, rfc3339(self._clock() - _KEPT))

        self._file.write(work)


# --- inside a transaction ---------------------------------------------------------------------


def enqueue(
    db: sqlite3.Connection, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str]
) -> None:
    """Put an outcome at the end of the queue; its run goes on no more."""
    db.execute(
        "INSERT INTO waiting (job, run_id, run, outcome, started, notified)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            *(run.job, run.run_id, run_text(run._replace(test_mode=False)), outcome_text(outcome)),
            *(started, ",".join(sorted(notified)) or None),
        ),
    )
    db.execute("DELETE FROM begun WHERE run_id = ?", (run.run_id,))


def forget_if_empty(db: sqlite3.Connection, job: str) -> None:
    """Let the store's word count again, once nothing of the job waits here."""
    query = "SELECT 1 FROM waiting WHERE job = ? AND seq > 0 LIMIT 1"
    if db.execute(query, (job,)).fetchone() is None:
        db.execute("DELETE FROM cronguard_jobs WHERE job = ?", (job,))
        db.execute("DELETE FROM queues WHERE job = ?", (job,))
        db.execute("DELETE FROM cron_execution_logs WHERE job = ? AND status <> 'running'", (job,))


def _pause(tries: int, longest: float) -> float:
    """Return the seconds after so many refusals in a row; with jitter, so that hosts differ."""
    most = min(longest, _FIRST_PAUSE * 2 ** min(tries, 20))
    return float(most * random.uniform(0.5, 1.0))  # noqa: S311  # jitter


__all__ = [
    "LONGEST_REPLAY_PAUSE",
    "PAGE",
    "Entry",
    "OutcomeQueue",
    "Queue",
    "enqueue",
    "forget_if_empty",
]
