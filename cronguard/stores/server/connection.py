"""One connection to PostgreSQL, whose every wait has an end."""

from __future__ import annotations

import json
import math
import os
import select
import time
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import generators
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

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.pid = os.getpid()

    def __del__(self, *_: Any) -> None:
        """Nobody is warned of one that a signal handler made us drop: libpq's part closes it."""

    def close(self) -> None:
        """Let go of it; in a child that was forked, without a word, since it is its parent's."""
        if self.pid == os.getpid():
            super().close()

    def ask(self, function: str, request: dict[str, Any], give_up: float) -> Any:
        """What one of the migration's functions answers: without a cursor, which would cost as
        much time as all the rest."""
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
        """The results, if they come until then.

        psycopg's own wait has no such end; where signals keep coming it may never look at the
        clock, and struck by Ctrl-C it makes another connection, to cancel the query.
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
    """The SQLSTATE, or a word for a connection that failed without one."""
    if error.sqlstate:
        return error.sqlstate
    said = str(error).lower()
    return next((code for text, code in _SAID if text in said), "unreachable")
