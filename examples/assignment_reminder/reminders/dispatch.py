"""Sending what is due: each reminder once, however often and by however many it is tried."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from reminders.gateway import CONNECTIONS, NotificationGateway
from reminders.repository import DueRule, Reminder, Repository

BATCH_SIZE = 200
LEASE = timedelta(minutes=1)
MIN_POLL_SECONDS = 0.05
MAX_POLL_SECONDS = 0.5


class ReminderDispatchService:
    """Reserve in the database, send with a key, note as sent.

    The database's unique key (assignment, due date) decides who may send a reminder; nobody else
    gets it while the reservation lasts. A process that dies in between leaves reservations behind:
    once they expire the next one sends those again, with the same key, and the gateway delivers
    nothing twice.
    """

    def __init__(
        self, repository: Repository, gateway: NotificationGateway, *, lease: timedelta = LEASE
    ) -> None:
        self._repository = repository
        self._gateway = gateway
        self._lease = lease
        self._holder = str(uuid.uuid4())

    def send_due(
        self,
        rule: DueRule,
        *,
        progress: Callable[[int], None] | None = None,
        waiting: Callable[[int, datetime], None] | None = None,
    ) -> int:
        """Send everything that is due, longest without contact first.

        Args:
            progress: Called with the number of reminders sent since the last call.
            waiting: Called when nothing is left but what another run has reserved, which may have
                died: how many, and when the first of them may be sent from here.

        Returns:
            How many reminders were sent.

        Raises:
            GatewayError: The first that was not taken. What is unsent is due again at once.
        """
        report = progress or (lambda _: None)
        sent, waits = 0, False
        with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="reminders") as pool:
            batch = self._repository.reserve(rule, self._holder, self._lease, BATCH_SIZE)
            while batch.last:
                sent += self._send(pool, batch.reminders, report)
                batch = self._repository.reserve(
                    rule, self._holder, self._lease, BATCH_SIZE, after=batch.last
                )
            while reserved := self._repository.reserved():
                left_over = self._repository.take_over(rule, self._holder, self._lease, BATCH_SIZE)
                if left_over:
                    sent += self._send(pool, left_over, report)
                    waits = False
                    continue
                if waiting and not waits and reserved.seconds:
                    until = datetime.now().astimezone() + timedelta(seconds=reserved.seconds)
                    waiting(reserved.reminders, until)
                    waits = True
                time.sleep(min(max(reserved.seconds, MIN_POLL_SECONDS), MAX_POLL_SECONDS))
        return sent

    def _send(
        self, pool: ThreadPoolExecutor, reminders: Sequence[Reminder], report: Callable[[int], None]
    ) -> int:
        """Send a batch and note what was taken; what there was no time for stays reserved."""
        deadline = time.monotonic() + self._lease.total_seconds() / 2
        failed = threading.Event()
        errors: list[BaseException] = []

        def send(reminder: Reminder) -> bool:
            if failed.is_set() or time.monotonic() > deadline:
                return False
            try:
                self._gateway.send(reminder)
            except Exception as error:  # noqa: BLE001  # raised below, once the rest is noted
                errors.append(error)
                failed.set()
                return False
            return True

        try:
            taken = [
                reminder
                for reminder, was_taken in zip(reminders, pool.map(send, reminders), strict=True)
                if was_taken
            ]
        except BaseException:
            failed.set()  # Ctrl-C: the threads finish what they have begun, and no more
            raise
        self._repository.mark_sent(taken)
        report(len(taken))
        if errors:
            self._repository.release(self._holder)
            raise errors[0]
        return len(taken)
