"""A shared log in PostgreSQL, through psycopg 3; also behind a transaction-mode pooler."""

from __future__ import annotations

import ipaddress
import math
import os
import select
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from cronguard.core.errors import ConfigError, StoreError
from cronguard.stores.server.connection import Link, Overdue, code_of
from cronguard.stores.server.errors import store_error
from cronguard.stores.server.functions import FunctionStore
from cronguard.stores.server.schema import SCHEMA_VERSION, migration_sql
from cronguard.stores.server.vault import COPY, RENAME, Adopted

_MOST_IDLE = 4
_IDLE_SECONDS = 110.0
"""How long a connection is kept without being used: what lies between may forget it in silence."""
_FOREIGN_PARAMETERS = frozenset(
    {
        *("pgbouncer", "connection_limit", "pool_timeout", "schema", "supa"),
        *("statement_cache_size", "prepared_statement_cache_size"),
    }
)
"""Of other drivers, in addresses that are shared with them; nothing here depends on them."""
_TRIES = 3
_COLLISIONS = ("40001", "40P01")
_FOREIGN = (("host", "@:"), ("hostaddr", "@/"), ("port", "@/:"), ("dbname", "@/:"))
"""What is left in a part of an address where a password was not percent-encoded."""


class PostgresStore(FunctionStore):
    """An `interfaces.Store` in a PostgreSQL database that ``cronguard init`` prepared.

    ``url`` is what libpq takes (``postgresql://user:password@host:5432/database``). ``timeout``, in
    seconds, bounds connecting and unanswered packets; `within` bounds a call as a whole. Two
    statements a run, each its own transaction: nothing is prepared, set or held between them, so
    that a transaction-mode pooler does as well as the server.
    """

    def __init__(self, url: str, *, timeout: float = 2.0) -> None:
        self._parameters = _parameters(url, timeout)
        self._idle: deque[Link] = deque()
        self._answered: list[Any] = []
        self._give_up = math.inf
        self._run_in_thread: Callable[[Callable[[], None], float], None] = lambda work, _seconds: (
            work()
        )

    @classmethod
    def from_url(cls, url: str, *, timeout: float = 2.0) -> PostgresStore:
        """Open ``postgresql://…``."""
        return cls(url, timeout=timeout)

    @property
    def where(self) -> str:
        """Return the database by host, port and name; no user, no password."""
        known = self._parameters
        host = known.get("host") or known.get("hostaddr") or "localhost"
        return f"PostgreSQL at {host}:{known.get('port') or 5432}/{known.get('dbname') or ''}"

    def __repr__(self) -> str:
        return f"<PostgresStore {self.where}>"

    def migrate(self, legacy_job: str | None = None) -> bool:
        """Create the schema or upgrade it now, in one transaction; False if it is up to date.

        Args:
            legacy_job: See `cronguard.stores.server.schema.migration_sql`; of no matter where there
                is a schema.

        Raises:
            StoreConfigError: The schema is newer than this cronguard, or cannot be made there.
        """
        found = self.schema_version()
        if found > SCHEMA_VERSION:
            raise self._error("CG002")
        if found == SCHEMA_VERSION:
            return False
        text = migration_sql(from_version=found) if found else migration_sql(legacy_job)
        self._execute(partial(_script, text=text.encode()))
        return True

    def schema_problem(self) -> StoreError | None:
        """See `FunctionStore.schema_problem`."""
        encoding = self._execute(lambda link: link.info.parameter_status("server_encoding"))
        return super().schema_problem() if encoding == "UTF8" else self._error("CG010")

    def adopt_secret(self, other: str, name: str, *, copy: bool = False) -> Adopted:
        """Rename a secret of Vault, or copy it, to a name that begins with ``cronguard_``.

        By statements, with the rights that the connection's role has in Vault.
        """
        done: Adopted = self._execute(partial(_adopt, other=other, name=name, copy=copy))
        if done == "no_vault":
            raise self._error("CG004")
        return done

    if hasattr(select, "poll"):  # on Windows each call has a thread

        def within(
            self, seconds: float, run_in_thread: Callable[[Callable[[], None], float], None]
        ) -> PostgresStore:
            """Return this store, for one call; see `cronguard.core.interfaces.Store.bounded`.

            Once there is a connection, libpq never blocks: we wait for its socket, and no longer
            than there is time.
            """
            store = object.__new__(type(self))
            store.__dict__.update(self.__dict__)
            store._give_up, store._run_in_thread = time.monotonic() + seconds, run_in_thread
            return store

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    # --- one call -------------------------------------------------------------------------------

    def _call(self, function: str, request: dict[str, Any]) -> Any:
        return self._execute(lambda link: link.ask(function, request, self._give_up))

    def _execute(self, work: Callable[[Link], Any]) -> Any:
        """Return what ``work`` returns; do it again where that is sound.

        Every write may be repeated: once more on a new connection if the one that was kept turns
        out to be dead, and a few times if other writers were in the way.
        """
        for attempt in range(_TRIES):
            link = self._link()
            try:
                answer = work(link)
            except psycopg.Error as error:
                code, overdue = code_of(error), isinstance(error, Overdue)
            except BaseException:
                link.close()
                raise
            else:
                link.kept = True
                self._keep(link)
                return answer
            if overdue:
                self._run_in_thread(link.drain_and_close, 0.0)
                break
            dead = link.closed or link.broken
            link.close()
            if not (link.kept and dead) and code not in _COLLISIONS:
                break
            if link.kept and dead:
                self.close()
            elif attempt == _TRIES - 1:
                break
        raise self._error(code)

    def _link(self) -> Link:
        """Return a connection that nobody uses."""
        while True:
            try:
                link = self._idle.pop()
            except IndexError:
                link = None
            if link is None:
                self._run_in_thread(self._connect, max(0.0, self._give_up - time.monotonic()))
            elif link.kept and time.monotonic() - link.used > _IDLE_SECONDS:
                link.close()
            elif link.pid == os.getpid():
                return link

    def _connect(self) -> None:
        try:
            if hasattr(select, "poll"):
                link = Link.open(self._parameters, self._give_up, self._answered)
            else:
                link = Link.connect(autocommit=True, prepare_threshold=None, **self._parameters)
        except psycopg.Error as error:
            code = code_of(error)
        else:
            self._keep(link)  # where it is found, be it by a later call
            return
        raise self._error(code)

    def _keep(self, link: Link) -> None:
        if len(self._idle) < _MOST_IDLE:
            link.used = time.monotonic()
            self._idle.append(link)
        else:
            link.close()

    def _error(self, code: str) -> StoreError:
        return store_error(code, where=self.where, kind="postgres")


def _parameters(url: str, timeout: float) -> dict[str, Any]:
    given = _read(_without_foreign(url))
    if given is None and _read(url.partition("?")[0]) is not None:
        raise ConfigError(
            "the PostgreSQL address has a parameter behind its ? that libpq does not know, such as"
            " another driver's: leave it out"
        )
    if given is None or _is_split_wrongly(given):
        raise ConfigError(
            "the PostgreSQL address cannot be read: write postgresql://user:password@host:5432/name"
            " and percent-encode what is special in the password"
        )
    return {
        "connect_timeout": max(2, math.ceil(timeout)),
        # A connection that is used again may have been forgotten on the way, which only shows when
        # nothing is acknowledged: then there must be time left for another one.
        "tcp_user_timeout": int(timeout * 1000 / 2),
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "application_name": "cronguard",
        **given,
        "client_encoding": "utf8",
    }


def _is_split_wrongly(given: dict[str, Any]) -> bool:
    """Tell whether something of a password is left where a host, a port or a name should be."""
    for name, letters in _FOREIGN:
        for part in str(given.get(name) or "").split(","):
            if any(letter in part for letter in letters) and not _is_ipv6(part):
                return True
    return False


def _is_ipv6(host: str) -> bool:
    try:
        return isinstance(ipaddress.ip_address(host), ipaddress.IPv6Address)
    except ValueError:
        return False


def _read(url: str) -> dict[str, Any] | None:
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.Error:  # its text quotes the URL, password and all
        return None


def _without_foreign(url: str) -> str:
    address, mark, query = url.partition("?")
    kept = [each for each in query.split("&") if each.partition("=")[0] not in _FOREIGN_PARAMETERS]
    return address + mark + "&".join(kept) if any(kept) else address


def _script(connection: psycopg.Connection[Any], *, text: bytes) -> None:
    """Run statements, in one transaction."""
    connection.execute(text)


def _adopt(connection: psycopg.Connection[Any], *, other: str, name: str, copy: bool) -> Adopted:
    found = connection.execute("select to_regclass('vault.decrypted_secrets') is not null")
    if found.fetchone() != (True,):
        return "no_vault"
    statement = (COPY if copy else RENAME).format(name="%(name)s", other="%(other)s")
    try:
        done = connection.execute(statement.encode(), {"name": name, "other": other})
    except psycopg.errors.UniqueViolation:
        return "taken"
    except psycopg.DataError:  # of another root key, or damaged
        return "undecryptable"
    return "adopted" if done.rowcount else "missing"
