"""One connection to PostgreSQL, whose every wait has an end."""

from __future__ import annotations

import json
import math
import os
import select
import time
from contextlib import suppress
from typing import Any, Self

import psycopg
from psycopg import generators
from psycopg._conninfo_attempts import conninfo_attempts
from psycopg.abc import ConnDict
from psycopg.conninfo import make_conninfo
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.waiting import Ready, Wait

_LONGEST_WAIT = 60.0
_BOOL, _VOID = 16, 2278
"""PostgreSQL's own numbers of the types that functions answer with and that are not JSON."""


class Overdue(psycopg.OperationalError):
    """There was no answer in time: a timeout."""


class Link(psycopg.Connection[Any]):
    """A connection of one store's, in the process that made it."""

    kept = False
    """Whether it has served a call before."""
    used = -math.inf
    """When it last did, on the monotonic clock."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.pid = os.getpid()

    @classmethod
    def open(
        cls, parameters: ConnDict, give_up: float, preferred: list[ConnDict] | None = None
    ) -> Self:
        """Return a connection to the first of the hosts and addresses that lets us in.

        The time until ``give_up`` is shared evenly between those that have not been tried, so that
        one that is silent does not take all of it; libpq gives each the whole. With no such end
        each has ``connect_timeout``.

        Args:
            parameters: As `conninfo_to_dict` returns them; several hosts with commas between.
            give_up: On the monotonic clock; infinite for no end.
            preferred: Holds the attempt that succeeded last, which comes first then.
        """
        preferred = [] if preferred is None else preferred
        attempts = conninfo_attempts(parameters)
        attempts.sort(key=lambda attempt: attempt not in preferred)
        errors: list[psycopg.Error] = []
        for index, attempt in enumerate(attempts):
            left = give_up - time.monotonic()
            share = left / (len(attempts) - index)
            if give_up == math.inf:
                share = float(str(parameters["connect_timeout"]))
            try:
                link: Self = _connected(cls._connect_gen(make_conninfo("", **attempt)), share)
            except psycopg.Error as error:
                errors.append(error)
            else:
                preferred[:] = [attempt]
                link.autocommit, link.prepare_threshold = True, None
                return link
        raise max(reversed(errors), key=lambda error: code_of(error) not in _SILENT)

    def __del__(self, *_: Any) -> None:
        """Warn of nothing: libpq's part closes one that a signal handler made us drop."""

    def close(self) -> None:
        """Let go of it; in a child that was forked, without a word, since it is its parent's."""
        if self.pid == os.getpid():
            super().close()

    def ask(self, function: str, request: dict[str, Any], give_up: float) -> Any:
        """Return what one of the migration's functions answers.

        Without a cursor, which would cost as much time as all the rest.
        """
        query = f"select public.{function}({'$1::jsonb' if request else ''})".encode()
        arguments = [json.dumps(request).encode()] if request else None
        self._answering = generators.execute(self.pgconn)
        if give_up == math.inf:
            self.pgconn.send_query_params(query, arguments)
            (result,) = self.wait(self._answering)
        else:
            self._poll = select.poll()  # before the server is at work, whose time is the run's
            self.pgconn.send_query_params(query, arguments)
            (result,) = self._answer(None, give_up)
        if result.status != ExecStatus.TUPLES_OK:
            raise error_from_result(result)
        value, kind = result.get_value(0, 0), result.ftype(0)
        if value is None or kind == _VOID:
            return None
        return value == b"t" if kind == _BOOL else json.loads(value)

    def drain_and_close(self) -> None:
        """Wait for an answer that nobody waits for any more: the server is at it still."""
        with suppress(psycopg.Error):
            self._answer(0, math.inf)
        self.close()

    def _answer(self, ready: int | None, give_up: float) -> list[Any]:
        """Return the results, if they come until then.

        psycopg's own wait has no such end; where signals keep coming it may never look at the
        clock, and interrupted by Ctrl-C it makes another connection, to cancel the query.
        """
        try:
            while True:
                if self.pid != os.getpid():  # a signal handler has forked
                    raise psycopg.OperationalError("closed")
                wait, ready = self._answering.send(ready), 0
                events = select.POLLIN if wait == Wait.R else select.POLLIN | select.POLLOUT
                self._poll.register(self.pgconn.socket, events)
                while not ready:
                    left = give_up - time.monotonic()
                    if left <= 0:
                        raise Overdue("timeout")
                    for _, found in self._poll.poll(min(left, _LONGEST_WAIT) * 1000):
                        ready = Ready.W if found == select.POLLOUT else Ready.R
        except StopIteration as end:
            results: list[Any] = end.value
            return results


def _connected(attempt: Any, seconds: float) -> Any:
    """Return what psycopg's generator of a connection comes to; raise `Overdue` if that is late.

    psycopg's own wait rounds the time up to two seconds.
    """
    give_up = time.monotonic() + seconds
    try:
        descriptor, wait = next(attempt)
        while True:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN if wait == Wait.R else select.POLLOUT)
            while not poll.poll(min(max(0.0, give_up - time.monotonic()), _LONGEST_WAIT) * 1000):
                if time.monotonic() >= give_up:
                    raise Overdue("timeout")
            descriptor, wait = attempt.send(Ready.R if wait == Wait.R else Ready.W)
    except StopIteration as end:
        return end.value
    finally:
        attempt.close()


_SILENT = {"timeout", "refused", "unreachable", "dns"}
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


def code_of(error: psycopg.Error) -> str:
    """Return the SQLSTATE, or a word for a connection that failed without one."""
    if error.sqlstate:
        return error.sqlstate
    said = str(error).lower()
    return next((code for text, code in _SAID if text in said), "unreachable")
