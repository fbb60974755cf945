"""What waits in a host's spool is told to the store: in its order, each outcome once."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime

from cronguard.core.alert_rule import crash
from cronguard.core.errors import StoreError
from cronguard.core.interfaces import Store
from cronguard.core.model import Finished, Outcome, Run
from cronguard.stores.spool.last_known import LastKnown
from cronguard.stores.spool.on_demand import SpoolOnDemand

_REFUSED = re.compile(r"2[23]\w{3}|PGRST1\d\d|54\w{3}|invalid_request")
"""Codes of a server that is well and will never take this row: data exceptions, limits, a request
that its functions refuse."""


class Replay:
    """Tells ``remote`` what ``spool`` keeps for it; what it answers is noted in ``last_known``."""

    def __init__(
        self,
        remote: Store,
        spool: SpoolOnDemand,
        last_known: LastKnown,
        warn: Callable[[str], None],
    ) -> None:
        self._remote = remote
        self._spool = spool
        self._last_known = last_known
        self._warn = warn
        self._going_on = threading.Lock()
        self._recorded: set[str] = set()
        """Runs that the store has been told of and that could not be taken out of the spool."""
        self._refused: set[str] = set()
        """Runs that the store refuses and that could not be set aside; they stay in the spool."""

    def waiting(self) -> int:
        """How many outcomes the store has yet to be told."""
        spool = self._spool.found
        return spool.waiting(besides=self._recorded | self._refused) if spool else 0

    def all(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Tell everything that waits; how many outcomes. Raises StoreError."""
        total = self.waiting()
        if not total:
            return 0
        with self._going_on:
            return self._tell_waiting(
                None, lambda done: progress(done, total) if progress else None
            )

    def within(self, seconds: float, dead: Callable[[], Sequence[Run]]) -> bool:
        """Tell what waits, then that the ``dead`` crashed, for so long.

        True if nothing waits any more and time is left. Raises what the store raises.
        """
        spool = self._spool.found
        if spool is None:
            return True
        try:
            waiting = spool.waits(besides=self._recorded | self._refused)
            gone = dead()
        except StoreError as error:
            self._warn(f"the local spool cannot be read: {error}")
            return True
        if not waiting and not gone:
            return True
        deadline = time.monotonic() + seconds
        held: list[bool] = []
        try:
            # If another thread is at it, whoever comes now comes later. The lock is taken and noted
            # in one step: see `SQLiteFile`.
            held.extend(filter(None, map(self._going_on.acquire, (False,))))
            return bool(held) and self._tell_until(deadline, gone)
        finally:
            if held:
                self._going_on.release()

    def _tell_until(self, deadline: float, gone: Sequence[Run]) -> bool:
        """As `within`, in our turn."""
        self._tell_waiting(deadline, lambda _done: None)
        if self._spool.made.waits(besides=self._recorded | self._refused):
            return False
        for run in gone:
            if time.monotonic() >= deadline:
                return False
            self.tell(run, crash(datetime.now(UTC)), started=False, notified=frozenset())
        return time.monotonic() < deadline  # or the store would let us wait once more

    def _tell_waiting(self, deadline: float | None, progress: Callable[[int], None]) -> int:
        done = after = 0
        page = {"limit": 1}  # most often the store still does not answer
        while entries := self._spool.made.entries(after=after, **page):
            page = {}
            for after, run, outcome, started, notified in entries:  # noqa: B007  # where to go on
                if deadline is not None and time.monotonic() >= deadline:
                    return done
                self.tell(run, outcome, started=started, notified=notified)
                done += 1
                progress(done)
        return done

    def tell(
        self, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str]
    ) -> Finished | None:
        """Tell of one outcome; None if the store refuses it for good, or was told before.

        One that is refused is set aside in the spool, so that the others get their turn.
        """
        if run.run_id in self._recorded or run.run_id in self._refused:
            return None
        finished = None
        try:
            finished = self.finish(run, outcome, started=started, notified=notified)
        except StoreError as error:
            if not _REFUSED.fullmatch(error.code):
                raise
            self._set_aside(run, outcome, error)
            return None
        self.drop(run.run_id)
        return finished

    def _set_aside(self, run: Run, outcome: Outcome, error: StoreError) -> None:
        spool = self._spool.made
        self._warn(f"a run of {run.job} was refused and is set aside in {spool.path}: {error}")
        try:
            spool.set_aside(run, outcome)
        except StoreError as caught:
            self._refused.add(run.run_id)
            self._warn(f"the local spool cannot be written: {caught}")

    def finish(
        self, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str]
    ) -> Finished:
        """`Store.finish_run`; what the store answers is noted, for other processes too."""
        finished = self._remote.finish_run(run, outcome, started=started, notified=notified)
        self._last_known.note(run.job, finished.state, keep=True)
        return finished

    def drop(self, run_id: str) -> None:
        """The store has been told of this run."""
        try:
            self._spool.made.drop(run_id)
            self._recorded.discard(run_id)
        except StoreError as error:  # another process tells it once more, which changes nothing
            self._recorded.add(run_id)
            self._warn(f"the local spool cannot be written: {error}")

    def drop_recorded(self) -> None:
        """Try once more to take out what could not be taken out before."""
        for run_id in list(self._recorded):
            self.drop(run_id)
