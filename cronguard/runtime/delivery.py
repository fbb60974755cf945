"""Delivery from the outbox: claim, resolve secrets, send and settle, under one hard deadline.

Each channel sends in a daemon thread of its own, and one more daemon thread settles each attempt. A
non-daemon thread only waits for them, until the deadline at most. So a process that ends waits for
its alerts, but never longer than the deadline, and never hangs on a socket, a resolver, a plugin or
a store. What was not sent stays in the outbox.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from queue import Empty
from typing import TypeAlias

from cronguard.core.errors import (
    CronguardError,
    PluginError,
    SecretError,
    StoreError,
)
from cronguard.core.interfaces import Channel, Store
from cronguard.core.model import DELIVERY_SECONDS, Delivery, DeliveryState, Message, Settlement
from cronguard.process import log
from cronguard.process.threads import run_in_background
from cronguard.runtime.channel_threads import Attempt, ChannelThreads, send
from cronguard.runtime.delivery_codes import explain
from cronguard.runtime.retries import backoff, detail_of, log_failure, settlement_for

SETTLING_SECONDS = 0.25
"""The part of the deadline that is reserved for settling the attempts."""
_ALERTS_PER_BATCH = 50
_MAX_DELIVERIES = 4
"""Background deliveries at a time, each with one thread per channel; further ones wait."""

_NO_THREAD = (
    "no thread can be started now, so alerts of %s wait for its next run or for cronguard deliver"
    " (Python 3.12 starts none once the main thread has ended)"
)

ChannelBuilder: TypeAlias = Callable[[str], Channel]
"""A function (channel name) → channel with secrets resolved. Called in a delivery thread."""


class Dispatcher:
    """Sends the alerts for the channels configured here, as long as the process lives."""

    def __init__(
        self,
        store: Store,
        channels: Collection[str],
        build: ChannelBuilder,
        last_resort: ChannelBuilder | None = None,
    ) -> None:
        """Make a dispatcher.

        Args:
            store: The outbox.
            channels: The names of the channels to send for.
            build: Builds a channel.
            last_resort: Builds the channel that is used at once when a secret of another one
                cannot be read; None for none.
        """
        self._store = store
        self._channels = channels
        self._build = build
        self._last_resort = last_resort
        self._lock = threading.RLock()  # a signal handler may run a guarded job while it is held
        self._under_way = 0
        self._waiting_jobs: set[str] = set()
        self._exit_deadline = math.inf
        """When the process must have ended; infinite until its main thread has ended."""

    def dispatch(self, job: str) -> None:
        """Send the job's due alerts in the background; return at once and never raise."""
        self._dispatch(job, time.monotonic() + DELIVERY_SECONDS)

    def _dispatch(self, job: str, deadline: float) -> None:
        with self._lock:
            if self._under_way >= _MAX_DELIVERIES:
                self._waiting_jobs.add(job)
                return
        if not self._in_background(partial(self._deliver_due, job), deadline):
            log.warning_once(_NO_THREAD, job)

    def dispatch_directly(
        self,
        unwritten: Sequence[Delivery],
        notified: set[str],
        *,
        otherwise: Callable[[], None] = lambda: None,
    ) -> None:
        """Send alerts that are in no outbox, once and in the background; never raise.

        The channels that were notified are added to ``notified``. Where there are none, the last
        resort is used, and where that fails, ``otherwise`` is called.
        """

        def report(attempt: Attempt) -> None:
            if attempt.settlement.state == "sent":
                notified.add(attempt.delivery.channel)
            log_failure(attempt)

        def work(threads: ChannelThreads, deadline: float) -> None:
            self.deliver(unwritten, deadline=deadline, settle=False, threads=threads, report=report)
            if not notified and not self._sent_by_last_resort(unwritten[0], deadline):
                otherwise()

        if not self._in_background(work, time.monotonic() + DELIVERY_SECONDS):
            otherwise()

    def _sent_by_last_resort(self, delivery: Delivery, deadline: float) -> bool:
        if self._last_resort is None:
            return False
        try:
            send(self._last_resort(delivery.channel), _message(delivery, deadline))
        except Exception as error:  # noqa: BLE001  # whatever is broken
            log.debug("the last resort failed (%s)", type(error).__name__)
            return False
        return True

    def _deliver_due(self, job: str, threads: ChannelThreads, deadline: float) -> None:
        claimed = self._store.claim_alerts(channels=tuple(threads.channels), job=job)
        self.deliver(claimed, deadline=deadline, threads=threads)

    def _in_background(
        self, work: Callable[[ChannelThreads, float], None], deadline: float
    ) -> bool:
        """Do ``work`` in a daemon thread, for which the process waits when it ends.

        Returns:
            False if no thread can be started.
        """
        threads: ChannelThreads | None = None

        def conduct(threads: ChannelThreads) -> None:
            try:
                work(threads, deadline)
            except CronguardError as error:
                log.warning("alerts could not be delivered now and stay pending: %s", error)
            except BaseException as error:  # noqa: BLE001  # the last line of defence of a thread
                log.error("delivery failed (%s): alerts stay pending", type(error).__name__)
            finally:
                threads.dismiss()
                self._delivery_ended(deadline)

        with self._lock:
            self._under_way += 1
        try:
            threads = ChannelThreads(tuple(self._channels), self._try)
            done = run_in_background("delivery", partial(conduct, threads), deadline)
            if done is None:
                raise RuntimeError  # noqa: TRY301  # as where a channel's thread cannot be started
        except BaseException as error:
            with self._lock:
                self._under_way -= 1
            if threads is not None:
                threads.dismiss()
            if isinstance(error, RuntimeError | MemoryError):
                return False
            raise
        main = threading.main_thread()
        if not main.is_alive() and threading.current_thread() is main:
            # The interpreter has waited for its threads already, so wait here.
            self._exit_deadline = min(self._exit_deadline, deadline)
            done.wait(_seconds_until(self._exit_deadline))
        return True

    def _delivery_ended(self, deadline: float) -> None:
        """Start the deliveries that had to wait for this one to end.

        What is not sent now is sent with the next run. A process that is ending waits for them only
        until the deadline of the delivery that ended.
        """
        with self._lock:
            self._under_way -= 1
            jobs, self._waiting_jobs = self._waiting_jobs, set()
        if threading.main_thread().is_alive():
            deadline = time.monotonic() + DELIVERY_SECONDS
        if _seconds_until(deadline) > SETTLING_SECONDS:
            for job in sorted(jobs):
                self._dispatch(job, deadline)

    def deliver_all(
        self,
        *,
        job: str | None = None,
        state: DeliveryState = "pending",
        force: bool = True,
        report: Callable[[Attempt], None] | None = None,
    ) -> list[Attempt]:
        """Try every alert that nobody else has claimed, batch by batch; return the attempts.

        Args:
            job: Only alerts of this job; None for every job.
            state: Only alerts in this state.
            force: Whether to ignore the back-off.
            report: Called with every attempt instead of logging those that failed.
        """
        attempts: list[Attempt] = []
        tried: dict[str, Settlement] = {}
        while True:
            limit = _ALERTS_PER_BATCH + len(tried)
            claimed = self._store.claim_alerts(
                channels=tuple(self._channels), job=job, force=force, state=state, limit=limit
            )
            fresh = [delivery for delivery in claimed if delivery.alert_id not in tried]
            for delivery in claimed:
                if delivery.alert_id in tried:
                    self._settle(delivery, tried[delivery.alert_id])
            done = self.deliver(fresh, deadline=time.monotonic() + DELIVERY_SECONDS, report=report)
            if not done:
                return attempts
            tried.update((attempt.delivery.alert_id, attempt.settlement) for attempt in done)
            attempts += done
            if len(claimed) < limit and len(done) == len(fresh):
                return attempts  # another claim would count as an attempt for those that failed

    def deliver(
        self,
        claimed: Iterable[Delivery],
        *,
        deadline: float,
        report: Callable[[Attempt], None] | None = None,
        settle: bool = True,
        threads: ChannelThreads | None = None,
    ) -> list[Attempt]:
        """Send claimed alerts, all channels at once, each channel's alerts in order.

        Each attempt is settled as it ends. An alert whose turn did not come before the deadline is
        released for the next delivery and is not among the attempts returned.

        Args:
            claimed: The alerts.
            deadline: When all must be sent and settled, on `time.monotonic`'s clock.
            report: Called with every attempt instead of logging those that failed.
            settle: Whether the alerts are in the outbox and must be settled there.
            threads: Threads that have been started already; None to start some.
        """
        by_channel: dict[str, list[Delivery]] = {}
        for delivery in claimed:
            by_channel.setdefault(delivery.channel, []).append(delivery)
        if not by_channel:
            return []
        send_by = deadline - SETTLING_SECONDS
        waiting = {d.alert_id: d for deliveries in by_channel.values() for d in deliveries}
        attempts: list[Attempt] = []

        def conclude(attempt: Attempt) -> None:
            attempts.append(attempt)
            if settle:
                self._settle(attempt.delivery, attempt.settlement)
            if report is not None:
                report(attempt)
            elif attempt.settlement.error_code is not None:
                log_failure(attempt)

        working = ChannelThreads(by_channel, self._try) if threads is None else threads
        for name, deliveries in by_channel.items():
            working.give(name, deliveries, send_by)
        if threads is None:
            working.dismiss()
        while waiting:
            try:
                attempt = working.results.get(timeout=_seconds_until(send_by))
            except Empty:
                break
            del waiting[attempt.delivery.alert_id]
            conclude(attempt)
        for delivery in waiting.values():
            start = working.begun.get(delivery.alert_id)
            if start is not None:
                late = Settlement("pending", "timeout", backoff(delivery.attempt))
                spent = time.monotonic() - start
                conclude(Attempt(delivery, late, spent, explain(late.error_code)))
            elif settle:
                self._settle(delivery, Settlement("pending", None, 0.0))
        return attempts

    def _try(self, delivery: Delivery, send_by: float) -> Attempt:
        start = time.monotonic()
        detail: str | None = None
        try:
            message = _message(delivery, send_by)
            try:
                send(self._build(delivery.channel), message)
            except (SecretError, PluginError, ImportError) as error:
                self._use_last_resort(error, message, delivery)
                raise
            settlement = Settlement("sent")
        except BaseException as error:  # noqa: BLE001  # a plugin may raise anything
            settlement = settlement_for(error, delivery.attempt)
            detail = detail_of(error) or explain(settlement.error_code)
        return Attempt(delivery, settlement, time.monotonic() - start, detail)

    def _use_last_resort(self, error: Exception, message: Message, delivery: Delivery) -> None:
        """Use the last resort at the first attempt, if the vault or the channel cannot be read.

        The alert stays in the outbox, and the channel gets it at a later attempt.
        """
        if isinstance(error, SecretError) and getattr(error, "code", "") != "secret_unreadable":
            return
        if self._last_resort is not None and delivery.attempt <= 1:
            with contextlib.suppress(Exception):
                send(self._last_resort(delivery.channel), message)

    def _settle(self, delivery: Delivery, settlement: Settlement) -> None:
        try:
            self._store.settle_alert(delivery, settlement)
        except Exception as error:  # noqa: BLE001  # go on with the other alerts
            log.warning(
                "what became of an alert of %s could not be written (%s): it may come again",
                delivery.job,
                error if isinstance(error, StoreError) else type(error).__name__,
            )


def _message(delivery: Delivery, deadline: float) -> Message:
    from cronguard.core.payload import decode  # most runs send no alert

    return Message(
        alert=decode(delivery.payload),
        payload=delivery.payload.encode("utf-8"),
        attempt=delivery.attempt,
        deadline=deadline,
    )


def _seconds_until(moment: float) -> float:
    return max(0.0, moment - time.monotonic())


__all__ = ["Attempt", "ChannelBuilder", "Dispatcher"]
