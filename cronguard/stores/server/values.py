"""What goes to SQL functions as JSON, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cronguard.core.alert_rule import DueAlert, missed_alerts
from cronguard.core.clock import moment, rfc3339, rfc3339_or_none
from cronguard.core.damage import UNREADABLE, known_status, readable
from cronguard.core.model import (
    DETAILS,
    NO_DETAILS,
    Activity,
    AlertRecord,
    AlertRule,
    ChannelRule,
    Expectations,
    JobState,
    JobStatus,
    Missed,
    Outcome,
    Owner,
    Run,
    RunRecord,
    Schedule,
    Silence,
    Source,
    Statement,
    Watch,
    details_of,
    from_details,
)
from cronguard.stores.server.schema import SCHEMA_VERSION


def run_json(run: Run) -> dict[str, Any]:
    """Return a run, with everything that a start or a finish says of it."""
    owner = run.owner
    return {
        "schema": SCHEMA_VERSION,
        "run_id": run.run_id,
        "job": run.job,
        "started_at": rfc3339(run.started_at),
        "host": _clean(owner.host),
        "pid": owner.pid,
        "space": owner.space,
        "process_started": owner.started,
        "overlap": run.overlap,
        "lease": run.lease,
        "channels": [each._asdict() for each in run.channels],
        "stated": statements_json(run.stated),
        "test_mode": run.test_mode,
    }


def statements_json(stated: Sequence[Statement]) -> dict[str, Any]:
    """Return what is stated of a job: name → value and origin."""
    return {each.name: {"value": each.value, "origin": each.origin} for each in stated}


def expected_of(row: Mapping[str, Any]) -> Expectations:
    """Return what holds for a job; what a later version has added is passed over."""
    facts = {name: row[name] for name in Expectations._fields if name in row}
    for name in ("grace", "max_runtime"):  # JSON has no 300.0
        if facts.get(name) is not None:
            facts[name] = float(facts[name])
    return Expectations(**facts)


def channels_of(rows: Sequence[Mapping[str, Any]] | None) -> tuple[ChannelRule, ...]:
    """Return the channels of a job."""
    return tuple(
        ChannelRule(row["channel"], row.get("threshold"), row.get("realert_every"))
        for row in rows or ()
    )


def due_json(due: DueAlert) -> dict[str, Any]:
    """Return an alert that is due."""
    return {"key": due.key, "channel": due.channel, "threshold": due.threshold}


def state_of(row: dict[str, Any] | None) -> JobState | None:
    """Return a job's state; None from functions that do not answer with it."""
    try:
        return None if row is None else _state(row)
    except UNREADABLE:
        return None  # of a row that was written by hand: what nobody needs while the store is there


def _state(row: dict[str, Any]) -> JobState:
    return JobState(
        row["consecutive_failure_count"],
        row["incident_id"],
        frozenset(row["announced"]),
        moment(row["last_success_at"]),
        row["last_counted_run"],
        moment(row["snoozed_until"]),
        expected_of(row["expected"]),
        silence_of(row.get("silence")),
    )


def silence_of(row: Mapping[str, Any] | None) -> Silence | None:
    """Return a job's silence; None for none."""
    if row is None:
        return None
    since = datetime.fromisoformat(row["since"])
    return Silence(since, row["missed"], row["over"], frozenset(row["announced"]))


def missed_json(missed: Missed, rules: Sequence[AlertRule]) -> dict[str, Any]:
    """Return a judgement of a job's schedule."""
    silence = missed.silence
    return {
        "job": missed.job,
        "judged_from": rfc3339_or_none(missed.judged_from),
        "judged_until": rfc3339(missed.judged_until),
        "silence": silence
        and {"since": rfc3339(silence.since), "missed": silence.missed, "over": silence.over},
        "alerts": [due_json(each) for each in missed_alerts(missed, rules)],
        "message": missed.message,
    }


def watch_of(row: dict[str, Any]) -> Watch:
    """Return what is expected of a job."""
    return Watch(
        job=row["job"],
        expected=expected_of(row["expected"]),
        sources={
            name: Source(each["origin"], datetime.fromisoformat(each["since"]))
            for name, each in row["sources"].items()
        },
        channels=channels_of(row["channels"]),
        consecutive_failure_count=row["consecutive_failure_count"],
        last_success_at=moment(row["last_success_at"]),
        snoozed_until=moment(row["snoozed_until"]),
        judged_until=datetime.fromisoformat(row["judged_until"]),
        running=tuple(readable(row["running"], held_of)),
        silence=silence_of(row["silence"]),
    )


def alert_of(row: dict[str, Any]) -> AlertRecord:
    """Return a row of the outbox."""
    times = {key: moment(row[key]) for key in ("next_attempt_at", "settled_at")}
    created_at = datetime.fromisoformat(row["created_at"])
    return AlertRecord(**{**row, **times, "created_at": created_at})


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """Return how a run ended."""
    details = details_of(outcome)
    request: dict[str, Any] = {
        "status": outcome.status,
        "finished_at": rfc3339(outcome.finished_at),
        "duration": None if outcome.duration is None else round(outcome.duration, 6),
    }
    if details is not NO_DETAILS:
        request.update(zip(DETAILS, map(_clean, details), strict=True))
    return request


def _clean(text: str | None) -> str | None:
    """Return the text without what PostgreSQL's cannot hold: NUL and half surrogate pairs."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def record_of(row: dict[str, Any]) -> RunRecord:
    """Return a row of the log."""
    return RunRecord(
        run_id=row["run_id"],
        job=row["job"],
        status=known_status(row["status"]),
        started_at=datetime.fromisoformat(row["started_at"]),
        finished_at=moment(row["finished_at"]),
        duration=row["duration"],
        consecutive_failure_count=row["consecutive_failure_count"],
        host=row["host"],
        pid=row["pid"],
        **from_details([row.get(name) for name in DETAILS]),
    )


def held_of(row: dict[str, Any]) -> RunRecord:
    """Return a run that is going on, with who holds it."""
    owner = Owner(row["host"] or "", row["pid"] or 0, row["space"], row["process_started"])
    return record_of(row)._replace(owner=owner, lease_over=row["lease_over"])


def status_of(row: dict[str, Any]) -> JobStatus:
    """Return a job at a glance."""
    last, cron = row["last_run"], row["schedule"]
    return JobStatus(
        job=row["job"],
        consecutive_failure_count=row["consecutive_failure_count"],
        last_run=next(iter(readable([last] if last else [], record_of)), None),
        last_success_at=moment(row["last_success_at"]),
        running=row["running"],
        snoozed_until=moment(row["snoozed_until"]),
        schedule=Schedule(cron, row["timezone"], row["grace"]) if cron else None,
        alerts_pending=row["alerts_pending"],
        alerts_dead=row["alerts_dead"],
        announced=frozenset(row["announced"]),
        failing_since=moment(row["failing_since"]),
        last_start_at=moment(row["last_start_at"]),
        pending_since=moment(row["pending_since"]),
    )


def activity_of(row: dict[str, Any]) -> Activity:
    """Return runs that are shown together."""
    return Activity(
        row["job"],
        known_status(row["status"]),
        row["runs"],
        datetime.fromisoformat(row["first"]),
        datetime.fromisoformat(row["last"]),
        row["longest"],
    )
