"""A shared log in PostgreSQL, through psycopg 3; also behind a transaction-mode pooler."""

from __future__ import annotations

import json
import math
import os
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
from psycopg import generators
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus

from cronguard.errors import ConfigError, StoreConfigError, StoreError
from cronguard.stores._sql_errors import store_error
from cronguard.stores._sql_functions import FunctionStore
from cronguard.stores._sql_schema import migration_sql

_MOST_IDLE = 4
_TRIES = 3
_COLLISIONS = ("40001", "40P01")
_BOOL, _VOID = 16, 2278
"""PostgreSQL's own numbers of the types that functions answer with and that are not JSON."""


class PostgresStore(FunctionStore):
    """A `cronguard.interfaces.Store` in a PostgreSQL database that ``cronguard init`` prepared.

    ``url`` is what libpq takes (``postgresql://user:password@host:5432/database``). ``timeout``, in
    seconds, bounds connecting and unanswered packets; cronguard bounds each call as a whole. Two
    statements a run, each its own transaction: nothing is prepared, set or held between them, so
    that a transaction-mode pooler does as well as the server.
    """

    def __init__(self, url: str, *, timeout: float = 2.0) -> None:
        self._parameters = _parameters(url, timeout)
        self._idle: deque[psycopg.Connection[Any]] = deque()
        self._inherited: list[object] = []
        self._pid = os.getpid()

    @classmethod
    def from_url(cls, url: str, *, timeout: float = 2.0) -> PostgresStore:
        """Open ``postgresql://…``."""
        return cls(url, timeout=timeout)

    @property
    def where(self) -> str:
        """The database by host, port and name; no user, no password."""
        known = self._parameters
        host = known.get("host") or known.get("hostaddr") or "localhost"
        return f"PostgreSQL at {host}:{known.get('port') or 5432}/{known.get('dbname') or ''}"

    def __repr__(self) -> str:
        return f"<PostgresStore {self.where}>"

    def migrate(self, legacy_job: str | None = None) -> bool:
        """Create or upgrade the schema now, in one transaction; True if there was none, or an
        older one. ``legacy_job`` is for `cronguard.stores.migration_sql`.
        """
        before = self.schema_version()
        text = migration_sql(legacy_job)
        self._execute(partial(_script, text=text.encode()))
        return before < self.schema_version()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    # --- one call -------------------------------------------------------------------------------

    def _call(self, function: str, request: dict[str, Any]) -> Any:
        return self._execute(partial(_asked, function=function, request=request))

    def _execute(self, work: Callable[[psycopg.Connection[Any]], Any]) -> Any:
        """What ``work`` returns, done again where that is sound.

        Every write may be repeated: once more on a new connection if the one that was kept turns
        out to be dead, and a few times if other writers were in the way.
        """
        for attempt in range(_TRIES):
            connection, kept = self._connection()
            try:
                answer = work(connection)
            except psycopg.Error as error:
                code = _code(error)
            else:
                if len(self._idle) < _MOST_IDLE:
                    self._idle.append(connection)
                else:
                    connection.close()
                return answer
            dead = connection.closed or connection.broken
            connection.close()
            if not (kept and dead) and code not in _COLLISIONS:
                break
            if kept and dead:
                self.close()
            elif attempt == _TRIES - 1:
                break
        raise self._error(code)

    def _connection(self) -> tuple[psycopg.Connection[Any], bool]:
        """A connection that nobody uses, and whether it was kept from an earlier call."""
        if self._pid != os.getpid():
            # After a fork: the parent's connections are its own; closing them here would end them.
            self._inherited.extend(self._idle)
            self._idle.clear()
            self._pid = os.getpid()
        try:
            return self._idle.pop(), True
        except IndexError:
            pass
        try:
            return (
                psycopg.connect(autocommit=True, prepare_threshold=None, **self._parameters),
                False,
            )
        except psycopg.Error as error:
            code = _code(error)
        raise self._error(code)

    def _error(self, code: str) -> StoreError | StoreConfigError:
        return store_error(code, where=self.where, kind="postgres")


def _parameters(url: str, timeout: float) -> dict[str, Any]:
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:  # its text quotes the URL, password and all
        given = None
    if given is None:
        raise ConfigError(
            "the PostgreSQL address cannot be read: write postgresql://user:password@host:5432/name"
            " and percent-encode what is special in the password"
        )
    return {
        "connect_timeout": max(2, math.ceil(timeout)),
        "tcp_user_timeout": int(timeout * 1000),
        "application_name": "cronguard",
        **given,
        "client_encoding": "utf8",
    }


def _script(connection: psycopg.Connection[Any], *, text: bytes) -> None:
    """Run statements, in one transaction."""
    connection.execute(text)


def _asked(connection: psycopg.Connection[Any], *, function: str, request: dict[str, Any]) -> Any:
    """What one of the migration's functions answers: without a cursor, which would cost as much
    time as all the rest."""
    pgconn = connection.pgconn
    if request:
        arguments = [json.dumps(request).encode()]
        pgconn.send_query_params(f"select public.{function}($1::jsonb)".encode(), arguments)
    else:
        pgconn.send_query_params(f"select public.{function}()".encode(), None)
    (result,) = connection.wait(generators.execute(pgconn))
    if result.status != ExecStatus.TUPLES_OK:
        raise error_from_result(result)
    value, kind = result.get_value(0, 0), result.ftype(0)
    if value is None or kind == _VOID:
        return None
    return value == b"t" if kind == _BOOL else json.loads(value)


_SAID = (
    # (what libpq says where it has no code to give, the code it stands for)
    ("password authentication failed", "28P01"),
    ("no password supplied", "28P01"),
    ("no pg_hba.conf entry", "28000"),
    ("does not exist", "3D000"),
    ("too many connections", "53300"),
    ("remaining connection slots", "53300"),
    ("no more connections allowed", "53300"),
    ("starting up", "57P03"),
    ("shutting down", "57P01"),
    ("connection refused", "refused"),
    ("no such file or directory", "refused"),
    ("timeout", "timeout"),
    ("timed out", "timeout"),
    ("could not translate host name", "dns"),
    ("name or service not known", "dns"),
    ("failed to resolve host", "dns"),
    ("certificate", "tls"),
    ("ssl", "tls"),
    ("closed", "closed"),
    ("terminat", "closed"),
)


def _code(error: psycopg.Error) -> str:
    """The SQLSTATE, or a word for a connection that failed without one."""
    if error.sqlstate:
        return error.sqlstate
    said = str(error).lower()
    return next((code for text, code in _SAID if text in said), "unreachable")
