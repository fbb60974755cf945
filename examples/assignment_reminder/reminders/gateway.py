"""The client of the notification gateway."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import httpx

from reminders.repository import Reminder

TIMEOUT_SECONDS = 10
CONNECTIONS = 8


class GatewayError(Exception):
    """The gateway did not take a reminder."""


class NotificationGateway:
    """Sends messages over connections that are kept open; for several threads at once."""

    def __init__(self, url: str) -> None:
        limits = httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=60)
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, limits=limits)

    def send(self, reminder: Reminder) -> None:
        """Hand over one reminder.

        The key is the same on every try, so a gateway that has seen it delivers nothing twice.

        Raises:
            GatewayError: It was not taken, or nobody knows whether it was.
        """
        message = {"to": reminder.phone, "text": f"Hi {reminder.mentor}, time to say hello again?"}
        headers = {"Idempotency-Key": f"{reminder.assignment_id}:{reminder.due_on}"}
        try:
            self._client.post("/messages", json=message, headers=headers).raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # The kind of message that developers write, and that must not reach a chat channel.
            raise GatewayError(f"no reminder for {reminder.mentor}, {reminder.phone}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()
