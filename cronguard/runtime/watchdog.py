"""One daemon thread per process, which renews the leases of its runs and notices overruns."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from cronguard.process import log
from cronguard.process.forks import own_thread, wait_for_end


class Watchdog:
    """A thread that calls ``beat`` when that asks for it, and at least every ``interval`` seconds.

    ``beat`` returns the seconds until it has something to do again. The first `ensure` starts the
    thread. A forked child builds its own runtime, and with it its own watchdog.
    """

    def __init__(self, beat: Callable[[], float], interval: float) -> None:
        self._beat = beat
        self._interval = interval
        self._wake = threading.Event()
        """Set to wake the thread early: for an earlier deadline, or to stop."""
        self._stopped = threading.Event()
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
                self._wake.set()
            return
        self.stop()  # one may be left over if a signal handler raised during its start
        self._stopped, self._wake = threading.Event(), threading.Event()
        try:
            self._thread = own_thread(
                "watchdog",
                self._watch,
                self._stopped,
                self._wake,
                daemon=True,  # which a subinterpreter may refuse
            )
            self._thread.start()
        except RuntimeError:
            log.warning_once(
                "no thread can be started here: runs that outlast their lease may be taken for dead"
            )
        self._needs_no_start = True

    def stop(self) -> None:
        """Wake the thread and let it end."""
        self._stopped.set()
        self._wake.set()

    def pause(self) -> bool:
        """End the thread, so that a fork finds no thread of ours.

        Returns:
            Whether `ensure` must be called afterwards.
        """
        thread = self._thread
        if thread is None or self._stopped.is_set() or not thread.is_alive():
            return False
        self.stop()
        self._needs_no_start = False
        if thread is not threading.current_thread():
            wait_for_end(thread)
        return True

    def _watch(self, stopped: threading.Event, wake: threading.Event) -> None:
        while not stopped.is_set():
            self._wakes_at = math.inf  # so that `ensure` wakes it even while `beat` runs
            wake.clear()
            if stopped.is_set():
                return
            pause = self._interval
            try:
                pause = min(pause, max(0.0, self._beat()))
            except Exception as error:  # noqa: BLE001  # the next beat may succeed
                log.debug("a heartbeat was missed (%s)", type(error).__name__)
            self._wakes_at = time.monotonic() + pause
            wake.wait(pause)
