"""The host's own database: what it records and decides while its store does not take it.

The tables, rules and transactions of the SQLite store, on a job that is seeded with what the store
said last of it, and a queue of what waits to be stored.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cronguard.core.alert_rule import (
    crash,
    finish_action,
    has_expired,
    later_step_keys,
    overrun_alerts,
)
from cronguard.core.clock import moment, rfc3339, rfc3339_or_none
from cronguard.core.model import (
    STREAK,
    AlertRecord,
    AlertRule,
    Delivery,
    DeliveryState,
    Expectations,
    Finished,
    JobState,
    KeptRun,
    Outcome,
    Overrun,
    Owner,
    Run,
    Settlement,
    Started,
)
from cronguard.stores.spool import degraded
from cronguard.stores.spool.known import Known
from cronguard.stores.spool.queue import OutcomeQueue, enqueue, forget_if_empty
from cronguard.stores.spool.values import outcome_of, readable, run_of, run_text
from cronguard.stores.sqlite import outbox, silences, starting
from cronguard.stores.sqlite import runs as rows
from cronguard.stores.sqlite.file import SQLiteFile
from cronguard.stores.sqlite.memory import MemoryFile

ALIVE_SECONDS = 1.0
"""Where all were alive, they are not judged again for so long: there may be hundreds, and each
start would judge them all."""
_MAX_SHOWN = 10_000
_HOLD_SECONDS = 10.0
"""Longer than it takes to store an outcome."""
_DECIDED = "run_id = ? AND state = 'pending' AND kind IN ('failing', 'still_failing', 'recovered')"
"""Alerts that wait and were decided on a run's end."""
_RELEASE = f"UPDATE cronguard_alerts SET claimed_until = NULL WHERE {_DECIDED} AND channel = ?"  # noqa: S608
_FORGET = f"DELETE FROM cronguard_alerts WHERE {_DECIDED} AND channel = ?"  # noqa: S608  # constants


class LocalStore:
    """The database of one store on this host; every method raises `StoreError`, and nothing else.

    ``path`` is its file; None keeps it in memory. ``timeout`` bounds every call in seconds.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        timeout: float = 1.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.path = path
        self._clock = clock
        self._judged: dict[str, float] = {}
        if path is None:
            self._file: SQLiteFile = MemoryFile(timeout, schema="spool")
        else:
            self._file = SQLiteFile(path, timeout, schema="spool")
        self.queue = OutcomeQueue(self._file, clock)
        """What waits to be stored."""

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    # --- runs -----------------------------------------------------------------------------------

    def begin(self, run: Run, known: Known, is_dead: Callable[[Owner], bool]) -> Started:
        """Record that a run begins, or that it is skipped since another run of this host goes on.

        What is skipped waits in the queue, as outcomes do.
        """
        now = time.monotonic()
        if run.overlap == "skip" or now - self._judged.get(run.job, -math.inf) >= ALIVE_SECONDS:
            self.count_dead(run.job, run.owner, is_dead, known)
            self._judged[run.job] = now
        holder = known.holder
        if holder is not None and not self._is_alive(holder, run.owner, is_dead):
            holder = None

        def work(db: sqlite3.Connection) -> Started:
            now = self._clock()
            _seed(db, run.job, known.state, now)
            if holder is not None and holder.run_id != run.run_id:
                rows.insert_running(db, holder, now)
            started, _ = starting.start(db, run, now, frozenset())
            if started.status == "skipped":
                skipped = Outcome("skipped", run.started_at, 0.0)
                enqueue(db, run, skipped, started=False, notified=())
            else:
                db.execute(
                    "INSERT INTO begun (run_id, job, run) VALUES (?, ?, ?)"
                    " ON CONFLICT (run_id) DO NOTHING",
                    (run.run_id, run.job, run_text(run)),
                )
            return started

        return self._file.write(work)

    def end(
        self,
        run: Run,
        outcome: Outcome,
        known: Known,
        *,
        started: bool,
        notified: Collection[str] = (),
    ) -> Finished:
        """Keep an outcome, and decide on it by what is known of the job here.

        With no known state, any failure is announced at once.
        """
        return self._file.write(
            lambda db: _end(
                db, run, outcome, self._clock(), known=known, started=started, notified=notified
            )
        )

    def renew(self, run_ids: Sequence[str], *, lease: float) -> None:
        """Let the leases of runs that are going on here end so many seconds from now."""
        until = rfc3339(self._clock() + timedelta(seconds=lease))

        def work(db: sqlite3.Connection) -> None:
            db.executemany(
                "UPDATE cron_execution_logs SET lease_expires_at = ?"
                " WHERE id = ? AND status = 'running'",
                [(until, run_id) for run_id in run_ids],
            )

        self._file.write(work)

    def dead(self, job: str | None, owner: Owner, is_dead: Callable[[Owner], bool]) -> list[Run]:
        """Return runs that began here and whose process is gone, judged as `Store.start_run` does.

        ``job`` None looks at every job.
        """
        query = """
            SELECT b.run, r.lease_expires_at FROM begun b
            LEFT JOIN cron_execution_logs r ON r.id = b.run_id
            WHERE ? IS NULL OR b.job = ? ORDER BY r.rowid"""
        found = self._file.read(lambda db: db.execute(query, (job, job)).fetchall())
        now, gone = self._clock(), []
        for text, until in found:
            run = readable(run_of, text)
            if run is None:
                continue
            if _is_here(run.owner, owner):
                is_gone = is_dead(run.owner)
            else:
                is_gone = has_expired(moment(until), now)
            if is_gone:
                gone.append(run._replace(test_mode=False))
        return gone

    def count_dead(
        self, job: str, owner: Owner, is_dead: Callable[[Owner], bool], known: Known
    ) -> None:
        """Count what `dead` finds of a job as crashed, and forget noted holders that are gone."""
        for run in self.dead(job, owner, is_dead):
            self.end(run, crash(self._clock()), known, started=False)
        query = """
            SELECT id, host, pid, process_space, process_started, lease_expires_at
            FROM cron_execution_logs WHERE job = ? AND status = 'running'
                AND id NOT IN (SELECT run_id FROM begun)"""
        noted = self._file.read(lambda db: db.execute(query, (job,)).fetchall())
        now, over = self._clock(), []
        for run_id, *process, until in noted:
            holder = Owner(*process)
            here = _is_here(holder, owner)
            if is_dead(holder) if here else has_expired(moment(until), now):
                over.append((run_id,))
        if over:
            self._file.write(
                lambda db: db.executemany("DELETE FROM cron_execution_logs WHERE id = ?", over)
            )

    def _is_alive(self, holder: Run, owner: Owner, is_dead: Callable[[Owner], bool]) -> bool:
        if _is_here(holder.owner, owner):
            return not is_dead(holder.owner)
        until = holder.started_at + timedelta(seconds=holder.lease)
        return not has_expired(until, self._clock())

    def holds(self, job: str, *, besides: Collection[str] = ()) -> bool:
        """Tell whether a run of the job that began here goes on, whose start the store misses."""
        query = "SELECT run_id FROM begun WHERE job = ?"
        found = self._file.read(lambda db: db.execute(query, (job,)).fetchall())
        return any(run_id not in besides for (run_id,) in found)

    def has_begun(self, run_id: str) -> bool:
        """Tell whether a run goes on whose start the store has not taken."""
        query = "SELECT 1 FROM begun WHERE run_id = ?"
        return self._file.read(lambda db: db.execute(query, (run_id,)).fetchone()) is not None

    def starts(self, job: str, after: datetime) -> list[datetime]:
        """Return when runs of the job started, later than ``after``, that the store may miss."""
        query = (
            "SELECT run FROM begun WHERE job = ? UNION ALL SELECT run FROM waiting WHERE job = ?"
        )
        found = self._file.read(lambda db: db.execute(query, (job, job)).fetchall())
        runs = [readable(run_of, text) for (text,) in found]
        return [run.started_at for run in runs if run is not None and run.started_at > after]

    def kept(self, *, besides: Collection[int] = ()) -> list[KeptRun]:
        """Return the outcomes that wait, in order, and then the runs that go on here."""
        waiting = (
            "SELECT seq, run, outcome, started FROM waiting WHERE seq > 0 ORDER BY seq LIMIT ?"
        )
        begun = """
            SELECT b.run, r.lease_expires_at FROM begun b
            LEFT JOIN cron_execution_logs r ON r.id = b.run_id ORDER BY r.rowid"""
        outcomes = self._file.read(lambda db: db.execute(waiting, (_MAX_SHOWN,)).fetchall())
        runs = self._file.read(lambda db: db.execute(begun).fetchall())
        now, found = self._clock(), []
        for seq, text, outcome, started in outcomes:
            run, end = readable(run_of, text), readable(outcome_of, outcome)
            if run is not None and end is not None and seq not in besides:
                found.append(KeptRun(run, end, started=bool(started)))
        for text, until in runs:
            run = readable(run_of, text)
            if run is not None:
                found.append(KeptRun(run, None, has_expired(moment(until), now)))
        return found

    def drop_begun(self, run: Run) -> None:
        """Forget that a run goes on here: the store knows of it, or has its outcome."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM begun WHERE run_id = ?", (run.run_id,))
            db.execute(
                "DELETE FROM cron_execution_logs WHERE id = ? AND status = 'running'",
                (run.run_id,),
            )
            forget_if_empty(db, run.job)

        self._file.write(work)

    def forget(self, job: str) -> None:
        """Drop the job's streak and its alerts that have not gone out."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM cronguard_jobs WHERE job = ?", (job,))
            db.execute("DELETE FROM cronguard_alerts WHERE job = ? AND state <> 'sent'", (job,))

        self._file.write(work)

    def is_empty(self) -> bool:
        """Tell whether nothing is kept here that is of use: no job, no run, no alert to send."""
        query = """
            SELECT EXISTS (SELECT 1 FROM queues) OR EXISTS (SELECT 1 FROM begun)
                OR EXISTS (SELECT 1 FROM cronguard_alerts WHERE state = 'pending')
                OR EXISTS (SELECT 1 FROM cron_execution_logs)"""
        return not self._file.read(lambda db: db.execute(query).fetchone())[0]

    # --- alerts ---------------------------------------------------------------------------------

    def announce_overrun(
        self, overrun: Overrun, rules: Sequence[AlertRule], known: Known, host: str
    ) -> bool:
        """Do `Store.announce_overrun` without asking the store."""

        def work(db: sqlite3.Connection) -> bool:
            now = self._clock()
            job = rows.find_job(db, overrun.job)
            state = job.state if job else known.state or JobState()
            outbox.enqueue(db, now, degraded.overrun_alerts(overrun, rules, state, now, host))
            return outbox.is_due(db, overrun.job, now)

        return self._file.write(work)

    def not_notified(self, overrun: Overrun, rules: Sequence[AlertRule]) -> list[AlertRule]:
        """Return the rules whose channels this host notified neither of it nor of a later step."""
        query = "SELECT alert_key FROM cronguard_alerts WHERE run_id = ? AND kind = 'overrun'"
        found = self._file.read(lambda db: db.execute(query, (overrun.run_id,)).fetchall())
        known = {key for (key,) in found}
        return [
            rule
            for rule, due in zip(rules, overrun_alerts(overrun, rules), strict=True)
            if known.isdisjoint([due.key, *later_step_keys(overrun, rule.channel)])
        ]

    def is_due(self, job: str) -> bool:
        """Tell whether an alert of the job waits here."""
        return self._file.read(lambda db: outbox.is_due(db, job, self._clock()))

    def claim(self, wanted: outbox.Wanted) -> list[Delivery]:
        """Do `Store.claim_alerts`."""
        return self._file.write(lambda db: outbox.claim(db, wanted, self._clock()))

    def settle(self, delivery: Delivery, settlement: Settlement) -> bool:
        """Do `Store.settle_alert`."""
        return self._file.write(lambda db: outbox.settle(db, delivery, settlement, self._clock()))

    def hold_alerts(self, run_id: str) -> set[str]:
        """Send nothing that was decided here on a run's end, for a while; return the channels.

        What is being sent already is left alone.
        """

        def work(db: sqlite3.Connection) -> set[str]:
            now = self._clock()
            mine = f"""{_DECIDED} AND (claimed_until IS NULL OR claimed_until <= ?)"""
            parameters = (run_id, rfc3339(now))
            found = db.execute(
                f"SELECT channel FROM cronguard_alerts WHERE {mine}",  # noqa: S608  # constants
                parameters,
            ).fetchall()
            db.execute(
                f"UPDATE cronguard_alerts SET claimed_until = ? WHERE {mine}",  # noqa: S608  # constants
                (rfc3339(now + timedelta(seconds=_HOLD_SECONDS)), *parameters),
            )
            return {channel for (channel,) in found}

        return self._file.write(work)

    def release_alerts(self, run_id: str, channels: Collection[str], *, forget: bool) -> None:
        """Undo `hold_alerts`, or ``forget`` the alerts: the store has made its own of them."""
        statement = _FORGET if forget else _RELEASE
        self._file.write(
            lambda db: db.executemany(statement, [(run_id, channel) for channel in channels])
        )

    def counts(self) -> dict[tuple[str, str], tuple[int, datetime]]:
        """Return how many alerts there are of each job in each state, and since when."""
        query = """
            SELECT job, state, count(*), min(created_at) FROM cronguard_alerts
            GROUP BY job, state"""
        found = self._file.read(lambda db: db.execute(query).fetchall())
        return {
            (job, state): (number, datetime.fromisoformat(since))
            for job, state, number, since in found
        }

    def alerts(self, state: DeliveryState | None, job: str | None, limit: int) -> list[AlertRecord]:
        """Do `Store.alerts`."""
        return self._file.read(lambda db: outbox.alerts(db, state, job, limit))


# --- inside a transaction ---------------------------------------------------------------------


def _end(
    db: sqlite3.Connection,
    run: Run,
    outcome: Outcome,
    now: datetime,
    *,
    known: Known,
    started: bool,
    notified: Collection[str],
) -> Finished:
    is_known = _seed(db, run.job, known.state, now)
    row = db.execute(
        "SELECT status, consecutive_failure_count FROM cron_execution_logs WHERE id = ?",
        (run.run_id,),
    ).fetchone()
    if row and finish_action(row[0], outcome.status, started=False) == "ignore":
        return Finished(row[1], outbox.is_due(db, run.job, now))
    if db.execute("SELECT 1 FROM begun WHERE run_id = ?", (run.run_id,)).fetchone():
        started = False  # only this host knows of the start
    outage = degraded.Outage(is_known=is_known)
    finished, _ = rows.finish(
        db, run, outcome, now, started=False, notified=notified, outage=outage
    )
    enqueue(db, run, outcome, started=started, notified={*notified, *outage.notified})
    if STREAK[outcome.status] != "keep":  # of which nothing can be learned
        db.execute("UPDATE queues SET is_known = 1 WHERE job = ?", (run.job,))
    return finished


def _seed(db: sqlite3.Connection, job: str, state: JobState | None, now: datetime) -> bool:
    """Make the job's row of what is known of it, unless there is one.

    Returns:
        Whether its count is known, and not a guess.
    """
    if rows.find_job(db, job) is None:
        rows.register(db, job, now)
        if state is not None:
            _save_known(db, job, state)
        db.execute(
            "INSERT INTO queues (job, is_known) VALUES (?, ?)"
            " ON CONFLICT (job) DO UPDATE SET is_known = excluded.is_known",
            (job, state is not None),
        )
    row = db.execute("SELECT is_known FROM queues WHERE job = ?", (job,)).fetchone()
    return bool(row and row[0])


def _save_known(db: sqlite3.Connection, job: str, state: JobState) -> None:
    """Write what the store said of a job into the row that it has here."""
    rows.save_state(db, job, state, rfc3339_or_none(state.last_success_at))
    if state.silence is not None:
        silences.save_silence(db, job, state.silence)
    columns = ", ".join(f"{name} = ?" for name in Expectations._fields)
    db.execute(
        f"UPDATE cronguard_jobs SET snoozed_until = ?, {columns} WHERE job = ?",  # noqa: S608  # names of fields
        (rfc3339_or_none(state.snoozed_until), *state.expected, job),
    )


def _is_here(owner: Owner, mine: Owner) -> bool:
    """Tell whether a process is in a process space where it can be judged directly."""
    return owner.space is not None and owner.space == mine.space


__all__ = ["ALIVE_SECONDS", "LocalStore"]
