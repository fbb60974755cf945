"""The rules for streaks and alerts: from a job's state and a run's outcome to what to write.

Pure functions, no I/O and no clock. Every store calls them inside the transaction that commits the
outcome. PostgreSQL has the same rules in SQL, and one model test runs on both.
"""

# No `from __future__ import annotations` here: with it, a NamedTuple compiles each annotation from
# text, which costs every cron process more than the rest of this module.

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

from cronguard.core.clock import rfc3339
from cronguard.core.model import (
    LONGEST_LEASE,
    STREAK,
    AlertKind,
    AlertRule,
    ChannelRule,
    EndStatus,
    Expectations,
    Failure,
    JobState,
    Missed,
    Outcome,
    Overrun,
    RunStatus,
    Silence,
    Statement,
)

FinishAction: TypeAlias = Literal["commit", "insert", "revise", "fill", "ignore"]
"""commit: end the running row. insert: write the whole row. revise: turn a crashed row into a
success. fill: keep a crashed row as crashed and add its error. ignore: change nothing."""


class DueAlert(NamedTuple):
    """An alert to enqueue, and the key under which it can be enqueued only once."""

    kind: AlertKind
    channel: str
    threshold: int
    key: str


class Decision(NamedTuple):
    """What an outcome does to a job."""

    state: JobState
    consecutive_failure_count: int
    """The count on the run's own row; it differs from the state's if the run was not counted."""
    alerts: tuple[DueAlert, ...] = ()


def crash(found_at: datetime) -> Outcome:
    """Return the outcome of a run whose process is gone, found so at ``found_at``.

    When the process died is unknown, and so is the run's duration.
    """
    return Outcome(
        "crashed",
        found_at,
        failure=Failure(
            "Crashed", error_message="the process ended before its run did (killed or lost power?)"
        ),
    )


def finish_action(
    existing: RunStatus | None, incoming: EndStatus, *, started: bool
) -> FinishAction:
    """Return what a finish does to the run's row.

    Args:
        existing: The status of the row now; None if there is no row.
        incoming: How the run ended.
        started: Whether `Store.start_run` is known to have been stored.
    """
    if existing == "skipped" and not started and incoming != "skipped":
        return "commit"  # the answer "skipped" never reached the process, so it ran
    if existing == "running":
        return "commit"
    if existing is None:
        return "ignore" if started else "insert"
    if existing == "crashed" and incoming == "success":
        return "revise"
    if existing == "crashed" and incoming == "failure":
        return "fill"
    return "ignore"


def decide(
    state: JobState,
    outcome: Outcome,
    *,
    job: str,
    run_id: str,
    rules: Sequence[AlertRule],
    snoozed: bool,
    late: bool = False,
    test_mode: bool = False,
    notified: Collection[str] = (),
) -> Decision:
    """Decide the job's new state after an outcome, and which alerts are due.

    Args:
        state: The job as last committed.
        outcome: How the run ended.
        job: The job's name.
        run_id: The run that ended.
        rules: The job's alert rules, one a channel.
        snoozed: Whether the job is snoozed now, by the store's clock.
        late: True for the success of a run that had been counted as crashed. It ends the incident
            only if nothing was counted since.
        test_mode: Whether every channel gets a ``test`` alert as well.
        notified: Channels that have been notified of this outcome already.
    """
    not_notified = [rule for rule in rules if rule.channel not in notified] if notified else rules
    due: list[DueAlert] = []
    effect = STREAK[outcome.status]
    if effect == "keep":
        after, count = state, state.consecutive_failure_count
    elif effect == "reset":
        count = 0
        if late and state.last_counted_run != run_id:
            last = state.last_success_at or outcome.finished_at
            after = state._replace(last_success_at=max(last, outcome.finished_at))
        else:
            ended = _ended_silence(state.silence, outcome.finished_at)
            due += _recovered_alerts(state, ended, job, run_id, not_notified)
            after = JobState(
                last_success_at=outcome.finished_at,
                last_counted_run=run_id,
                snoozed_until=state.snoozed_until,
                expected=state.expected,
                silence=state.silence if ended is None else None,
            )
    else:
        count = state.consecutive_failure_count + 1
        after = state._replace(
            consecutive_failure_count=count,
            incident_id=state.incident_id or run_id,
            announced=state.announced.union(
                rule.channel for rule in rules if rule.channel in notified
            ),
            last_counted_run=run_id,
        )
        if not snoozed:
            due += _failing_alerts(after, job, not_notified)
            after = after._replace(announced=after.announced.union(each.channel for each in due))
    if test_mode and outcome.status != "skipped":
        due += [
            DueAlert("test", rule.channel, rule.threshold, f"{job}/{run_id}/test/{rule.channel}")
            for rule in not_notified
        ]
    return Decision(after, count, () if snoozed else tuple(due))


def _ended_silence(silence: Silence | None, finished_at: datetime) -> Silence | None:
    """Return the silence if a start has ended it and this success comes after it began.

    One from before it, told late, ended another silence: of this one nothing is known yet.
    """
    if silence is None or not silence.over or not ends_silence(silence, finished_at):
        return None
    return silence


def _recovered_alerts(
    before: JobState, silence: Silence | None, job: str, run_id: str, rules: Sequence[AlertRule]
) -> list[DueAlert]:
    """Return the alerts due to the channels that were notified of what has now ended.

    That is the incident, or else ``silence``, which has ended: one alert for both.
    """
    due = []
    for rule in rules:
        if not rule.notify_recovery:
            continue
        key = None
        if rule.channel in before.announced:
            key = f"{job}/{before.incident_id or run_id}/recovered/{rule.channel}"
        elif silence is not None and rule.channel in silence.announced:
            key = f"{silence_key(job, silence, rule.channel)}/recovered"
        if key is not None:
            due.append(DueAlert("recovered", rule.channel, rule.threshold, key))
    return due


def _failing_alerts(after: JobState, job: str, rules: Sequence[AlertRule]) -> list[DueAlert]:
    """Return the alerts due for a failure that has been counted."""
    count, due = after.consecutive_failure_count, []
    for rule in rules:
        kind = _failure_kind(rule, count, notified=rule.channel in after.announced)
        if kind is not None:
            step = "failing" if kind == "failing" else str(count)
            key = f"{job}/{after.incident_id}/{step}/{rule.channel}"
            due.append(DueAlert(kind, rule.channel, rule.threshold, key))
    return due


def mark_notified(state: JobState, run_id: str, notified: Collection[str]) -> JobState:
    """Return the state after channels were notified of an outcome that is already committed.

    They count as notified of the incident only if the outcome is known to be part of it.
    """
    if not notified or run_id not in (state.last_counted_run, state.incident_id):
        return state
    if not state.consecutive_failure_count:
        return state
    return state._replace(announced=state.announced | set(notified))


def has_expired(until: datetime | None, now: datetime) -> bool:
    """Tell whether a lease that ends then says no more; one from the far future says nothing."""
    return until is None or not now < until <= now + timedelta(seconds=LONGEST_LEASE)


def is_snoozed(until: datetime | None, now: datetime) -> bool:
    """Tell whether a job is snoozed at ``now``; ``until`` is None if it was never snoozed."""
    return until is not None and until > now


def _failure_kind(rule: AlertRule, count: int, *, notified: bool) -> AlertKind | None:
    if count < rule.threshold:
        return None
    if not notified:
        return "failing"
    over = count - rule.threshold
    if rule.realert_every and over and over % rule.realert_every == 0:
        return "still_failing"
    return None


@lru_cache(maxsize=64)
def alert_rules(channels: tuple[ChannelRule, ...], expected: Expectations) -> tuple[AlertRule, ...]:
    """Return the rule of each channel: what it overrides, and the job's own for the rest."""
    return tuple(
        AlertRule(
            each.channel,
            expected.threshold if each.threshold is None else each.threshold,
            expected.realert_every if each.realert_every is None else each.realert_every or None,
            expected.notify_recovery,
        )
        for each in channels
    )


def overlay(expected: Expectations, stated: Iterable[Statement]) -> Expectations:
    """Return the expectations with what is stated put over them, where no store is there to ask."""
    values = {each.name: each.value for each in stated if each.name in Expectations._fields}
    changed: Any = values
    return expected._replace(**changed)


OVERRUN_STEPS = (1, 2, 4, 8)
"""The multiples of ``max_runtime`` at which a run that is still going is announced."""


def overrun_step(elapsed: float, max_runtime: float) -> int:
    """Return the highest of `OVERRUN_STEPS` that has passed, 0 if none has; both in seconds."""
    return max((step for step in OVERRUN_STEPS if elapsed >= step * max_runtime), default=0)


def overrun_alerts(overrun: Overrun, rules: Sequence[AlertRule]) -> tuple[DueAlert, ...]:
    """Return the alerts due when a run passes a multiple of its ``max_runtime``."""
    return tuple(
        DueAlert(
            "overrun",
            rule.channel,
            rule.threshold,
            _overrun_key(overrun, overrun.step, rule.channel),
        )
        for rule in rules
    )


def later_step_keys(overrun: Overrun, channel: str) -> list[str]:
    """Return the keys of the run's alerts for later steps.

    If an alert with one of these keys exists, this overrun has been superseded.
    """
    return [_overrun_key(overrun, step, channel) for step in OVERRUN_STEPS if step > overrun.step]


def _overrun_key(overrun: Overrun, step: int, channel: str) -> str:
    return f"{overrun.job}/{overrun.run_id}/overrun/{step}/{channel}"


EARLY_SECONDS = 10.0
"""How early a run may start and still count as on time, since hosts' clocks differ slightly."""
MAX_CLOCK_SETBACK = timedelta(hours=3)
"""How far a clock may be set back before a time that is still to come counts as wrong."""


def ends_silence(silence: Silence, started_at: datetime) -> bool:
    """Tell whether a start ends a silence that goes on: one from before it, told late, does not.

    The same holds for the success after it.
    """
    return started_at >= silence.since - timedelta(seconds=EARLY_SECONDS)


def missed_alerts(missed: Missed, rules: Sequence[AlertRule]) -> tuple[DueAlert, ...]:
    """Return the alerts due for missed occurrences: one a channel when a silence begins.

    Further ones only with ``realert_every``, after that many further occurrences each; where
    several such steps have passed since the job was last judged, one alert tells of the last.
    """
    silence = missed.silence
    if silence is None:
        return ()
    due = []
    for rule in rules:
        key = silence_key(missed.job, silence, rule.channel)
        if missed.before:
            every = rule.realert_every
            step = (silence.missed - 1) // every if every else 0
            if not every or step <= (missed.before - 1) // every:
                continue
            key = f"{key}/{1 + step * every}"
        due.append(DueAlert("missed", rule.channel, rule.threshold, key))
    return tuple(due)


def silence_key(job: str, silence: Silence, channel: str) -> str:
    """Return the key of the alert that tells a channel of a silence."""
    return f"{job}/silence/{rfc3339(silence.since)}/{channel}"


def announced_silence(
    missed: Missed, before: Silence | None, due: Sequence[DueAlert]
) -> Silence | None:
    """Return the silence to keep once these alerts are enqueued; ``before`` is what was kept."""
    if missed.silence is None:
        return before
    known = before.announced if before is not None else frozenset()
    return missed.silence._replace(announced=known.union(each.channel for each in due))
