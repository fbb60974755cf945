"""Forks of the process that cronguard is a guest of: the one place that registers for them.

What is done at a fork is done in phases, in this order, whoever was imported first:

1. ``threads`` are sent home, so that a program that forks is not warned of ours.
2. ``imports`` are waited for. Nearly every lock of ours is made anew in a child. What cannot be are
   Python's own locks, one for each module that is being imported: a child that imports the same
   module would wait for ever for a thread that it does not have. Ours come late, in threads of ours
   and in those that run a guarded function for the first time. So a fork waits a moment for them
   to end, and a child forgets those that were under way all the same, to import them afresh.
3. ``files`` are closed last, from a list that is read then, and none is opened until the fork is
   over: whatever a thread begins while others are waited for, it is in no file when the fork comes.

Then the parent takes up its files and threads again, and the child forgets its parent's imports,
files, threads and ``process``: who it is and what it shares.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

Phase: TypeAlias = Literal["threads", "imports", "files", "process"]
_Hooks: TypeAlias = dict[Phase, list[Callable[[], object]]]

_BEFORE: tuple[Phase, ...] = ("threads", "imports", "files")
_IN_PARENT: tuple[Phase, ...] = ("files", "threads")
_IN_CHILD: tuple[Phase, ...] = ("imports", "files", "threads", "process")
_PATIENCE = 1.0
_TURN_PATIENCE = 3.0
_END_PATIENCE = 0.05
_PREFIX = "cronguard-"
"""How the names of our threads begin."""
_before: _Hooks = {phase: [] for phase in _BEFORE}
_in_parent: _Hooks = {phase: [] for phase in _IN_PARENT}
_in_child: _Hooks = {phase: [] for phase in _IN_CHILD}
_change = threading.RLock()
"""Held for what of the following must change together."""
_forking: list[int] = []
"""The thread that forks, once for each fork under way: its signal handler may fork meanwhile."""
_begun: set[Phase] = set()
"""The phases before that fork which have begun."""


def register(
    phase: Phase,
    *,
    before: Callable[[], object] | None = None,
    after_in_parent: Callable[[], object] | None = None,
    after_in_child: Callable[[], object] | None = None,
) -> None:
    """Have these called in their phase of every fork from now on.

    Each may be called when there is nothing to do for it. In the middle of a fork ``before`` is
    called at once if its phase has begun.
    """
    with _change:
        for hooks, work in (
            (_before, before),
            (_in_parent, after_in_parent),
            (_in_child, after_in_child),
        ):
            if work is not None:
                hooks[phase].append(work)
        if before is not None and phase in _begun:
            before()


def forking_thread() -> int | None:
    """Return the thread whose fork is under way, or None."""
    return _forking[-1] if _forking else None


def own_thread(
    name: str, work: Callable[..., object], *args: Any, daemon: bool | None = None
) -> threading.Thread:
    """Return a thread of ours, to be started, that calls ``work``; forks know it by its name.

    No class of its own: gevent puts another `threading.Thread` in place, which greenlets need.
    """
    return threading.Thread(target=_work, args=(work, *args), name=_PREFIX + name, daemon=daemon)


def _work(work: Callable[..., object], *args: Any) -> None:
    """Call ``work``, and let the thread end well where gevent has come since it began.

    `threading` forgets a thread under the number that it has at its end: gevent's, by then.
    """
    number = threading.get_ident()
    try:
        work(*args)
    finally:
        active = getattr(threading, "_active", {})
        if number != threading.get_ident() and number in active:
            active[threading.get_ident()] = active.pop(number)


def wait_for_end(thread: threading.Thread) -> None:
    """Let a thread that was told to end do so, the operating system's part of it included.

    A program that forks is warned of its threads since 3.12, and must not be of ours.
    """
    thread.join(_END_PATIENCE)
    give_up = time.monotonic() + _END_PATIENCE
    while os.path.exists(f"/proc/self/task/{thread.native_id}") and time.monotonic() < give_up:  # noqa: PTH110  # at every fork
        time.sleep(0.0002)


def after_the_fork(work: Callable[[], None]) -> None:
    """Call ``work`` in the parent: now, or, where threads are gevent's, in a greenlet of its own.

    To start a thread there lets other greenlets run, for as long as they like, and gevent does not
    watch the child yet: if that ends meanwhile, it may be missed, and waited for for ever.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        sys.modules["gevent"].spawn(work)
    else:
        work()


def call_each(calls: Iterable[Callable[[], object]]) -> None:
    """Call all of them, whatever one raises or a signal handler raises meanwhile, and raise that.

    Python says what a hook has raised, and forks all the same.
    """
    interrupted_by: BaseException | None = None
    for call in calls:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  # raised below
            interrupted_by = interrupted_by or error
    if interrupted_by is not None:
        raise interrupted_by


def _prepare() -> None:
    give_up = time.monotonic() + _TURN_PATIENCE
    while not _begin():
        if time.monotonic() >= give_up:
            return
        time.sleep(0.001)
    call_each(work for phase in _BEFORE for work in _begun_hooks(phase))


def _begin() -> bool:
    """Note the fork; return False while one of another thread is under way."""
    me = threading.get_ident()
    with _change:
        if forking_thread() not in (None, me):
            return False
        _forking.append(me)
        return True


def _begun_hooks(phase: Phase) -> list[Callable[[], object]]:
    """Note that the phase has begun; return what is to be done in it as things stand now."""
    with _change:
        _begun.add(phase)
        return _before[phase].copy()


def _resume() -> None:
    with _change:
        if forking_thread() != threading.get_ident():
            return  # another thread's fork took too long for this one to wait
        _forking.pop()
        if _forking:
            return
        _begun.clear()
    call_each(work for phase in _IN_PARENT for work in _in_parent[phase])


def _renew() -> None:
    global _change  # noqa: PLW0603  # the child's own
    _change = threading.RLock()
    _forking.clear()
    _begun.clear()
    call_each(work for phase in _IN_CHILD for work in _in_child[phase])


def _wait_for_imports() -> None:
    """Wait for imports of our threads, and for those of our modules, whoever asked for them."""
    ours = {t.ident for t in threading.enumerate() if t.name.startswith(_PREFIX)}
    give_up = time.monotonic() + _PATIENCE
    ours.discard(None)  # not started yet
    while time.monotonic() < give_up and any(
        owner in ours or name.startswith("cronguard.") for name, owner in _held_by_others()
    ):
        time.sleep(0.001)


def _forget_imports() -> None:
    for name, owner in _held_by_others():
        _locks().pop(name, None)
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if owner is not None and getattr(spec, "_initializing", False):
            del sys.modules[name]


def _held_by_others() -> list[tuple[str, int | None]]:
    """Modules that other threads are importing, and which; None: it takes the lock just now."""
    me = threading.get_ident()
    owners = ((name, getattr(lock(), "owner", None)) for name, lock in _locks().copy().items())
    return [(name, owner) for name, owner in owners if owner != me]


def _locks() -> dict[str, Any]:
    locks: dict[str, Any] = getattr(getattr(importlib, "_bootstrap", None), "_module_locks", {})
    return locks


register("imports", before=_wait_for_imports, after_in_child=_forget_imports)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_prepare, after_in_parent=_resume, after_in_child=_renew)
