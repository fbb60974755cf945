"""Calls that may never return, made in daemon threads, so that their callers can walk away.

A timeout inside a driver bounds one operation, and a DNS look-up has none at all. What holds is to
make the call elsewhere and to wait only so long. Threads are kept for the next call: late in a
process's end none can be started.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar

from cronguard.process.forks import own_thread, register, wait_for_end

T = TypeVar("T")

_MOST_IDLE = 4
_idle: list[_Worker] = []


class Overdue(Exception):  # noqa: N818  # a state of the call, told to the caller
    """The call has not returned in time, or earlier ones of its kind still have not."""


class Busy(Exception):  # noqa: N818  # likewise
    """So many other calls are under way that this one's turn did not come in time."""


class NoThread(Exception):  # noqa: N818  # likewise
    """No thread can be started now: the process is ending, or it is out of threads."""


class Failed(Exception):  # noqa: N818  # likewise
    """The call raised ``error``. What a signal handler raises in the waiting thread comes bare."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(type(error).__name__)
        self.error = error


class TimeoutPool:
    """Calls of one kind. While ``most_late`` of them hang, further ones are given up at once; while
    ``at_once`` are waited for, further ones wait for their turn (None: any number may be)."""

    def __init__(self, most_late: int, at_once: int | None = None) -> None:
        self._most_late = most_late
        self._late: set[_Call] = set()
        self._turns: queue.SimpleQueue[bool] | None = None
        if at_once is not None:
            self._turns = queue.SimpleQueue()
            for _ in range(at_once):
                self._turns.put(True)

    def call(self, work: Callable[[], T], timeout: float) -> T:
        """What ``work`` returns, in at most ``timeout`` seconds, waiting for its turn included.

        Raises what `turn` and `run_in_thread` do.
        """
        return self.turn(partial(self.run_in_thread, work), timeout)

    def turn(self, work: Callable[[float], T], timeout: float) -> T:
        """What ``work`` returns, called here with the seconds that are left when its turn comes.

        Raises `Overdue` while too many hang and, with ``at_once``, `Busy`.
        """
        give_up = time.monotonic() + timeout
        held: list[bool] = []
        try:
            if self._turns is not None:
                try:
                    # One step of the interpreter: a signal handler that raises loses no turn.
                    held.extend(map(self._turns.get, (True,), (timeout,)))
                except queue.Empty:
                    raise Busy from None
            if self._late:
                self._late = {call for call in self._late if call.is_under_way()}
                if len(self._late) >= self._most_late:
                    raise Overdue
            return work(max(0.0, give_up - time.monotonic()))
        finally:
            if self._turns is not None and held:
                self._turns.put(True)

    def run_in_thread(self, work: Callable[[], T], timeout: float) -> T:
        """What ``work`` returns, called in a thread; to be asked for in a turn.

        Raises `Failed`, `NoThread` or `Overdue`: it then counts as one that hangs until it ends,
        and its answer is thrown away.
        """
        worker = _worker()
        call = _Call(work, copy_context(), worker.thread)
        worker.inbox.put(call)
        if not call.over.acquire(timeout=timeout):
            self._late.add(call)
            raise Overdue
        if call.error is not None:
            raise Failed(call.error)
        answer: T = call.answer
        return answer


class _Call:
    __slots__ = ("answer", "context", "ended", "error", "over", "thread", "work")

    def __init__(self, work: Callable[[], Any], context: Context, thread: threading.Thread) -> None:
        self.work: Callable[[], Any] | None = work
        self.context: Context | None = context
        self.answer: Any = None
        self.error: BaseException | None = None
        self.ended = False
        self.thread = thread
        self.over = threading.Lock()
        self.over.acquire()

    def make(self) -> None:
        try:
            if self.context is not None and self.work is not None:
                self.answer = self.context.run(self.work)
        except BaseException as error:  # noqa: BLE001  # handed to the waiting thread
            self.error = error
        self.work = self.context = None
        self.ended = True

    def is_under_way(self) -> bool:
        return not self.ended and self.thread.is_alive()  # a fork takes no threads along


class _Worker:
    __slots__ = ("inbox", "thread")

    def __init__(self) -> None:
        # Named so that it is gevent's where gevent has patched, be it late: it lets greenlets run.
        self.inbox: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self.thread = own_thread("aside", self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while (call := self.inbox.get()) is not None:
            call.make()
            over = call.over
            del call
            kept = len(_idle) < _MOST_IDLE
            if kept:
                _idle.append(self)
            over.release()
            if not kept:
                return


def _worker() -> _Worker:
    try:
        return _idle.pop()
    except IndexError:
        pass
    try:
        return _Worker()
    except RuntimeError:
        raise NoThread from None


def _send_idle_home() -> None:
    while _idle:
        worker = _idle.pop()
        worker.inbox.put(None)
        wait_for_end(worker.thread)


register("threads", before=_send_idle_home, after_in_child=_idle.clear)
