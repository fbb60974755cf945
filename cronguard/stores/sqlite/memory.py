"""A database in memory, behind the same door as a file: for tests, and for hosts without a disk."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

from cronguard.stores.sqlite.connections import apply_schema, connect
from cronguard.stores.sqlite.file import SQLiteFile

_images: dict[str, bytes] = {}
"""Schema → an empty database of it. Copying one takes a quarter of the time of making it."""


class MemoryFile(SQLiteFile):
    """One connection to one database in memory, used by one thread at a time.

    The database is its connection: threads share it, and it lives until this object goes. A fork
    copies it, so that a child goes on with what its parent had until then, and writes of either are
    not seen by the other.
    """

    def __init__(self, timeout: float, *, schema: str = "sqlite") -> None:
        super().__init__(Path(":memory:"), timeout, schema=schema)

    def close(self) -> None:
        """Do nothing: all would be lost, and the store may be used again."""

    def migrate(self) -> bool:
        """Create the schema now; False if it is there."""
        with self._locked():
            if self.connection is not None:
                return False
            self._open()
            return True

    def before_fork(self) -> None:
        """Do nothing: the child goes on with a copy."""

    def inherit(
        self, connection: sqlite3.Connection, inside: int | None
    ) -> sqlite3.Connection | None:
        """Return the connection, if no thread was inside SQLite.

        If this thread was, whose signal handler forks, return a copy without the transaction, which
        is the parent's. If another thread was inside for longer than a fork waits, return None: it
        may have held the connection's lock, which nobody would release here. The child then begins
        with nothing.
        """
        if inside is None:
            return connection
        if inside != threading.get_ident():
            return None
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            copy = connect(self.path)
            connection.backup(copy)
            return copy
        return None

    def _open(self) -> sqlite3.Connection:
        connection = connect(self.path)
        try:
            _make_tables(connection, self._schema)
            connection.execute("PRAGMA temp_store = MEMORY")  # what is sorted needs no disk either
        except BaseException:
            connection.close()
            raise
        self.connection = connection
        return connection

    def __del__(self) -> None:
        connection = getattr(self, "connection", None)
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()  # since 3.13 Python warns of one that nobody closed


def _make_tables(connection: sqlite3.Connection, schema: str) -> None:
    """Create the tables of a schema, from an image of them after the first time.

    Some builds of Python have no `sqlite3.Connection.serialize`: they go through the SQL each time.
    """
    if schema in _images:
        with contextlib.closing(connect(Path(":memory:"))) as image:
            image.deserialize(_images[schema])
            image.backup(connection)
        return
    apply_schema(connection, schema)
    if hasattr(connection, "serialize"):
        _images[schema] = connection.serialize()
