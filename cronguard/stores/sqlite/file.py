"""A SQLite file and its transactions: one thread at a time, waiting for other writers."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias, TypeVar

from cronguard.core.errors import StoreError
from cronguard.process.threads import take
from cronguard.stores import SCHEMA_VERSIONS
from cronguard.stores.sqlite.connections import (
    absolute,
    counter_of,
    file_at,
    file_of,
    keep_from_forks,
    lost,
    open_file,
    refuse_lost,
    refuse_newer,
    version_of,
)

T = TypeVar("T")
CarryOver: TypeAlias = Callable[[sqlite3.Connection | None, sqlite3.Connection], None]

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
        """What is to be logged once the lock is free: see `replaced.following`."""
        keep_from_forks(self)

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
            before = version_of(self.path)
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
                if self._is_replaced(db):
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
                    raise _translated(error, self.path) from None
                now = time.monotonic()
                give_up = give_up or now + self._timeout
                if now >= give_up:
                    raise _translated(error, self.path) from None
                self._sleep(random.uniform(nap / 2, nap))  # noqa: S311  # not a secret
                late = give_up - now < self._timeout / 2
                nap = _SHORT_NAP if late else min(nap * 2, _LONGEST_NAP)
            except OSError as error:
                self._rollback()
                raise _translated(error, self.path) from None
            except BaseException:
                self._rollback()
                raise
            else:
                return result

    def _is_replaced(self, db: sqlite3.Connection) -> bool:
        """Tell whether another file than the open one is at the path, or none.

        Asked with the write lock held: whoever finds the file replaced later, and takes its lock,
        finds what is committed now.

        Raises:
            StoreConfigError: A newer cronguard has upgraded the file.
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
        return found.st_mtime_ns != self.changed_at and self._has_gone_back(db, found.st_mtime_ns)

    def _has_gone_back(self, db: sqlite3.Connection, changed_at: int) -> bool:
        """Tell whether an earlier state was written over the file; else note when it has changed.

        A file changes when its journal is merged into it, seldom, and when its schema is upgraded.
        Its header counts changes.
        """
        if self.was_overwritten():
            return True
        refuse_newer(db, self._schema, self.path, was_open=True)
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
        from cronguard.stores.sqlite.replaced.following import follow  # hardly ever

        follow(self)

    def note_restored(self) -> None:
        """Log, once the lock is free, that the file holds an earlier state than before."""
        from cronguard.stores.sqlite.replaced.following import RESTORED

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
            raise _translated(error, self.path) from None
        except OSError as error:
            raise _translated(error, self.path) from None
        finally:
            if held:
                self.holder = None
                held[0].release()

    def own(self) -> sqlite3.Connection | None:
        """Return the connection; None for none. Raises StoreError if somebody closed its file.

        A job that makes a daemon of itself closes every descriptor there is. What it opens next
        gets their numbers, and SQLite would write to that, or close it. The file cannot be opened
        again either: SQLite would take the locks that are gone for its own.
        """
        if self.connection is not None and self.opened is not None:
            number, file = self.opened
            if file_of(number) != file:
                lost[file] = self.connection
                self.connection = None
        if lost:
            refuse_lost(self.opened and self.opened[1], self.path)
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
            self.name = absolute(self.path)
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
        found = open_file(Path(self.name or self.path), self._schema, shown=self.path)
        self.opened = found.descriptor
        self.identity, self.counter, self.changed_at = found.identity, found.counter, 0
        return found.connection


def _refuse_parents(path: Path) -> None:
    raise StoreError(
        f"{path} was being written to when this process was forked: that is its parent's to do",
        code="forked",
    )


def _is_busy(error: sqlite3.Error) -> bool:
    name = getattr(error, "sqlite_errorname", "")
    return name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _translated(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    from cronguard.stores.sqlite.errors import translate  # most runs meet none

    return translate(error, path)
