"""SQLite and fork: no connection of ours is open while the program forks.

A child that inherits one believes to hold the locks that are its parent's. It then writes into a
journal that the parent, last to close the file as far as locks can tell, has deleted: what it
committed is lost. And SQLite has locks of its own for the whole process; a child that is forked
while another thread is inside SQLite would wait for them for ever, in whatever database it opens
next (https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_).
So a fork waits until no thread is inside one of our files, and closes them. Either side opens them
again when it needs them.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from typing import Protocol
from weakref import WeakSet

from cronguard.core.errors import StoreError

_PATIENCE = 3.0


class Forkable(Protocol):
    """A file whose ``lock`` is held by whoever is inside SQLite, the thread ``holder``."""

    lock: threading.Lock
    holder: int | None
    connection: sqlite3.Connection | None

    def own(self) -> sqlite3.Connection | None:
        """The connection that may be closed; raises StoreError if it may not."""


_files: WeakSet[Forkable] = WeakSet()
_held: dict[int, list[Forkable]] = {}
_inherited: list[sqlite3.Connection] = []
_hooked = False


def watch(file: Forkable) -> None:
    """Keep the file apart from that of every child that is forked from now on."""
    global _hooked  # noqa: PLW0603  # once a process tree
    _files.add(file)
    if not _hooked and hasattr(os, "register_at_fork"):
        _hooked = True
        os.register_at_fork(
            before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
        )


def _before() -> None:
    give_up = time.monotonic() + _PATIENCE
    held = [
        file
        for file in list(_files)
        if file.lock.acquire(timeout=max(0.0, give_up - time.monotonic()))
    ]
    _held[threading.get_ident()] = held
    for file in held:
        with contextlib.suppress(sqlite3.Error, StoreError):
            if (connection := file.own()) is not None:
                file.connection = None
                connection.close()


def _after_in_parent() -> None:
    for file in _held.pop(threading.get_ident(), ()):
        file.lock.release()


def _after_in_child() -> None:
    _held.clear()
    for file in list(_files):
        file.lock, file.holder = threading.Lock(), None
        if file.connection is not None:  # a thread that has hung inside SQLite all the while
            _inherited.append(file.connection)  # kept: closing it would meddle with the parent's
            file.connection = None
