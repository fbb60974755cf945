"""Calls that may never return, made in daemon threads, so that their callers can give up.

A timeout inside a driver bounds one operation, and a DNS look-up has none at all. The only safe way
is to make the call in another thread and to wait a limited time. Threads are kept for the next
call, since none can be started late in a process's end.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar

from cronguard.process.lifecycle import register
from cronguard.process.threads import end_if_forked, own_thread, start, wait_for_end

T = TypeVar("T")

_MAX_IDLE_WORKERS = 4
_idle_workers: list[_Worker] = []


class Overdue(Exception):  # noqa: N818  # a state of the call
    """The call has not returned in time, or too many earlier ones still have not."""


class Busy(Exception):  # noqa: N818  # likewise
    """Too many other calls are under way: this one's turn did not come in time."""


class NoThread(Exception):  # noqa: N818  # likewise
    """No thread can be started now: the process is ending, or it is out of threads."""


class Failed(Exception):  # noqa: N818  # likewise
    """The call raised ``error``.

    What a signal handler raises in the waiting thread is not wrapped in it.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(type(error).__name__)
        self.error = error


class TimeoutPool:
    """Calls of one kind, each with a timeout.

    While ``most_late`` calls that timed out still hang, further calls fail at once. While
    ``at_once`` calls are being waited for, further ones wait for their turn (None: no limit).
    """

    def __init__(self, most_late: int, at_once: int | None = None) -> None:
        self._most_late = most_late
        self._overdue_calls: set[_Call] = set()
        self._turns: queue.SimpleQueue[bool] | None = None
        if at_once is not None:
            self._turns = queue.SimpleQueue()
            for _ in range(at_once):
                self._turns.put(True)

    def call(self, work: Callable[[], T], timeout: float) -> T:
        """Return what ``work`` returns, within ``timeout`` seconds, waiting for a turn included.

        Raises what `turn` and `run_in_thread` do.
        """
        return self.turn(partial(self.run_in_thread, work), timeout)

    def turn(self, work: Callable[[float], T], timeout: float) -> T:
        """Wait for a turn, then return what ``work`` returns, called with the seconds left.

        Raises:
            Overdue: Too many earlier calls still hang.
            Busy: No turn came within ``timeout`` seconds; only with ``at_once``.
        """
        give_up = time.monotonic() + timeout
        held: list[bool] = []
        try:
            if self._turns is not None:
                try:
                    # Getting and noting the turn is one step, so that a signal handler that
                    # raises cannot lose it.
                    held.extend(map(self._turns.get, (True,), (timeout,)))
                except queue.Empty:
                    raise Busy from None
            if self._overdue_calls:
                self._overdue_calls = {call for call in self._overdue_calls if call.is_under_way()}
                if len(self._overdue_calls) >= self._most_late:
                    raise Overdue
            return work(max(0.0, give_up - time.monotonic()))
        finally:
            if self._turns is not None and held:
                self._turns.put(True)

    def run_in_thread(self, work: Callable[[], T], timeout: float) -> T:
        """Return what ``work`` returns, called in a thread. To be called during a `turn`.

        Raises:
            Failed: ``work`` raised.
            NoThread: No thread can be started.
            Overdue: ``work`` took longer than ``timeout`` seconds. It counts as hanging until it
                ends, and its result is thrown away.
        """
        worker = _take_worker()
        call = _Call(work, copy_context(), worker.thread)
        worker.inbox.put(call)
        if not call.done.acquire(timeout=timeout):
            self._overdue_calls.add(call)
            raise Overdue
        if call.error is not None:
            raise Failed(call.error)
        answer: T = call.answer
        return answer


class _Call:
    __slots__ = ("answer", "context", "done", "ended", "error", "thread", "work")

    def __init__(self, work: Callable[[], Any], context: Context, thread: threading.Thread) -> None:
        self.work: Callable[[], Any] | None = work
        self.context: Context | None = context
        self.answer: Any = None
        self.error: BaseException | None = None
        self.ended = False
        self.thread = thread
        self.done = threading.Lock()
        self.done.acquire()

    def make(self) -> None:
        try:
            if self.context is not None and self.work is not None:
                self.answer = self.context.run(self.work)
        except BaseException as error:  # noqa: BLE001  # handed to the waiting thread
            self.error = error
        self.work = self.context = None
        self.ended = True

    def is_under_way(self) -> bool:
        return not self.ended and self.thread.is_alive()  # after a fork its thread is gone


class _Worker:
    __slots__ = ("inbox", "thread")

    def __init__(self) -> None:
        # Looked up in the module each time: gevent's, which lets greenlets run, may replace it.
        self.inbox: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self.thread = own_thread("worker", self._serve, daemon=True)
        start(self.thread)

    def _serve(self) -> None:
        while (call := self.inbox.get()) is not None:
            call.make()
            end_if_forked()
            done = call.done
            del call  # its result must not live on while this thread is idle
            kept = len(_idle_workers) < _MAX_IDLE_WORKERS
            if kept:
                _idle_workers.append(self)
            done.release()
            if not kept:
                return


def _take_worker() -> _Worker:
    try:
        return _idle_workers.pop()
    except IndexError:
        pass
    try:
        return _Worker()
    except (RuntimeError, MemoryError):
        raise NoThread from None


def _end_idle_workers() -> None:
    while _idle_workers:
        worker = _idle_workers.pop()
        worker.inbox.put(None)
        wait_for_end(worker.thread)


def _forget_idle_workers() -> None:
    _idle_workers.clear()


register("threads", before_fork=_end_idle_workers, in_child=_forget_idle_workers)
