"""The threads that send alerts: one per channel, so that a channel that hangs delays no other.

All of them are daemons, since a socket, a resolver or a plugin may never return. All of them start
before there is anything to send: since Python 3.12 none can start once the main thread has ended.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from cronguard.core.interfaces import Channel
from cronguard.core.model import Delivery, Message, Settlement
from cronguard.process.threads import end_if_forked, own_thread, start


class Attempt(NamedTuple):
    """The result of one attempt to send an alert, for display."""

    delivery: Delivery
    settlement: Settlement
    seconds: float
    detail: str | None = None


Try: TypeAlias = Callable[[Delivery, float], Attempt]
"""A function (alert, deadline on `time.monotonic`'s clock) → its result. It never raises."""
_Work: TypeAlias = tuple[Sequence[Delivery], float]


class ChannelThreads:
    """A thread for each channel; the result of each attempt is put into ``results`` as it ends.

    Raises:
        RuntimeError: Not all threads could be started; those that were will end.
    """

    def __init__(self, channels: Iterable[str], attempt: Try) -> None:
        self.results: queue.SimpleQueue[Attempt] = queue.SimpleQueue()
        self.begun: dict[str, float] = {}
        """alert_id → when its attempt began; only for those that have begun."""
        self._attempt = attempt
        self._inboxes: dict[str, queue.SimpleQueue[_Work | None]] = {}
        try:
            for name in channels:
                inbox: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
                start(own_thread(f"channel-{name}", self._serve, inbox, daemon=True))
                self._inboxes[name] = inbox
        except BaseException:
            self.dismiss()
            raise

    def give(self, channel: str, deliveries: Sequence[Delivery], send_by: float) -> None:
        """Let a channel's thread send these, in order, as long as ``send_by`` has not passed."""
        self._inboxes[channel].put((deliveries, send_by))

    @property
    def channels(self) -> Iterable[str]:
        """Return the channels that have a thread here."""
        return self._inboxes.keys()

    def dismiss(self) -> None:
        """Let every thread end once it has done what it was given."""
        for inbox in self._inboxes.values():
            inbox.put(None)

    def _serve(self, inbox: queue.SimpleQueue[_Work | None]) -> None:
        while (work := inbox.get()) is not None:
            deliveries, send_by = work
            for delivery in deliveries:
                now = time.monotonic()
                if now >= send_by:
                    break
                self.begun[delivery.alert_id] = now
                attempt = self._attempt(delivery, send_by)
                end_if_forked()
                self.results.put(attempt)


def send(channel: Channel, message: Message) -> None:
    """Send a message in this thread; an ``async def send`` gets an event loop of its own."""
    try:
        pending = channel.send(message)
        if isinstance(pending, Awaitable):  # some return other values, which mean nothing
            _run_in_event_loop(pending)
    finally:
        end_if_forked()


def _run_in_event_loop(pending: Awaitable[None]) -> None:
    import asyncio  # few channels are asynchronous

    async def finish() -> None:
        loop = asyncio.get_running_loop()
        threaded = loop.run_in_executor

        def run_in_executor(executor: Any, work: Callable[..., Any], *args: Any) -> Any:
            if executor is not None:
                return threaded(executor, work, *args)
            answer = loop.create_future()
            try:
                answer.set_result(work(*args))
            except Exception as error:  # noqa: BLE001  # raised where it is awaited
                answer.set_exception(error)
            return answer

        # asyncio looks up host names in the default executor. A process that is ending can start
        # no pool for that, and this thread has nothing else to do.
        loop.run_in_executor = run_in_executor  # type: ignore[method-assign, assignment]
        await pending

    asyncio.run(finish())
