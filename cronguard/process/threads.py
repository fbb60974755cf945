"""Threads of ours, and how they are waited for: never longer than the program can bear.

A thread of ours ends with the process that it was started in. One that calls a plugin may come back
in a child, since plugins fork; nobody waits for it there, so it ends that child.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import compress
from typing import Any, Protocol, cast

from cronguard.core.model import DELIVERY_SECONDS
from cronguard.process.lifecycle import THREAD_NAME_PREFIX, register

_END_WAIT_SECONDS = 0.25
_BEGIN_SECONDS = 1.0
"""How long a new thread may take to begin: without memory it never does."""
_BEGIN_SECONDS_NOW = 0.05
"""The same where the last one did not begin."""
_begins = True
"""Whether the last thread began."""
_ours: set[int] = set()
"""The ids of our threads that are running."""
_came_along: int | None = None
"""The id of the thread of ours that forked this process; None if none did."""


class Lock(Protocol):
    """What is used of a `threading.Lock`."""

    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool:
        """Take it, if that is possible in time."""


def take(held: list[Any], lock: Lock, seconds: float = 0.0, *, noted: object = None) -> bool:
    """Wait for a lock, so many seconds at most, and note in ``held`` that it is taken.

    Both happen in one step of the interpreter. A signal handler may raise between any two, and a
    lock that nobody knows to be taken would never be given back. Nor may a function of ours give it
    back, which can be struck before it begins: the caller's ``finally`` does it, if anything is in
    ``held``. No loop may stand in that ``try``: what is raised at a jump passes the ``finally`` by
    since Python 3.12.

    Args:
        held: Gets the lock once it is taken.
        lock: The lock.
        seconds: How long to wait; 0 for not at all.
        noted: What ``held`` gets instead of the lock.

    Returns:
        Whether anything is in ``held``.
    """
    note = lock if noted is None else noted
    held.extend(compress((note,), map(lock.acquire, (True,), (seconds,))))
    return bool(held)


def own_thread(
    name: str, work: Callable[..., object], *args: Any, daemon: bool | None = None
) -> threading.Thread:
    """Return a new thread that calls ``work``, to be started by `start`.

    Its name marks it as ours at a fork. A subclass of `threading.Thread` would not do: gevent
    replaces that class, and its greenlets need the replacement.
    """
    may_begin = [True]
    thread: Any = threading.Thread(
        target=_run_in_our_thread,
        args=(may_begin, work, *args),
        name=THREAD_NAME_PREFIX + name,
        daemon=daemon,
    )
    thread.may_begin = may_begin
    return cast("threading.Thread", thread)


class NotBegunError(RuntimeError):
    """A thread has not begun in time; another one may."""


def start(thread: threading.Thread) -> None:
    """Start a thread of `own_thread`.

    `threading` waits until a thread has begun, which may be for ever: Python ends one that has no
    memory to begin, and tells nobody.

    Raises:
        NotBegunError: It has not begun in time, and never will do its work.
        RuntimeError: It cannot be started.
        MemoryError: There is none for it.
    """
    global _begins  # noqa: PLW0603  # one a process
    has_begun: Any = getattr(thread, "_started", None)
    seconds = _BEGIN_SECONDS if _begins else _BEGIN_SECONDS_NOW
    try:
        has_begun.wait = partial(has_begun.wait, seconds)
    except AttributeError:  # gevent's, which is no thread
        thread.start()
        return
    thread.start()
    del has_begun.wait
    _begins = has_begun.is_set()
    if not _begins and give_up(thread):
        forgotten: Any = thread
        forgotten._bootstrap_inner = lambda: None  # noqa: SLF001  # what it does if it begins late
        getattr(threading, "_limbo", {}).pop(thread, None)  # the threads that are to begin
        raise NotBegunError("a thread has not begun")


def give_up(thread: threading.Thread) -> bool:
    """Let a thread of `own_thread` do nothing if it has not begun; return whether it had not."""
    return _popped(thread.may_begin)  # type: ignore[attr-defined]  # see `own_thread`


def _popped(tokens: list[bool]) -> bool:
    try:
        return tokens.pop()
    except IndexError:  # somebody else was first
        return False


def _run_in_our_thread(may_begin: list[bool], work: Callable[..., object], *args: Any) -> None:
    """Call ``work``, and keep the thread's end correct if gevent has patched `threading` since.

    `threading` unregisters a thread by the id that it has at its end, which is then gevent's.
    """
    number = threading.get_ident()
    _ours.add(number)
    try:
        if _popped(may_begin):
            work(*args)
    finally:
        end_if_forked()
        _ours.discard(number)
        active = getattr(threading, "_active", {})
        if number != threading.get_ident() and number in active:
            active[threading.get_ident()] = active.pop(number)


def end_if_forked() -> None:
    """End the process if it is a child that this thread of ours was forked into.

    To be called where third-party code has returned: it is for that code to make an end of a child
    that it forks, and ours would go on with its parent's work.
    """
    if _came_along is not None and _came_along == threading.get_ident():
        os._exit(0)


def _forget_threads() -> None:
    """Note in a child whether a thread of ours came along; no other one is there."""
    global _came_along  # noqa: PLW0603  # one a process
    me = threading.get_ident()
    _came_along = me if me in _ours else None
    _ours.intersection_update((me,))


def run_in_background(
    name: str, work: Callable[[], object], deadline: float
) -> threading.Event | None:
    """Call ``work`` in a daemon thread, for which the process waits when it ends.

    A second thread makes the process wait and does nothing else, so that nothing can hold it up
    beyond ``deadline``, on `time.monotonic`'s clock.

    Returns:
        What is set when ``work`` has ended; None if no thread can be started.
    """
    is_done = threading.Event()

    def work_and_tell() -> None:
        try:
            work()
        finally:
            is_done.set()

    try:
        start(own_thread(name, _wait, is_done, deadline, daemon=False))
        start(own_thread(name, work_and_tell, daemon=True))
    except BaseException as error:
        is_done.set()
        if isinstance(error, RuntimeError | MemoryError):
            return None
        raise
    return is_done


def _wait(is_done: threading.Event, deadline: float) -> None:
    is_done.wait(max(0.0, deadline - time.monotonic()))


def wait_for_our_threads(seconds: float | None = None) -> None:
    """Wait for our non-daemon threads, as the interpreter would do at its end; None: for all."""
    give_up = None if seconds is None else time.monotonic() + seconds
    for thread in threading.enumerate():
        if thread.name.startswith(THREAD_NAME_PREFIX) and not thread.daemon:
            thread.join(None if give_up is None else max(0.0, give_up - time.monotonic()))


def wait_for_end(thread: threading.Thread) -> None:
    """Wait briefly for a thread that was told to end, until the operating system has ended it.

    Since 3.12, Python warns a program that forks while it has threads; ours must not cause that.
    """
    if thread.ident is None:
        return  # it has never begun
    thread.join(_END_WAIT_SECONDS)
    give_up = time.monotonic() + _END_WAIT_SECONDS
    while os.access(f"/proc/self/task/{thread.native_id}", os.F_OK) and time.monotonic() < give_up:
        time.sleep(0.0002)


def start_after_fork(work: Callable[[], None]) -> None:
    """Call ``work`` in the parent: now, or in a greenlet if gevent has patched `threading`.

    With gevent, starting a thread lets other greenlets run for as long as they like, and gevent
    does not watch the child yet: if the child ends meanwhile, gevent may miss it and wait forever.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        sys.modules["gevent"].spawn(work)
    else:
        work()


register("threads", in_child=_forget_threads)
register("deliveries", at_exit=partial(wait_for_our_threads, DELIVERY_SECONDS))
