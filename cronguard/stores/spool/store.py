"""A store that may be out of reach, with a local spool to go on with meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cronguard.core.alert_rule import crash, overlay
from cronguard.core.errors import StoreConfigError, StoreError
from cronguard.core.interfaces import Store
from cronguard.core.model import (
    AlertRecord,
    AlertRule,
    Delivery,
    DeliveryState,
    Expectations,
    Finished,
    JobStatus,
    Missed,
    Outcome,
    Overrun,
    Owner,
    Run,
    RunRecord,
    Settlement,
    Started,
    Statement,
    Watch,
)
from cronguard.stores.spool.last_known import LastKnown
from cronguard.stores.spool.on_demand import SpoolOnDemand
from cronguard.stores.spool.replay import Replay

if TYPE_CHECKING:
    from cronguard.stores.spool.database import Spool

T = TypeVar("T")

REPLAY_SECONDS = 0.4
"""How long a start or a finish may spend on what waits, before it goes to the end of the queue."""
_QUIET_SECONDS = 5.0
"""A store that did not answer is not asked again for so long, so that a job waits for it once."""
_ALIVE_SECONDS = 1.0
"""Where all runs that began here were alive, they are not judged again for so long: there may be
hundreds, and each that starts would judge them all."""


class SpooledStore:
    """A `cronguard.core.interfaces.Store`: the remote one, with this host's spool before it.

    ``remote`` bounds its calls. While it does not answer, starts and outcomes are kept here, streak
    and alerts go by what it last said, and such alerts are ``degraded``. When it answers again, it
    is told everything in order, exactly once, and which channels know already. So it is where
    somebody has to change something first (`StoreConfigError`), such as to apply a migration. If
    nothing can be kept here either, the remote store's error is raised.

    ``path`` is where the spool is made when it is needed, with a folder of what the store said last
    beside it. ``warn`` is told what a person should know.
    """

    bounded = True

    def __init__(
        self,
        remote: Store,
        path: Path,
        *,
        warn: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        self.remote = remote
        self.spool_path = path
        self._spool = SpoolOnDemand(path)
        self._last_known = LastKnown(path.with_suffix(".known"))
        self._warn = warn
        self._replay = Replay(remote, self._spool, self._last_known, warn)
        self._quiet_until = 0.0
        self._claimed_here: set[str] = set()
        self._sweeper: tuple[Owner, Callable[[Owner], bool]] | None = None
        self._swept = -_ALIVE_SECONDS

    def __repr__(self) -> str:
        return repr(self.remote)

    # --- runs -----------------------------------------------------------------------------------

    def start_run(
        self, run: Run, *, is_dead: Callable[[Owner], bool], ended: Collection[str] = ()
    ) -> Started:
        self._sweeper = (run.owner, is_dead)

        def there() -> Started:
            self._catch_up()
            started = self.remote.start_run(run, is_dead=is_dead, **_only(ended))
            self._last_known.note(run.job, started.state, keep=False)
            return started._replace(alerts_due=started.alerts_due or self._is_due(run.job))

        def here(caught: StoreError) -> Started:
            for gone in self._dead():
                self._keep(gone, crash(datetime.now(UTC)), started=False)
            self._spool.made.begin(run)
            known = self._last_known.get(run.job)
            self._warn_once(caught)
            count = known.consecutive_failure_count if known else 0
            expected = overlay(known.expected if known else Expectations(), run.stated)
            due = self._is_due(run.job)
            return Started("running", count, None, due, None, expected, run.channels)

        return self._there_or_here(there, here)

    def finish_run(
        self, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str] = ()
    ) -> Finished:
        began_here = self._kept(lambda spool: spool.began_here(run.run_id), otherwise=False)

        def there() -> Finished:
            self._catch_up()
            stored = started and not began_here
            finished = self._replay.finish(run, outcome, started=stored, notified=notified)
            if began_here:
                self._replay.drop(run.run_id)
            return finished._replace(alerts_due=finished.alerts_due or self._is_due(run.job))

        def here(caught: StoreError) -> Finished:
            finished = self._keep(run, outcome, started=started, notified=notified)
            self._warn_once(caught)
            return finished

        return self._there_or_here(there, here)

    def _there_or_here(self, there: Callable[[], T], here: Callable[[StoreError], T]) -> T:
        """What the store answers; if it does not, or is not to be asked now, what this host does.

        Raises the store's trouble where this host cannot keep it either.
        """
        caught: StoreError
        try:
            self._ask_again()
            return there()
        except StoreError as error:
            caught = self._noted(error)
        try:
            return here(caught)
        except StoreError:
            raise caught from None

    def _catch_up(self) -> None:
        """Raises StoreError while the store has yet to be told what came before."""
        if not self._replay.within(REPLAY_SECONDS, self._dead):
            raise StoreError("earlier runs still wait to be recorded", code="behind")

    def _keep(
        self, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str] = ()
    ) -> Finished:
        known = self._last_known.get(run.job)
        return self._spool.made.end(run, outcome, started=started, known=known, notified=notified)

    def heartbeat(
        self, run_ids: Sequence[str], *, lease: float, ended: Collection[str] = ()
    ) -> None:
        try:
            self.remote.heartbeat(run_ids, lease=lease, **_only(ended))
        finally:
            if spool := self._spool.found:
                spool.renew(run_ids, lease=lease)
        self._replay.within(lease / 3, self._dead)

    def announce_overrun(self, overrun: Overrun, rules: Sequence[AlertRule]) -> bool:
        def there() -> bool:
            if self._kept(lambda spool: spool.began_here(overrun.run_id), otherwise=False):
                raise StoreError("the run is only known here", code="behind")
            not_notified = self._kept(
                lambda spool: spool.not_notified(overrun, rules), otherwise=rules
            )
            return self.remote.announce_overrun(overrun, not_notified)

        def here(_report: StoreError) -> bool:
            known = self._last_known.get(overrun.job)
            host = self._sweeper[0].host if self._sweeper else ""
            return self._spool.made.announce_overrun(overrun, rules, known, host)

        return self._there_or_here(there, here)

    # --- what is expected -----------------------------------------------------------------------

    def sweep(
        self, owner: Owner, *, is_dead: Callable[[Owner], bool], ended: Collection[str] = ()
    ) -> list[RunRecord]:
        """As `Store.sweep`; of those that began here unseen by the store, too."""
        self.replay()
        found = []
        spool = self._spool.found
        for run in spool.dead(owner, is_dead) if spool else ():
            gone = crash(datetime.now(UTC))
            finished = self._replay.tell(run, gone, started=False, notified=frozenset())
            if finished is not None:
                found.append(_record(run, gone, finished))
        return found + self.remote.sweep(owner, is_dead=is_dead, **_only(ended))

    def starts(self, job: str, *, after: datetime, limit: int = 10_000) -> list[datetime]:
        """As `Store.starts`; also of runs that the store has not heard of yet."""
        found = set(self.remote.starts(job, after=after, limit=limit))
        if spool := self._spool.found:
            found.update(spool.starts(job, after))
        return sorted(found)[:limit]

    # --- what waits -----------------------------------------------------------------------------

    def waiting(self) -> int:
        """How many outcomes are kept here that the store has yet to be told."""
        return self._replay.waiting()

    def aside(self) -> list[str]:
        """The jobs whose outcomes the store refused, or that could not be read: once for each."""
        spool = self._spool.found
        return spool.aside() if spool else []

    def has_alerts(self) -> bool:
        """Whether alerts that were decided here wait to be sent."""
        spool = self._spool.found
        return spool is not None and bool(spool.alerts("pending", None, 1))

    def replay(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Tell the store everything that waits; how many outcomes. Raises StoreError."""
        return self._replay.all(progress)

    def forget(self, job: str) -> bool:
        """As `Store.forget`; what waits is told before, or it would bring the job back."""
        self.replay()
        was_known = self.remote.forget(job)
        self._last_known.forget(job)
        if spool := self._spool.found:
            spool.forget(job)
        return was_known

    def jobs(self) -> list[JobStatus]:
        """As `Store.jobs`; alerts that wait here, or were given up, are counted too."""
        found = list(self.remote.jobs())
        spool = self._spool.found
        here = spool.counts() if spool else {}
        return [
            status._replace(
                alerts_pending=status.alerts_pending + here.get((status.job, "pending"), 0),
                alerts_dead=status.alerts_dead + here.get((status.job, "dead"), 0),
            )
            for status in found
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
        if channels and (spool := self._spool.found):
            from cronguard.stores.sqlite.outbox import Wanted  # as the spool itself

            here = spool.claim(Wanted(tuple(channels), job, force, state, limit, claim_for))
            self._claimed_here.update(delivery.alert_id for delivery in here)
        if here and time.monotonic() < self._quiet_until:
            return here
        try:
            there = self.remote.claim_alerts(
                channels=channels,
                job=job,
                force=force,
                state=state,
                limit=limit,
                claim_for=claim_for,
            )
        except StoreError as error:
            self._noted(error)
            if not here:
                raise
            return here
        return here + there

    def settle_alert(self, delivery: Delivery, settlement: Settlement) -> bool:
        if delivery.alert_id in self._claimed_here:
            return self._spool.made.settle(delivery, settlement)
        return self.remote.settle_alert(delivery, settlement)

    def alerts(
        self, *, state: DeliveryState | None = None, job: str | None = None, limit: int = 100
    ) -> list[AlertRecord]:
        found = list(self.remote.alerts(state=state, job=job, limit=limit))
        if spool := self._spool.found:
            found += spool.alerts(state, job, limit)
            found.sort(key=lambda alert: alert.created_at, reverse=True)
        return found[:limit]

    def close(self) -> None:
        self.remote.close()
        self._replay.drop_recorded()
        self._spool.close()

    # --- what this host has no part in ----------------------------------------------------------

    def declare(self, job: str, stated: Sequence[Statement], *, host: str = "") -> None:
        self.remote.declare(job, stated, host=host)

    def watches(self) -> list[Watch]:
        return self.remote.watches()

    def announce_missed(self, missed: Missed, rules: Sequence[AlertRule]) -> bool:
        return self.remote.announce_missed(missed, rules)

    def history(self, job: str, *, limit: int = 20) -> list[RunRecord]:
        return self.remote.history(job, limit=limit)

    def snooze(self, job: str, until: datetime | None) -> bool:
        return self.remote.snooze(job, until)

    def unlock(self, job: str) -> int:
        return self.remote.unlock(job)

    def prune(self, *, keep: timedelta, progress: Callable[[int, int], None] | None = None) -> int:
        return self.remote.prune(keep=keep, progress=progress)

    # --- helpers --------------------------------------------------------------------------------

    def _ask_again(self) -> None:
        """Raises StoreError while a store that did not answer is left alone."""
        if time.monotonic() < self._quiet_until:
            raise StoreError("the store did not answer a moment ago", code="quiet")

    def _noted(self, error: StoreError) -> StoreError:
        if error.code == "timeout":
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
        return error

    def _warn_once(self, caught: StoreError) -> None:
        if caught.code not in ("quiet", "behind"):
            lasting = isinstance(caught, StoreConfigError)
            until = "somebody corrects this" if lasting else "the store answers"
            self._warn(f"runs are kept in {self.spool_path} until {until}: {caught}")

    def _dead(self) -> list[Run]:
        """Runs that began here and whose process is gone."""
        now = time.monotonic()
        spool = self._spool.found
        if self._sweeper is None or spool is None or now - self._swept < _ALIVE_SECONDS:
            return []
        dead = spool.dead(*self._sweeper)
        if not dead:
            self._swept = now
        return dead

    def _is_due(self, job: str) -> bool:
        return self._kept(lambda spool: spool.is_due(job), otherwise=False)

    def _kept(self, ask: Callable[[Spool], T], *, otherwise: T) -> T:
        """What the spool says; ``otherwise`` where there is none, or it cannot be read."""
        try:
            spool = self._spool.found
            return ask(spool) if spool else otherwise
        except StoreError:
            return otherwise


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


def _only(ended: Collection[str]) -> dict[str, Collection[str]]:
    """``ended`` as a keyword, where there are any: a store of somebody's may not take it."""
    return {"ended": ended} if ended else {}
