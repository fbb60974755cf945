"""The values that cronguard's parts hand to one another: frozen, typed, no I/O.

Times are aware `datetime`s in UTC. Durations are seconds as float. Ids are lower-case uuid text.

Named tuples and not dataclasses: every cron process makes these classes anew when it starts, and
every run makes the values, and both are several times cheaper so.
"""

# No `from __future__ import annotations` here: a NamedTuple compiles every annotation that is text,
# which costs each cron process more than all the rest of this module.

from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

RunStatus: TypeAlias = Literal["running", "success", "failure", "crashed", "cancelled", "skipped"]
EndStatus: TypeAlias = Literal["success", "failure", "crashed", "cancelled"]
AlertKind: TypeAlias = Literal["failing", "still_failing", "recovered", "overrun", "missed", "test"]
DeliveryState: TypeAlias = Literal["pending", "sent", "dead"]
Overlap: TypeAlias = Literal["skip", "allow"]

PAYLOAD_SCHEMA = "cronguard.alert/1"
LEASE_SECONDS = 90.0
"""How long a run that nobody renews counts as alive where its process cannot be judged."""
LONGEST_LEASE = 3600.0
"""A lease that ends later than this was written by a clock that has been put back, and is over."""
LONGEST_PAUSE = 26 * 3600.0
"""Likewise for claims and back-offs of alerts; and for those of an alert that was itself enqueued
more than `LONGEST_LEASE` from now."""
HEARTBEAT_SECONDS = 30.0
"""How often a process renews the leases of its runs."""
DELIVERY_SECONDS = 5.0
"""The hard total deadline of one try to send an alert, settling included."""


class Owner(NamedTuple):
    """The process that holds a run.

    ``space`` names the process space in which ``pid`` means something (boot id and pid namespace
    on Linux); None where there is no way to judge a process from outside, so that only the lease
    counts. ``started`` tells two processes with the same pid apart; None if unknown.
    """

    host: str
    pid: int
    space: str | None = None
    started: str | None = None


class Failure(NamedTuple):
    """What is kept of an error. Already redacted: nothing here needs further cleaning."""

    error_type: str
    """Bare for builtins (``ValueError``), else ``module.QualName``."""
    error_code: str | None = None
    """SQLSTATE, errno name, HTTP status, exit code or signal name; None when there is none."""
    error_message: str | None = None
    error_location: str | None = None
    """``package/module.py:42 in function``, in the user's own code; None if unknown."""


class AlertRule(NamedTuple):
    """When one channel is told about one job."""

    channel: str
    threshold: int = 2
    realert_every: int | None = None
    """Again at threshold + N, + 2N …; None for once an incident."""
    notify_recovery: bool = False


class Schedule(NamedTuple):
    """When a job is expected: a cron expression in a time zone, and how late it may be."""

    cron: str
    timezone: str = "UTC"
    grace: float = 300.0


class Run(NamedTuple):
    """One run of one job, as its process knows it when it starts.

    ``run_id`` is made by the client, so every write about the run can be repeated safely.
    """

    run_id: str
    job: str
    started_at: datetime
    owner: Owner
    rules: tuple[AlertRule, ...] = ()
    overlap: Overlap = "skip"
    lease: float = LEASE_SECONDS
    max_runtime: float | None = None
    """None for a run that may go on for ever."""
    schedule: Schedule | None = None
    """None for a job whose start nobody expects, or whose settings say when (`Store.declare`)."""
    runbook: str | None = None
    test_mode: bool = False
    """Whether a ``test`` alert is owed at its end, whatever that is."""


class Outcome(NamedTuple):
    """How a run ended. ``duration`` is measured on a monotonic clock; None for ``crashed``."""

    status: EndStatus
    finished_at: datetime
    duration: float | None = None
    failure: Failure | None = None


class JobState(NamedTuple):
    """What a job's row remembers between runs; the alert decision needs no other history."""

    consecutive_failure_count: int = 0
    incident_id: str | None = None
    """The run that began the unbroken line of failures; None while the job is well."""
    announced: frozenset[str] = frozenset()
    """Channels that have been told of this incident."""
    last_success_at: datetime | None = None
    """When the last successful run ended; None if none ever did."""
    last_counted_run: str | None = None
    """The run whose success, failure or crash was committed last."""
    snoozed_until: datetime | None = None


class Started(NamedTuple):
    """The store's answer to `Store.start_run`."""

    status: Literal["running", "skipped"]
    consecutive_failure_count: int = 0
    """The job's streak as last committed, sweeps of dead runs included."""
    held_by: str | None = None
    """With ``skipped``: the run that holds the lease."""
    alerts_due: bool = False
    """There are alerts of this job that wait to be sent."""
    state: JobState | None = None
    """The job as last committed, for a host to go on with should the store be out of reach. None
    from a store that cannot be."""


class Finished(NamedTuple):
    """The store's answer to `Store.finish_run`."""

    consecutive_failure_count: int | None
    """The count on the run's own row; None if the row was pruned and nothing was written."""
    alerts_due: bool = False
    state: JobState | None = None
    """As in `Started`."""


class Alert(NamedTuple):
    """The facts of one alert, field for field the JSON payload ``cronguard.alert/1``."""

    alert_id: str
    kind: AlertKind
    job: str
    run_id: str | None = None
    consecutive_failure_count: int | None = None
    threshold: int | None = None
    error_type: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    error_location: str | None = None
    last_success_at: str | None = None
    """RFC 3339 UTC; None when the job never succeeded."""
    started_at: str | None = None
    finished_at: str | None = None
    duration_seconds: float | None = None
    host: str | None = None
    runbook: str | None = None
    degraded: bool = False
    """Decided without the store, on what this host last knew."""
    test: bool = False
    schema: str = PAYLOAD_SCHEMA


class NewAlert(NamedTuple):
    """One outbox row to be written: ``key`` is unique, so deciding twice enqueues once."""

    key: str
    channel: str
    alert: Alert


class Delivery(NamedTuple):
    """One claimed outbox row. ``attempt`` is the fencing number: only its holder may settle it."""

    alert_id: str
    job: str
    channel: str
    kind: AlertKind
    attempt: int
    payload: str
    """The JSON text frozen when the alert was decided; the same bytes on every try."""


class Settlement(NamedTuple):
    """What became of one try."""

    state: DeliveryState
    error_code: str | None = None
    retry_in: float | None = None
    """Seconds until the next try is allowed; with ``pending`` only."""


class RunRecord(NamedTuple):
    """One row of ``cron_execution_logs``, to be shown."""

    run_id: str
    job: str
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None = None
    duration: float | None = None
    consecutive_failure_count: int | None = None
    failure: Failure | None = None
    host: str | None = None
    pid: int | None = None


class JobStatus(NamedTuple):
    """One job at a glance."""

    job: str
    consecutive_failure_count: int
    last_run: RunRecord | None = None
    """The newest run that ended or is still going; skipped ones are passed over."""
    last_success_at: datetime | None = None
    running: int = 0
    snoozed_until: datetime | None = None
    schedule: Schedule | None = None
    alerts_pending: int = 0
    alerts_dead: int = 0


class Watch(NamedTuple):
    """What is expected of a job: what ``cronguard check`` judges it by."""

    job: str
    rules: tuple[AlertRule, ...] = ()
    """As of its last start; empty for one that never ran."""
    schedule: Schedule | None = None
    max_runtime: float | None = None
    runbook: str | None = None
    consecutive_failure_count: int = 0
    last_success_at: datetime | None = None
    snoozed_until: datetime | None = None
    judged_until: datetime | None = None
    """Occurrences of the schedule up to here have been judged; at first, when it was registered."""
    seen_until: datetime | None = None
    """Runs that started up to here have been counted for an occurrence; None before the first."""
    running: tuple[RunRecord, ...] = ()


class Overrun(NamedTuple):
    """A run that goes on past its ``max_runtime``."""

    run_id: str
    job: str
    step: int
    """How many times ``max_runtime`` has passed: 1, 2, 4 or 8."""
    elapsed: float
    """Seconds since the run started."""
    message: str
    """The same in a sentence, for the alert."""


class Missed(NamedTuple):
    """A schedule judged: the occurrences at which its job did not start."""

    job: str
    number: int
    """How many there were since the job was judged last."""
    latest: datetime | None
    """The last of them; None if there was none."""
    message: str | None
    """The same in a sentence, for the alert; None if there was none."""
    judged_from: datetime | None
    """The job's `Watch.judged_until` as it was read: if it has changed, somebody else judged."""
    judged_until: datetime
    seen_until: datetime | None


class AlertRecord(NamedTuple):
    """One outbox row, to be shown."""

    alert_id: str
    job: str
    channel: str
    kind: AlertKind
    state: DeliveryState
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None = None
    """None once it is settled."""
    settled_at: datetime | None = None
    """When it was sent or given up; None while it is pending."""
    error_code: str | None = None
    """Of the last try; None if that went well, or there was none."""


class SecretRef(NamedTuple):
    """The name of a secret, such as ``env:ONCALL_URL``; never the secret itself."""

    scheme: str
    name: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}"


class Option(NamedTuple):
    """One option that a channel takes, as its ``OPTIONS`` declares it."""

    name: str
    required: bool = False
    secret: bool = False
    help: str = ""
    default: str | None = None
    """What the channel is given when nobody set the option; None: it is left out."""


class Message(NamedTuple):
    """What a channel is asked to send: the facts, the frozen bytes, and how long it may take."""

    alert: Alert
    payload: bytes
    """The JSON document ``cronguard.alert/1`` in UTF-8: the same bytes on every try."""
    attempt: int = 1
    deadline: float | None = None
    """On `time.monotonic`'s scale: cronguard gives up on the try then. None in a unit test."""
