"""SQLite and fork: no connection of ours to a file is open while the program forks.

A child that inherits one believes to hold the locks that are its parent's. It then writes into a
journal that the parent, last to close the file as far as locks can tell, has deleted: what it
committed is lost. And SQLite has locks of its own for the whole process; a child that is forked
while another thread is inside SQLite would wait for them for ever, in whatever database it opens
next (https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_).
So a fork waits until no thread is inside one of our files, and closes them; a file that is made
meanwhile is made with its lock taken. Either side opens them again when it needs them.

A database in memory is its connection: its lock is taken as well, but it is left open, and the
child goes on with a copy of its own.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from functools import partial
from operator import methodcaller
from typing import Protocol
from weakref import WeakSet

from cronguard.process import lifecycle
from cronguard.process.threads import take

_PATIENCE = 3.0


class Forkable(Protocol):
    """A file whose ``lock`` is held by whoever is inside SQLite, the thread ``holder``."""

    lock: threading.Lock
    holder: int | None
    connection: sqlite3.Connection | None

    def before_fork(self) -> None:
        """Let go of what a child must not have; called with the lock taken."""

    def inherit(
        self, connection: sqlite3.Connection, inside: int | None
    ) -> sqlite3.Connection | None:
        """Return what a child goes on with; ``inside`` is the thread that was in SQLite, if any."""


_files: WeakSet[Forkable] = WeakSet()
_held: list[Forkable] = []
"""The files whose lock a fork holds."""
_keeper: int | None = None
"""The thread that forks, from when it begins to take the locks."""
_change = threading.RLock()
"""Held for what of the above must change together."""
_inherited: list[sqlite3.Connection] = []


def watch(file: Forkable) -> None:
    """Keep the file apart from that of every child that is forked from now on."""
    with _change:
        _files.add(file)
        if _keeper is not None:
            _keep(file, 0.0)  # nobody else has it yet


def _close_files() -> None:
    """Take the lock of every file there is, and close those that are not in memory."""
    global _keeper  # noqa: PLW0603  # until the fork is over
    with _change:
        _keeper = lifecycle.forking_thread()
        files = [file for file in _files if file not in _held]
    give_up = time.monotonic() + _PATIENCE
    lifecycle.call_each(partial(_keep, file, give_up) for file in files)
    lifecycle.call_each(file.before_fork for file in _held.copy())


def _keep(file: Forkable, give_up: float) -> None:
    """Take the file's lock for the fork."""
    mine = file.holder == _keeper  # a signal handler or a finalizer forks in a transaction
    seconds = 0.0 if mine else max(0.0, give_up - time.monotonic())
    take(_held, file.lock, seconds, noted=file)
    if file in _held:
        file.holder = _keeper  # whose signal handlers need not wait for it


def _give_back() -> None:
    global _keeper  # noqa: PLW0603  # the fork is over
    with _change:
        _keeper = None
        for file in _held:
            file.holder = None
        locks = [file.lock for file in _held]
        _held.clear()
        any(map(methodcaller("release"), locks))  # in one step, as they were taken


def _forget_files() -> None:
    global _keeper, _change  # the child's own
    _keeper, _change = None, threading.RLock()
    held = _held.copy()
    _held.clear()
    for file in list(_files):
        inside = None if file in held else file.holder
        file.lock, file.holder = threading.Lock(), None
        parents = file.connection
        if parents is not None:
            file.connection = file.inherit(parents, inside)
            if file.connection is not parents:
                _inherited.append(parents)  # kept: closing it would meddle with the parent's


lifecycle.register("files", before_fork=_close_files, in_parent=_give_back, in_child=_forget_files)
