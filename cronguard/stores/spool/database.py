"""The local spool: what a host records and decides while its store is out of reach.

A SQLite file a store, made when it is first needed. Outcomes wait in it in their order; alerts are
decided on what was last known of the job, in the transaction that keeps the outcome, and are sent
from an outbox of the spool's own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cronguard.core.alert_rule import later_step_keys, overrun_alerts
from cronguard.core.clock import moment, rfc3339
from cronguard.core.model import (
    AlertRecord,
    AlertRule,
    Delivery,
    DeliveryState,
    Finished,
    JobState,
    Outcome,
    Overrun,
    Owner,
    Run,
    Settlement,
)
from cronguard.stores.spool import decisions
from cronguard.stores.spool.values import outcome_of, outcome_text, readable, run_of, run_text
from cronguard.stores.sqlite import outbox
from cronguard.stores.sqlite.file import SQLiteFile
from cronguard.stores.sqlite.runs import has_expired

_KEPT = timedelta(days=30)
_PAGE = 100


class Entry(NamedTuple):
    """An outcome that the store has yet to be told. ``seq`` is its place in the queue."""

    seq: int
    run: Run
    outcome: Outcome
    started: bool
    notified: frozenset[str]


class Spool:
    """The spool of one store on this host; every method raises `StoreError`, and nothing else.

    ``timeout`` bounds every call in seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        timeout: float = 1.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.path = path
        self._file = SQLiteFile(path, timeout, schema="spool")
        self._clock = clock

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    # --- runs -----------------------------------------------------------------------------------

    def begin(self, run: Run) -> None:
        """A run has started whose start the store has not taken."""

        def work(db: sqlite3.Connection) -> None:
            until = rfc3339(self._clock() + timedelta(seconds=run.lease))
            db.execute(
                "INSERT INTO spool (run_id, job, run, started, lease_expires_at)"
                " VALUES (?, ?, ?, 0, ?) ON CONFLICT (run_id) DO NOTHING",
                (run.run_id, run.job, run_text(run), until),
            )

        self._file.write(work)

    def end(
        self,
        run: Run,
        outcome: Outcome,
        *,
        started: bool,
        known: JobState | None,
        notified: Collection[str] = (),
    ) -> Finished:
        """Keep an outcome, and decide on it by what is known of the job here.

        ``known`` is the job's state as the store told it last, None if it never did; it counts only
        while no outcome of the job waits here. With no known state, any failure is announced.
        """
        return self._file.write(
            lambda db: decisions.end(
                db, run, outcome, self._clock(), started=started, known=known, notified=notified
            )
        )

    def renew(self, run_ids: Sequence[str], *, lease: float) -> None:
        """Let the leases of runs that began here end so many seconds from now."""
        until = rfc3339(self._clock() + timedelta(seconds=lease))

        def work(db: sqlite3.Connection) -> None:
            db.executemany(
                "UPDATE spool SET lease_expires_at = ? WHERE run_id = ? AND seq IS NULL",
                [(until, run_id) for run_id in run_ids],
            )

        self._file.write(work)

    def dead(self, owner: Owner, is_dead: Callable[[Owner], bool]) -> list[Run]:
        """Runs that began here and whose process is gone, judged as `Store.start_run` does."""
        now = self._clock()
        query = "SELECT run, lease_expires_at FROM spool WHERE seq IS NULL ORDER BY rowid"
        found = self._file.read(lambda db: db.execute(query).fetchall())
        gone = []
        for text, until in found:
            run = readable(run_of, text)
            if run is None:
                continue
            here = run.owner.space is not None and run.owner.space == owner.space
            if is_dead(run.owner) if here else has_expired(moment(until), now):
                gone.append(run._replace(test_mode=False))
        return gone

    def began_here(self, run_id: str) -> bool:
        """Whether a run is going on whose start the store was not told."""
        query = "SELECT 1 FROM spool WHERE run_id = ? AND seq IS NULL"
        return self._file.read(lambda db: db.execute(query, (run_id,)).fetchone()) is not None

    def starts(self, job: str, after: datetime) -> list[datetime]:
        """When runs of the job started, later than ``after``, that the store may not know of."""
        query = "SELECT run FROM spool WHERE job = ?"
        found = self._file.read(lambda db: db.execute(query, (job,)).fetchall())
        runs = [readable(run_of, text) for (text,) in found]
        return [run.started_at for run in runs if run is not None and run.started_at > after]

    def waiting(self, *, besides: Collection[str] = ()) -> int:
        """How many outcomes the store has yet to be told, ``besides`` these runs'."""
        query = "SELECT run_id FROM spool WHERE seq > 0"
        found = self._file.read(lambda db: db.execute(query).fetchall())
        return sum(run_id not in besides for (run_id,) in found)

    def waits(self, *, besides: Collection[str] = ()) -> bool:
        """Whether any does; costs the same however many do."""
        query = "SELECT run_id FROM spool WHERE seq > 0 ORDER BY seq LIMIT ?"
        found = self._file.read(lambda db: db.execute(query, (len(besides) + 1,)).fetchall())
        return any(run_id not in besides for (run_id,) in found)

    def entries(self, *, after: int = 0, limit: int = _PAGE) -> list[Entry]:
        """The first outcomes that wait after a place in the queue, in the order in which they must
        be told.

        One that cannot be read any more is set aside, so that the others get their turn.
        """
        found = self._file.read(
            lambda db: db.execute(
                "SELECT run_id, seq, run, outcome, started, told FROM spool WHERE seq > ?"
                " ORDER BY seq LIMIT ?",
                (after, limit),
            ).fetchall()
        )
        entries, damaged = [], []
        for run_id, seq, begun, ended, started, notified in found:
            run, outcome = readable(run_of, begun), readable(outcome_of, ended)
            if run is None or outcome is None:
                damaged.append((run_id,))
                continue
            channels = frozenset(notified.split(",") if notified else ())
            entries.append(Entry(seq, run, outcome, bool(started), channels))
        if damaged:
            self._file.write(lambda db: _set_aside(db, damaged))
            return entries or self.entries(after=after, limit=limit)
        return entries

    def set_aside(self, run: Run, outcome: Outcome) -> None:
        """The store refuses this run for good: it waits no more, and is kept for a look."""

        def work(db: sqlite3.Connection) -> None:
            first = "SELECT coalesce(max(abs(seq)), 0) + 1 FROM spool"
            db.execute(
                "INSERT INTO spool (run_id, seq, job, run, outcome, started)"  # noqa: S608  # constants
                f" VALUES (?, ({first}), ?, ?, ?, 0) ON CONFLICT (run_id) DO UPDATE"
                " SET outcome = excluded.outcome, seq = coalesce(spool.seq, excluded.seq)",
                (run.run_id, run.job, run_text(run), outcome_text(outcome)),
            )
            _set_aside(db, [(run.run_id,)])

        self._file.write(work)

    def aside(self) -> list[str]:
        """The jobs whose outcomes were set aside, one for each of these."""
        query = "SELECT job FROM spool WHERE seq < 0 ORDER BY job"
        return [job for (job,) in self._file.read(lambda db: db.execute(query).fetchall())]

    def drop(self, run_id: str) -> None:
        """The store has it now."""

        def work(db: sqlite3.Connection) -> None:
            jobs = db.execute("SELECT job FROM spool WHERE run_id = ?", (run_id,)).fetchall()
            db.execute("DELETE FROM spool WHERE run_id = ?", (run_id,))
            db.executemany(
                "DELETE FROM spool_jobs WHERE job = ? AND NOT EXISTS"
                " (SELECT 1 FROM spool WHERE spool.job = spool_jobs.job AND seq > 0)",
                jobs,
            )
            outbox.prune(db, rfc3339(self._clock() - _KEPT))

        self._file.write(work)

    def forget(self, job: str) -> None:
        """Its alerts that have not gone out, and its streak, count no more."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM spool_jobs WHERE job = ?", (job,))
            db.execute("DELETE FROM cronguard_alerts WHERE job = ? AND state <> 'sent'", (job,))

        self._file.write(work)

    # --- alerts ---------------------------------------------------------------------------------

    def announce_overrun(
        self, overrun: Overrun, rules: Sequence[AlertRule], known: JobState | None, host: str
    ) -> bool:
        """As `Store.announce_overrun`; what the store would say is not asked."""
        return self._file.write(
            lambda db: decisions.announce_overrun(
                db, overrun, rules, self._clock(), known=known, host=host
            )
        )

    def not_notified(self, overrun: Overrun, rules: Sequence[AlertRule]) -> list[AlertRule]:
        """Those whose channels have had neither this news of the run nor a later one from here."""
        query = "SELECT alert_key FROM cronguard_alerts WHERE run_id = ? AND kind = 'overrun'"
        rows = self._file.read(lambda db: db.execute(query, (overrun.run_id,)).fetchall())
        known = {key for (key,) in rows}
        return [
            rule
            for rule, due in zip(rules, overrun_alerts(overrun, rules), strict=True)
            if known.isdisjoint([due.key, *later_step_keys(overrun, rule.channel)])
        ]

    def is_due(self, job: str) -> bool:
        """Whether an alert of the job waits here."""
        return self._file.read(lambda db: outbox.is_due(db, job, self._clock()))

    def claim(self, wanted: outbox.Wanted) -> list[Delivery]:
        """As `Store.claim_alerts`."""
        return self._file.write(lambda db: outbox.claim(db, wanted, self._clock()))

    def settle(self, delivery: Delivery, settlement: Settlement) -> bool:
        """As `Store.settle_alert`."""
        return self._file.write(lambda db: outbox.settle(db, delivery, settlement, self._clock()))

    def counts(self) -> dict[tuple[str, str], int]:
        """How many alerts there are of each job in each state."""
        query = "SELECT job, state, count(*) FROM cronguard_alerts GROUP BY job, state"
        found = self._file.read(lambda db: db.execute(query).fetchall())
        return {(job, state): number for job, state, number in found}

    def alerts(self, state: DeliveryState | None, job: str | None, limit: int) -> list[AlertRecord]:
        """As `Store.alerts`."""
        return self._file.read(lambda db: outbox.alerts(db, state, job, limit))


def _set_aside(db: sqlite3.Connection, run_ids: Sequence[tuple[str]]) -> None:
    db.executemany("UPDATE spool SET seq = -seq WHERE run_id = ? AND seq > 0", run_ids)
    db.execute("DELETE FROM spool_jobs WHERE job NOT IN (SELECT job FROM spool WHERE seq > 0)")
