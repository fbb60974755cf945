"""The three plugin interfaces, `Store`, `Channel` and `SecretSource`, and what each must do.

Implementations are found through an entry-point group (``cronguard.stores``,
``cronguard.channels``, ``cronguard.secrets``); cronguard's own are registered there like any other.

What a plugin may build on: all of `cronguard.core`; for a channel `cronguard.channels.transport`
and `cronguard.process.stderr`; for its tests `cronguard.testing`. The other packages are
cronguard's own and may change with any version.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from cronguard.core.damage import Damaged
from cronguard.core.model import (
    Activity,
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
    RunStatus,
    Settlement,
    Started,
    Statement,
    Watch,
)

Redact: TypeAlias = Literal["strict", "scrub"] | Callable[[str, BaseException | None], str]
"""``strict``: type, code and location only. ``scrub``: the message too, masked. A callable gets the
raw text and the error (None for the output of a command) and returns what may be shown."""


class Store(Protocol):
    """Where runs, streaks and the outbox live.

    Every method may be called from any thread and raises nothing but `StoreError`
    (`StoreConfigError` where waiting cannot help). Every write is one transaction and may be
    repeated: the second time changes nothing and returns the same answer. Writes about one job
    happen one after another, in the order in which they commit. That order, never a clock, is what
    "previous run" means.

    To be found by its scheme, a class also has ``from_url(url, *, timeout)``. It makes the store
    for an address without touching file or network, and raises ConfigError if the address is
    invalid; ``timeout`` is ``store_timeout`` in seconds. A store may have an attribute ``where``
    that names the place of its data without credentials; the local spool of a store that is not
    ``bounded`` is named after it. It may have ``await_schema(ask_again)``, which a command calls: a
    method that finds no schema then asks again as long as ``ask_again()``, which waits, returns
    True.
    """

    bounded: bool
    """True if every call returns within ``store_timeout`` by itself. Otherwise cronguard makes each
    call in a thread of its own and abandons it when the time is up; the call must then be safe to
    complete late.

    The thread costs a call about 60 µs. A store that can keep a deadline without one also has
    ``within(seconds, run_in_thread)``: it returns the store itself, ready for one call that ends in
    time on the calling thread. Only work that cannot be interrupted (looking up a name, a
    handshake) is then done in a thread, with ``run_in_thread(work, seconds)``; what that raises
    must be let through."""

    def start_run(
        self, run: Run, *, is_dead: Callable[[Owner], bool], ended: Collection[str] = ()
    ) -> Started:
        """Record that a run begins, or that it was skipped.

        In one transaction under the job's lock:

        1. Every ``running`` row of the job whose owner ``is_dead``, or whose owner is in another
           process space (``owner.space`` differs or is None) and whose lease has run out on the
           store's clock, ends as ``crashed`` and counts as a failure, alerts included. ``is_dead``
           is called only for owners in ``run.owner.space``. Rows of ``ended`` are left out: they
           give up the lease first.
        2. If a row is still running, holds its lease, and ``run.overlap`` is ``"skip"``: the run is
           written as ``skipped``, carrying the count unchanged.
        3. Otherwise it is written as ``running`` with a lease of ``run.lease`` seconds, and what
           ``run`` states is kept with the job, by `expectations.restate`: each expectation
           by itself. So are ``run.channels``, if there are any; but those of a start that states
           anything are kept until another one does. A schedule that differs from the one before
           counts from now on.

        Unknown jobs are registered. A crash is announced by the expectations and channels that are
        kept with the job before this start, and by the run's own where no channels are kept.

        Args:
            run: The run that begins.
            is_dead: Whether a process of this process space is gone.
            ended: The ids of this process's runs that have ended and whose outcomes the store has
                not taken yet. The job's rows among them that are still ``running`` hold no lease
                any more, so that its next run can start; they are not counted as crashed as long as
                their process lives or, seen from another process space, renews them: here by
                ``run.lease`` seconds. Any other id is ignored.
        """
        ...

    def finish_run(
        self, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str] = ()
    ) -> Finished:
        """Commit how a run ended, the job's streak and the alerts due, in one transaction.

        The rules are `alert_rule.finish_action` and `alert_rule.decide`, on the alert rules that
        ``run.channels`` have by the job's expectations. A job that is not known (any more) is
        registered, with what ``run`` states. A row that is inserted brings what its start would
        have stated, by `expectations.restate_late`.

        Args:
            run: The run that ended.
            outcome: How it ended.
            started: Whether `start_run` is known to have been stored. If True, a missing row was
                pruned and nothing changes; if False, the row is inserted.
            notified: Channels that were notified of this outcome without the store. They count as
                notified, no alert is enqueued for them, and an alert of this run that still waits
                for one of them is settled as sent.
        """
        ...

    def heartbeat(
        self, run_ids: Sequence[str], *, lease: float, ended: Collection[str] = ()
    ) -> None:
        """Renew the runs still ``running``, until ``lease`` seconds from now.

        Those of ``ended`` are renewed too, and hold no lease any more, as in `start_run`; here
        whatever their job.
        """
        ...

    def sweep(
        self, owner: Owner, *, is_dead: Callable[[Owner], bool], ended: Collection[str] = ()
    ) -> list[RunRecord]:
        """End the dead ``running`` rows of every job as ``crashed``, oldest first; return them.

        This is step 1 of `start_run` for ``owner``'s process space. Rows of ``ended`` are renewed
        by `LEASE_SECONDS`.
        """
        ...

    def declare(self, job: str, stated: Sequence[Statement], *, host: str = "") -> None:
        """Register what a host's settings expect of a job, before it runs.

        The rule is `expectations.redeclare`: the same declaration again changes nothing. A schedule
        that differs from the one before counts from now on.
        """
        ...

    def watches(self) -> list[Watch]:
        """Return what is expected of every job, sorted by name, with its runs still going."""
        ...

    def damaged(self) -> list[Damaged]:
        """Return the rows that cannot be what this store wrote, so that a person can mend them.

        Somebody else has written them. The other methods leave them out, or go on with what can
        still be read; they stop no other job. Looked at are jobs (table ``cronguard_jobs``, by
        name), ``running`` runs (``cron_execution_logs``, by id) and alerts that were not sent
        (``cronguard_alerts``, by id); see `core.damage`. A store that only its own code can write
        to returns none.
        """
        ...

    def starts(self, job: str, *, after: datetime, limit: int = 10_000) -> list[datetime]:
        """Return the start times of the job's runs later than ``after``, earliest first.

        Skipped runs are included: the scheduler did start them.
        """
        ...

    def announce_overrun(self, overrun: Overrun, rules: Sequence[AlertRule]) -> bool:
        """Enqueue the ``overrun`` alerts of a run that is still going.

        Each step is announced once per run and channel, and never after a higher one. Nothing is
        enqueued if the run has ended or its job is snoozed.

        Returns:
            True if alerts are due.
        """
        ...

    def announce_missed(self, missed: Missed, rules: Sequence[AlertRule]) -> bool:
        """Record until when a job has been judged, and enqueue its ``missed`` alerts, if any.

        Both happen in one transaction, and only if the job's ``judged_until`` is still
        ``missed.judged_from``. If something was missed while the job is snoozed, nothing is
        written.

        Returns:
            True if it was written.
        """
        ...

    def forget(self, job: str) -> bool:
        """Remove the job, its streak, schedule and open alerts; return False if it is unknown.

        Its runs stay until they are pruned. A run that is still going registers the job again when
        it ends, as does any later run.
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
        """Claim alerts that are due, oldest first, so that nobody else sends them meanwhile.

        An alert is due when no claim on it is live and its back-off is over. Claiming raises its
        attempt number. If nobody settles it before the claim ends, it is due again.

        Args:
            channels: Only alerts for these channels.
            job: Only alerts of this job; None for every job.
            force: Whether to ignore the back-off. A live claim is never ignored.
            state: Only alerts in this state; ``"dead"`` takes dead letters for another try.
            limit: The most alerts to claim.
            claim_for: How long the claim lasts, in seconds.
        """
        ...

    def settle_alert(self, delivery: Delivery, settlement: Settlement) -> bool:
        """Write the result of an attempt to send, and release the claim.

        Returns:
            False, with nothing written, if the alert has been claimed again since (its attempt
            number has moved on) or was settled before.
        """
        ...

    def jobs(self) -> list[JobStatus]:
        """Return every job that has run or is registered, sorted by name."""
        ...

    def history(
        self,
        job: str,
        *,
        limit: int = 20,
        statuses: Collection[RunStatus] = (),
        since: datetime | None = None,
    ) -> list[RunRecord]:
        """Return the job's newest runs, newest first; none for an unknown job.

        Args:
            job: The job.
            limit: The most runs to return, of those that the other arguments leave.
            statuses: Only runs with one of these; empty for every status.
            since: Only runs that started then or later.
        """
        ...

    def recent(self, *, limit: int = 20) -> list[RunRecord]:
        """Return the newest runs of every job, ``limit`` of each: as `history`, by job's name."""
        ...

    def activity(self, *, since: datetime, step: float) -> list[Activity]:
        """Return what every job's runs came to that started at ``since`` or later.

        Runs of a job that are in the same state and started within the same ``step`` seconds,
        counted from ``since``, are told of together, so that the answer is as large as a picture
        and not as the log. By job's name and first start.
        """
        ...

    def alerts(
        self, *, state: DeliveryState | None = None, job: str | None = None, limit: int = 100
    ) -> list[AlertRecord]:
        """Return outbox rows, newest first; None means every state or every job."""
        ...

    def snooze(self, job: str, until: datetime | None) -> bool:
        """Enqueue no alerts for the job until ``until``; None ends a snooze.

        Returns:
            False for an unknown job.
        """
        ...

    def unlock(self, job: str) -> int:
        """Revoke the leases of the job's running rows, so that it can start; return how many.

        The rows stay ``running`` and may still finish.
        """
        ...

    def prune(
        self,
        *,
        keep: timedelta,
        progress: Callable[[int, int], None] | None = None,
        dry_run: bool = False,
    ) -> int:
        """Delete ended runs and settled alerts older than ``keep``; return how many runs.

        A running row, a pending or dead alert, and a job's newest run are never deleted. The streak
        and ``last_success_at`` are kept. ``progress(done, total)`` is called between batches. With
        ``dry_run`` the runs are counted and nothing is deleted.
        """
        ...

    def close(self) -> None:
        """Close files and connections. Safe to call twice; the store may be used again."""
        ...


@runtime_checkable
class Channel(Protocol):
    """A way to notify people.

    A channel is built for one attempt and thrown away: ``Channel(**options)`` gets its options as
    text, secrets resolved, in the delivery thread. cronguard sees to threads, deadline, retries,
    redaction and the outbox. An object that is given to `cronguard.configure` is used for every
    attempt, by several threads at once; its ``name``, if it has one, is the channel's.
    """

    OPTIONS: ClassVar[Sequence[Option]]
    """The options that the channel takes; by custom, required ones first."""

    def send(self, message: Message) -> Awaitable[None] | None:
        """Send the alert. May be ``async def``.

        Returning means that the other side has taken the alert. A call must be safe to repeat: the
        same alert, with the same ``alert_id`` and ``payload``, can come again.

        Raises:
            ChannelError: The alert was not taken. Any other exception is recorded as the code
                ``channel_error`` and tried again later; its text is thrown away, since it may hold
                a secret.
        """
        ...


class SecretSource(Protocol):
    """A source of the secrets of one scheme, such as ``env:NAME``.

    It is made without arguments; or, if the class has ``from_store(store)``, by that, with the
    store of the current settings.
    """

    def get(self, name: str) -> str:
        """Return the secret's value, read afresh.

        Called in the delivery thread, inside the deadline of an attempt.

        Raises:
            SecretError: There is no such secret, or it cannot be read.
        """
        ...
