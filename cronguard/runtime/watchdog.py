"""A process's open runs, and the one daemon thread that renews their leases and sees overruns."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cronguard.core.alert_rule import OVERRUN_STEPS, alert_rules, overrun_step
from cronguard.core.errors import StoreError
from cronguard.core.model import (
    HEARTBEAT_SECONDS,
    LEASE_SECONDS,
    ChannelRule,
    Expectations,
    Run,
)
from cronguard.process import log
from cronguard.process.threads import (
    NotBegunError,
    end_if_forked,
    own_thread,
    start,
    take,
    wait_for_end,
)

if TYPE_CHECKING:
    from typing import Protocol

    from cronguard.stores.spooled import SpooledStore

    class OpenRun(Protocol):
        """The interface of a recording: a run of this process that has not ended yet."""

        run: Run | None
        expected: Expectations
        """What holds for its job."""
        channels: tuple[ChannelRule, ...]
        """The channels of its overruns."""
        started: bool
        """Whether the store, or this host while it is away, has taken the start."""
        began: float
        """When it began, on the runtime's monotonic clock."""
        overrun: int
        """The last overrun step that was announced; 0 for none."""


_LASTING_SECONDS = 1.0
"""A run that has lasted so long will last: there is time for what a failure of it would need."""
_RETRY_SECONDS = 2.0
"""The first pause before what waits is replayed; each is longer, up to a heartbeat."""


class _Alarm:
    """What a thread waits on, and what ends it.

    `threading.Event` is no good here: a signal handler that raises inside `Event.set` can leave its
    lock taken, and the next run would wait for it for ever. Releasing a lock is one step.
    """

    __slots__ = ("_lock", "is_over")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.is_over = False

    def ring(self) -> None:
        """Wake the thread, now or when it waits next."""
        with contextlib.suppress(RuntimeError):  # it is ringing already
            self._lock.release()

    def end(self) -> None:
        """Wake the thread for the last time."""
        self.is_over = True
        self.ring()

    def wait(self, seconds: float) -> None:
        """Wait until it rings, for so many seconds at most."""
        self._lock.acquire(timeout=seconds)


class Watchdog:
    """A thread that calls ``beat`` when that asks for it, and at least every ``interval`` seconds.

    ``beat`` returns the seconds until it has something to do again. The first `ensure` starts the
    thread. A forked child builds its own runtime, and with it its own watchdog.
    """

    def __init__(self, beat: Callable[[], float], interval: float) -> None:
        self._beat = beat
        self._interval = interval
        self._alarm = _Alarm()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._needs_no_start = False
        """Whether there is no thread to start: it runs, or none can be started."""
        self._wakes_at = math.inf

    def ensure(self, within: float = math.inf) -> None:
        """Start the thread if there is none, and have it call ``beat`` within so many seconds.

        Raises only what a signal handler raises meanwhile.
        """
        if self._needs_no_start:
            if within < self._interval and time.monotonic() + within < self._wakes_at:
                self._alarm.ring()
            return
        held: list[threading.Lock] = []
        try:
            if take(held, self._starting) and not self._needs_no_start:
                self._start()
        finally:
            if held:
                held[0].release()

    def _start(self) -> None:
        """Start the thread; what another one adds meanwhile is seen within a second."""
        self.stop()  # one may be left over if a signal handler raised during its start
        self._alarm = _Alarm()
        try:
            self._thread = own_thread(
                "watchdog",
                self._watch,
                self._alarm,
                daemon=True,  # which a subinterpreter may refuse
            )
            start(self._thread)
        except NotBegunError:
            return  # the next run tries again
        except (RuntimeError, MemoryError):
            log.warning_once(
                "no thread can be started here: runs that outlast their lease may be taken for dead"
            )
        self._needs_no_start = True

    def stop(self) -> None:
        """Wake the thread and let it end."""
        self._alarm.end()

    def end(self) -> None:
        """Do `stop`, and wait a moment until the thread is gone."""
        self.stop()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread() and thread.is_alive():
            wait_for_end(thread)

    def pause(self) -> bool:
        """End the thread, so that a fork finds no thread of ours.

        Returns:
            Whether `ensure` must be called afterwards.
        """
        thread = self._thread
        if thread is None or self._alarm.is_over or not thread.is_alive():
            return False
        self.stop()
        self._needs_no_start = False
        if thread is not threading.current_thread():
            wait_for_end(thread)
        return True

    def _watch(self, alarm: _Alarm) -> None:
        while not alarm.is_over:
            self._wakes_at = math.inf  # so that `ensure` wakes it even while `beat` runs
            pause = self._interval
            try:
                pause = min(pause, max(0.0, self._beat()))
            except Exception as error:  # noqa: BLE001  # the next beat may succeed
                log.debug("a heartbeat was missed (%s)", type(error).__name__)
            end_if_forked()
            self._wakes_at = time.monotonic() + pause
            alarm.wait(pause)


class OpenRuns:
    """The runs of this process that are going on, and what is done while they are.

    Every `HEARTBEAT_SECONDS` their leases are renewed and what waits is replayed to the store. One
    second after the first of them began, ``prepare`` is called, for what a failure will need, and
    again every second until it says that it is done.
    """

    def __init__(
        self,
        store: SpooledStore,
        monotonic: Callable[[], float],
        dispatch: Callable[[str], None],
        prepare: Callable[[], bool],
    ) -> None:
        self._store = store
        self._monotonic = monotonic
        self._dispatch = dispatch
        self._prepare: Callable[[], bool] | None = prepare
        self._prepare_at: float | None = None
        """When to call it, on the monotonic clock; None before the first run."""
        self._open: dict[int, OpenRun] = {}
        self._is_active = False
        """Whether a run has started since the last beat: then the next one is in a second, so that
        not every run of many has to wake the thread."""
        self._noted: set[int] = set()
        """Those whose lease was renewed since they have lasted for a second."""
        self.watchdog = Watchdog(self._beat, HEARTBEAT_SECONDS)
        self._is_replaced = False
        """Whether another runtime has taken over, so that runs open here are the last ones."""
        self._renew_at: float | None = None
        """When to renew the leases next, on the monotonic clock; None before the first beat."""
        self._pause = _RETRY_SECONDS

    def add(self, recording: OpenRun) -> None:
        """Note that a run has started, or that more is known of what is expected of it."""
        self._open[id(recording)] = recording
        self._is_active = True
        if self._prepare_at is None:
            self._prepare_at = self._monotonic() + _LASTING_SECONDS
        limit = recording.expected.max_runtime
        self.watchdog.ensure(min(limit, _LASTING_SECONDS) if limit else _LASTING_SECONDS)

    def remove(self, recording: OpenRun) -> None:
        """Note that a run has ended; its lease is no longer renewed."""
        self._open.pop(id(recording), None)
        if self._noted:
            self._noted.discard(id(recording))
        if self._is_replaced and not self._open:
            self.watchdog.stop()

    def replay_soon(self) -> None:
        """Have what waits replayed to the store, or at least its runs reported as over, soon."""
        self._pause = _RETRY_SECONDS
        self._renew_at = min(self._renew_at or math.inf, self._monotonic() + _RETRY_SECONDS)
        self.watchdog.ensure(_RETRY_SECONDS)

    def retire(self) -> None:
        """Let the watchdog end with the last open run."""
        self._is_replaced = True
        if not self._open:
            self.watchdog.stop()

    def _beat(self) -> float:
        """Do the watchdog's work; return the seconds until there is more to do."""
        now = self._monotonic()
        was_active, self._is_active = self._is_active, False
        due = min(self._tend_lasting(now), now + _LASTING_SECONDS if was_active else math.inf)
        if self._renew_at is None:
            self._renew_at = now + HEARTBEAT_SECONDS
        elif now >= self._renew_at:
            self._renew(now, [each for each in self._open.values() if each.started])
        due = min(due, self._renew_at)
        for recording in list(self._open.values()):
            limit = recording.expected.max_runtime
            if recording.run is not None and limit:
                due = min(due, self._check_overrun(recording, recording.run, limit, now))
        return due - now

    def _tend_lasting(self, now: float) -> float:
        """Do what is for runs that last; return when to look again, on the monotonic clock."""
        due = math.inf
        if self._prepare is not None and self._prepare_at is not None:
            if now >= self._prepare_at:
                self._prepare_at = now + _LASTING_SECONDS
                if self._prepare():
                    self._prepare = None
            if self._prepare is not None:
                due = self._prepare_at
        lasting = []
        for key, recording in list(self._open.items()):
            if key in self._noted or not recording.started:
                continue
            if now < recording.began + _LASTING_SECONDS:
                due = min(due, recording.began + _LASTING_SECONDS)
            else:
                self._noted.add(key)
                lasting.append(recording)
        if lasting:
            self._note(lasting)
        return due

    def _note(self, lasting: list[OpenRun]) -> None:
        """Let other processes of this host know of runs that last, should the store go away."""
        self._store.note_open([each.run.run_id for each in lasting if each.run is not None])

    def _renew(self, now: float, held: list[OpenRun]) -> None:
        self._renew_at = now + HEARTBEAT_SECONDS
        run_ids = [each.run.run_id for each in held if each.run is not None]
        try:
            if run_ids or self._store.waiting():
                self._store.heartbeat(run_ids, lease=LEASE_SECONDS)
        except StoreError as error:  # overruns must be looked for all the same
            log.debug("a heartbeat was missed: %s", error)
        if self._store.waiting():
            self._pause = min(self._pause * 2, HEARTBEAT_SECONDS)
            self._renew_at = now + self._pause

    def _check_overrun(self, recording: OpenRun, run: Run, limit: float, now: float) -> float:
        """Announce a run that takes too long; return when to look again, on the monotonic clock."""
        elapsed = now - recording.began
        if overrun_step(elapsed, limit) > recording.overrun:
            if not recording.started:  # nothing knows of the run yet: look again, ever more seldom
                return now + max(1.0, elapsed / 4)
            from cronguard.core.schedule import overrun  # most runs end in time

            news = overrun(run.run_id, run.job, elapsed, limit)
            assert news is not None  # noqa: S101  # for mypy
            try:
                rules = alert_rules(recording.channels, recording.expected)
                due = self._store.announce_overrun(news, rules)
            except StoreError as error:
                log.debug("an overrun of %s could not be announced: %s", run.job, error)
                return now + HEARTBEAT_SECONDS
            recording.overrun = news.step
            log.warning("%s is %s", run.job, news.message)
            if due:
                self._dispatch(run.job)
        step = next((each for each in OVERRUN_STEPS if each > recording.overrun), None)
        return math.inf if step is None else recording.began + step * limit
