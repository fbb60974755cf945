"""What a person is told where a SQLite file cannot be used, and what to do about it."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from pathlib import Path

from cronguard.core.errors import StoreConfigError, StoreError
from cronguard.process.signals import is_file, tolerate

_SENTENCES = {
    "SQLITE_BUSY": ("busy", "{path} is locked by another process: try again"),
    "SQLITE_FULL": ("disk_full", "the disk that holds {path} is full: make room"),
    "SQLITE_READONLY": (
        "read_only",
        "{path} cannot be written, it or its disk is read-only: name another file as the store",
    ),
    "SQLITE_CANTOPEN": (
        "cannot_open",
        "{path} cannot be opened: check that its folder exists and belongs to this user",
    ),
    "SQLITE_IOERR": ("io_error", "{path} cannot be read or written: its disk is full or failing"),
    "SQLITE_CORRUPT": (
        "corrupt",
        "{path} is damaged; it was left as it is: move it away to begin a new log",
    ),
    "SQLITE_NOTADB": (
        "not_a_database",
        "{path} is not a SQLite database; it was left as it is: name another file as the store",
    ),
}
_SENTENCES["SQLITE_LOCKED"] = _SENTENCES["SQLITE_BUSY"]
_LASTING = {"corrupt", "not_a_database"}


def translate(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    """Return an error of SQLite's or the system's about the file as one of the store."""
    if isinstance(error, OSError):
        return _translate_os(error, path)
    return _translate(error, path)


def _is_special(path: Path) -> bool:
    with tolerate(OSError):
        found = path.stat().st_mode
        return not stat.S_ISREG(found) and not stat.S_ISDIR(found)
    return False


def _translate(error: sqlite3.Error, path: Path) -> StoreError:
    if _is_special(path):
        return StoreConfigError(
            f"{path} is a device or the like, which keeps nothing: name a file as the store",
            code="not_a_file",
        )
    name = getattr(error, "sqlite_errorname", "") or "SQLITE_ERROR"
    for prefix, (code, sentence) in _SENTENCES.items():
        if name.startswith(prefix):
            kind = StoreConfigError if code in _LASTING else StoreError
            return kind(sentence.format(path=path), code=code)
    return StoreError(f"{path} did not take the write ({name})", code=name.lower())


def _translate_os(error: OSError, path: Path) -> StoreError:
    name = errno.errorcode.get(error.errno or 0, "EIO")
    in_the_way = next(filter(is_file, path.parents), "a part of its path")
    not_allowed = "this user may not read and write it", "give it and its folder to this user"
    is_no_folder = f"{in_the_way} is a file, not a folder", "move that file away"
    reason = f"the system says: {os.strerror(error.errno or 0).lower()}", "see to that"
    code, (why, what) = {
        "EACCES": ("no_permission", not_allowed),
        "EPERM": ("no_permission", not_allowed),
        "EROFS": ("read_only", ("its disk is read-only", "make it writable")),
        "ENOSPC": ("disk_full", ("its disk is full", "free some space")),
        "EISDIR": ("is_a_directory", ("there is a folder in its place", "move that folder away")),
        "ENOTDIR": ("not_a_directory", is_no_folder),
        "EEXIST": ("not_a_directory", is_no_folder),
    }.get(name, (name.lower(), reason))
    return StoreError(
        f"{path} cannot be opened, since {why}: {what}, or set CRONGUARD_STORE to another file",
        code=code,
    )


__all__ = ["translate"]
