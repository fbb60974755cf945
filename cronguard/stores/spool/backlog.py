"""What waits because the store did not take it: where it is kept, and how the store is told.

Outcomes wait in the host's own database; where that cannot be written, in one in memory. Each
job's are told in their order, exactly once. What the store does not take of one job holds up no
other.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
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
    Outcome,
    Overrun,
    Owner,
    Run,
    RunRecord,
    Started,
)
from cronguard.process.signals import raised_by_handler
from cronguard.process.threads import take
from cronguard.stores.spool.degraded import LONGEST_PAUSE
from cronguard.stores.spool.known import Known
from cronguard.stores.spool.local import ALIVE_SECONDS, PAGE, Entry, LocalStore, Queue
from cronguard.stores.sqlite.outbox import Wanted

T = TypeVar("T")

REPLAY_SECONDS = 0.4
"""How long a start or a finish may spend on what waits, before it goes to the end of the queue."""
_UNREADABLE = "the local spool cannot be read"
_UNWRITABLE = "the local spool cannot be written"
_IN_MEMORY = "outcomes wait in the memory of this process"
_PATIENCE = 3
"""So often an outcome is refused by something that does not say why, such as a proxy, before it is
told with less text."""
_SHORT_PAUSE = 60.0
"""Seconds that it waits at most before it is tried again: it may be no fault of the outcome's."""
_AWAY = re.compile(
    r"timeout|busy|no_thread|connection_\w+|unknown_host|tls|gateway|unreachable|shutting_down"
    r"|starting_up|too_many_connections|disk_full|read_only|database_down|57014"
)
"""Codes of a store that nothing can be told to now."""
_REFUSED = re.compile(r"2[23]\w{3}|PGRST1\d\d|54\w{3}|invalid_request|unencodable")
"""Codes of a server that is well and did not take this outcome: data exceptions, constraints,
limits, a request that its functions refuse."""


class Backlog:
    """What waits for a store on this host: in ``path``, or in memory where that is None."""

    def __init__(
        self,
        finish: Callable[..., Finished],
        path: Path | None,
        known: Callable[[str], Known],
        noted: Callable[[str, Finished], None],
        warn: Callable[[str], None],
    ) -> None:
        """Make a backlog; neither file nor database library is touched before it is needed.

        Args:
            finish: `Store.finish_run` of the store that it is to be told to.
            path: The file of the host's own database; None for none.
            known: A function (job) → what is known of it.
            noted: Called with a job and what the store said of it.
            warn: Called with what a person should know.
        """
        self._finish = finish
        self._path = path
        self._known = known
        self._noted = noted
        self._warn = warn
        self._file: LocalStore | None = None
        self._memory: LocalStore | None = None
        self._going_on = threading.Lock()
        self._told: dict[tuple[int, int], tuple[LocalStore, Entry]] = {}
        """What the store has been told, and could not be taken out."""
        self._over: dict[str, Run] = {}
        """Runs that a database which could not be written may say to go on here alone."""
        self._judged = -ALIVE_SECONDS
        self._judge: tuple[Owner, Callable[[Owner], bool]] | None = None

    # --- where it is kept -----------------------------------------------------------------------

    @property
    def in_memory(self) -> bool:
        """Whether this process had to keep something in memory."""
        return self._memory is not None

    def _found(self) -> Iterator[LocalStore]:
        """Yield the databases that there are, the older outcomes first."""
        if self._path is not None and os.access(self._path, os.F_OK):
            yield self._made_file(self._path)
        if self._memory is not None:
            yield self._memory

    def _made_file(self, path: Path) -> LocalStore:
        self._file = self._file or LocalStore(path)
        return self._file

    def _ask(self, ask: Callable[[LocalStore], T]) -> list[T]:
        """Return what each database answers; one that cannot be read is passed over, and said."""
        answers: list[T] = []
        for local in self._found():
            self._attempt(lambda local=local: answers.append(ask(local)), _UNREADABLE)  # type: ignore[misc]  # mypy knows no type of a lambda's default
        return answers

    def _attempt(
        self,
        work: Callable[[], object],
        consequence: str,
        errors: type[Exception] = StoreError,
    ) -> bool:
        """Do what may fail here and holds up nothing; return whether it went well.

        Raises what is none of ``errors``, and what a signal handler of the program raises.
        """
        caught: Exception
        try:
            work()
        except errors as error:
            caught = error
        else:
            return True
        interruption = raised_by_handler(caught)
        if interruption is not None:
            raise interruption
        reason = caught if isinstance(caught, StoreError) else type(caught).__name__
        self._warn(f"{consequence}: {reason}")
        return False

    def _write(self, job: str, write: Callable[[LocalStore], T]) -> T:
        """Write to the file; to memory where that fails, or where more of the job is already."""
        memory = self._memory
        if self._path is not None and not (memory and (memory.waits(job) or memory.holds(job))):
            answers: list[T] = []
            file = self._made_file(self._path)
            if self._attempt(lambda: answers.append(write(file)), _IN_MEMORY):
                return answers[0]
        self._memory = self._memory or LocalStore(None)
        return write(self._memory)

    def close(self) -> None:
        """Let go of the file, after another try to take out what has been told."""
        self._tidy()
        if self._file is not None:
            self._file.close()

    # --- runs -----------------------------------------------------------------------------------

    def judge_by(self, owner: Owner, is_dead: Callable[[Owner], bool]) -> None:
        """Judge from now on whether processes of this host are alive by ``is_dead``."""
        self._judge = owner, is_dead

    def begin(self, run: Run, is_dead: Callable[[Owner], bool]) -> Started:
        """Record here that a run begins, or that it is skipped."""
        self._tidy()
        known = self._known(run.job)
        return self._write(run.job, lambda local: local.begin(run, known, is_dead))

    def end(
        self, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str] = ()
    ) -> Finished:
        """Keep an outcome here, behind those of its job that wait already."""
        known = self._known(run.job)
        finished = self._write(
            run.job,
            lambda local: local.end(run, outcome, known, started=started, notified=notified),
        )
        if self._memory is not None:  # it may have begun in the file
            self.note_over(run)
        return finished

    def note_over(self, run: Run) -> None:
        """Note that a run no longer goes on here alone: it has ended, or the store knows of it."""
        self._over[run.run_id] = run

    def _drop_begun(self, local: LocalStore, runs: Sequence[Run]) -> bool:
        """Return whether all could be taken out; the first that cannot be ends it."""
        drops = [partial(local.drop_begun, run) for run in runs]
        return all(self._attempt(drop, _UNWRITABLE, Exception) for drop in drops)

    def _tidy(self) -> None:
        """Take out what is over; what cannot be written now is left for the next time."""
        over = list(self._over.values())
        tidied = [self._drop_begun(local, over) for local in self._found()] if over else []
        for run in over if all(tidied) else ():
            self._over.pop(run.run_id, None)
        for local, entry in list(self._told.values()):
            if not self._drop(local, entry):
                return

    def holds(self, job: str) -> bool:
        """Tell whether a run of the job goes on that only this host knows of."""
        return any(self._ask(lambda local: local.holds(job, besides=self._over)))

    def has_begun(self, run_id: str) -> bool:
        """Tell whether a run goes on whose start only this host knows."""
        return any(self._ask(lambda local: local.has_begun(run_id)))

    def forget_run(self, run: Run) -> None:
        """Forget that a run goes on here, since the store knows of it."""
        self.note_over(run)
        self._tidy()

    def renew(self, run_ids: Sequence[str], *, lease: float) -> None:
        """Renew the leases of runs that go on here."""
        self._ask(lambda local: local.renew(run_ids, lease=lease))

    def count_dead(self) -> list[RunRecord]:
        """Tell the store of the runs that began here and whose process is gone; return them."""
        found, self._judged = [], -ALIVE_SECONDS
        for run in self.dead():
            gone = crash(datetime.now(UTC))
            finished = self._count_one(run, gone)
            found.append(_record(run, gone, finished))
        return found

    def _count_one(self, run: Run, gone: Outcome) -> Finished:
        if self.waits(run.job):
            return self.end(run, gone, started=False)
        finished = self.tell(run, gone, started=False)
        self.forget_run(run)
        return finished

    def dead(self) -> list[Run]:
        """Return the runs that began here and whose process is gone."""
        now = time.monotonic()
        if self._judge is None or now - self._judged < ALIVE_SECONDS:
            return []
        owner, is_dead = self._judge
        answers = self._ask(lambda local: local.dead(None, owner, is_dead))
        dead = [run for found in answers for run in found]
        if not dead:
            self._judged = now
        return dead

    # --- what waits -----------------------------------------------------------------------------

    def waiting(self) -> int:
        """Return how many outcomes the store has yet to be told."""
        return sum(self._ask(lambda local: local.waiting(besides=self._told_of(local))))

    def is_empty(self) -> bool:
        """Tell whether nothing waits: no outcome, no run that goes on, no alert."""
        return not self._told and all(self._ask(LocalStore.is_empty))

    def waiting_in_memory(self) -> int:
        """Return how many of them end with this process."""
        return self._memory.waiting() if self._memory is not None else 0

    def waits(self, job: str) -> bool:
        """Tell whether outcomes of the job wait."""
        return any(self._ask(lambda local: local.waits(job, besides=self._told_of(local))))

    def ended(self, job: str | None = None) -> list[str]:
        """Return the runs that have ended and whose rows in the store still say that they go on."""
        return [run_id for found in self._ask(lambda local: local.ended(job)) for run_id in found]

    def all(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Tell everything that waits, whatever its pause, and return how many outcomes were told.

        Raises:
            StoreError: The store does not answer.
        """
        self._tidy()
        total, done = self.waiting(), 0
        with self._going_on:
            for job in sorted({job for jobs in self._ask(LocalStore.jobs) for job in jobs}):
                try:
                    for _ in self._tell_job(job):
                        done += 1
                        if progress:
                            progress(done, total)
                except StoreError as error:
                    if _is_away(error):
                        raise
        return done

    def catch_up(self, job: str | None, seconds: float | None = None) -> bool:
        """Tell what waits, that of ``job`` first, then that the dead crashed, for so long.

        If another thread is at it, this one does not wait.

        Returns:
            Whether the store may be told more of the job now: nothing of it waits any more, or the
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
        jobs = [queue.job for found in self._ask(lambda each: each.queues(job)) for queue in found]
        dead = self.dead()
        if not jobs and not dead:
            return True
        for each in dict.fromkeys(jobs):
            steps = self._tell_job(each)
            try:
                while time.monotonic() < deadline and next(steps, self) is None:
                    pass
            except StoreError as error:
                if each == job or failed or _is_away(error):
                    raise
                failed = True  # it may be about this outcome alone
        for run in dead:
            if time.monotonic() < deadline:
                self._count_one(run, crash(datetime.now(UTC)))
        return time.monotonic() < deadline  # or the store would let us wait once more

    def _tell_job(self, job: str) -> Iterator[None]:
        """Tell the outcomes of one job, each at a step; end at one that the store refuses."""
        for local in list(self._found()):
            shorten = local.tries(job) >= _PATIENCE
            after, limit = 0, 1  # most often the store still does not answer
            while entries := local.entries(job, after=after, limit=limit):
                limit = PAGE
                for entry in entries:
                    after = entry.seq
                    if entry.seq in self._told_of(local):
                        continue
                    if not self._tell_entry(local, entry, shorten=shorten):
                        return
                    shorten = False
                    yield

    def _tell_entry(self, local: LocalStore, entry: Entry, *, shorten: bool) -> bool:
        """Tell one outcome; return False if the store refuses it."""
        run, started, notified = entry.run, entry.started, entry.notified
        try:
            self.tell(run, entry.outcome, started=started, notified=notified, shorten=shorten)
        except StoreError as error:
            caught = error
        else:
            self._drop(local, entry)
            return True
        if _is_away(caught):
            raise caught
        refuses = self.is_refusal(caught)
        longest = LONGEST_PAUSE if refuses else _SHORT_PAUSE
        code = caught.code
        self._attempt(lambda: local.refuse(run.job, code, longest=longest), _UNWRITABLE)
        if not refuses:
            raise caught
        self._warn(
            f"the store refuses an outcome of {run.job}, which waits with those after it and is"
            f" tried again: {caught}"
        )
        return False

    def _told_of(self, local: LocalStore) -> set[int]:
        return {entry.seq for place, entry in self._told.values() if place is local}

    def _drop(self, local: LocalStore, entry: Entry) -> bool:
        key = id(local), entry.seq
        is_out = self._attempt(lambda: local.drop(entry), _UNWRITABLE, Exception)
        if is_out:
            self._told.pop(key, None)
        else:  # another process tells it once more, which changes nothing
            self._told[key] = local, entry
        return is_out

    # --- alerts ---------------------------------------------------------------------------------

    def announce_overrun(self, overrun: Overrun, rules: Sequence[AlertRule], host: str) -> bool:
        """Decide here on a run that takes too long."""
        known = self._known(overrun.job)
        return self._write(
            overrun.job, lambda local: local.announce_overrun(overrun, rules, known, host)
        )

    def not_notified(self, overrun: Overrun, rules: Sequence[AlertRule]) -> Sequence[AlertRule]:
        """Return the rules whose channels were not told of it, nor of a later step, from here."""
        answers = self._ask(lambda local: local.not_notified(overrun, rules))
        return [rule for rule in rules if all(rule in answer for answer in answers)]

    def is_due(self, job: str) -> bool:
        """Tell whether an alert of the job waits here."""
        return any(self._ask(lambda local: local.is_due(job)))

    def claim(self, wanted: Wanted) -> list[tuple[Delivery, LocalStore]]:
        """Do `Store.claim_alerts` here; each with where it is to be settled."""
        return [
            (delivery, local)
            for found in self._ask(lambda each: [(one, each) for one in each.claim(wanted)])
            for delivery, local in found
        ]

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many alerts there are here of each job in each state."""
        total: dict[tuple[str, str], int] = {}
        for counts in self._ask(LocalStore.counts):
            for key, number in counts.items():
                total[key] = total.get(key, 0) + number
        return total

    def alerts(self, state: DeliveryState | None, job: str | None, limit: int) -> list[AlertRecord]:
        """Do `Store.alerts` here."""
        found = self._ask(lambda local: local.alerts(state, job, limit))
        return [alert for alerts in found for alert in alerts]

    # --- what is shown --------------------------------------------------------------------------

    def starts(self, job: str, after: datetime) -> set[datetime]:
        """Return when runs of the job started, later than ``after``, that the store may miss."""
        return {at for found in self._ask(lambda local: local.starts(job, after)) for at in found}

    def refused(self) -> list[Queue]:
        """Return the jobs whose outcomes wait since the store refused the first of them."""
        return [queue for found in self._ask(LocalStore.refused) for queue in found]

    def unreadable(self) -> list[str]:
        """Return the jobs of outcomes that cannot be read any more, one for each."""
        return [job for found in self._ask(LocalStore.unreadable) for job in found]

    def forget(self, job: str) -> None:
        """Drop the job's streak and its alerts that have not gone out."""
        self._ask(lambda local: local.forget(job))

    # --- the store ------------------------------------------------------------------------------

    @staticmethod
    def is_refusal(error: StoreError) -> bool:
        """Tell whether a store that is well did not take an outcome, and may take others."""
        return _REFUSED.fullmatch(error.code) is not None

    def tell(
        self,
        run: Run,
        outcome: Outcome,
        *,
        started: bool,
        notified: Collection[str] = (),
        shorten: bool = False,
    ) -> Finished:
        """Do `Store.finish_run`; what is refused is tried again with less text.

        ``shorten`` does so too where it is not known to be refused for what it is.

        Raises:
            StoreError: The store did not take it in any form.
        """
        for form, is_last in _forms(outcome):
            try:
                finished = self._finish(run, form, started=started, notified=notified)
            except StoreError as error:
                if is_last or not (self.is_refusal(error) or (shorten and not _is_away(error))):
                    raise
            else:
                self._noted(run.job, finished)
                return finished
        raise AssertionError  # the last form returns or raises


def _is_away(error: StoreError) -> bool:
    return _AWAY.fullmatch(error.code) is not None


def _forms(outcome: Outcome) -> Iterator[tuple[Outcome, bool]]:
    """Yield the outcome, then in ASCII, then without its text; with whether it is the last."""
    forms = [outcome]
    failure = outcome.failure
    if failure is not None:
        ascii_only = failure._replace(
            **{
                name: value.encode("ascii", "backslashreplace").decode()
                for name, value in failure._asdict().items()
                if value is not None
            }
        )
        bare = failure._replace(error_message=None, error_location=None)
        for each in (ascii_only, bare):
            if each != forms[-1].failure:
                forms.append(outcome._replace(failure=each))
    for form in forms:
        yield form, form is forms[-1]


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
