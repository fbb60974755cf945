"""A store for which something waits on this host: what must come before is stored first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from cronguard.core.errors import StoreError
from cronguard.core.interfaces import Store
from cronguard.core.model import (
    AlertRule,
    Finished,
    Outcome,
    Overrun,
    Owner,
    Run,
    RunRecord,
    Started,
)
from cronguard.stores.spool.backlog import Backlog


class BehindStore:
    """The calls of a run to ``store``, with what waits for it in ``backlog``.

    They are those of `cronguard.core.interfaces.Store` by the same names, and raise StoreError with
    the code ``behind`` where something else must be stored before.
    """

    def __init__(self, store: Store, backlog: Backlog, begun: Callable[[Run], None]) -> None:
        """Do nothing yet; ``begun`` is called with a run whose start has been stored late."""
        self.backlog = backlog
        self._store = store
        self._begun = begun

    def start_run(
        self, run: Run, *, is_dead: Callable[[Owner], bool], ended: Collection[str]
    ) -> Started:
        """Do `Store.start_run`, unless a run of the job goes on that only this host knows."""
        self.backlog.judge_by(run.owner, is_dead)
        if not self.backlog.catch_up(run.job):
            raise StoreError("earlier runs still wait to be recorded", code="behind")
        if self.backlog.holds(run.job) and run.overlap == "skip":
            raise StoreError("a run of this host goes on that the store misses", code="behind")
        over = {*ended, *self.backlog.ended(run.job)}
        started = self._store.start_run(run, is_dead=is_dead, ended=over)
        return started._replace(alerts_due=started.alerts_due or self.backlog.is_due(run.job))

    def finish_run(
        self, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str]
    ) -> Finished:
        """Do `Store.finish_run` once nothing of the job waits any more."""
        if not self.backlog.catch_up(run.job) or self.backlog.waits(run.job):
            raise StoreError("earlier runs still wait to be recorded", code="behind")
        stored = started and not self.backlog.has_begun(run.run_id)
        finished = self.backlog.store_outcome(run, outcome, started=stored, notified=notified)
        self.backlog.forget_run(run)
        return finished._replace(alerts_due=finished.alerts_due or self.backlog.is_due(run.job))

    def heartbeat(self, run_ids: Sequence[str], *, lease: float, ended: Collection[str]) -> None:
        """Do `Store.heartbeat`, for the leases that are kept here too."""
        over = {*ended, *self.backlog.ended()}
        try:
            if over or run_ids:
                self._store.heartbeat(run_ids, lease=lease, ended=over)
        finally:
            self.backlog.renew(run_ids, lease=lease)

    def catch_up(self, run_ids: Sequence[str], *, lease: float) -> None:
        """Store what waits, for a third of a lease, then which runs began without the store."""
        if self.backlog.catch_up(None, lease / 3):
            self._store_begun(run_ids)

    def _store_begun(self, run_ids: Sequence[str]) -> None:
        """Store the starts of runs of this process that began without the store and go on."""
        for run in self.backlog.begun_here(run_ids):
            is_dead = self.backlog.is_dead
            if is_dead is None or self.backlog.waits(run.job):
                continue
            again = run._replace(overlap="allow")
            if self._store.start_run(again, is_dead=is_dead).status == "skipped":
                continue  # it was before, and the answer was lost
            self._begun(run)
            self.backlog.forget_run(run)

    def announce_overrun(self, overrun: Overrun, rules: Sequence[AlertRule]) -> bool:
        """Do `Store.announce_overrun` for channels that were not notified from here."""
        if self.backlog.has_begun(overrun.run_id):
            raise StoreError("the run is only known here", code="behind")
        return self._store.announce_overrun(overrun, self.backlog.not_notified(overrun, rules))

    def sweep(
        self, owner: Owner, *, is_dead: Callable[[Owner], bool], ended: Collection[str]
    ) -> list[RunRecord]:
        """Do `Store.sweep`; also for runs that began here unseen by the store."""
        found = self.backlog.count_dead()
        over = {*ended, *self.backlog.ended()}
        return found + self._store.sweep(owner, is_dead=is_dead, ended=over)


__all__ = ["BehindStore"]
