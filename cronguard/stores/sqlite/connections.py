"""Connections to SQLite files: how they are opened, and that none is open while a program forks.

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

import errno
import os
import sqlite3
import threading
import time
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import NamedTuple, Protocol
from weakref import WeakSet

from cronguard.core.errors import StoreConfigError, StoreError
from cronguard.process import lifecycle
from cronguard.process.signals import is_file, is_there, make_file, make_folder, tolerate
from cronguard.process.threads import take
from cronguard.stores import SCHEMA_VERSIONS

_PATIENCE = 3.0


# --- opening -------------------------------------------------------------------------------------


class Opened(NamedTuple):
    """A connection, and which file it is to."""

    connection: sqlite3.Connection
    descriptor: tuple[int, tuple[int, int]] | None
    """The file descriptor and which file that is, where both are known."""
    identity: tuple[int, int] | None
    counter: bytes | None
    """What its header counts, where that can be read."""


def open_file(path: Path, schema: str, *, shown: Path) -> Opened:
    """Open what is at the path, made if there is nothing, with the schema as it is now.

    ``shown`` is the path as messages show it.
    """
    number = _create_private(path)
    file = file_at(path)
    refuse_lost(file, shown)
    connection = connect(path)
    try:
        if _version(connection) < SCHEMA_VERSIONS[schema]:
            _refuse_foreign(connection, shown)
            connection.execute("PRAGMA journal_mode = WAL")
            apply_schema(connection, schema, path)
        refuse_newer(connection, schema, shown)
        connection.execute("PRAGMA synchronous = NORMAL")
        opened = file_of(number)
        opened = opened if opened == file else None
        counter = counter_of(number) if opened else None
        if file_at(path) != file or counter == b"":
            raise StoreError(f"{shown} is being replaced: try again", code="busy")  # noqa: TRY301  # closed below like every other failure
    except BaseException:
        connection.close()
        raise
    return Opened(connection, (number, opened) if opened else None, file, counter)


def _refuse_foreign(db: sqlite3.Connection, path: Path) -> None:
    """Raise StoreConfigError over a log of somebody else's, which is left as it is."""
    found = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'cron_execution_logs'").fetchone()
    if found and _version(db) == 0:
        raise StoreConfigError(
            f"{path} has a table cron_execution_logs that is not cronguard's; it was left as it is:"
            " name another file as the store",
            code="foreign_schema",
        )


def refuse_newer(
    db: sqlite3.Connection, schema: str, shown: Path, *, was_open: bool = False
) -> None:
    """Raise StoreConfigError if a newer cronguard has made or upgraded the database."""
    version, known = _version(db), SCHEMA_VERSIONS[schema]
    if version <= known:
        return
    from cronguard.core.install import how_to_upgrade  # only when something is wrong

    found, then = f"has schema {version}", ""
    if was_open:
        found = f"was upgraded to schema {version} while this program had it open"
        then = " and start the program anew"
    raise StoreConfigError(
        f"{shown} {found}, this cronguard knows {known}:"
        f" upgrade cronguard here ({how_to_upgrade()}){then}",
        code="schema_newer",
    )


def file_of(number: int) -> tuple[int, int] | None:
    """Return which file is open under the number; None for none."""
    try:
        found = os.fstat(number)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise  # such as the time limit of the program, which came just now
        return None
    return found.st_dev, found.st_ino


def counter_of(number: int) -> bytes | None:
    """Return the change counter of the open SQLite file: the greater, the later.

    Empty for what is no SQLite file any more, None if unknown. It is read through SQLite's own
    descriptor: closing another would give up SQLite's locks.
    """
    with tolerate(OSError, AttributeError):  # there is no `pread` on Windows
        header = os.pread(number, 28, 0)
        return header[24:] if header.startswith(b"SQLite format 3\0") else b""
    return None


def file_at(path: Path) -> tuple[int, int] | None:
    """Return which file is there; None for none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _create_private(path: Path) -> int:
    """Make the file ours alone before SQLite sees it; its journal files inherit the mode.

    What a deleted file of the same name has left is cleared away.

    Returns the descriptor that SQLite takes next if nobody is quicker.
    """
    if not _is_usable(path):
        if _has_leftovers(path):
            from cronguard.stores.sqlite.replaced import leftovers  # hardly ever

            leftovers.clear_before_making(path)
        else:
            try:
                make_file(path)
            except FileNotFoundError:
                make_folder(path.parent)
                make_file(path)
        if not _is_usable(path):
            os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))  # the system says why
    elif _has_leftovers(path):
        from cronguard.stores.sqlite.replaced import leftovers  # others use it

        leftovers.clear_of_another(path)
    number = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.close(number)
    return number


def _is_usable(path: Path) -> bool:
    """Tell whether there is a file that this user may read and write, without opening it."""
    effective = os.access in os.supports_effective_ids
    return os.access(path, os.R_OK | os.W_OK, effective_ids=effective) and is_file(path)


def _has_leftovers(path: Path) -> bool:
    return is_there(Path(f"{path}-shm")) or is_there(Path(f"{path}-wal"))


def absolute(path: Path) -> str:
    """Return the path from the root, as far as that can be known."""
    with tolerate(OSError):
        return str(path.absolute())
    return str(path)  # there is no working directory any more


def connect(path: Path) -> sqlite3.Connection:
    """Return a new connection that waits for nobody and begins no transaction by itself."""
    return sqlite3.connect(
        path,
        timeout=0,
        isolation_level=None,
        check_same_thread=False,  # one connection, always under the store's lock
    )


def version_of(path: Path) -> int:
    """Return the number of the schema in the file; 0 for none."""
    if not is_there(path) or path.stat().st_size == 0:
        return 0
    connection = connect(path)
    try:
        return _version(connection)
    finally:
        connection.close()


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def apply_schema(db: sqlite3.Connection, schema: str, path: Path | None = None) -> None:
    """Apply what is missing in one transaction; of many processes one does it, the rest find it.

    ``path`` is the database's file; None for one in memory.
    """
    from cronguard.stores.sql import sql_texts  # once a file

    db.execute("BEGIN IMMEDIATE")
    version = _version(db)
    for name, text in sql_texts(schema):
        number = int(name.split("_")[0])
        if number <= version:
            continue
        statement = ""
        for line in text.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                db.execute(statement)
                statement = ""
        db.execute(f"PRAGMA user_version = {number}")
    if path is not None and version:
        _mark_changed(path)
    db.execute("COMMIT")
    if path is not None and version:
        _mark_changed(path)  # for who has looked since, and still saw the old schema


def _mark_changed(path: Path) -> None:
    """Have every process that has the file open look at it: see `SQLiteFile._is_replaced`.

    Called with the write lock held, so that none writes to the new schema before it has looked.
    """
    now = time.time_ns()
    try:
        os.utime(path, ns=(now, now))
    except PermissionError:  # it is another user's
        os.utime(path)


# --- connections whose file the program has closed -----------------------------------------------

lost: dict[tuple[int, int], sqlite3.Connection] = {}
"""File → a connection to it that must not even be closed: see `SQLiteFile.own`."""


def refuse_lost(file: tuple[int, int] | None, path: Path) -> None:
    """Raise StoreError if the program itself has closed a connection to the file."""
    if file in lost:
        raise StoreError(
            f"{path} was closed by this program, which closes files that it did not open, so this"
            " process does not write to it any more: restart the program",
            code="closed",
        )


# --- forks ---------------------------------------------------------------------------------------


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


def keep_from_forks(file: Forkable) -> None:
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
