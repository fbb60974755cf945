"""The one place that registers for forks of the process in which cronguard is a guest.

Work before a fork is done in phases, in this order, whichever module was imported first:

1. ``threads``: idle threads of ours are ended, so that Python does not warn the forking program of
   them.
2. ``imports``: imports under way are waited for. A child gets new copies of nearly all our locks,
   but not of Python's own: it has one for each module that is being imported, and a child that
   imports the same module would wait forever for a thread that it does not have. We import late, in
   our own threads and in those that run a guarded function for the first time. So a fork waits a
   moment for these imports to end, and a child forgets those still unfinished, to import the
   modules again.
3. ``files``: files are closed last, from a list that is read at that moment, and none is opened
   until the fork is over. So no thread is in the middle of using a file when the fork comes,
   whatever it started while others were waited for.

After the fork, the parent reopens its files and restarts its threads. The child forgets its
parent's imports, files, threads and ``process`` (identity and shared state).
"""

from __future__ import annotations

import _imp
import contextlib
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeAlias

Phase: TypeAlias = Literal["threads", "imports", "files", "process"]
_Hooks: TypeAlias = dict[Phase, list[Callable[[], object]]]

_PHASES_BEFORE: tuple[Phase, ...] = ("threads", "imports", "files")
_PHASES_IN_PARENT: tuple[Phase, ...] = ("files", "threads")
_PHASES_IN_CHILD: tuple[Phase, ...] = ("imports", "files", "threads", "process")
_IMPORT_WAIT_SECONDS = 1.0
_OTHER_FORK_WAIT_SECONDS = 3.0
_THREAD_END_WAIT_SECONDS = 0.25
_THREAD_NAME_PREFIX = "cronguard-"
"""The start of the names of all our threads."""
_before_hooks: _Hooks = {phase: [] for phase in _PHASES_BEFORE}
_parent_hooks: _Hooks = {phase: [] for phase in _PHASES_IN_PARENT}
_child_hooks: _Hooks = {phase: [] for phase in _PHASES_IN_CHILD}
_state_lock = threading.RLock()
"""Held while the hooks above and the state below change together."""
_forking: list[int] = []
"""The thread that forks, once for each fork under way; its signal handlers may fork as well."""
_begun_phases: set[Phase] = set()
"""The phases before the current fork that have begun."""
_own_imports = threading.Lock()
"""Held in a block of `importing_alone`; `_NEVER` once `end_imports` was called."""
_NEVER = threading.Lock()
_NEVER.acquire()


def register(
    phase: Phase,
    *,
    before: Callable[[], object] | None = None,
    after_in_parent: Callable[[], object] | None = None,
    after_in_child: Callable[[], object] | None = None,
) -> None:
    """Register functions to be called in a phase of every fork from now on.

    Each of them may be called when there is nothing to do. If a fork is under way and the phase has
    begun, ``before`` is called at once.
    """
    with _state_lock:
        for hooks, work in (
            (_before_hooks, before),
            (_parent_hooks, after_in_parent),
            (_child_hooks, after_in_child),
        ):
            if work is not None:
                hooks[phase].append(work)
        if before is not None and phase in _begun_phases:
            before()


def fork() -> int:
    """Fork for a child that never returns to its caller's code.

    Such a child takes no lock of another thread's, so Python's warning of threads says nothing.
    """
    import warnings  # a program that forks by itself does not come here

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def forking_thread() -> int | None:
    """Return the id of the thread whose fork is under way, or None."""
    return _forking[-1] if _forking else None


def own_thread(
    name: str, work: Callable[..., object], *args: Any, daemon: bool | None = None
) -> threading.Thread:
    """Return a new thread, not yet started, that calls ``work``.

    Its name marks it as ours at a fork. A subclass of `threading.Thread` would not do: gevent
    replaces that class, and its greenlets need the replacement.
    """
    return threading.Thread(
        target=_run_in_our_thread,
        args=(work, *args),
        name=_THREAD_NAME_PREFIX + name,
        daemon=daemon,
    )


def _run_in_our_thread(work: Callable[..., object], *args: Any) -> None:
    """Call ``work``, and keep the thread's end correct if gevent has patched `threading` since.

    `threading` unregisters a thread by the id that it has at its end, which is then gevent's.
    """
    number = threading.get_ident()
    try:
        work(*args)
    finally:
        active = getattr(threading, "_active", {})
        if number != threading.get_ident() and number in active:
            active[threading.get_ident()] = active.pop(number)


def wait_for_our_threads(seconds: float | None = None) -> None:
    """Wait for our non-daemon threads, as the interpreter would do at its end; None: for all."""
    give_up = None if seconds is None else time.monotonic() + seconds
    for thread in threading.enumerate():
        if thread.name.startswith(_THREAD_NAME_PREFIX) and not thread.daemon:
            thread.join(None if give_up is None else max(0.0, give_up - time.monotonic()))


def wait_for_end(thread: threading.Thread) -> None:
    """Wait briefly for a thread that was told to end, until the operating system has ended it.

    Since 3.12, Python warns a program that forks while it has threads; ours must not cause that.
    """
    thread.join(_THREAD_END_WAIT_SECONDS)
    give_up = time.monotonic() + _THREAD_END_WAIT_SECONDS
    while os.path.exists(f"/proc/self/task/{thread.native_id}") and time.monotonic() < give_up:  # noqa: PTH110  # faster, at every fork
        time.sleep(0.0002)


def after_the_fork(work: Callable[[], None]) -> None:
    """Call ``work`` in the parent: now, or in a greenlet if gevent has patched `threading`.

    With gevent, starting a thread lets other greenlets run for as long as they like, and gevent
    does not watch the child yet: if the child ends meanwhile, gevent may miss it and wait forever.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        sys.modules["gevent"].spawn(work)
    else:
        work()


def call_each(calls: Iterable[Callable[[], object]]) -> None:
    """Call all of them, even if one of them or a signal handler raises; then raise the first error.

    Python reports what a fork hook raises, and forks all the same.
    """
    interrupted_by: BaseException | None = None
    for call in calls:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  # raised below
            interrupted_by = interrupted_by or error
    if interrupted_by is not None:
        raise interrupted_by


def _before_fork() -> None:
    give_up = time.monotonic() + _OTHER_FORK_WAIT_SECONDS
    while not _begin_fork():
        if time.monotonic() >= give_up:
            return
        time.sleep(0.001)
    call_each(work for phase in _PHASES_BEFORE for work in _begin_phase(phase))


def _begin_fork() -> bool:
    """Record that this thread forks; return False while another thread's fork is under way."""
    me = threading.get_ident()
    with _state_lock:
        if forking_thread() not in (None, me):
            return False
        _forking.append(me)
        return True


def _begin_phase(phase: Phase) -> list[Callable[[], object]]:
    """Record that the phase has begun; return the hooks registered for it up to now."""
    with _state_lock:
        _begun_phases.add(phase)
        return _before_hooks[phase].copy()


def _after_fork_in_parent() -> None:
    with _state_lock:
        if forking_thread() != threading.get_ident():
            return  # another thread's fork took too long, so this one was not recorded
        _forking.pop()
        if _forking:
            return
        _begun_phases.clear()
    call_each(work for phase in _PHASES_IN_PARENT for work in _parent_hooks[phase])


def _after_fork_in_child() -> None:
    global _state_lock  # noqa: PLW0603  # the child needs its own
    _state_lock = threading.RLock()
    _forking.clear()
    _begun_phases.clear()
    call_each(work for phase in _PHASES_IN_CHILD for work in _child_hooks[phase])


def _wait_for_imports() -> None:
    """Wait for imports by our threads, and for imports of our modules by any thread."""
    ours = {t.ident for t in threading.enumerate() if t.name.startswith(_THREAD_NAME_PREFIX)}
    give_up = time.monotonic() + _IMPORT_WAIT_SECONDS
    ours.discard(None)  # a thread that has not started yet
    while time.monotonic() < give_up and any(
        owner in ours or name.startswith("cronguard.") for name, owner in _imports_of_others()
    ):
        time.sleep(0.001)


def _forget_imports() -> None:
    for name, owner in _imports_of_others():
        _module_locks().pop(name, None)
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if owner is not None and getattr(spec, "_initializing", False):
            del sys.modules[name]


def _imports_of_others() -> list[tuple[str, int | None]]:
    """Return modules that other threads are importing, with the thread's id.

    The id is None while the thread is just taking the lock.
    """
    me = threading.get_ident()
    owners = (
        (name, getattr(lock(), "owner", None)) for name, lock in _module_locks().copy().items()
    )
    return [(name, owner) for name, owner in owners if owner != me]


@contextlib.contextmanager
def importing_alone() -> Iterator[bool]:
    """Import in the block while nobody else does; give False if that is not possible now.

    Two threads that import modules of one package may wait for each other; Python then lets one of
    them go on with a module that is not complete, which may be the program's. So whoever else wants
    to import something waits for the block, which must be short and wait for nobody.
    """
    held: list[bool] = []
    try:
        # The lock is taken and noted in one step: see `SQLiteFile`.
        held.extend(filter(None, map(_own_imports.acquire, (False,))))
        alone = bool(held) and _take_import_lock()
        try:
            yield alone
        finally:
            if alone:
                _imp.release_lock()
    finally:
        if held:
            _own_imports.release()


def _take_import_lock() -> bool:
    """Take the lock without which nobody begins an import, unless one has begun.

    Whoever is importing already needs that lock for what is imported inside, and would wait for us
    while we wait for its module.
    """
    _imp.acquire_lock()
    if not _imports_of_others():
        return True
    _imp.release_lock()
    return False


def end_imports() -> None:
    """Begin no more blocks of `importing_alone`, and wait a moment for the one under way.

    The process is ending: a thread that is stopped in such a block would hold up any later import.
    """
    global _own_imports  # noqa: PLW0603  # nobody else may take it any more
    if _own_imports is not _NEVER and _own_imports.acquire(timeout=_IMPORT_WAIT_SECONDS):
        _own_imports = _NEVER


def _renew_own_imports() -> None:
    global _own_imports  # noqa: PLW0603  # the child needs its own
    _own_imports = threading.Lock()


def _module_locks() -> dict[str, Any]:
    locks: dict[str, Any] = getattr(getattr(importlib, "_bootstrap", None), "_module_locks", {})
    return locks


register("imports", before=_wait_for_imports, after_in_child=_forget_imports)
register("process", after_in_child=_renew_own_imports)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
