"""A SQLite file that was deleted, moved away or replaced while this process had it open.

What is at the path then is written to from then on. The old connection is kept until what must not
be lost has been carried over from it: see `carrying`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from cronguard.stores.sqlite.file import SQLiteFile
from cronguard.stores.sqlite.leftovers import clear_own

_SENTENCE = (
    "%s was replaced while this program had it open (%s): runs are written to the file that is"
    " there now, and their streaks and unsent alerts go on in it"
)


def follow(file: SQLiteFile) -> None:
    """Let go of the file that is open, and open what is at its path now.

    Called with the file's lock taken. If it fails, the old file stays the open one, so that the
    next transaction comes here again.

    SQLite neither checkpoints nor deletes the journal of a file that has moved when it closes it
    (``SQLITE_FCNTL_HAS_MOVED``), so closing the old one cannot touch the new one's.
    """
    old, opened, identity = file.connection, file.opened, file.identity
    assert file.name is not None  # noqa: S101  # for mypy
    path = Path(file.name)
    where = _whereabouts(opened and opened[0], identity)
    new: sqlite3.Connection | None = None
    try:
        if path.is_file():
            clear_own(path)
        new = file.open()
        if file.carry_over is not None:
            file.carry_over(old, new)
    except BaseException:
        file.opened, file.identity = opened, identity
        if new is not None:
            with contextlib.suppress(sqlite3.Error):
                new.close()
        raise
    file.connection = new
    if old is not None:
        _let_go(old, complete=where is not None)
    said = "the old one is gone" if where is None else f"the old one is {where} now"
    file.news.append((_SENTENCE, file.path, said))


def _whereabouts(number: int | None, identity: tuple[int, int] | None) -> str | None:
    """Return the path that the open file has now; None if it has none, or none that is known."""
    if number is None:
        return None
    with contextlib.suppress(OSError):
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
