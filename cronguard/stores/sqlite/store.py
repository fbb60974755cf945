"""The embedded default: one SQLite file, exact under any number of writers on one machine.

Write-ahead logging with ``synchronous=NORMAL``: a committed run survives the death of its process;
a power cut can take at most what the operating system had not yet written. The file is private to
its user (0600) and is never deleted, whatever state it is in.
"""

from __future__ import annotations

import math
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cronguard.core.clock import rfc3339, rfc3339_or_none
from cronguard.core.errors import ConfigError
from cronguard.core.model import (
    Activity,
    AlertRecord,
    AlertRule,
    Delivery,
    DeliveryState,
    Finished,
    JobState,
    JobStatus,
    Missed,
    Outcome,
    Overrun,
    Owner,
    Run,
    RunRecord,
    RunStatus,
    Settlement,
    Started,
    Statement,
    Watch,
)
from cronguard.stores.sqlite import runs as rows
from cronguard.stores.sqlite.file import SQLiteFile

if TYPE_CHECKING:
    from cronguard.core.damage import Damaged

_utc_now: Callable[[], datetime] = partial(datetime.now, UTC)


class SQLiteStore:
    """A `cronguard.core.interfaces.Store` in one file; ``:memory:`` for one that needs no disk.

    What is in memory is this object's alone, outlives `close`, and is gone with the process; the
    child of a fork has a copy of it. ``timeout`` bounds every call in seconds, waiting for other
    writers included. ``clock`` is what leases, claims and snoozes are measured with.
    """

    bounded = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        timeout: float = 2.0,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.path = Path(path)
        self._file = _file(self.path, timeout)
        self._clock = clock
        self._swept: dict[str, float] = {}
        self._memory = Memory({}, {}, [])
        self._file.carry_over = partial(_carry_over, self._memory, clock)

    @classmethod
    def from_url(cls, url: str, *, timeout: float = 2.0) -> SQLiteStore:
        """Open ``sqlite:///relative`` or ``sqlite:////absolute``."""
        scheme, _, path = url.partition(":///")
        if scheme != "sqlite" or not path or str(Path(path)).startswith(":"):
            raise ConfigError(
                "a SQLite store needs a file: write sqlite:///relative/path.db or"
                " sqlite:////absolute/path.db"
            )
        return cls(path, timeout=timeout)

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self.path)!r})"

    # --- runs -----------------------------------------------------------------------------------

    def start_run(
        self, run: Run, *, is_dead: Callable[[Owner], bool], ended: Collection[str] = ()
    ) -> Started:
        def remember(found: tuple[Started, rows.Seen] | None) -> None:
            if found is not None:
                self._memory.jobs[run.job] = (run.started_at, found[1])
                if found[0].status == "running":
                    self._memory.runs[run.run_id] = run

        def work(db: sqlite3.Connection) -> tuple[Started, rows.Seen] | None:
            seen = self._memory.jobs.get(run.job)  # the file may have been restored just now
            return rows.start_unopposed(db, run, self._clock(), seen and seen[1][4])

        found = self._file.write(work, remember)
        if found is not None:
            return found[0]
        from cronguard.stores.sqlite import starting  # most starts are unopposed

        # Processes are judged before the file is locked; who appears meanwhile has just started.
        dead: set[Owner] = set()
        if run.overlap == "skip" or self._time_to_sweep(run.job):
            owners = self._file.read(lambda db: starting.owners(db, run, ended))
            dead = {owner for owner in owners if is_dead(owner)}
            if owners and not dead:
                self._swept[run.job] = time.monotonic()
        return self._file.write(
            lambda db: starting.start(
                db, run, self._clock(), dead, ended=ended, reconcile=self._reconciled
            ),
            remember,
        )[0]

    def _time_to_sweep(self, job: str) -> bool:
        """Tell whether the job's processes were not all found alive within the last second.

        Unless a start depends on it they are not judged again: many may run side by side.
        """
        return time.monotonic() - self._swept.get(job, -math.inf) >= 1.0

    def finish_run(
        self, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str] = ()
    ) -> Finished:
        memory = self._memory

        def work(db: sqlite3.Connection) -> tuple[Finished, rows.Seen | None]:
            elsewhere = memory.replaced and run.started_at <= memory.replaced[-1]
            return rows.finish(
                db,
                run,
                outcome,
                self._clock(),
                started=started and not elsewhere,
                notified=notified,
                reconcile=self._reconciled,
            )

        def remember(done: tuple[Finished, rows.Seen | None]) -> None:
            memory.runs.pop(run.run_id, None)
            if done[1] is not None:
                memory.jobs[run.job] = (outcome.finished_at, done[1])

        return self._file.write(work, remember)[0]

    def _reconciled(self, db: sqlite3.Connection, job: str, there: JobState) -> JobState:
        """Return the state of a job to go on with: an earlier one was restored where the file does
        not know the run that this process saw counted last."""
        seen = None if _is_in_memory(self.path) else self._memory.jobs.get(job)
        if seen is None or there.last_counted_run == (last := seen[1][4]):
            return there
        if last is None or rows.has_counted(db, last):
            return there
        from cronguard.stores.sqlite.replaced.carrying import rejoined  # hardly ever

        state = rejoined(db, job, there, seen)
        if state is not there:
            self._file.note_restored()
            self._memory.replaced.append(self._clock())
        return state

    def heartbeat(
        self, run_ids: Sequence[str], *, lease: float, ended: Collection[str] = ()
    ) -> None:
        def work(db: sqlite3.Connection) -> None:
            until = rfc3339(self._clock() + timedelta(seconds=lease))
            db.executemany(
                "UPDATE cron_execution_logs SET lease_expires_at = ?"
                " WHERE id = ? AND status = 'running'",
                [(until, run_id) for run_id in run_ids],
            )
            db.executemany(rows.RELEASE, [(until, run_id) for run_id in ended])

        self._file.write(work)

    def unlock(self, job: str) -> int:
        def work(db: sqlite3.Connection) -> int:
            return db.execute(
                "UPDATE cron_execution_logs INDEXED BY cron_execution_logs_running"
                " SET holds_lease = 0 WHERE job = ? AND status = 'running' AND holds_lease",
                (job,),
            ).rowcount

        return self._file.write(work)

    # --- what is expected -----------------------------------------------------------------------

    def sweep(
        self, owner: Owner, *, is_dead: Callable[[Owner], bool], ended: Collection[str] = ()
    ) -> list[RunRecord]:
        from cronguard.stores.sqlite import expectations as expected  # not on a run's path

        found = self._file.read(lambda db: expected.owners(db, owner.space, ended))
        dead = {each for each in found if is_dead(each)}
        return self._file.write(lambda db: expected.sweep(db, owner, self._clock(), dead, ended))

    def declare(self, job: str, stated: Sequence[Statement], *, host: str = "") -> None:
        from cronguard.stores.sqlite.expectations import declare  # not on a run's path

        self._file.write(lambda db: declare(db, job, stated, host, self._clock()))

    def watches(self) -> list[Watch]:
        from cronguard.stores.sqlite.expectations import watches  # not on a run's path

        return self._file.read(lambda db: watches(db, self._clock()))

    def damaged(self) -> list[Damaged]:
        from cronguard.stores.sqlite.expectations import damaged  # not on a run's path

        return self._file.read(lambda db: damaged(db, self._clock()))

    def starts(self, job: str, *, after: datetime, limit: int = 10_000) -> list[datetime]:
        from cronguard.stores.sqlite.expectations import starts  # not on a run's path

        return self._file.read(lambda db: starts(db, job, after, limit))

    def announce_overrun(self, overrun: Overrun, rules: Sequence[AlertRule]) -> bool:
        from cronguard.stores.sqlite.expectations import announce_overrun  # not on a run's path

        return self._file.write(lambda db: announce_overrun(db, overrun, rules, self._clock()))

    def announce_missed(self, missed: Missed, rules: Sequence[AlertRule]) -> bool:
        from cronguard.stores.sqlite.expectations import announce_missed  # not on a run's path

        return self._file.write(lambda db: announce_missed(db, missed, rules, self._clock()))

    def forget(self, job: str) -> bool:
        from cronguard.stores.sqlite.expectations import forget  # not on a run's path

        def remember(_: bool) -> None:
            self._memory.jobs.pop(job, None)

        return self._file.write(lambda db: forget(db, job), remember)

    # --- the outbox -----------------------------------------------------------------------------

    def claim_alerts(
        self,
        *,
        channels: Sequence[str],
        job: str | None = None,
        force: bool = False,
        state: DeliveryState = "pending",
        limit: int = 100,
        claim_for: float = 10.0,
    ) -> list[Delivery]:
        from cronguard.stores.sqlite import outbox  # only where an alert is due

        wanted = outbox.Wanted(tuple(channels), job, force, state, limit, claim_for)
        return self._file.write(lambda db: outbox.claim(db, wanted, self._clock()))

    def settle_alert(self, delivery: Delivery, settlement: Settlement) -> bool:
        from cronguard.stores.sqlite import outbox  # only where an alert is due

        return self._file.write(lambda db: outbox.settle(db, delivery, settlement, self._clock()))

    def alerts(
        self, *, state: DeliveryState | None = None, job: str | None = None, limit: int = 100
    ) -> list[AlertRecord]:
        from cronguard.stores.sqlite import outbox  # not on a run's path

        return self._file.read(lambda db: outbox.alerts(db, state, job, limit))

    # --- to be shown, and housekeeping ----------------------------------------------------------

    def jobs(self) -> list[JobStatus]:
        from cronguard.stores.sqlite.views import jobs  # not on a run's path

        return self._file.read(lambda db: jobs(db, self._clock()))

    def history(
        self,
        job: str,
        *,
        limit: int = 20,
        statuses: Collection[RunStatus] = (),
        since: datetime | None = None,
    ) -> list[RunRecord]:
        from cronguard.stores.sqlite.views import records  # not on a run's path

        where, values = "job = ?", [job]
        if statuses:
            where += f" AND status IN ({', '.join('?' * len(statuses))})"
            values += statuses
        if since is not None:
            where += " AND started_at >= ?"
            values.append(rfc3339(since))
        return self._file.read(lambda db: list(records(db, where, tuple(values), limit=limit)))

    def recent(self, *, limit: int = 20) -> list[RunRecord]:
        from cronguard.stores.sqlite.activity import recent  # not on a run's path

        return self._file.read(lambda db: recent(db, limit))

    def activity(self, *, since: datetime, step: float) -> list[Activity]:
        from cronguard.stores.sqlite.activity import activity  # not on a run's path

        return self._file.read(lambda db: activity(db, since, step))

    def snooze(self, job: str, until: datetime | None) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            return bool(
                db.execute(
                    "UPDATE cronguard_jobs SET snoozed_until = ? WHERE job = ?",
                    (rfc3339_or_none(until), job),
                ).rowcount
            )

        return self._file.write(work)

    def prune(
        self,
        *,
        keep: timedelta,
        progress: Callable[[int, int], None] | None = None,
        dry_run: bool = False,
    ) -> int:
        from cronguard.stores.sqlite import outbox  # not on a run's path
        from cronguard.stores.sqlite import views as shown

        before = rfc3339(self._clock() - keep)
        last, kept = self._file.read(shown.prune_plan)
        deleted = done = 0
        while done < last:
            batch = shown.PruneBatch(done + 1, before, kept)
            deleted += self._file.read(batch.count) if dry_run else self._file.write(batch.delete)
            done = min(batch.last, last)
            if progress:
                progress(done, last)
        if not dry_run:
            self._file.write(lambda db: outbox.prune(db, before))
            self._let_go_of_pruned()
        return deleted

    def _let_go_of_pruned(self) -> None:
        """Expect no outcome in the file any more that is not there after a prune of ours."""
        known = self._memory.jobs

        def gone(db: sqlite3.Connection) -> list[str]:
            last = {job: seen[1][4] for job, seen in known.items()}
            return [job for job, run in last.items() if run and not rows.has_counted(db, run)]

        def forget(jobs: list[str]) -> None:
            for job in jobs:
                del known[job]

        self._file.write(gone, forget)

    def migrate(self) -> bool:
        """Create or upgrade the schema now; True if anything had to be done."""
        return self._file.migrate()

    def close(self) -> None:
        self._file.close()


class Memory(NamedTuple):
    """What this process knows of its jobs, for the day when the file is replaced: see ``replaced``.

    It is only changed with the file's lock taken.
    """

    jobs: dict[str, tuple[datetime, rows.Seen]]
    """Job → its state after the last transaction that read or wrote it, and a time until which the
    state holds all outcomes."""
    runs: dict[str, Run]
    """The runs that began here and whose end has not been written, by their id."""
    replaced: list[datetime]
    """When the file was found to be replaced."""


def _carry_over(
    memory: Memory,
    clock: Callable[[], datetime],
    old: sqlite3.Connection | None,
    new: sqlite3.Connection,
) -> None:
    from cronguard.stores.sqlite.replaced.carrying import carry_over  # hardly ever

    now = clock()
    carry_over(old, new, memory.jobs, memory.runs, now)
    memory.replaced.append(now)


def _file(path: Path, timeout: float) -> SQLiteFile:
    if not _is_in_memory(path):
        return SQLiteFile(path, timeout)
    from cronguard.stores.sqlite.memory import MemoryFile  # seldom in a job

    return MemoryFile(timeout)


def _is_in_memory(path: Path) -> bool:
    return str(path) == ":memory:"
