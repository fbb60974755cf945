"""Sending what is due, each reminder once, however often and by however many it is tried."""

from __future__ import annotations

import sqlite3
from datetime import date

import httpx

from database import Reminder, due, remember


class GatewayError(Exception):
    """The gateway did not take a reminder."""


def send_due(db: sqlite3.Connection, gateway: httpx.Client, today: date) -> int:
    """Send everything that is due, oldest first; returns how many messages went out.

    Stops at the first one that the gateway does not take. What went out before it is remembered,
    the rest is due again the next time.
    """
    sent = 0
    for reminder in due(db, today):
        # One transaction a reminder. The insert takes the database's write lock, so a second
        # dispatcher waits here and then sees that there is nothing left to do; if the gateway
        # refuses, the insert is rolled back.
        with db:
            if remember(db, reminder, today):
                send(gateway, reminder)
                sent += 1
    return sent


def send(gateway: httpx.Client, reminder: Reminder) -> None:
    """Hand one reminder to the gateway.

    A process can die after the gateway took the message and before the commit. The message is
    then sent again, with the same key, by which the gateway knows that it has it.
    """
    key = f"{reminder.assignment_id}:{reminder.due_on}"
    message = {"to": reminder.phone, "text": f"Hi {reminder.mentor}, time to say hello again?"}
    try:
        answer = gateway.post("/messages", json=message, headers={"Idempotency-Key": key})
        answer.raise_for_status()
    except httpx.HTTPError as error:
        # The kind of message that developers write, and that must not reach a chat channel.
        raise GatewayError(f"no reminder for {reminder.mentor}, {reminder.phone}") from error
