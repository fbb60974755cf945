"""The journal that another file of the same name has left beside a SQLite file.

SQLite knows a write-ahead log by its name alone. Where a file is deleted or renamed while a process
has it open, its ``-wal`` and ``-shm`` stay, and who opens what is at the path next would read them
as its own: an empty file then gives I/O errors, one restored from a backup a mixture of both
(https://www.sqlite.org/howtocorrupt.html#_unlinking_or_renaming_a_database_file_while_in_use). The
process that has the old file open goes on with its descriptors whatever becomes of the names.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from cronguard.process.signals import is_there, make_file, real_path, tolerate

SUFFIXES = ("-wal", "-shm")
_SHM_IN_USE = "128"
"""The byte of a ``-shm`` that all who have it open have locked (SQLite's deadman switch)."""
_LOCKS = Path("/proc/locks")
_A_LOCK = re.compile(r"^\d+: POSIX .*:(\d+) (\d+) \S+$", re.MULTILINE)
"""A line such as ``1: POSIX  ADVISORY  READ 1234 08:01:5678 128 128``: which file, from where."""
_DESCRIPTORS = Path("/dev/fd")


def clear_before_making(path: Path) -> None:
    """Clear away what is left of a file that is gone, unless somebody has made a new one; make it.

    Whoever makes a file beside leftovers holds its folder's lock, or two would clear away each
    other's journal.
    """
    with folder_locked(path):
        if not is_there(path):
            remove_leftovers(path)
            make_file(path)


def clear_of_another(path: Path) -> None:
    """Clear away a journal that cannot be of the file that is there.

    Who uses a file locks it before its ``-shm``, and until after; so where that is in use and the
    file is not, they are of a file that was here before. Only Linux tells who holds which lock.

    Nor has an empty file a journal: who truncated it did so under processes that use it. SQLite
    would delete the journal's name under them. So it is replaced by another, as they will notice.
    """
    if path.stat().st_size == 0:
        with folder_locked(path):
            if path.stat().st_size == 0:
                remove_leftovers(path)
                replace_by_empty(path)
        return
    if _used_without(path) and _used_without(path):
        with folder_locked(path):
            if _used_without(path):
                remove_leftovers(path)


def clear_own(path: Path) -> None:
    """Clear away the journal that this process has open, of a file that was there before.

    Where the process has the file that is there open too, the journal is that one's.
    """
    with folder_locked(path), contextlib.suppress(FileNotFoundError):
        own, found = _open_here(), path.stat()
        if (found.st_dev, found.st_ino) not in own:
            remove_leftovers(path, only=own)


def replace_by_empty(path: Path) -> None:
    """Put a new file of the same mode in the place of an empty one."""
    target = real_path(path)
    new = target.with_name(f"{target.name}.restored-{os.getpid()}")
    try:
        new.touch(stat.S_IMODE(target.stat().st_mode), exist_ok=False)
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_locked(path: Path) -> Iterator[None]:
    """Keep out others who make or clear away files in the folder."""
    number = None
    with tolerate(ImportError, OSError):  # an open file cannot be deleted on Windows
        import fcntl

        number = os.open(real_path(path).parent, os.O_RDONLY | os.O_CLOEXEC)
    if number is None:
        yield
        return
    try:
        with tolerate(OSError):
            fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def remove_leftovers(path: Path, *, only: Collection[tuple[int, int]] | None = None) -> None:
    """Remove the journal's files at the path; with ``only``, those of them that are one of these.

    Called with the folder locked.
    """
    for suffix in SUFFIXES:
        left = Path(f"{real_path(path)}{suffix}")
        with contextlib.suppress(FileNotFoundError):
            found = left.stat()
            if only is None or (found.st_dev, found.st_ino) in only:
                left.unlink()


def _open_here() -> set[tuple[int, int]]:
    """Return which files this process has open."""
    found = set()
    with tolerate(OSError):
        for descriptor in _DESCRIPTORS.iterdir():
            with tolerate(OSError):
                each = descriptor.stat()
                found.add((each.st_dev, each.st_ino))
    return found


def _used_without(path: Path) -> bool:
    """Tell whether somebody has the path's ``-shm`` open, and nobody the file itself."""
    shm = file = 0
    locks = ""
    with tolerate(OSError, ValueError):
        shm, file = Path(f"{real_path(path)}-shm").stat().st_ino, path.stat().st_ino
        locks = _LOCKS.read_text(encoding="ascii")
    held = set(_A_LOCK.findall(locks))
    return (str(shm), _SHM_IN_USE) in held and str(file) not in {inode for inode, _ in held}
