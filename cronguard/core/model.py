"""The values that cronguard's parts pass to one another: frozen, typed, no I/O.

Times are aware `datetime`s in UTC. Durations are seconds as float. Ids are UUIDs as lower-case
text.

They are named tuples and not dataclasses because every cron process builds these classes when it
starts and every run makes the values; as named tuples both are several times cheaper.
"""

# No `from __future__ import annotations` here: with it, a NamedTuple compiles each annotation from
# text, which costs every cron process more than the rest of this module.

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

EndStatus: TypeAlias = Literal["success", "failure", "crashed", "cancelled", "skipped"]
"""``skipped`` is for a run that was skipped while the store could not be told of it. How each is
shown is in `cronguard.core.run_states`; the tables and SQL functions have checks of their own."""
RunStatus: TypeAlias = Literal["running", EndStatus]
STREAK: dict[EndStatus, Literal["reset", "grow", "keep"]] = {
    "success": "reset",
    "failure": "grow",
    "crashed": "grow",
    "cancelled": "keep",
    "skipped": "keep",
}
"""What an end does to its job's count of consecutive failures."""
AlertKind: TypeAlias = Literal["failing", "still_failing", "recovered", "overrun", "missed", "test"]
DeliveryState: TypeAlias = Literal["pending", "sent", "dead"]
Overlap: TypeAlias = Literal["skip", "allow"]
"""What a store is asked to do while another run of the job is open."""
Origin: TypeAlias = Literal["code", "command", "settings"]
"""Who states an expectation: a decorator or context manager, the options of ``cronguard run``, or
the job's table in settings."""

PAYLOAD_SCHEMA = "cronguard.alert/1"
LEASE_SECONDS = 90.0
"""How long a run counts as alive without a heartbeat, if its process cannot be looked up."""
LONGEST_LEASE = 3600.0
"""A lease that ends later than this from now was written before the clock was set back: it is
over."""
LONGEST_PAUSE = 26 * 3600.0
"""The same for claims and back-offs of alerts. Those of an alert that was enqueued more than
`LONGEST_LEASE` in the future are over too."""
HEARTBEAT_SECONDS = 30.0
"""How often a process renews the leases of its runs."""
DELIVERY_SECONDS = 5.0
"""The hard total deadline of one attempt to send an alert, settling included."""
MOST_ALERTS = 10_000
"""How many alerts are read where all are wanted that wait or were given up."""


class Owner(NamedTuple):
    """The process that holds a run.

    ``space`` names the process space in which ``pid`` means something (boot id and pid namespace
    on Linux); None on systems where a process cannot be judged from outside, so that only the lease
    counts. ``started`` tells two processes with the same pid apart; None if unknown.
    """

    host: str
    pid: int
    space: str | None = None
    started: str | None = None


class Failure(NamedTuple):
    """What is kept of an error, redacted already."""

    error_type: str
    """The name alone for builtins (``ValueError``), else ``module.QualName``."""
    error_code: str | None = None
    """SQLSTATE, errno name, HTTP status, exit code or signal name; None when there is none."""
    error_message: str | None = None
    error_location: str | None = None
    """``package/module.py:42 in function``, in the user's own code; None if unknown."""


class Expectations(NamedTuple):
    """What is expected of a job, and when its channels are notified.

    The defaults hold for what nobody has stated. Durations are in seconds.
    """

    schedule: str | None = None
    """A cron expression; None if no start is expected."""
    timezone: str = "UTC"
    grace: float = 300.0
    max_runtime: float | None = 1800.0
    """None for no limit."""
    threshold: int = 2
    realert_every: int | None = None
    """N: alert again at threshold + N, + 2N and so on; None for once per incident."""
    notify_recovery: bool = False
    runbook: str | None = None

    @property
    def plan(self) -> "Schedule | None":
        """Return the schedule with its time zone and grace; None if no start is expected."""
        return Schedule(self.schedule, self.timezone, self.grace) if self.schedule else None


class Statement(NamedTuple):
    """One expectation that is stated: a field of `Expectations`, its value, and who says so."""

    name: str
    value: str | float | None
    origin: Origin


class Source(NamedTuple):
    """Where an expectation that holds comes from."""

    origin: Origin
    since: datetime


class ChannelRule(NamedTuple):
    """A channel that is notified about a job, and what it overrides of the job's expectations."""

    channel: str
    threshold: int | None = None
    """None for the job's own."""
    realert_every: int | None = None
    """None for the job's own; 0 for once per incident."""


class AlertRule(NamedTuple):
    """When one channel is notified about one job: its `ChannelRule` and the job's `Expectations`
    together."""

    channel: str
    threshold: int = Expectations().threshold
    realert_every: int | None = None
    """N: alert again at threshold + N, + 2N and so on; None for once per incident."""
    notify_recovery: bool = False


class Schedule(NamedTuple):
    """When a job is expected: a cron expression, a time zone, and a grace time in seconds."""

    cron: str
    timezone: str = Expectations().timezone
    grace: float = Expectations().grace


class Run(NamedTuple):
    """One run of one job, as its process knows it when it starts.

    ``run_id`` is made by the client, so every write about the run can be repeated safely.
    """

    run_id: str
    job: str
    started_at: datetime
    owner: Owner
    channels: tuple[ChannelRule, ...] = ()
    """Who is notified of how it ends; none for the channels that are kept with the job."""
    stated: tuple[Statement, ...] = ()
    """What the start states of its job; everything else stays as it is kept."""
    overlap: Overlap = "skip"
    lease: float = LEASE_SECONDS
    test_mode: bool = False
    """Whether a ``test`` alert is due when the run ends, however it ends."""


class Outcome(NamedTuple):
    """How a run ended. ``duration`` is measured on a monotonic clock; None for ``crashed``."""

    status: EndStatus
    finished_at: datetime
    duration: float | None = None
    failure: Failure | None = None


DETAILS: tuple[str, ...] = Failure._fields
"""What an `Outcome` says of a run beside its status, time and duration: columns of the log and keys
of every JSON by these names, each a text or None. It is written, kept and shown as `details_of` and
`from_details` say, whatever it is."""
NO_DETAILS: tuple[str | None, ...] = (None,) * len(DETAILS)


def details_of(end: "Outcome | RunRecord") -> tuple[str | None, ...]:
    """Return the values of `DETAILS`; `NO_DETAILS` itself where there are none."""
    return end.failure or NO_DETAILS


def from_details(values: Sequence[Any]) -> dict[str, Any]:
    """Return the fields of an `Outcome` or `RunRecord` that have the values of `DETAILS`."""
    return {"failure": Failure(*values) if values[0] else None}


class Silence(NamedTuple):
    """Occurrences of a job's schedule that nobody kept, in a row: one alert."""

    since: datetime
    """The first of them, by which the silence is named."""
    missed: int = 1
    """How many there were when it was last judged."""
    over: bool = False
    """Whether a start has ended it. It is kept until a success, which `announced` hear of."""
    announced: frozenset[str] = frozenset()
    """Channels for which an alert of it or of one before it was decided, and no recovery since."""


class JobState(NamedTuple):
    """What a job's row holds between runs; the alert rule needs no other history."""

    consecutive_failure_count: int = 0
    incident_id: str | None = None
    """The first run of the current streak of failures; None while there is no incident."""
    announced: frozenset[str] = frozenset()
    """Channels for which an alert of this incident was decided, sent or not."""
    last_success_at: datetime | None = None
    """When the last successful run ended; None if there was none."""
    last_counted_run: str | None = None
    """The run whose success, failure or crash was committed last."""
    snoozed_until: datetime | None = None
    expected: Expectations = Expectations()
    silence: Silence | None = None


class Started(NamedTuple):
    """The store's answer to `Store.start_run`."""

    status: Literal["running", "skipped"]
    consecutive_failure_count: int = 0
    """The job's streak as last committed, after dead runs were counted."""
    held_by: str | None = None
    """With ``skipped``: the run that holds the lease; else None."""
    alerts_due: bool = False
    """Whether alerts of this job wait to be sent."""
    state: JobState | None = None
    """The job as last committed, for this host to use while the store is out of reach; None from a
    store that does not tell at a start."""
    expected: Expectations | None = None
    """What holds for the job now; None from a store that does not tell."""
    channels: tuple[ChannelRule, ...] = ()
    """The channels that are kept with the job: those of its overruns."""
    holder: "RunRecord | None" = None
    """The run of ``held_by``; None from a store that does not tell, or where it cannot be read."""


class Finished(NamedTuple):
    """The store's answer to `Store.finish_run`."""

    consecutive_failure_count: int | None
    """The count on the run's own row; None if the row was pruned and nothing was written."""
    alerts_due: bool = False
    state: JobState | None = None
    """As in `Started`."""


class Alert(NamedTuple):
    """The facts of one alert: the fields of the JSON payload ``cronguard.alert/1``."""

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
    """RFC 3339 in UTC, as all times here; None if the job never succeeded."""
    started_at: str | None = None
    finished_at: str | None = None
    duration_seconds: float | None = None
    host: str | None = None
    runbook: str | None = None
    degraded: bool = False
    """Whether it was decided without the store, from what this host last knew."""
    test: bool = False
    schema: str = PAYLOAD_SCHEMA


class NewAlert(NamedTuple):
    """One outbox row to write. ``key`` is unique, so deciding twice enqueues once."""

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
    """The JSON text frozen when the alert was decided; the same on every attempt."""


class Settlement(NamedTuple):
    """The result of one attempt to send an alert."""

    state: DeliveryState
    error_code: str | None = None
    retry_in: float | None = None
    """Seconds until the next attempt is allowed; with ``pending`` only."""


class RunRecord(NamedTuple):
    """One row of ``cron_execution_logs``, for display."""

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
    owner: Owner | None = None
    """Who holds it; only of a run that is going on, in `Watch.running`."""
    lease_over: bool = False
    """Whether its lease has run out by the store's clock; likewise."""


class KeptRun(NamedTuple):
    """A run that this host keeps for a store which has not taken it."""

    run: Run
    outcome: Outcome | None = None
    """How it ended; None while it goes on."""
    lease_over: bool = False
    started: bool = False
    """Whether the store is known to have taken its start."""


class Activity(NamedTuple):
    """Runs of a job that started close together and are in the same state, for display."""

    job: str
    status: RunStatus
    runs: int
    """How many they are."""
    first: datetime
    """When the first of them started."""
    last: datetime
    """When the last of them started."""
    longest: float | None = None
    """The longest of their durations, in seconds; None if none is known."""


class JobStatus(NamedTuple):
    """A summary of one job, for display."""

    job: str
    consecutive_failure_count: int
    last_run: RunRecord | None = None
    """The newest run that ended or is still going; skipped ones do not count."""
    last_success_at: datetime | None = None
    running: int = 0
    snoozed_until: datetime | None = None
    schedule: Schedule | None = None
    alerts_pending: int = 0
    alerts_dead: int = 0
    announced: frozenset[str] = frozenset()
    """Channels for which an alert of the incident that is going on was decided, sent or not."""
    failing_since: datetime | None = None
    """When the first run of the current streak of failures ended; None if there is no streak, or
    that run was pruned."""
    last_start_at: datetime | None = None
    """The latest start of a run, skipped ones included; None if there was none. One that is still
    to come, by the store's clock, was noted by a clock that is ahead, and does not count yet."""
    pending_since: datetime | None = None
    """When the oldest of the pending alerts was decided; None if there is none."""


class Watch(NamedTuple):
    """What is expected of a job; ``cronguard check`` judges it by this."""

    job: str
    expected: Expectations = Expectations()
    sources: Mapping[str, Source] = MappingProxyType({})
    """Where the expectations come from that somebody has stated, by name."""
    channels: tuple[ChannelRule, ...] = ()
    """Those of the last start that stated anything, else of the last start; empty if the job never
    ran."""
    consecutive_failure_count: int = 0
    last_success_at: datetime | None = None
    snoozed_until: datetime | None = None
    judged_until: datetime | None = None
    """Occurrences of the schedule up to this time have been judged; at first, the time when the
    schedule was registered."""
    running: tuple[RunRecord, ...] = ()
    silence: Silence | None = None
    """The last one that was judged; None if there was none, or a success has come since."""


class Overrun(NamedTuple):
    """A run that goes on past its ``max_runtime``."""

    run_id: str
    job: str
    step: int
    """How many times ``max_runtime`` has passed: 1, 2, 4 or 8."""
    elapsed: float
    """Seconds since the run started."""
    message: str
    """The same as a sentence, for the alert."""


class Missed(NamedTuple):
    """A judgement of a schedule: the occurrences at which its job did not start.

    One alert tells of all of them: several silences that nobody saw in time are told of with the
    last one.
    """

    job: str
    number: int
    """How many were missed since the job was last judged."""
    latest: datetime | None
    """The last one missed; None if none was."""
    message: str | None
    """The same as a sentence, for the alert; None if none was missed."""
    judged_from: datetime | None
    """The job's `Watch.judged_until` as read; if it has changed since, another host judged."""
    judged_until: datetime
    silence: Silence | None = None
    """The last silence as it is now, `Silence.announced` apart; None if nothing was missed."""
    before: int = 0
    """How many of its occurrences had been judged before; 0 if it is new."""


class AlertRecord(NamedTuple):
    """One outbox row, for display."""

    alert_id: str
    job: str
    channel: str
    kind: AlertKind
    state: DeliveryState
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None = None
    """None once the alert is settled."""
    settled_at: datetime | None = None
    """When it was sent or became dead; None while it is pending."""
    error_code: str | None = None
    """Of the last attempt; None if that succeeded or there was none."""


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
    """The value if nobody sets the option; None to leave the option out."""


class Message(NamedTuple):
    """What a channel is to send: the facts, the frozen bytes, and a deadline."""

    alert: Alert
    payload: bytes
    """The JSON document ``cronguard.alert/1`` in UTF-8: the same bytes on every attempt."""
    attempt: int = 1
    deadline: float | None = None
    """A time on `time.monotonic`'s clock, when cronguard gives up on the attempt; None in a unit
    test."""
