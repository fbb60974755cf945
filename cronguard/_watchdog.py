"""One daemon thread a process that keeps its runs alive in the store's eyes."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cronguard import _log


class Watchdog:
    """Calls ``beat`` every ``interval`` seconds while there is something to watch.

    Started by the first `ensure` of a process; a thread is started again after a fork because the
    whole runtime is built anew there.
    """

    def __init__(self, beat: Callable[[], None], interval: float) -> None:
        self._beat = beat
        self._interval = interval
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._settled = False
        """Whether there is nothing to start: it runs, or it cannot."""

    def ensure(self) -> None:
        """Start the thread if there is none. Never raises of itself."""
        if self._settled:
            return
        self._stop.set()  # should a signal have struck while one was being started
        self._stop = stop = threading.Event()
        self._thread = threading.Thread(
            target=self._watch, args=(stop,), name="cronguard-watchdog", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:
            _log.warning_once(
                "no thread can be started here: runs that outlast their lease may be taken for dead"
            )
        self._settled = True

    def stop(self) -> None:
        """Let the thread end at its next waking."""
        self._stop.set()

    def pause(self) -> bool:
        """End the thread, so that a fork finds no thread of ours; whether `ensure` is to be called
        afterwards."""
        thread = self._thread
        if thread is None or self._stop.is_set() or not thread.is_alive():
            return False
        self._stop.set()
        self._settled = False
        if thread is not threading.current_thread():
            from cronguard._forks import wait_for_end  # few programs fork

            wait_for_end(thread)
        return True

    def _watch(self, stop: threading.Event) -> None:
        while not stop.wait(self._interval):
            try:
                self._beat()
            except Exception as error:  # noqa: BLE001  # the next beat may fare better
                _log.debug("a heartbeat was missed (%s)", type(error).__name__)
