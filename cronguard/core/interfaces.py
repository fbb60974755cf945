"""The three seams: `Store`, `Channel` and `SecretSource`. Their docstrings are duties.

Each is found through an entry-point group (``cronguard.stores``, ``cronguard.channels``,
``cronguard.secrets``); cronguard's own are registered there like everybody else's.

What a plugin may build on: all of `cronguard.core`; for a channel `cronguard.channels.transport`
and `cronguard.process.stderr`; for its tests `cronguard.testing`. The other packages are
cronguard's own and may change with any version.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from cronguard.core.model import (
    AlertRecord,
    AlertRule,
    Delivery,
    DeliveryState,
    Finished,
    JobStatus,
    Message,
    Missed,
    Option,
    Outcome,
    Overrun,
    Owner,
    Run,
    RunRecord,
    Schedule,
    Settlement,
    Started,
    Watch,
)

Redact: TypeAlias = Literal["strict", "scrub"] | Callable[[str, BaseException | None], str]
"""``strict``: type, code and place only. ``scrub``: the message too, masked. A callable gets the
raw text and the error (None for the output of a command) and returns what may be shown."""


class Store(Protocol):
    """Where runs, streaks and the outbox live.

    Every method may be called from any thread and raises nothing but `StoreError`
    (`StoreConfigError` where waiting cannot help). Every write is one transaction and may be
    repeated: the second time changes nothing and answers alike. Writes about one job happen one
    after another, in the order in which they commit: that order, never a clock, is what "previous
    run" means.

    To be found by its scheme, a class has ``from_url(url, *, timeout)`` as well: it makes the store
    of an address without touching file or network, and raises ConfigError for one that cannot be;
    ``timeout`` is ``store_timeout`` in seconds. A store may say ``where`` its data is, in words
    without credentials: one that is not ``bounded`` has its local spool by that name.
    """

    bounded: bool
    """True if every call returns within ``store_timeout`` by itself. Otherwise cronguard makes the
    call in a thread of its own and walks away when time is up; the call must then be safe to
    complete late.

    A thread costs a call some 60 µs. A store that can do without has ``within(seconds,
    run_in_thread)`` as well: itself, for one call that ends in time, on the thread that asks. Only
    what nothing can interrupt (a name to be looked up, a handshake) it has made in a thread, by
    ``run_in_thread(work, seconds)``, and lets through what that raises."""

    def start_run(self, run: Run, *, is_dead: Callable[[Owner], bool]) -> Started:
        """Record that a run begins, or that it was skipped.

        In one transaction under the job's lock:

        1. Every ``running`` row of the job whose owner ``is_dead``, or whose owner is in another
           process space (``owner.space`` differs or is None) and whose lease has run out on the
           store's clock, ends as ``crashed`` and counts as a failure, alerts included. ``is_dead``
           is asked only about owners in ``run.owner.space``.
        2. If a row is still running, holds its lease, and ``run.overlap`` is ``"skip"``: the run is
           written as ``skipped``, carrying the count unchanged.
        3. Otherwise it is written as ``running`` with a lease of ``run.lease`` seconds.

        Unknown jobs are registered. ``run.rules``, ``runbook``, ``max_runtime`` and ``schedule``
        are kept with the job; no schedule leaves one alone that was declared (`declare`). A
        schedule that differs from the one before counts from now on.
        """
        ...

    def finish_run(
        self, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str] = ()
    ) -> Finished:
        """Commit how a run ended, the job's streak and the alerts due, in one transaction.

        `alert_rule.finish_action` and `alert_rule.decide` are the rule. ``started`` says whether
        `start_run` is known to have been stored: with True a missing row was pruned and nothing
        changes, with False the row is inserted. ``notified`` are channels that have been told of
        this very outcome without the store: they count as told, no alert is enqueued for them, and
        one of this run that still waits for them is settled as sent.
        """
        ...

    def heartbeat(self, run_ids: Sequence[str], *, lease: float) -> None:
        """Let the leases of those that are still ``running`` end ``lease`` seconds from now."""
        ...

    def sweep(self, owner: Owner, *, is_dead: Callable[[Owner], bool]) -> list[RunRecord]:
        """End the dead ``running`` rows of every job as ``crashed``, oldest first; returns them.

        Step 1 of `start_run`, for ``owner``'s process space, with the rules kept with each job.
        """
        ...

    def declare(self, job: str, schedule: Schedule) -> None:
        """Register what is expected of a job before it runs.

        A declaration that says the same as the one before changes nothing; another one replaces the
        job's schedule, which then counts from now on.
        """
        ...

    def watches(self) -> list[Watch]:
        """What is expected of every job, by name, with its runs that are still going."""
        ...

    def starts(self, job: str, *, after: datetime, limit: int = 10_000) -> list[datetime]:
        """When the job's runs started that started later than ``after``, earliest first.

        Skipped runs count: their schedule did come.
        """
        ...

    def announce_overrun(self, overrun: Overrun, rules: Sequence[AlertRule]) -> bool:
        """Enqueue the ``overrun`` alerts of a run that is still going; True if alerts are due.

        Each step is announced once a run and channel, and none that is lower than one that was.
        Nothing if the run has ended or its job is snoozed.
        """
        ...

    def announce_missed(self, missed: Missed, rules: Sequence[AlertRule]) -> bool:
        """Note until when a job has been judged, and enqueue its ``missed`` alerts, if any.

        In one transaction, and only if the job's ``judged_until`` is still ``missed.judged_from``;
        True then. While the job is snoozed nothing is written where something was missed.
        """
        ...

    def forget(self, job: str) -> bool:
        """Remove the job, its streak, schedule and open alerts; False for an unknown job.

        Its runs stay until they are pruned. One that is still going brings the job back when it
        ends, as does any later run.
        """
        ...

    def claim_alerts(
        self,
        *,
        channels: Sequence[str],
        job: str | None = None,
        force: bool = False,
        state: DeliveryState = "pending",
        limit: int = 100,
        claim_for: float = 10.0,
    ) -> list[Delivery]:
        """Take alerts that are due, oldest first, so that nobody else sends them meanwhile.

        Only alerts in ``state`` for ``channels`` and, unless None, of ``job``. An alert is due when
        no claim on it is live and its back-off is over (``force`` ignores the back-off, never a
        claim). Claiming raises its attempt number and holds it for ``claim_for`` seconds; if nobody
        settles it by then, it is due again. ``state="dead"`` takes dead letters for another try.
        """
        ...

    def settle_alert(self, delivery: Delivery, settlement: Settlement) -> bool:
        """Write what became of a try, and release the claim.

        False, and nothing written, if the alert has been claimed again since (its attempt number
        has moved on) or was settled before.
        """
        ...

    def jobs(self) -> list[JobStatus]:
        """Every job that has run or is registered, by name."""
        ...

    def history(self, job: str, *, limit: int = 20) -> list[RunRecord]:
        """The job's newest runs, newest first; empty for an unknown job."""
        ...

    def alerts(
        self, *, state: DeliveryState | None = None, job: str | None = None, limit: int = 100
    ) -> list[AlertRecord]:
        """Outbox rows, newest first; None means every state, every job."""
        ...

    def snooze(self, job: str, until: datetime | None) -> bool:
        """Enqueue nothing for the job until then; None ends it. False for an unknown job."""
        ...

    def unlock(self, job: str) -> int:
        """Take the lease from the job's running rows, so that it can start; returns how many.

        The rows go on running and may still finish.
        """
        ...

    def prune(self, *, keep: timedelta, progress: Callable[[int, int], None] | None = None) -> int:
        """Delete ended runs older than ``keep`` and settled alerts likewise; returns runs deleted.

        Never deletes a running row, a pending or dead alert, or a job's newest run. Streak and
        ``last_success_at`` survive. ``progress(done, total)`` is called between batches.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections. Safe to call twice; the store may be used again."""
        ...


@runtime_checkable
class Channel(Protocol):
    """A way to tell people.

    A channel is built for one try and thrown away: ``Channel(**options)`` gets its options as
    text, secrets resolved, in the delivery thread. Threads, deadline, retries, redaction and the
    outbox are cronguard's business. An object that is given to `cronguard.configure` is used for
    every try, by several threads at once; its ``name``, if it has one, is the channel's.
    """

    OPTIONS: ClassVar[Sequence[Option]]
    """What the channel can be told; required ones first by custom."""

    def send(self, message: Message) -> Awaitable[None] | None:
        """Send, or raise `ChannelError`. May be ``async def``.

        Returning means that the other side has taken the alert. Must be safe to repeat: the same
        alert, with the same ``alert_id`` and ``payload``, can come again. Any other exception is
        recorded as the code ``channel_error`` and tried again later; its text is thrown away, since
        it may hold a secret.
        """
        ...


class SecretSource(Protocol):
    """Where a scheme's secrets are read, such as ``env:NAME``.

    Made without arguments; or, where the class has ``from_store(store)``, by that, with the store
    of the settings in force.
    """

    def get(self, name: str) -> str:
        """The secret's value, read afresh. Raises `SecretError` if there is none.

        Called in the delivery thread, inside the deadline of a try.
        """
        ...
