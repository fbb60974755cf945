"""Importing ahead, in a way that disturbs no import of the program."""

from __future__ import annotations

import _imp
import contextlib
import threading
from collections.abc import Iterator

from cronguard.process import lifecycle
from cronguard.process.threads import take

_own_imports = threading.Lock()
"""Held in a block of `importing_alone`; `_NEVER` once `_end_imports` was called."""
_NEVER = threading.Lock()
_NEVER.acquire()


@contextlib.contextmanager
def importing_alone() -> Iterator[bool]:
    """Import in the block while nobody else does; give False if that is not possible now.

    Two threads that import modules of one package may wait for each other; Python then lets one of
    them go on with a module that is not complete, which may be the program's. So whoever else wants
    to import something waits for the block, which must be short and wait for nobody.
    """
    held: list[threading.Lock] = []
    try:
        alone = take(held, _own_imports) and _take_import_lock()
        try:
            yield alone
        finally:
            if alone:
                _imp.release_lock()
    finally:
        if held:
            held[0].release()


def _take_import_lock() -> bool:
    """Take the lock without which nobody begins an import, unless one has begun.

    Whoever is importing already needs that lock for what is imported inside, and would wait for us
    while we wait for its module.
    """
    _imp.acquire_lock()
    if not lifecycle.imports_of_others():
        return True
    _imp.release_lock()
    return False


def _end_imports() -> None:
    """Begin no more blocks of `importing_alone`, and wait a moment for the one under way.

    The process is ending: a thread that is stopped in such a block would hold up any later import.
    """
    global _own_imports  # noqa: PLW0603  # nobody else may take it any more
    if _own_imports is not _NEVER and _own_imports.acquire(timeout=lifecycle.IMPORT_WAIT_SECONDS):
        _own_imports = _NEVER


def _renew_own_imports() -> None:
    global _own_imports  # noqa: PLW0603  # the child needs its own
    _own_imports = threading.Lock()


lifecycle.register("imports", at_exit=_end_imports)
lifecycle.register("process", in_child=_renew_own_imports)
