"""A SQLite file and its transactions: opening, migrating, waiting for other writers, errors."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias, TypeVar

from cronguard.core.errors import StoreConfigError, StoreError
from cronguard.process.signals import tolerate
from cronguard.process.threads import take
from cronguard.stores.sqlite.forks import watch as watch_forks

T = TypeVar("T")
CarryOver: TypeAlias = Callable[[sqlite3.Connection | None, sqlite3.Connection], None]

SCHEMA_VERSIONS = {"spool": 2, "sqlite": 2}
"""Folder of SQL files → the number of its last one. Written down, since every process would list
the folder otherwise; a test holds it against the files."""
_FIRST_NAP, _LONGEST_NAP, _SHORT_NAP = 0.004, 0.1, 0.001


class SQLiteFile:
    """One connection to one file, used by one thread at a time.

    ``timeout`` bounds every transaction in seconds, waiting for other writers included. ``schema``
    is the folder of SQL files that make its tables.
    """

    def __init__(self, path: Path, timeout: float, *, schema: str = "sqlite") -> None:
        self.path = path
        self._timeout = timeout
        self._schema = schema
        self.lock = threading.Lock()
        self._sleep = time.sleep  # of gevent if the lock is, since it lets other greenlets run
        self.holder: int | None = None
        """The thread that holds the lock."""
        self.connection: sqlite3.Connection | None = None
        self.opened: tuple[int, tuple[int, int]] | None = None
        """The connection's file descriptor and which file that is, where both are known."""
        self.name: str | None = None
        """The path as it was made absolute when the file was first opened."""
        self.identity: tuple[int, int] | None = None
        """Which file was opened last; kept when it is closed."""
        self.counter: bytes | None = None
        """What its header counted when it was last seen to change, where that can be read."""
        self.changed_at = 0
        """When that was, in nanoseconds."""
        self.carry_over: CarryOver | None = None
        """Called when another file is opened than before, with the connection to the old one (None
        if it was closed) and to the new one, before anything else is written there."""
        self.news: list[tuple[object, ...]] = []
        """What is to be logged once the lock is free: see `replaced.follow`."""
        watch_forks(self)

    def write(
        self,
        work: Callable[[sqlite3.Connection], T],
        committed: Callable[[T], object] | None = None,
    ) -> T:
        """Run ``work`` in a transaction that holds the write lock from its beginning.

        ``committed`` is called with its result after the commit, before another thread's turn.
        """
        return self._transaction("BEGIN IMMEDIATE", work, committed)

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` on one consistent state of the file."""
        return self._transaction("BEGIN", work)

    def close(self) -> None:
        """Let go of the file; what was only in its journal is merged into it."""
        with self._locked():
            connection, self.connection = self.own(), None
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()

    def migrate(self) -> bool:
        """Create or upgrade the schema now; True if anything had to be done."""
        with self._locked():
            if self.connection is not None:
                return False
            before = _version_of(self.path)
            self._open()
            return before < SCHEMA_VERSIONS[self._schema]

    def _transaction(
        self,
        begin: str,
        work: Callable[[sqlite3.Connection], T],
        committed: Callable[[T], object] | None = None,
    ) -> T:
        """Run ``work`` in a transaction, in our turn."""
        held: list[threading.Lock] = []
        try:
            self._take(held)
            return self._repeated(begin, work, committed)
        finally:
            if held:
                self.holder = None
                held[0].release()
            if self.news:
                self._tell()

    def _repeated(
        self,
        begin: str,
        work: Callable[[sqlite3.Connection], T],
        committed: Callable[[T], object] | None,
    ) -> T:
        """Run ``work`` in a transaction; again from the start if another writer is in the way.

        Long naps keep many writers out of each other's way; whoever has waited for half of its
        time takes short ones, so that nobody starves. SQLite's own busy handler knows no such end.
        """
        give_up: float | None = None
        nap = _FIRST_NAP
        while True:
            try:
                db = self.own() or self._open()
                db.execute(begin)
                if self._is_replaced():
                    self._follow(db)
                    continue
                result = work(db)
                if db is not self.connection:
                    _refuse_parents(self.path)
                db.execute("COMMIT")
                if committed is not None:
                    committed(result)
            except sqlite3.Error as error:
                self._rollback()
                if not _is_busy(error):
                    raise _translate(error, self.path) from None
                now = time.monotonic()
                give_up = give_up or now + self._timeout
                if now >= give_up:
                    raise _translate(error, self.path) from None
                self._sleep(random.uniform(nap / 2, nap))  # noqa: S311  # not a secret
                late = give_up - now < self._timeout / 2
                nap = _SHORT_NAP if late else min(nap * 2, _LONGEST_NAP)
            except OSError as error:
                self._rollback()
                raise _translate_os(error, self.path) from None
            except BaseException:
                self._rollback()
                raise
            else:
                return result

    def _is_replaced(self) -> bool:
        """Tell whether another file than the open one is at the path, or none.

        Asked with the write lock held: whoever finds the file replaced later, and takes its lock,
        finds what is committed now.
        """
        if self.identity is None or self.name is None:
            return False
        try:
            found = os.stat(self.name)  # noqa: PTH116  # each transaction: a path costs more
        except (FileNotFoundError, NotADirectoryError):
            return True
        except PermissionError:  # it may be there: a process that gave up its rights goes on
            return False
        if (found.st_dev, found.st_ino) != self.identity:
            return True
        return found.st_mtime_ns != self.changed_at and self._has_gone_back(found.st_mtime_ns)

    def _has_gone_back(self, changed_at: int) -> bool:
        """Tell whether an earlier state was written over the file; else note when it has changed.

        A file changes when its journal is merged into it, seldom. Its header counts changes.
        """
        if self.was_overwritten():
            return True
        self.counter = self.opened and counter_of(self.opened[0])
        self.changed_at = changed_at
        return False

    def was_overwritten(self) -> bool:
        """Tell whether the open file holds an earlier state than when it was last looked at."""
        counter = self.opened and counter_of(self.opened[0])
        return counter is not None and self.counter is not None and counter < self.counter

    def is_at_path(self) -> bool:
        """Tell whether the file that was opened last is at the path."""
        return self.name is not None and file_at(Path(self.name)) == self.identity

    def _follow(self, db: sqlite3.Connection) -> None:
        db.execute("ROLLBACK")
        from cronguard.stores.sqlite.replaced import follow  # hardly ever

        follow(self)

    def note_restored(self) -> None:
        """Log, once the lock is free, that the file holds an earlier state than before."""
        from cronguard.stores.sqlite.replaced import RESTORED

        self.news.append((RESTORED, self.path))

    def _tell(self) -> None:
        from cronguard.process import log

        while self.news:
            log.warning(*self.news.pop(0))  # type: ignore[arg-type]

    def _take(self, held: list[threading.Lock]) -> None:
        """Wait for our turn; ``held`` is filled with the lock when it has come.

        There is nothing to wait for where this very thread holds the file: a signal handler or a
        finalizer stands in its way.
        """
        me = threading.get_ident()
        if self.holder != me:
            take(held, self.lock, self._timeout)
        if not held:
            raise StoreError(f"{self.path} is busy in this process", code="busy")
        self.holder = me

    def _rollback(self) -> None:
        if self.connection is not None and self.connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        held: list[threading.Lock] = []
        try:
            self._take(held)
            yield
        except sqlite3.Error as error:
            raise _translate(error, self.path) from None
        except OSError as error:
            raise _translate_os(error, self.path) from None
        finally:
            if held:
                self.holder = None
                held[0].release()

    def own(self) -> sqlite3.Connection | None:
        """The connection, if there is one. Raises StoreError if somebody has closed its file.

        A job that makes a daemon of itself closes every descriptor there is. What it opens next
        gets their numbers, and SQLite would write to that, or close it. The file cannot be opened
        again either: SQLite would take the locks that are gone for its own.
        """
        if self.connection is not None and self.opened is not None:
            number, file = self.opened
            if _file_of(number) != file:
                _lost[file] = self.connection
                self.connection = None
        if _lost:
            _refuse_lost(self.opened and self.opened[1], self.path)
        return self.connection

    def before_fork(self) -> None:
        """Close the file; called with its lock taken."""
        with contextlib.suppress(sqlite3.Error, StoreError):
            if (connection := self.own()) is not None:
                self.connection = None
                connection.close()

    def inherit(
        self,
        connection: sqlite3.Connection,  # noqa: ARG002  # a file in memory goes on with it
        inside: int | None,  # noqa: ARG002
    ) -> sqlite3.Connection | None:
        """Return the connection that a child goes on with; None to open one when it is needed.

        Args:
            connection: The parent's, as the fork found it.
            inside: The thread that the fork found inside SQLite; None for no thread.
        """
        return None

    def _open(self) -> sqlite3.Connection:
        if self.name is None:
            self.name = _absolute(self.path)
        before = self.identity
        connection = self.open()
        if self.identity != before and before is not None and self.carry_over is not None:
            self.carry_over(None, connection)
        self.connection = connection
        return connection

    def open(self) -> sqlite3.Connection:
        """Open what is at the path, made if there is nothing; return the connection.

        It is known as the file that was opened last, but is not used yet.
        """
        path = Path(self.name or self.path)
        number = _create_private(path)
        file = file_at(path)
        _refuse_lost(file, self.path)
        connection = connect(path)
        try:
            version, known = _version(connection), SCHEMA_VERSIONS[self._schema]
            if version < known:
                _refuse_foreign(connection, self.path)
                connection.execute("PRAGMA journal_mode = WAL")
                apply_schema(connection, self._schema)
            elif version > known:
                from cronguard.core.install import how_to_upgrade  # only when something is wrong

                raise StoreConfigError(  # noqa: TRY301  # closed below like every other failure
                    f"{self.path} has schema {version}, this cronguard knows {known}:"
                    f" upgrade cronguard here ({how_to_upgrade()})",
                    code="schema_newer",
                )
            connection.execute("PRAGMA synchronous = NORMAL")
            opened = _file_of(number)
            opened = opened if opened == file else None
            counter = counter_of(number) if opened else None
            if file_at(path) != file or counter == b"":
                raise StoreError(f"{self.path} is being replaced: try again", code="busy")  # noqa: TRY301
        except BaseException:
            connection.close()
            raise
        self.opened = (number, opened) if opened else None
        self.identity, self.counter, self.changed_at = file, counter, 0
        return connection


_lost: dict[tuple[int, int], sqlite3.Connection] = {}
"""File → a connection to it that must not even be closed: see `SQLiteFile.own`."""


def _refuse_lost(file: tuple[int, int] | None, path: Path) -> None:
    if file in _lost:
        raise StoreError(
            f"{path} was closed by the program itself, with other files: it is not written to"
            " until the program starts anew",
            code="closed",
        )


def _refuse_parents(path: Path) -> None:
    raise StoreError(
        f"{path} was being written to when this process was forked: that is its parent's to do",
        code="forked",
    )


def _refuse_foreign(db: sqlite3.Connection, path: Path) -> None:
    """A log of somebody else's is neither changed nor written to."""
    found = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'cron_execution_logs'").fetchone()
    if found and _version(db) == 0:
        raise StoreConfigError(
            f"{path} has a table cron_execution_logs that is not cronguard's; it was left as it is:"
            " name another file as the store",
            code="foreign_schema",
        )


def _file_of(number: int) -> tuple[int, int] | None:
    """Which file is open under the number; None for none."""
    try:
        found = os.fstat(number)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise  # such as the time limit of the program, struck just now
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
    """Which file is there; None for none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _create_private(path: Path) -> int:
    """Make the file ours alone before SQLite sees it; its journal files inherit the mode.

    One that is there is not opened: whoever closes any descriptor of a file gives up the locks that
    all of the process has on it. What a deleted file of the same name has left is cleared away.

    Returns the descriptor that SQLite takes next if nobody is quicker.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    effective = os.access in os.supports_effective_ids
    if not (os.access(path, os.R_OK | os.W_OK, effective_ids=effective) and path.is_file()):
        if _has_leftovers(path):
            from cronguard.stores.sqlite.leftovers import clear_before_making  # hardly ever

            clear_before_making(path)
        try:
            number = os.open(path, flags, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            number = os.open(path, flags, 0o600)
    else:
        if _has_leftovers(path):
            from cronguard.stores.sqlite.leftovers import clear_of_another  # others use it

            clear_of_another(path)
        number = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.close(number)
    return number


def _has_leftovers(path: Path) -> bool:
    return Path(f"{path}-shm").exists() or Path(f"{path}-wal").exists()


def _absolute(path: Path) -> str:
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


def _version_of(path: Path) -> int:
    if not path.exists() or path.stat().st_size == 0:
        return 0
    connection = connect(path)
    try:
        return _version(connection)
    finally:
        connection.close()


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def apply_schema(db: sqlite3.Connection, schema: str) -> None:
    """Apply what is missing in one transaction; of many processes one does it, the rest find it."""
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
    db.execute("COMMIT")


# --- errors ---------------------------------------------------------------------------------------


def _is_busy(error: sqlite3.Error) -> bool:
    name = getattr(error, "sqlite_errorname", "")
    return name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


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
    in_the_way = next(filter(os.path.isfile, path.parents), "a part of its path")
    code, why = {
        "EACCES": ("no_permission", "this user may not read and write it"),
        "EPERM": ("no_permission", "this user may not read and write it"),
        "EROFS": ("read_only", "its disk is read-only"),
        "ENOSPC": ("disk_full", "its disk is full"),
        "EISDIR": ("is_a_directory", "there is a directory in its place"),
        "ENOTDIR": ("not_a_directory", f"{in_the_way} is a file"),
        "EEXIST": ("not_a_directory", f"{in_the_way} is a file"),
    }.get(name, (name.lower(), f"the system says: {os.strerror(error.errno or 0).lower()}"))
    return StoreError(
        f"{path} cannot be opened, since {why}: change that, or name another file as the store",
        code=code,
    )
