"""The client of the notification gateway."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from base64 import b64encode
from functools import partial
from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote, urlsplit

from reminders.repository import Reminder

TIMEOUT_SECONDS = 10
CONNECTIONS = 8
LONGEST_ANSWER = 65_536
CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class GatewayError(Exception):
    """The gateway did not take a reminder; ``status`` is HTTP's, None if there was no answer."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class AddressError(GatewayError):
    """The gateway's address is none. Never holds the address, which may hold a password."""


class NotificationGateway:
    """Sends messages over connections that are kept open, one for each thread.

    Args:
        url: ``https://HOST`` or ``http://HOST``; user, password, port and path are optional.

    Raises:
        AddressError: It is something else.
    """

    def __init__(self, url: str) -> None:
        self._headers = {"Content-Type": "application/json"}
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").encode("idna").decode(), parts.port
        except ValueError:
            host, port = "", None
        if not host or parts.scheme not in {"http", "https"}:
            raise AddressError("the gateway's address is no http:// or https:// URL: set --gateway")
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
        self._path = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=") + "/messages"
        self._new_connection = partial(http.client.HTTPConnection, host, port)
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._new_connection = partial(http.client.HTTPSConnection, host, port, context=context)
        self._own = threading.local()
        self._connections: list[http.client.HTTPConnection] = []

    def send(self, reminder: Reminder) -> None:
        """Hand over one reminder.

        The key is the same on every try, so a gateway that has seen it delivers nothing twice.

        Raises:
            GatewayError: It was not taken, or nobody knows whether it was.
        """
        # The kind of message that developers write, and that must not reach a chat channel.
        failed = f"no reminder for {reminder.mentor}, {reminder.phone}"
        message = {"to": reminder.phone, "text": f"Hi {reminder.mentor}, time to say hello again?"}
        key = f"{reminder.assignment_id}:{reminder.due_on}"
        try:
            status = self._post(json.dumps(message).encode(), key)
        except (OSError, http.client.HTTPException) as error:
            raise GatewayError(failed) from error
        if status not in range(200, 300):
            raise GatewayError(f"{failed}: HTTP {status}", status)

    def _post(self, body: bytes, key: str) -> int:
        """Return the answer's status.

        A gateway closes connections that were idle: what fails on a kept one is sent again on a
        new one, which the key makes harmless.
        """
        connection = self._connection()
        headers = self._headers | {"Idempotency-Key": key}
        was_open = connection.sock is not None
        try:
            try:
                connection.request("POST", self._path, body, headers)
                answer = connection.getresponse()
            except CLOSED:
                if not was_open:
                    raise
                connection.close()
                connection.request("POST", self._path, body, headers)
                answer = connection.getresponse()
            answer.read(LONGEST_ANSWER)
        except BaseException:
            connection.close()
            raise
        if not answer.isclosed():
            connection.close()
        return answer.status

    def _connection(self) -> http.client.HTTPConnection:
        """Return the connection of the thread that asks."""
        found: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if found is None:
            found = self._own.connection = self._new_connection(timeout=TIMEOUT_SECONDS)
            self._connections.append(found)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connection in self._connections:
            connection.close()
