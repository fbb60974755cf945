"""A store that may fail in any way, with this host to go on meanwhile.

What the store does not take is kept (`cronguard.stores.spool`), decided on by what it said last,
and stored later in order, exactly once. So it is where somebody has to change something first
(`StoreConfigError`), such as to apply a migration, and where the fault is cronguard's own: a
module that a deploy has removed, no memory, no descriptor.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from cronguard.core.errors import StoreConfigError, StoreError
from cronguard.core.model import (
    LEASE_SECONDS,
    AlertRecord,
    AlertRule,
    Delivery,
    DeliveryState,
    Finished,
    JobState,
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
from cronguard.process.signals import raised_by_handler

if TYPE_CHECKING:
    from cronguard.core.interfaces import Store
    from cronguard.stores.spool.backlog import Backlog
    from cronguard.stores.spool.behind import BehindStore
    from cronguard.stores.spool.known import Known, LastKnown
    from cronguard.stores.spool.queue import Queue

T = TypeVar("T")

_QUIET_SECONDS = 5.0
"""Starts and ends do not ask a store again for so long after it did not answer, so that a job waits
for it once; a heartbeat or a check asks all the same."""
_MAX_UNSPOOLED = 10_000
PASSED_ON = frozenset(
    {
        *("activity", "announce_missed", "damaged", "declare", "history", "prune", "recent"),
        *("snooze", "unlock", "watches"),
    }
)
"""Methods of a store that this host has no part in."""


class Unspooled(NamedTuple):
    """An outcome that is neither in the store nor in the spool, only in this process."""

    run: Run
    outcome: Outcome
    started: bool
    notified: Collection[str]
    """Channels that have been notified of it; those that are notified later are added."""


class SpooledStore:
    """A `cronguard.core.interfaces.Store` over another one, which need not take anything.

    ``path`` is where this host keeps what the store does not take, made when it is needed; None
    for in memory. A ``remote`` store's word on each job is kept beside it, for other processes.
    ``warn`` is called with what a person should know.

    Starts and outcomes raise StoreError only where nothing could decide on them here either; then
    it is for the caller to `keep` an outcome.
    """

    bounded = True

    def __init__(
        self,
        store: Store,
        path: Path | None,
        *,
        remote: bool = True,
        warn: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        self.store = store
        self.spool_path = path
        self._spool_file = path and os.fspath(path)
        self.on_kept: Callable[[], None] = lambda: None
        """Called when an outcome was kept here: other processes may wait for its row."""
        self._remote = remote
        self._warn = warn
        self._backlog: Backlog | None = None
        self._backlogs: list[Backlog] = []
        self._last_known: LastKnown | None = None
        self._last_knowns: list[LastKnown] = []
        self._states: dict[str, JobState] = {}
        """What the store said last of each job, where that is not kept for other processes."""
        self._open: dict[str, Run] = {}
        """Runs of this process that a remote store knows to go on."""
        self._unspooled: dict[str, Unspooled] = {}
        self._lost = 0
        self._has_missed = False
        """Whether an outcome of this process was not stored at once."""
        self._quiet_until = 0.0
        self._behind: BehindStore | None = None
        self._judge: tuple[Owner, Callable[[Owner], bool]] | None = None

    def __repr__(self) -> str:
        return repr(self.store)

    if TYPE_CHECKING:  # those of `PASSED_ON`
        activity, history, recent = Store.activity, Store.history, Store.recent
        announce_missed, declare, watches = Store.announce_missed, Store.declare, Store.watches
        damaged, prune, snooze, unlock = Store.damaged, Store.prune, Store.snooze, Store.unlock
    else:

        def __getattr__(self, name: str) -> Any:
            if name in PASSED_ON:
                return getattr(self.store, name)
            raise AttributeError(f"{type(self).__name__} has no {name}")

    @property
    def channels_folder(self) -> Path | None:
        """Return where this host notes to which channels alerts of jobs go; None for nowhere.

        Beside a store in a file, else beside the spool: a job's name is one job in one store.
        """
        file = None if self._remote else getattr(self.store, "path", None)
        if isinstance(file, Path) and str(file) != ":memory:":
            return file.with_name(f"{file.name}.channels")
        return self.spool_path and self.spool_path.with_suffix(".channels")

    # --- runs -----------------------------------------------------------------------------------

    def start_run(
        self, run: Run, *, is_dead: Callable[[Owner], bool], ended: Collection[str] = ()
    ) -> Started:
        self._judge = run.owner, is_dead
        try:
            self._refuse_while_quiet()
            if self._is_idle():
                started = self.store.start_run(run, is_dead=is_dead, ended=ended)
            else:
                started = self._start_behind(run, is_dead, ended)
        except Exception as error:  # noqa: BLE001  # judged below, where its context can be seen
            caught = error
        else:
            if self._remote:
                state = started.state
                keep = state is not None and state.consecutive_failure_count > 0
                self._note(run.job, state, keep=keep)  # what was swept may have been announced
                self._open[run.run_id] = run
            return started
        problem = self._as_store_error(caught)
        started = self._decide_here(problem, lambda backlog: backlog.begin(run, is_dead))
        self._warn_of(problem)
        if started.status == "skipped":
            self._has_missed = True
        return started

    def _start_behind(
        self, run: Run, is_dead: Callable[[Owner], bool], ended: Collection[str]
    ) -> Started:
        """Start a run where something waits on this host."""
        behind = self._caught_up()
        over = {*ended, *self._unspooled_of(run.job)}
        if behind is None:
            return self.store.start_run(run, is_dead=is_dead, ended=over)
        return behind.start_run(run, is_dead=is_dead, ended=over)

    def finish_run(
        self, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str] = ()
    ) -> Finished:
        if self._backlog is not None and self._backlog.has_begun_here(run.run_id):
            started = False
        try:
            self._refuse_while_quiet()
            if self._is_idle():
                finished = self._finish_now(run, outcome, started=started, notified=notified)
            else:
                finished = self._finish_behind(run, outcome, started=started, notified=notified)
        except Exception as error:  # noqa: BLE001  # judged below, where its context can be seen
            caught = error
        else:
            # What is kept here may say that the run goes on.
            if self._backlog is not None and self._backlog.has_begun_here(run.run_id):
                self._backlog.note_over(run)
            return finished
        finally:
            self._release(run)
        problem = self._as_store_error(caught)
        self._has_missed = True
        finished = self._decide_here(
            problem,
            lambda backlog: backlog.end(run, outcome, started=started, notified=notified),
        )
        self._warn_of(problem)
        self.on_kept()
        return finished

    def keep(self, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str]) -> None:
        """Keep an outcome of which `finish_run` raised anything: it may not have been taken."""
        self._has_missed = True
        if self._backlog is not None and self._backlog.has_begun_here(run.run_id):
            started = False
        self._unspooled[run.run_id] = Unspooled(run, outcome, started, notified)
        while len(self._unspooled) > _MAX_UNSPOOLED:
            self._unspooled.pop(next(iter(self._unspooled)), None)
            self._lost += 1
            if self._lost & (self._lost - 1) == 0:  # at 1, 2, 4, 8 ...
                self._warn(f"{self._lost:,} outcomes could be kept nowhere and are lost")

    def _finish_now(
        self, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str]
    ) -> Finished:
        """End a run where nothing waits on this host."""
        try:
            finished = self.store.finish_run(run, outcome, started=started, notified=notified)
        except StoreError as error:
            from cronguard.stores.spool.refusals import is_refusal  # as the backlog itself

            if not is_refusal(error):
                raise
            return self._made_backlog().store_outcome(
                run, outcome, started=started, notified=notified
            )
        self._note(run.job, finished.state, keep=True)
        return finished

    def _finish_behind(
        self, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str]
    ) -> Finished:
        """End a run where something waits on this host."""
        behind = self._caught_up()
        if behind is None:
            return self._finish_in_store(run, outcome, started=started, notified=notified)
        if self._unspooled_of(run.job):
            raise StoreError("earlier runs still wait to be recorded", code="behind")
        return behind.finish_run(run, outcome, started=started, notified=notified)

    def heartbeat(
        self, run_ids: Sequence[str], *, lease: float, ended: Collection[str] = ()
    ) -> None:
        self.note_open(run_ids, lease=lease)
        over = {*ended, *self._unspooled_of(None)}
        if not self._is_idle():
            self._made_behind().heartbeat(run_ids, lease=lease, ended=over)
            if behind := self._caught_up():
                behind.catch_up(run_ids, lease=lease)
        elif over or run_ids:
            self.store.heartbeat(run_ids, lease=lease, ended=over)

    def note_open(self, run_ids: Sequence[str], *, lease: float = LEASE_SECONDS) -> None:
        """Note for other processes of this host that runs go on, should the store go away."""
        for run_id in run_ids:
            if run := self._open.get(run_id):
                self._made_last_known().hold(run, lease=lease)

    def announce_overrun(self, overrun: Overrun, rules: Sequence[AlertRule]) -> bool:
        try:
            self._refuse_while_quiet()
            if not self._has_spool():
                return self.store.announce_overrun(overrun, rules)
            return self._made_behind().announce_overrun(overrun, rules)
        except Exception as error:  # noqa: BLE001  # judged below, where its context can be seen
            caught = error
        problem = self._as_store_error(caught)
        host = self._judge[0].host if self._judge else ""
        return self._decide_here(
            problem, lambda backlog: backlog.announce_overrun(overrun, rules, host)
        )

    def _unspooled_of(self, job: str | None) -> list[str]:
        """Return the runs whose outcomes are only in this process, of one job or all."""
        if not self._unspooled:
            return []
        return [
            each.run.run_id
            for each in list(self._unspooled.values())
            if job in (None, each.run.job)
        ]

    def _caught_up(self) -> BehindStore | None:
        """Spool what only this process knows; None if it could only be stored directly.

        Raises:
            StoreError: The store does not take it, or it must wait for what cannot be read now.
        """
        try:
            self._spool_all(self._made_backlog())
            behind = self._made_behind()
        except Exception as error:  # noqa: BLE001  # judged below, where its context can be seen
            caught = error
        else:
            return behind
        problem = self._as_store_error(caught)
        for each in list(self._unspooled.values()):
            if self._backlog is not None and self._backlog.waits(each.run.job):
                raise problem
            self._finish_in_store(
                each.run, each.outcome, started=each.started, notified=each.notified
            )
            self._unspooled.pop(each.run.run_id, None)
            if self._backlog is not None:
                self._backlog.note_over(each.run)
        return None

    def _spool_all(self, backlog: Backlog) -> None:
        """Put what only this process knows into the spool, to be stored in its turn."""
        for each in list(self._unspooled.values()):
            backlog.end(each.run, each.outcome, started=each.started, notified=each.notified)
            self._unspooled.pop(each.run.run_id, None)

    # --- helpers --------------------------------------------------------------------------------

    def _is_idle(self) -> bool:
        """Tell whether nothing waits here and no run goes on that the store misses."""
        if self._unspooled:
            return False
        return not self._has_spool() or self._made_backlog().is_empty()

    def _has_spool(self) -> bool:
        """Tell whether this host has kept anything, ever; most have not."""
        if self._backlog is not None and self._backlog.in_memory:
            return True
        return self._spool_file is not None and os.access(self._spool_file, os.F_OK)

    def _made_backlog(self) -> Backlog:
        if self._backlog is None:
            from cronguard.stores.spool.backlog import Backlog  # most hosts never need it

            made = Backlog(
                self._finish_in_store, self.spool_path, self._known, self._note_finished, self._warn
            )
            self._backlog = _first(self._backlogs, made)
            if self._judge is not None:
                self._backlog.judge_by(*self._judge)
        return self._backlog

    def _made_behind(self) -> BehindStore:
        if self._behind is None:
            from cronguard.stores.spool.behind import BehindStore  # as the backlog itself

            self._behind = BehindStore(self.store, self._made_backlog(), self._begun_late)
        return self._behind

    def _begun_late(self, run: Run) -> None:
        if self._remote:
            self._open[run.run_id] = run

    def _made_last_known(self) -> LastKnown:
        if self._last_known is None:
            from cronguard.stores.spool.known import LastKnown  # for stores that are remote

            folder = self.spool_path and self.spool_path.with_suffix(".known")
            self._last_known = _first(self._last_knowns, LastKnown(folder))
        return self._last_known

    def _decide_here(self, problem: StoreError, work: Callable[[Backlog], T]) -> T:
        """Return what this host makes of it without the store.

        Raises:
            StoreError: The store's ``problem``: nothing can be kept here either.
        """
        caught: Exception | None = None
        try:
            backlog = self._made_backlog()
            self._spool_all(backlog)
            return work(backlog)
        except Exception as error:  # noqa: BLE001  # judged below, where its context can be seen
            caught = error
        interruption = raised_by_handler(caught)
        raise interruption or problem from None

    def _as_store_error(self, caught: Exception) -> StoreError:
        """Return any fault as one of the store; raise what a signal handler raised."""
        interruption = raised_by_handler(caught)
        if interruption is not None:
            raise interruption
        if not isinstance(caught, StoreError):
            code = "unencodable" if isinstance(caught, UnicodeError) else "internal"
            return StoreError(f"the store failed with {type(caught).__name__}", code=code)
        if caught.code == "timeout":
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
        return caught

    def _refuse_while_quiet(self) -> None:
        """Raise StoreError while a store that did not answer is left alone."""
        if self._quiet_until and time.monotonic() < self._quiet_until:
            raise StoreError("the store did not answer a moment ago", code="quiet")

    def _warn_of(self, caught: StoreError) -> None:
        if caught.code in ("quiet", "behind"):
            return
        lasting = isinstance(caught, StoreConfigError)
        until = "somebody corrects this" if lasting else "the store answers"
        in_memory = self._backlog is None or self._backlog.in_memory
        where = "in the memory of this process" if in_memory else f"in {self.spool_path}"
        self._warn(f"runs are kept {where} until {until}: {caught}")

    def _note(self, job: str, state: JobState | None, *, keep: bool) -> None:
        """Note what the store said of a job; with ``keep`` for other processes too."""
        if state is None:
            return
        if self._remote:
            self._made_last_known().note(job, state, keep=keep)
        else:
            self._states[job] = state

    def _release(self, run: Run) -> None:
        self._open.pop(run.run_id, None)
        if self._last_known is not None:
            self._last_known.release(run)

    def _finish_in_store(
        self, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str]
    ) -> Finished:
        """Do `Store.finish_run`; every fault is one of the store."""
        try:
            return self.store.finish_run(run, outcome, started=started, notified=notified)
        except Exception as error:  # noqa: BLE001  # judged below, where its context can be seen
            caught = error
        raise self._as_store_error(caught) from None

    def _note_finished(self, job: str, finished: Finished) -> None:
        self._note(job, finished.state, keep=True)

    def _known(self, job: str) -> Known:
        from cronguard.stores.spool.known import Known

        if self._remote:
            return self._made_last_known().get(job)
        return Known(self._states.get(job))

    # --- what waits -----------------------------------------------------------------------------

    def preload(self) -> None:
        """Load what is needed once the store takes nothing any more."""
        from cronguard.stores.sql import sql_texts

        self._made_behind()
        self._made_last_known()
        for schema in ("spool", "sqlite"):
            sql_texts(schema)

    def waiting(self) -> int:
        """Return how many outcomes wait to be stored."""
        return len(self._unspooled) + (self._made_backlog().waiting() if self._has_spool() else 0)

    def refused(self) -> list[Queue]:
        """Return the jobs whose outcomes wait since the store refused the first of them."""
        return self._made_backlog().refused() if self._has_spool() else []

    def unreadable(self) -> list[str]:
        """Return the jobs of outcomes that cannot be read any more, one for each."""
        return self._made_backlog().unreadable() if self._has_spool() else []

    def has_alerts(self) -> bool:
        """Tell whether alerts that were decided here wait to be sent."""
        return self._has_spool() and bool(self._made_backlog().alerts("pending", None, 1))

    def replay(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Store everything that waits, and return how many outcomes it was.

        Raises:
            StoreError: It does not answer.
        """
        if self._is_idle():
            return 0
        backlog = self._made_backlog()
        self._spool_all(backlog)
        return backlog.replay_all(progress)

    def close(self) -> None:
        """Close the store; what only this process has is tried once more, or said to be lost."""
        try:
            self._replay_at_the_end()
        finally:
            self.store.close()
            if self._backlog is not None:
                self._backlog.close()

    def _replay_at_the_end(self) -> None:
        """Try to store what waits once more, if any of it is this process's."""
        if not self._has_missed:
            return
        caught: Exception | None = None
        try:
            self._refuse_while_quiet()
            behind = self._caught_up()
            if behind is not None and behind.backlog.in_memory:
                behind.backlog.replay_all()
            elif behind is not None:
                behind.backlog.catch_up(None)
        except Exception as error:  # noqa: BLE001  # judged below, where its context can be seen
            caught = error
        lost = len(self._unspooled) + (self._backlog.waiting_in_memory() if self._backlog else 0)
        if lost:
            reason = self._as_store_error(caught) if caught is not None else "refused"
            outcomes = "1 outcome is" if lost == 1 else f"{lost:,} outcomes are"
            self._warn(
                f"{outcomes} lost with this process, which could keep them nowhere: {reason}"
            )

    # --- what is expected -----------------------------------------------------------------------

    def sweep(
        self, owner: Owner, *, is_dead: Callable[[Owner], bool], ended: Collection[str] = ()
    ) -> list[RunRecord]:
        """Do `Store.sweep`; also for runs that began here unseen by the store."""
        self._judge = owner, is_dead
        if self._is_idle():
            return self.store.sweep(owner, is_dead=is_dead, ended=ended)
        self._made_backlog().judge_by(owner, is_dead)
        self.replay()
        over = {*ended, *self._unspooled_of(None)}
        return self._made_behind().sweep(owner, is_dead=is_dead, ended=over)

    def starts(self, job: str, *, after: datetime, limit: int = 10_000) -> list[datetime]:
        """Do `Store.starts`; also for runs that the store does not know yet."""
        found = set(self.store.starts(job, after=after, limit=limit))
        if not self._is_idle():
            found |= self._made_backlog().starts(job, after)
        return sorted(found)[:limit]

    def forget(self, job: str) -> bool:
        """Do `Store.forget`; what waits is stored before, or it would bring the job back."""
        self.replay()
        was_known = self.store.forget(job)
        self._states.pop(job, None)
        if self._remote:
            self._made_last_known().forget(job)
        if self._has_spool():
            self._made_backlog().forget(job)
        return was_known

    def jobs(self) -> list[JobStatus]:
        """Do `Store.jobs`; alerts that wait here, or were given up, are counted too."""
        found = list(self.store.jobs())
        return self._made_backlog().with_alerts(found) if self._has_spool() else found

    def kept(self) -> list[KeptRun]:
        """Return the runs that the store misses: those that ended, in order, and those that go on.

        Nothing is stored for that.
        """
        here = self._made_backlog().kept() if self._has_spool() else []
        return here + [
            KeptRun(each.run, each.outcome, started=each.started)
            for each in self._unspooled.values()
        ]

    # --- the outboxes ---------------------------------------------------------------------------

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
        here: list[Delivery] = []
        if channels and not self._is_idle():
            from cronguard.stores.sqlite.outbox import Wanted  # as the backlog itself

            wanted = Wanted(tuple(channels), job, force, state, limit, claim_for)
            here = self._made_backlog().claim(wanted)
        if here and time.monotonic() < self._quiet_until:
            return here
        try:
            if not self._has_caught_up(job):
                return here
            there = self.store.claim_alerts(
                channels=channels,
                job=job,
                force=force,
                state=state,
                limit=limit,
                claim_for=claim_for,
            )
        except Exception as error:  # noqa: BLE001  # judged below, where its context can be seen
            caught = error
        else:
            return here + there
        problem = self._as_store_error(caught)
        # Where something waits, it has been said that the store does not take it; another delivery
        # may be sending what was due here.
        if here or (not force and not self._is_idle()):
            return here
        raise problem

    def _has_caught_up(self, job: str | None) -> bool:
        """Store what waits before alerts are claimed: the store may not know that an outcome which
        it took, and whose answer was lost, has been announced from here."""
        behind = None if self._is_idle() else self._caught_up()
        return behind is None or behind.backlog.catch_up(job)

    def settle_alert(self, delivery: Delivery, settlement: Settlement) -> bool:
        if self._backlog is not None and self._backlog.has_claimed(delivery):
            return self._backlog.settle(delivery, settlement)
        return self.store.settle_alert(delivery, settlement)

    def alerts(
        self, *, state: DeliveryState | None = None, job: str | None = None, limit: int = 100
    ) -> list[AlertRecord]:
        found = list(self.store.alerts(state=state, job=job, limit=limit))
        if self._has_spool():
            found += self._made_backlog().alerts(state, job, limit)
            found.sort(key=lambda alert: alert.created_at, reverse=True)
        return found[:limit]


def _first(made: list[T], another: T) -> T:
    """Return the first that any thread made: what one of them kept must not go with its own.

    Without a lock, which a signal handler could wait for, or a forked child.
    """
    made.append(another)
    return made[0]


__all__ = ["SpooledStore"]
