"""One daemon thread a process: it keeps its runs alive in the store's eyes and sees overruns."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from cronguard.process import log
from cronguard.process.forks import own_thread, wait_for_end


class Watchdog:
    """Calls ``beat`` whenever it asked to be called, and at least every ``interval`` seconds.

    ``beat`` returns after how many seconds it has something to do again. Started by the first
    `ensure` of a process; a thread is started again after a fork because the whole runtime is built
    anew there.
    """

    def __init__(self, beat: Callable[[], float], interval: float) -> None:
        self._beat = beat
        self._interval = interval
        self._bell = threading.Event()
        """Rung when there is something to do sooner than thought, or no more at all."""
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._settled = False
        """Whether there is nothing to start: it runs, or it cannot."""
        self._wakes_at = math.inf

    def ensure(self, within: float = math.inf) -> None:
        """Start the thread if there is none, and call ``beat`` within so many seconds. Never raises
        of itself."""
        if self._settled:
            if within < self._interval and time.monotonic() + within < self._wakes_at:
                self._bell.set()
            return
        self.stop()  # should a signal have struck while one was being started
        self._stopped, self._bell = threading.Event(), threading.Event()
        try:
            self._thread = own_thread(
                "watchdog",
                self._watch,
                self._stopped,
                self._bell,
                daemon=True,  # which a subinterpreter may refuse
            )
            self._thread.start()
        except RuntimeError:
            log.warning_once(
                "no thread can be started here: runs that outlast their lease may be taken for dead"
            )
        self._settled = True

    def stop(self) -> None:
        """Let the thread end at its next waking."""
        self._stopped.set()
        self._bell.set()

    def pause(self) -> bool:
        """End the thread, so that a fork finds no thread of ours; whether `ensure` is to be called
        afterwards."""
        thread = self._thread
        if thread is None or self._stopped.is_set() or not thread.is_alive():
            return False
        self.stop()
        self._settled = False
        if thread is not threading.current_thread():
            wait_for_end(thread)
        return True

    def _watch(self, stopped: threading.Event, bell: threading.Event) -> None:
        while not stopped.is_set():
            self._wakes_at = math.inf  # whoever comes while `beat` looks around is to ring
            bell.clear()
            if stopped.is_set():
                return
            pause = self._interval
            try:
                pause = min(pause, max(0.0, self._beat()))
            except Exception as error:  # noqa: BLE001  # the next beat may fare better
                log.debug("a heartbeat was missed (%s)", type(error).__name__)
            self._wakes_at = time.monotonic() + pause
            bell.wait(pause)
