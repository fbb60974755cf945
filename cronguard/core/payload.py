"""The alert payload: built when an alert is decided, frozen as JSON text, decoded to be sent."""

from __future__ import annotations

import json
from datetime import datetime

from cronguard.core.alert_rule import Decision, DueAlert, alert_rules, overlay
from cronguard.core.clock import new_id, rfc3339, rfc3339_or_none
from cronguard.core.errors import ChannelError
from cronguard.core.model import (
    Alert,
    Delivery,
    Expectations,
    JobState,
    Missed,
    NewAlert,
    Outcome,
    Overrun,
    Run,
)

_FIELDS = frozenset(Alert._fields)


def build(
    due: DueAlert,
    *,
    alert_id: str,
    run: Run,
    outcome: Outcome,
    before: JobState,
    count: int | None,
) -> Alert:
    """Return the alert that is due for a run's outcome.

    Args:
        due: The decision: kind, channel and threshold.
        alert_id: The id of the alert, the same on every attempt.
        run: The run that ended.
        outcome: How it ended.
        before: The job's state before the outcome.
        count: The streak; None if it is unknown.
    """
    failure = outcome.failure
    last_success = outcome.finished_at if outcome.status == "success" else before.last_success_at
    return Alert(
        alert_id=alert_id,
        kind=due.kind,
        job=run.job,
        run_id=run.run_id,
        consecutive_failure_count=count,
        threshold=due.threshold,
        **(failure._asdict() if failure else {}),
        last_success_at=rfc3339_or_none(last_success),
        started_at=rfc3339(run.started_at),
        finished_at=rfc3339(outcome.finished_at),
        duration_seconds=None if outcome.duration is None else round(outcome.duration, 6),
        host=run.owner.host,
        runbook=before.expected.runbook,
        test=due.kind == "test",
    )


def build_due(
    decision: Decision, *, run: Run, outcome: Outcome, before: JobState
) -> list[NewAlert]:
    """Return the alerts of a decision, for a store to enqueue; arguments as for `build`."""
    return [
        NewAlert(
            due.key,
            due.channel,
            build(
                due,
                alert_id=new_id(),
                run=run,
                outcome=outcome,
                before=before,
                count=decision.consecutive_failure_count,
            ),
        )
        for due in decision.alerts
    ]


def build_overrun(
    due: DueAlert,
    overrun: Overrun,
    *,
    alert_id: str,
    started_at: datetime,
    host: str | None,
    state: JobState,
) -> Alert:
    """Return the alert for a run that takes too long; ``duration_seconds`` is its time so far."""
    alert = _build_without_outcome(due, overrun, alert_id=alert_id, state=state)
    return alert._replace(
        run_id=overrun.run_id,
        started_at=rfc3339(started_at),
        duration_seconds=round(overrun.elapsed, 6),
        host=host,
    )


def build_missed(due: DueAlert, missed: Missed, *, alert_id: str, state: JobState) -> Alert:
    """Return the alert for a job that did not start when it should have; it names no run."""
    return _build_without_outcome(due, missed, alert_id=alert_id, state=state)


def _build_without_outcome(
    due: DueAlert, caught: Overrun | Missed, *, alert_id: str, state: JobState
) -> Alert:
    return Alert(
        alert_id=alert_id,
        kind=due.kind,
        job=caught.job,
        consecutive_failure_count=state.consecutive_failure_count,
        threshold=due.threshold,
        error_message=caught.message,
        last_success_at=rfc3339_or_none(state.last_success_at),
        runbook=state.expected.runbook,
    )


def degraded(run: Run, outcome: Outcome) -> list[Delivery]:
    """Return an alert for each channel of the run, for when no store knows the streak."""
    found = []
    state = JobState(expected=overlay(Expectations(), run.stated))
    for rule in alert_rules(run.channels, state.expected):
        due = DueAlert("failing", rule.channel, rule.threshold, "")
        alert = build(
            due, alert_id=new_id(), run=run, outcome=outcome, before=state, count=None
        )._replace(degraded=True)
        found.append(Delivery(alert.alert_id, run.job, rule.channel, alert.kind, 1, encode(alert)))
    return found


def encode(alert: Alert) -> str:
    """Return the alert as one JSON object: ``schema`` first, then the fields in order."""
    facts = alert._asdict()
    return json.dumps({"schema": facts.pop("schema"), **facts}, ensure_ascii=False)


def decode(payload: str) -> Alert:
    """Return the alert of a JSON text; keys that this version does not know are ignored.

    Raises:
        ChannelError: The text is no such object; permanent, since it will not change.
    """
    try:
        facts = json.loads(payload)
        return Alert(**{key: value for key, value in facts.items() if key in _FIELDS})
    except (TypeError, ValueError, AttributeError) as error:
        raise ChannelError("bad_payload", permanent=True) from error
