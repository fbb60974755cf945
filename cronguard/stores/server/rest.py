"""`Api`: calls of functions over a Supabase project's API, by the standard library alone.

The ``supabase`` client makes the same requests, but importing it takes a process several times as
long as all the rest of a guarded run.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections import deque
from typing import Any
from urllib.parse import urlsplit

from cronguard.process.net import connect_to_first, tls_context
from cronguard.process.signals import raised_by_handler

_IDLE_SECONDS = 15.0
"""How long a connection is kept without being used: what lies between may forget it in silence."""
_MOST_IDLE = 4
_ANSWER_BYTES = 64 << 20
"""What is read of one answer: nobody may talk for ever."""


class TooLong(http.client.HTTPException):
    """The answer does not end."""


class Api:
    """A project's API, for one process; any number of threads may use it.

    ``timeout``, in seconds, bounds each step of a request.
    """

    def __init__(self, url: str, key: str, timeout: float) -> None:
        parts = urlsplit(url)
        self._tls = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._path = f"{parts.path.rstrip('/')}/rest/v1/rpc/"
        self._timeout = timeout
        self._idle: deque[tuple[float, http.client.HTTPConnection]] = deque()
        self._context: Any = None
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Authorization": f"Bearer {key}",
            "Content-Profile": "public",
            "Content-Type": "application/json",
            "User-Agent": "cronguard",
            "apikey": key,
        }

    def post(self, function: str, arguments: dict[str, Any]) -> tuple[int, bytes]:
        """Call a function; return the answer's status and body.

        The request is made again, once, if the connection turns out to be closed: every call may
        be repeated.

        Raises:
            OSError, HTTPException: There is no answer. Their texts may hold parts of it.
        """
        body = json.dumps(arguments, separators=(",", ":")).encode()
        while (connection := self._kept()) is not None:
            try:
                return self._exchange(connection, function, body)
            except TimeoutError:
                raise
            except (OSError, http.client.HTTPException) as error:
                failure = error  # closed meanwhile, as a rule
            if raised_by_handler(failure):
                raise failure
        try:
            return self._exchange(self._new(), function, body)
        except (ConnectionResetError, BrokenPipeError):
            return self._exchange(self._new(), function, body)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop()[1].close()

    def _kept(self) -> http.client.HTTPConnection | None:
        while True:
            try:
                used, connection = self._idle.pop()
            except IndexError:
                return None
            if time.monotonic() - used < _IDLE_SECONDS:
                return connection
            connection.close()

    def _new(self) -> http.client.HTTPConnection:
        if self._tls:
            self._context = self._context or tls_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout, context=self._context
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        # Its own gives each address of the host all of the time.
        connection._create_connection = _connect  # type: ignore[attr-defined]  # noqa: SLF001
        return connection

    def _exchange(
        self, connection: http.client.HTTPConnection, function: str, body: bytes
    ) -> tuple[int, bytes]:
        try:
            connection.request("POST", self._path + function, body, self._headers)
            answer = connection.getresponse()
            read = answer.read(_ANSWER_BYTES + 1)
        except BaseException:
            connection.close()
            raise
        if len(read) > _ANSWER_BYTES:
            connection.close()
            raise TooLong
        if len(self._idle) < _MOST_IDLE:
            self._idle.append((time.monotonic(), connection))
        else:
            connection.close()
        return answer.status, read


def _connect(address: tuple[str, int], timeout: float, _source: object = None) -> socket.socket:
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    sock = connect_to_first(found, time.monotonic() + timeout)
    sock.settimeout(timeout)
    return sock


__all__ = ["Api", "TooLong"]
