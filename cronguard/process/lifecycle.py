"""The one place that registers for forks and for the end of the process in which we are a guest.

Work is registered for a phase, and phases are done in the order of the tables below, whichever
module was imported first. Within a phase no work depends on any other.

Before a fork:

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

At the end of the process:

1. ``deliveries``: alerts under way are waited for, where the interpreter has not done it.
2. ``imports``: no thread begins to import for later any more.
3. ``outcomes``: what waits is replayed to the store, which is closed.
4. ``threads``: the thread that is left is ended.
5. ``interrupt``: a Ctrl-C that ended the program is noted again, after all that the program itself
   does at its end.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, TypeAlias

from cronguard.process.signals import end_by_ctrl_c

Phase: TypeAlias = Literal[
    "threads", "imports", "files", "process", "deliveries", "outcomes", "interrupt"
]
_Work: TypeAlias = Callable[[], object]
_Hooks: TypeAlias = dict[Phase, list[_Work]]

BEFORE_FORK: tuple[Phase, ...] = ("threads", "imports", "files")
IN_PARENT: tuple[Phase, ...] = ("files", "threads")
IN_CHILD: tuple[Phase, ...] = ("imports", "files", "threads", "process")
AT_EXIT: tuple[Phase, ...] = ("deliveries", "imports", "outcomes", "threads")
AFTER_EXIT: tuple[Phase, ...] = ("interrupt",)
"""Done after what the program registered with `atexit`, since it imported cronguard."""
THREAD_NAME_PREFIX = "cronguard-"
"""The start of the names of all our threads."""
IMPORT_WAIT_SECONDS = 1.0
_OTHER_FORK_WAIT_SECONDS = 3.0
_before_hooks: _Hooks = {phase: [] for phase in BEFORE_FORK}
_parent_hooks: _Hooks = {phase: [] for phase in IN_PARENT}
_child_hooks: _Hooks = {phase: [] for phase in IN_CHILD}
_exit_hooks: _Hooks = {phase: [] for phase in (*AT_EXIT, *AFTER_EXIT)}
_state_lock = threading.RLock()
"""Held while the hooks above and the state below change together."""
_forking: list[int] = []
"""The thread that forks, once for each fork under way; its signal handlers may fork as well."""
_begun_phases: set[Phase] = set()
"""The phases before the current fork that have begun."""
_expecting: set[str] = set()
"""The ways of ending that call `_at_exit` in this process."""


def register(
    phase: Phase,
    *,
    before_fork: _Work | None = None,
    in_parent: _Work | None = None,
    in_child: _Work | None = None,
    at_exit: _Work | None = None,
) -> None:
    """Register functions to be called in a phase of every fork from now on, and of the end.

    Each of them may be called when there is nothing to do. If a fork is under way and the phase has
    begun, ``before_fork`` is called at once.

    Args:
        phase: The phase; `KeyError` if it has none of the moments that functions are given for.
        before_fork: Called in the parent before it forks.
        in_parent: Called in the parent when it has forked.
        in_child: Called in the child.
        at_exit: Called when the process ends, after `expect_end`.
    """
    with _state_lock:
        for hooks, work in (
            (_before_hooks, before_fork),
            (_parent_hooks, in_parent),
            (_child_hooks, in_child),
            (_exit_hooks, at_exit),
        ):
            if work is not None:
                hooks[phase].append(work)
        if before_fork is not None and phase in _begun_phases:
            before_fork()


def call_each(calls: Iterable[_Work]) -> None:
    """Call all of them, even if one of them or a signal handler raises; then raise the first error.

    Python reports what a hook raises, and forks or ends all the same.
    """
    interrupted_by: BaseException | None = None
    for call in calls:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  # raised below
            interrupted_by = interrupted_by or error
    if interrupted_by is not None:
        raise interrupted_by


# --- forks ----------------------------------------------------------------------------------------


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


def _before_fork() -> None:
    give_up = time.monotonic() + _OTHER_FORK_WAIT_SECONDS
    while not _begin_fork():
        if time.monotonic() >= give_up:
            return
        time.sleep(0.001)
    call_each(work for phase in BEFORE_FORK for work in _begin_phase(phase))


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
    call_each(work for phase in IN_PARENT for work in _parent_hooks[phase])


def _after_fork_in_child() -> None:
    global _state_lock  # noqa: PLW0603  # the child needs its own
    _state_lock = threading.RLock()
    _forking.clear()
    _begun_phases.clear()
    _expecting.discard(_MULTIPROCESSING)
    call_each(work for phase in IN_CHILD for work in _child_hooks[phase])


# --- imports --------------------------------------------------------------------------------------


def _wait_for_imports() -> None:
    """Wait for imports by our threads, and for imports of our modules by any thread."""
    ours = {t.ident for t in threading.enumerate() if t.name.startswith(THREAD_NAME_PREFIX)}
    give_up = time.monotonic() + IMPORT_WAIT_SECONDS
    ours.discard(None)  # a thread that has not started yet
    while time.monotonic() < give_up and any(
        owner in ours or name.startswith("cronguard.") for name, owner in imports_of_others()
    ):
        time.sleep(0.001)


def _forget_imports() -> None:
    for name, owner in imports_of_others():
        _module_locks().pop(name, None)
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if owner is not None and getattr(spec, "_initializing", False):
            del sys.modules[name]


def own_modules() -> AbstractContextManager[None]:
    """Return a block for an import that is made late, where files of the program may hide it.

    See `cronguard.process.hidden`, which is loaded only where there are such files.
    """
    hidden = sys.modules.get("cronguard.process.hidden")
    return hidden.python_first() if hidden is not None and hidden.hides() else nullcontext()


def imports_of_others() -> list[tuple[str, int | None]]:
    """Return modules that other threads are importing, with the thread's id.

    The id is None while the thread is just taking the lock.
    """
    me = threading.get_ident()
    owners = (
        (name, getattr(lock(), "owner", None)) for name, lock in _module_locks().copy().items()
    )
    return [(name, owner) for name, owner in owners if owner != me]


def _module_locks() -> dict[str, Any]:
    locks: dict[str, Any] = getattr(getattr(importlib, "_bootstrap", None), "_module_locks", {})
    return locks


# --- the end of the process -----------------------------------------------------------------------

_MULTIPROCESSING = "multiprocessing"
"""A child of it ends without `atexit`, and drops what its parent has registered."""


def expect_end() -> None:
    """Have the phases of the end done however this process ends; to be called by its first run.

    So they come before what was registered with `atexit` until then, such as by libraries that
    stores and channels use. Celery's prefork children end by `os._exit`, with
    ``worker_max_tasks_per_child=1`` after every task, and tell nobody but who listens to Celery.
    """
    # A program may have a file of that name.
    parent_process = getattr(sys.modules.get(_MULTIPROCESSING), "parent_process", None)
    if (
        _MULTIPROCESSING not in _expecting
        and parent_process is not None
        and parent_process() is not None
    ):
        from multiprocessing.util import Finalize

        _expecting.add(_MULTIPROCESSING)
        Finalize(None, _at_exit, exitpriority=0)
    if celery := sys.modules.get("celery.signals"):
        ends = celery.worker_process_shutdown
        ends.connect(_at_exit, weak=False, dispatch_uid=__name__)
    if "atexit" not in _expecting:
        _expecting.add("atexit")  # a forked child inherits it
        atexit.register(_at_exit)


def _at_exit(**_: object) -> None:
    call_each(work for phase in AT_EXIT for work in _exit_hooks[phase])


def _after_exit() -> None:
    call_each(work for phase in AFTER_EXIT for work in _exit_hooks[phase])


register("imports", before_fork=_wait_for_imports, in_child=_forget_imports)
register("interrupt", at_exit=end_by_ctrl_c)
atexit.register(_after_exit)  # before anything else of ours, so that it comes last
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
