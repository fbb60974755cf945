"""What waits because the store did not take it: what it is, and when it is replayed.

Outcomes wait in the host's own database; where that cannot be written, in one in memory. Each
job's are stored in their order, exactly once. What the store does not take of one job holds up no
other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from cronguard.core.alert_rule import crash
from cronguard.core.errors import StoreError
from cronguard.core.model import (
    AlertRecord,
    AlertRule,
    Delivery,
    DeliveryState,
    Finished,
    JobStatus,
    KeptRun,
    Outcome,
    Overrun,
    Owner,
    Run,
    RunRecord,
    Settlement,
    Started,
)
from cronguard.process.threads import take
from cronguard.stores.spool.known import Known
from cronguard.stores.spool.local import ALIVE_SECONDS, LocalStore
from cronguard.stores.spool.places import UNWRITABLE, Places
from cronguard.stores.spool.queue import Queue
from cronguard.stores.spool.refusals import is_away
from cronguard.stores.spool.replay import Replay
from cronguard.stores.sqlite.outbox import Wanted

T = TypeVar("T")

REPLAY_SECONDS = 0.4
"""How long a start or a finish may spend on what waits, before it goes to the end of the queue."""


class Backlog:
    """What waits for a store on this host: in ``path``, or in memory where that is None."""

    def __init__(
        self,
        finish: Callable[..., Finished],
        path: Path | None,
        known: Callable[[str], Known],
        on_stored: Callable[[str, Finished], None],
        warn: Callable[[str], None],
    ) -> None:
        """Make a backlog; neither file nor database library is touched before it is needed.

        Args:
            finish: `Store.finish_run` of the store that it waits for.
            path: The file of the host's own database; None for none.
            known: A function (job) → what is known of it.
            on_stored: Called with a job and what the store said of it.
            warn: Called with what a person should know.
        """
        self._places = Places(path, warn)
        self._replay = Replay(finish, self._places, on_stored, warn)
        self.store_outcome = self._replay.store_outcome
        """Store one outcome, which need not wait."""
        self._known = known
        self._going_on = threading.Lock()
        self._begun: dict[str, Run] = {}
        """Runs of this process that go on and that the store does not know."""
        self._over: dict[str, Run] = {}
        """Runs that a database which could not be written may say to go on here alone."""
        self._claimed: dict[str, LocalStore] = {}
        """Alerts that were claimed here, by their id."""
        self._judged = -ALIVE_SECONDS
        self._judge: tuple[Owner, Callable[[Owner], bool]] | None = None

    # --- runs -----------------------------------------------------------------------------------

    def judge_by(self, owner: Owner, is_dead: Callable[[Owner], bool]) -> None:
        """Judge from now on whether processes of this host are alive by ``is_dead``."""
        self._judge = owner, is_dead

    @property
    def is_dead(self) -> Callable[[Owner], bool] | None:
        """Return how that is judged; None where nobody has said it yet."""
        return self._judge[1] if self._judge is not None else None

    def begin(self, run: Run, is_dead: Callable[[Owner], bool]) -> Started:
        """Record here that a run begins, or that it is skipped."""
        self._tidy()
        known = self._known(run.job)
        started = self._places.write(run.job, lambda local: local.begin(run, known, is_dead))
        if started.status == "running":
            self._begun[run.run_id] = run
        return started

    def end(
        self, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str] = ()
    ) -> Finished:
        """Keep an outcome here, behind those of its job that wait already."""
        known = self._known(run.job)
        finished = self._places.write(
            run.job,
            lambda local: local.end(run, outcome, known, started=started, notified=notified),
        )
        self._begun.pop(run.run_id, None)
        if self._places.in_memory:  # it may have begun in the file
            self.note_over(run)
        return finished

    def note_over(self, run: Run) -> None:
        """Note that a run no longer goes on here alone: it has ended, or the store knows of it."""
        self._begun.pop(run.run_id, None)
        self._over[run.run_id] = run

    def _drop_begun(self, local: LocalStore, runs: Sequence[Run]) -> bool:
        """Return whether all could be taken out; the first that cannot be ends it."""
        drops = [partial(local.drop_begun, run) for run in runs]
        return all(self._places.attempt(drop, UNWRITABLE, Exception) for drop in drops)

    def _tidy(self) -> None:
        """Take out what is over; what cannot be written now is left for the next time."""
        over = list(self._over.values())
        tidied = [self._drop_begun(local, over) for local in self._places.found()] if over else []
        for run in over if all(tidied) else ():
            self._over.pop(run.run_id, None)
        self._replay.tidy()

    def holds(self, job: str) -> bool:
        """Tell whether a run of the job goes on that only this host knows of."""
        return any(self._places.ask(lambda local: local.holds(job, besides=self._over)))

    def has_begun(self, run_id: str) -> bool:
        """Tell whether a run goes on whose start only this host knows, of any of its processes."""
        return self.has_begun_here(run_id) or any(
            self._places.ask(lambda local: local.has_begun(run_id))
        )

    def has_begun_here(self, run_id: str) -> bool:
        """Tell the same of a run of this process, even where the database cannot be read."""
        return run_id in self._begun

    def begun_here(self, run_ids: Sequence[str]) -> list[Run]:
        """Return those of these runs of which `has_begun_here` is true."""
        return [self._begun[run_id] for run_id in run_ids if run_id in self._begun]

    def forget_run(self, run: Run) -> None:
        """Forget that a run goes on here, since the store knows of it."""
        self.note_over(run)
        self._tidy()

    def renew(self, run_ids: Sequence[str], *, lease: float) -> None:
        """Renew the leases of runs that go on here."""
        self._places.ask(lambda local: local.renew(run_ids, lease=lease))

    def count_dead(self) -> list[RunRecord]:
        """Store the runs that began here and whose process is gone as crashed; return them."""
        found, self._judged = [], -ALIVE_SECONDS
        for run in self.dead():
            gone = crash(datetime.now(UTC))
            finished = self._count_one(run, gone)
            found.append(_record(run, gone, finished))
        return found

    def _count_one(self, run: Run, gone: Outcome) -> Finished:
        if self.waits(run.job):
            return self.end(run, gone, started=False)
        finished = self.store_outcome(run, gone, started=False)
        self.forget_run(run)
        return finished

    def dead(self) -> list[Run]:
        """Return the runs that began here and whose process is gone."""
        now = time.monotonic()
        if self._judge is None or now - self._judged < ALIVE_SECONDS:
            return []
        owner, is_dead = self._judge
        dead = self._places.ask_for_all(lambda local: local.dead(None, owner, is_dead))
        if not dead:
            self._judged = now
        return dead

    # --- what waits -----------------------------------------------------------------------------

    def waiting(self) -> int:
        """Return how many outcomes wait to be stored."""
        ask = self._places.ask
        return sum(ask(lambda local: local.queue.waiting(besides=self._replay.stored_in(local))))

    def is_empty(self) -> bool:
        """Tell whether nothing waits: no outcome, no run that goes on, no alert.

        A database that cannot be read now holds nobody up: what is in it is replayed once it can
        be, after what came meanwhile.
        """
        return self._replay.is_tidy and all(self._places.ask(LocalStore.is_empty))

    @property
    def in_memory(self) -> bool:
        """Tell whether this process had to keep something in memory."""
        return self._places.in_memory

    def waiting_in_memory(self) -> int:
        """Return how many of them end with this process."""
        return self._places.waiting_in_memory()

    def waits(self, job: str) -> bool:
        """Tell whether outcomes of the job wait."""
        ask = self._places.ask
        return any(ask(lambda local: local.queue.waits(job, besides=self._replay.stored_in(local))))

    def ended(self, job: str | None = None) -> list[str]:
        """Return the runs that have ended and whose rows in the store still say that they go on."""
        return self._places.ask_for_all(lambda local: local.queue.ended(job))

    def replay_all(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Store everything that waits, whatever its pause, and return how many outcomes it was.

        Raises:
            StoreError: The store does not answer.
        """
        self._tidy()
        total, done = self.waiting(), 0
        with self._going_on:
            for job in sorted(set(self._places.ask_for_all(lambda local: local.queue.jobs()))):
                try:
                    for _ in self._replay.replay(job):
                        done += 1
                        if progress:
                            progress(done, total)
                except StoreError as error:
                    if is_away(error):
                        raise
        return done

    def catch_up(self, job: str | None, seconds: float | None = None) -> bool:
        """Store what waits, that of ``job`` first, then that the dead crashed, for so long.

        If another thread is at it, this one does not wait.

        Returns:
            Whether more of the job may be stored now: nothing of it waits any more, or the
            store refused it, and there is time left.

        Raises:
            StoreError: The store does not answer.
        """
        deadline = time.monotonic() + (REPLAY_SECONDS if seconds is None else seconds)
        held: list[threading.Lock] = []
        try:
            return take(held, self._going_on) and self._catch_up(job, deadline)
        finally:
            if held:
                held[0].release()

    def _catch_up(self, job: str | None, deadline: float) -> bool:
        self._tidy()
        failed = False
        queues = self._places.ask_for_all(lambda local: local.queue.queues(job))
        jobs = [queue.job for queue in queues]
        dead = self.dead()
        if not jobs and not dead:
            return True
        for each in dict.fromkeys(jobs):
            if time.monotonic() >= deadline:
                break
            try:
                for _ in self._replay.replay(each):
                    if time.monotonic() >= deadline:
                        break
            except StoreError as error:
                if each == job or failed or is_away(error):
                    raise
                failed = True  # it may be about this outcome alone
        for run in dead:
            if time.monotonic() < deadline:
                self._count_one(run, crash(datetime.now(UTC)))
        return time.monotonic() < deadline  # or the store would let us wait once more

    # --- alerts ---------------------------------------------------------------------------------

    def announce_overrun(self, overrun: Overrun, rules: Sequence[AlertRule], host: str) -> bool:
        """Decide here on a run that takes too long."""
        known = self._known(overrun.job)
        return self._places.write(
            overrun.job, lambda local: local.announce_overrun(overrun, rules, known, host)
        )

    def not_notified(self, overrun: Overrun, rules: Sequence[AlertRule]) -> Sequence[AlertRule]:
        """Return the rules whose channels this host notified neither of it nor of a later step."""
        answers = self._places.ask(lambda local: local.not_notified(overrun, rules))
        return [rule for rule in rules if all(rule in answer for answer in answers)]

    def is_due(self, job: str) -> bool:
        """Tell whether an alert of the job waits here."""
        return any(self._places.ask(lambda local: local.is_due(job)))

    def claim(self, wanted: Wanted) -> list[Delivery]:
        """Do `Store.claim_alerts` here."""
        claimed = self._places.ask_for_all(
            lambda local: [(delivery, local) for delivery in local.claim(wanted)]
        )
        self._claimed |= {delivery.alert_id: local for delivery, local in claimed}
        return [delivery for delivery, _ in claimed]

    def has_claimed(self, delivery: Delivery) -> bool:
        """Tell whether an alert was claimed here, and not from the store."""
        return delivery.alert_id in self._claimed

    def settle(self, delivery: Delivery, settlement: Settlement) -> bool:
        """Do `Store.settle_alert` for an alert that was claimed here."""
        return self._claimed[delivery.alert_id].settle(delivery, settlement)

    def with_alerts(self, found: Sequence[JobStatus]) -> list[JobStatus]:
        """Return jobs as the store shows them with their alerts that wait or were given up here."""
        here = self._counts()
        return [_with_alerts(status, here) for status in found]

    def _counts(self) -> dict[tuple[str, str], tuple[int, datetime]]:
        """Return how many alerts there are here of each job in each state, and since when."""
        total: dict[tuple[str, str], tuple[int, datetime]] = {}
        for counts in self._places.ask(LocalStore.counts):
            for key, (number, since) in counts.items():
                before, earliest = total.get(key, (0, since))
                total[key] = before + number, min(earliest, since)
        return total

    def alerts(self, state: DeliveryState | None, job: str | None, limit: int) -> list[AlertRecord]:
        """Do `Store.alerts` here."""
        return self._places.ask_for_all(lambda local: local.alerts(state, job, limit))

    # --- what is shown --------------------------------------------------------------------------

    def kept(self) -> list[KeptRun]:
        """Return the outcomes that wait, in order, and the runs that go on here."""
        found = self._places.ask_for_all(
            lambda local: local.kept(besides=self._replay.stored_in(local))
        )
        return [
            each for each in found if each.outcome is not None or each.run.run_id not in self._over
        ]

    def starts(self, job: str, after: datetime) -> set[datetime]:
        """Return when runs of the job started, later than ``after``, that the store may miss."""
        return set(self._places.ask_for_all(lambda local: local.starts(job, after)))

    def refused(self) -> list[Queue]:
        """Return the jobs whose outcomes wait since the store refused the first of them."""
        return self._places.ask_for_all(lambda local: local.queue.refused())

    def unreadable(self) -> list[str]:
        """Return the jobs of outcomes that cannot be read any more, one for each."""
        return self._places.ask_for_all(lambda local: local.queue.unreadable())

    def forget(self, job: str) -> None:
        """Drop the job's streak and its alerts that have not gone out."""
        self._places.ask(lambda local: local.forget(job))

    def close(self) -> None:
        """Let go of the file, after another try to take out what has been stored."""
        self._tidy()
        self._places.close()


def _with_alerts(
    status: JobStatus, here: Mapping[tuple[str, str], tuple[int, datetime]]
) -> JobStatus:
    """Return a job with the alerts of it that are ``here``: (job, state) → how many, since when."""
    pending, since = here.get((status.job, "pending"), (0, None))
    known = [each for each in (status.pending_since, since) if each is not None]
    return status._replace(
        alerts_pending=status.alerts_pending + pending,
        alerts_dead=status.alerts_dead + here.get((status.job, "dead"), (0, None))[0],
        pending_since=min(known, default=None),
    )


def _record(run: Run, outcome: Outcome, finished: Finished) -> RunRecord:
    return RunRecord(
        run.run_id,
        run.job,
        outcome.status,
        run.started_at,
        outcome.finished_at,
        consecutive_failure_count=finished.consecutive_failure_count,
        failure=outcome.failure,
        host=run.owner.host,
        pid=run.owner.pid,
    )


__all__ = ["Backlog"]
