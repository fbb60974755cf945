"""What a host decides on its own, in the transaction that keeps it: a streak, and who is told."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta

from cronguard.core.alert_rule import (
    Decision,
    alert_rules,
    decide,
    is_snoozed,
    overlay,
    overrun_alerts,
)
from cronguard.core.clock import new_id
from cronguard.core.model import (
    AlertRule,
    Finished,
    JobState,
    NewAlert,
    Outcome,
    Overrun,
    Run,
)
from cronguard.core.payload import build, build_overrun
from cronguard.stores.spool.values import outcome_text, readable, run_text, state_of, state_text
from cronguard.stores.sqlite import outbox


def end(
    db: sqlite3.Connection,
    run: Run,
    outcome: Outcome,
    now: datetime,
    *,
    started: bool,
    known: JobState | None,
    notified: Collection[str],
) -> Finished:
    """Keep an outcome, and what it makes of the job; see `Spool.end`."""
    row = db.execute("SELECT seq FROM spool WHERE run_id = ?", (run.run_id,)).fetchone()
    before = _state(db, run.job) or known
    if row is not None and row[0] is not None:  # it has been kept already
        count = before.consecutive_failure_count if before else None
        return Finished(count, outbox.is_due(db, run.job, now))
    state = before or JobState()
    state = state._replace(expected=overlay(state.expected, run.stated))
    rules = alert_rules(run.channels, state.expected)
    if before is None:  # a failure may be the last of many
        rules = tuple(rule._replace(threshold=1) for rule in rules)
    decision = decide(
        state,
        outcome,
        job=run.job,
        run_id=run.run_id,
        rules=rules,
        snoozed=before is not None and is_snoozed(before.snoozed_until, now),
        test_mode=run.test_mode,
        notified=notified,
    )
    # A test that was sent from here is no news of the incident, and the store is to send no other.
    stored = {*notified, *(due.channel for due in decision.alerts if due.kind != "test")}
    outbox.enqueue(db, now, _due_alerts(run, outcome, state, decision, is_known=before is not None))
    db.execute(
        """INSERT INTO spool (run_id, seq, job, run, outcome, started, told)
           VALUES (?, (SELECT coalesce(max(abs(seq)), 0) + 1 FROM spool), ?, ?, ?, ?, ?)
           ON CONFLICT (run_id) DO UPDATE SET seq = excluded.seq, run = excluded.run,
               outcome = excluded.outcome, told = excluded.told""",
        (
            *(run.run_id, run.job, run_text(run._replace(test_mode=False))),
            *(outcome_text(outcome), started, ",".join(sorted(stored)) or None),
        ),
    )
    if before is not None or outcome.status != "cancelled":  # of which nothing can be learned
        db.execute(
            "INSERT INTO spool_jobs (job, state) VALUES (?, ?)"
            " ON CONFLICT (job) DO UPDATE SET state = excluded.state",
            (run.job, state_text(decision.state)),
        )
    return Finished(decision.consecutive_failure_count, outbox.is_due(db, run.job, now))


def _due_alerts(
    run: Run, outcome: Outcome, before: JobState, decision: Decision, *, is_known: bool
) -> Iterator[NewAlert]:
    """The alerts of a decision that was made without the store; no streak where none was known."""
    rules = alert_rules(run.channels, before.expected)
    thresholds = {rule.channel: rule.threshold for rule in rules}
    for due in decision.alerts:
        alert = build(
            due._replace(threshold=thresholds[due.channel]),
            alert_id=new_id(),
            run=run,
            outcome=outcome,
            before=before,
            count=decision.consecutive_failure_count if is_known else None,
        )
        yield NewAlert(due.key, due.channel, alert._replace(degraded=True))


def announce_overrun(
    db: sqlite3.Connection,
    overrun: Overrun,
    rules: Sequence[AlertRule],
    now: datetime,
    *,
    known: JobState | None,
    host: str,
) -> bool:
    """Enqueue the alerts of a run that is still going; True if alerts are due."""
    state = _state(db, overrun.job) or known or JobState()
    if not is_snoozed(state.snoozed_until, now):
        due_alerts = []
        for due in overrun_alerts(overrun, rules):
            alert = build_overrun(
                due,
                overrun,
                alert_id=new_id(),
                started_at=now - timedelta(seconds=overrun.elapsed),
                host=host,
                state=state,
            )._replace(degraded=True)
            due_alerts.append(NewAlert(due.key, due.channel, alert))
        outbox.enqueue(db, now, due_alerts)
    return outbox.is_due(db, overrun.job, now)


def _state(db: sqlite3.Connection, job: str) -> JobState | None:
    row = db.execute("SELECT state FROM spool_jobs WHERE job = ?", (job,)).fetchone()
    return readable(state_of, row[0]) if row else None
