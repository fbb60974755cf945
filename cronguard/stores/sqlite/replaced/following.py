"""A SQLite file that was deleted, moved away or replaced while this process had it open.

What is at the path then is written to from then on. The old connection is kept until what must not
be lost has been carried over from it: see `carrying`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from cronguard.core.errors import StoreConfigError
from cronguard.process.signals import is_file, real_path, tolerate
from cronguard.stores.sqlite.replaced.leftovers import clear_own, folder_locked, remove_leftovers

_LOOKS, _LOOK_SECONDS = 20, 0.02
_BLOCK = 1 << 20
RESTORED = (
    "%s was restored to an earlier state while this program had it open: streaks that this program"
    " knows go on"
)
_REPLACED = (
    "%s was replaced while this program had it open (%s): runs are written to the file that is"
    " there now, and their streaks and unsent alerts go on in it"
)


class Replaceable(Protocol):
    """What is used of a `cronguard.stores.sqlite.file.SQLiteFile`."""

    path: Path
    name: str | None
    connection: sqlite3.Connection | None
    opened: tuple[int, tuple[int, int]] | None
    identity: tuple[int, int] | None
    counter: bytes | None
    carry_over: Callable[[sqlite3.Connection | None, sqlite3.Connection], None] | None
    news: list[tuple[object, ...]]

    def open(self) -> sqlite3.Connection:
        """Open what is at the path."""

    def was_overwritten(self) -> bool:
        """Tell whether the open file holds an earlier state."""

    def is_at_path(self) -> bool:
        """Tell whether the open file is what is at the path."""


def follow(file: Replaceable) -> None:
    """Let go of the file that is open, and open what is at its path now.

    Called with the file's lock taken. If it fails, the old file stays the open one, so that the
    next transaction comes here again.

    SQLite neither checkpoints nor deletes the journal of a file that has moved when it closes it
    (``SQLITE_FCNTL_HAS_MOVED``), so closing the old one cannot touch the new one's.
    """
    old, opened, identity, counter = file.connection, file.opened, file.identity, file.counter
    assert file.name is not None  # noqa: S101  # for mypy
    path = real_path(Path(file.name))
    where = _whereabouts(opened and opened[0], identity)
    overwritten = file.was_overwritten()
    new: sqlite3.Connection | None = None
    try:
        if opened is not None and overwritten and file.is_at_path():
            _give_own_file(file, path, opened[0])
        elif is_file(path):
            clear_own(path)
        new = file.open()
        if file.carry_over is not None:
            file.carry_over(None if overwritten else old, new)
    except BaseException:
        file.opened, file.identity, file.counter = opened, identity, counter
        if new is not None:
            with contextlib.suppress(sqlite3.Error):
                new.close()
        raise
    file.connection = new
    if old is not None:
        _let_go(old, complete=where is not None and not overwritten)
    if overwritten:
        file.news.append((RESTORED, file.path))
        return
    said = "the old one is gone" if where is None else f"the old one is {where} now"
    file.news.append((_REPLACED, file.path, said))


def _give_own_file(file: Replaceable, path: Path, number: int) -> None:
    """Copy what was written over the open file to a new one, and put that in its place.

    The journal of what was there before is still in use, and would be merged into what was
    restored: a mixture of both, which is no database. To every process that has the old file open
    it has been replaced then. What is not a whole database is left as it is.
    """
    _wait_until_written(number)
    copy = path.with_name(f"{path.name}.restored-{os.getpid()}")
    with folder_locked(path):
        if not file.is_at_path():
            return  # another process has done it
        try:
            _copy(number, copy)
            _check_whole(copy)
            remove_leftovers(path)
            copy.replace(path)
        except sqlite3.DatabaseError:
            raise StoreConfigError(
                f"{path} was written over with what is not a whole SQLite database; it was left as"
                " it is: move it away to begin a new log",
                code="corrupt",
            ) from None
        finally:
            copy.unlink(missing_ok=True)


def _wait_until_written(number: int) -> None:
    """Wait until nobody has written to the open file for a moment, but not for long."""
    before = None
    for _ in range(_LOOKS):
        now = os.fstat(number)
        if before == (now.st_size, now.st_mtime_ns):
            return
        before = (now.st_size, now.st_mtime_ns)
        time.sleep(_LOOK_SECONDS)


def _copy(number: int, path: Path) -> None:
    mode = stat.S_IMODE(os.fstat(number).st_mode)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        place = 0
        while block := os.pread(number, _BLOCK, place):
            place += file.write(block)
        file.flush()
        os.fsync(file.fileno())


def _check_whole(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError


def _whereabouts(number: int | None, identity: tuple[int, int] | None) -> str | None:
    """Return the path that the open file has now; None if it has none, or none that is known."""
    if number is None:
        return None
    with tolerate(OSError):
        found = Path(f"/proc/self/fd/{number}").readlink()
        there = found.stat()
        if (there.st_dev, there.st_ino) == identity:
            return str(found)
    return None


def _let_go(old: sqlite3.Connection, *, complete: bool) -> None:
    """Close the old file; one that is still somewhere gets what is only in its journal."""
    with contextlib.suppress(sqlite3.Error):
        if complete:
            old.execute("PRAGMA wal_checkpoint(PASSIVE)")
    with contextlib.suppress(sqlite3.Error):
        old.close()
