"""When the program forks: what a thread of ours has locked would stay locked in the child.

Nearly every lock of ours is made anew in a child. What cannot be are Python's own locks, one for
each module that is being imported: a child that imports the same module would wait for ever for a
thread that it does not have. Ours come late, in threads of ours and in those that run a guarded
function for the first time. So a fork waits a moment for them to end, and a child forgets those
that were under way all the same, to import the modules afresh.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

_PATIENCE = 1.0
_END_PATIENCE = 0.05
_PREFIX = "cronguard-"
"""How the names of our threads begin."""
_hooked = False


def watch() -> None:
    """From now on, in this process and in those that it forks.

    To be called before anything of ours is imported late.
    """
    global _hooked  # noqa: PLW0603  # once a process tree
    if not _hooked and hasattr(os, "register_at_fork"):
        _hooked = True
        os.register_at_fork(before=_before, after_in_child=_after_in_child)


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


def _before() -> None:
    """Wait for imports of our threads, and for those of our modules, whoever asked for them."""
    ours = {t.ident for t in threading.enumerate() if t.name.startswith(_PREFIX)}
    give_up = time.monotonic() + _PATIENCE
    ours.discard(None)  # not started yet
    while time.monotonic() < give_up and any(
        owner in ours or name.startswith("cronguard.") for name, owner in _held_by_others()
    ):
        time.sleep(0.001)


def _after_in_child() -> None:
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
