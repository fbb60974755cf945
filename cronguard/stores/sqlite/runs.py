"""What is read and written in a SQLite transaction: runs, a job's state, the alerts it owes."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from cronguard.core.alert_rule import (
    Decision,
    crash,
    decide,
    finish_action,
    is_snoozed,
    mark_notified,
)
from cronguard.core.clock import moment, rfc3339, rfc3339_or_none
from cronguard.core.model import (
    LONGEST_LEASE,
    AlertRule,
    Finished,
    JobState,
    Outcome,
    Owner,
    Run,
    Started,
)
from cronguard.stores.sqlite.outbox import enqueue, is_due

STATE = """
    SELECT consecutive_failure_count, incident_id, announced, last_success_at, last_counted_run,
           snoozed_until,
           (SELECT r.status FROM cron_execution_logs r WHERE r.id = ?),
           EXISTS (SELECT 1 FROM cronguard_alerts a WHERE a.job = j.job AND a.state = 'pending')
    FROM cronguard_jobs j WHERE job = ?"""
_EXPECTED = """
    SELECT consecutive_failure_count, max_runtime, rules, runbook, declared,
           schedule, timezone, grace,
           EXISTS (SELECT 1 FROM cronguard_alerts a WHERE a.job = j.job AND a.state = 'pending'),
           EXISTS (SELECT 1 FROM cron_execution_logs r INDEXED BY cron_execution_logs_running
                   WHERE r.job = j.job AND r.status = 'running')
    FROM cronguard_jobs j WHERE job = ?"""
_RUNNING = """
    SELECT id, started_at, host, pid, process_space, process_started, holds_lease, lease_expires_at
    FROM cron_execution_logs INDEXED BY cron_execution_logs_running
    WHERE job = ? AND status = 'running'"""
_INSERT_RUNNING = """
    INSERT INTO cron_execution_logs (id, job, status, started_at, host, pid, process_space,
        process_started, lease_expires_at, holds_lease)
    VALUES (?, ?, 'running', ?, ?, ?, ?, ?, ?, 1)
    ON CONFLICT (id) DO NOTHING"""
_END_RUN = """
    UPDATE cron_execution_logs SET status = ?, finished_at = ?, duration_ms = ?,
        consecutive_failure_count = ?, error_type = ?, error_code = ?, error_message = ?,
        error_location = ?, holds_lease = 0
    WHERE id = ?"""
_END_WELL = """
    UPDATE cron_execution_logs SET status = ?, finished_at = ?, duration_ms = ?,
        consecutive_failure_count = ?, holds_lease = 0
    WHERE id = ?"""
_SAVE_STATE = """
    UPDATE cronguard_jobs SET consecutive_failure_count = ?, incident_id = ?, announced = ?,
        last_success_at = ?, last_counted_run = ?
    WHERE job = ?"""
_REGISTER = """
    INSERT INTO cronguard_jobs (job, schedule, timezone, grace, max_runtime, rules, runbook,
        registered_at, judged_until)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_REGISTER_ANEW = """
    UPDATE cronguard_jobs SET schedule = ?, timezone = ?, grace = ?, max_runtime = ?, rules = ?,
        runbook = ?, judged_until = coalesce(?, judged_until), seen_until = ?
    WHERE job = ?"""


_NO_FAILURE = (None, None, None, None)
_UNCOUNTED = ("ignore", "fill")


def start_unopposed(db: sqlite3.Connection, run: Run, now: datetime) -> Started | None:
    """The common start: the job is known as it is, and nothing of it is running.

    None, and nothing written, where there is more to it than that.
    """
    row = db.execute(_EXPECTED, (run.job,)).fetchone()
    if row is None or row[9] or row[1:4] != (run.max_runtime, rules_text(run.rules), run.runbook):
        return None
    if row[5:8] != run.schedule and (run.schedule or (row[5] and not row[4])):
        return None
    if not _insert_running(db, run, now):
        return None
    return Started("running", row[0], None, bool(row[8]) and is_due(db, run.job, now))


def owners(db: sqlite3.Connection, run: Run) -> set[Owner]:
    """Who runs the job in the run's own process space, so that they can be judged."""
    found = db.execute(_RUNNING, (run.job,)).fetchall()
    space = run.owner.space
    return {Owner(*row[2:6]) for row in found if space is not None and row[4] == space}


def start(db: sqlite3.Connection, run: Run, now: datetime, dead: AbstractSet[Owner]) -> Started:
    """`interfaces.Store.start_run`, inside a transaction; ``dead`` are known to be."""
    row = db.execute(STATE, (run.run_id, run.job)).fetchone()
    _register(db, run, now)
    state, holder = JobState(), None
    if row is not None:
        state, holder = sweep_job(db, run, state_of(row), now, dead)
    was_skipped = row is not None and row[6] == "skipped"
    skipped = was_skipped or (holder is not None and run.overlap == "skip")
    count = state.consecutive_failure_count
    if skipped:
        _insert_skipped(db, run, count)
    else:
        _insert_running(db, run, now)
        holder = None
    due = is_due(db, run.job, now)
    return Started("skipped" if skipped else "running", count, holder, due)


def finish(
    db: sqlite3.Connection,
    run: Run,
    outcome: Outcome,
    now: datetime,
    *,
    started: bool,
    notified: Collection[str] = (),
) -> Finished:
    """`cronguard.core.interfaces.Store.finish_run`, inside a transaction."""
    if notified:
        settle_notified(db, run.run_id, notified, now)
    row = db.execute(STATE, (run.run_id, run.job)).fetchone()
    if row is None:
        if started and not _is_there(db, run.run_id):
            return Finished(None)
        _register(db, run, now)
        row = db.execute(STATE, (run.run_id, run.job)).fetchone()
    due = bool(row[7]) and is_due(db, run.job, now)
    action = finish_action(row[6], outcome.status, started=started)
    if action in _UNCOUNTED:
        if notified:
            after = mark_notified(state_of(row), run.run_id, notified)
            db.execute(
                "UPDATE cronguard_jobs SET announced = ? WHERE job = ?",
                (",".join(sorted(after.announced)) or None, run.job),
            )
        count = _count(db, run) if action == "ignore" else _fill(db, run, outcome)
        return Finished(count, due)
    if action == "insert":
        _insert_running(db, run, now)
    decision = _commit(
        db, run, outcome, state_of(row), now, late=action == "revise", notified=notified
    )
    return Finished(decision.consecutive_failure_count, due or bool(decision.alerts))


def _count(db: sqlite3.Connection, run: Run) -> int | None:
    """What the run's row shows; None if there is none."""
    shown = db.execute(
        "SELECT consecutive_failure_count FROM cron_execution_logs WHERE id = ?", (run.run_id,)
    ).fetchone()
    return shown[0] if shown else None


def settle_notified(
    db: sqlite3.Connection, run_id: str, notified: Collection[str], now: datetime
) -> None:
    """Alerts of a run that wait for channels that have been told without the store."""
    db.executemany(
        """UPDATE cronguard_alerts SET state = 'sent', settled_at = ?
           WHERE run_id = ? AND channel = ? AND state = 'pending'""",
        [(rfc3339(now), run_id, channel) for channel in notified],
    )


def _is_there(db: sqlite3.Connection, run_id: str) -> bool:
    found = db.execute("SELECT 1 FROM cron_execution_logs WHERE id = ?", (run_id,)).fetchone()
    return found is not None


def state_of(row: Sequence[Any]) -> JobState:
    """A job's state from a row that `STATE` found."""
    announced: frozenset[str] = frozenset()
    if row[2]:
        announced = frozenset(row[2].split(","))
    return JobState(row[0], row[1], announced, moment(row[3]), row[4], moment(row[5]))


@lru_cache(maxsize=64)
def rules_text(rules: tuple[AlertRule, ...]) -> str:
    """``slack:2::0,pager:5:3:1``: channel, threshold, realert_every, notify_recovery."""
    return ",".join(
        f"{rule.channel}:{rule.threshold}:{rule.realert_every or ''}:{rule.notify_recovery:d}"
        for rule in rules
    )


def rules_of(text: str | None) -> tuple[AlertRule, ...]:
    """The inverse of `rules_text`; none for None."""
    found = []
    for part in text.split(",") if text else ():
        channel, threshold, realert, recovery = part.rsplit(":", 3)
        found.append(
            AlertRule(channel, int(threshold), int(realert) if realert else None, recovery == "1")
        )
    return tuple(found)


def _register(db: sqlite3.Connection, run: Run, now: datetime) -> None:
    row = db.execute(
        "SELECT declared, schedule, timezone, grace, seen_until FROM cronguard_jobs WHERE job = ?",
        (run.job,),
    ).fetchone()
    plan: Sequence[Any] = run.schedule or (None, None, None)
    if row is not None and run.schedule is None and row[0] is not None:
        plan = row[1:4]  # what settings declared stands
    known = (*plan, run.max_runtime, rules_text(run.rules), run.runbook)
    at = rfc3339(now)
    if row is None:
        db.execute(_REGISTER, (run.job, *known, at, at))
        return
    same = row[1:4] == tuple(plan)
    db.execute(_REGISTER_ANEW, (*known, None if same else at, row[4] if same else None, run.job))


def _insert_running(db: sqlite3.Connection, run: Run, now: datetime) -> bool:
    """False if the run is there already."""
    until = rfc3339(now + timedelta(seconds=run.lease))
    inserted = db.execute(
        _INSERT_RUNNING, (run.run_id, run.job, rfc3339(run.started_at), *run.owner, until)
    )
    return inserted.rowcount == 1


def _insert_skipped(db: sqlite3.Connection, run: Run, count: int) -> None:
    at = rfc3339(run.started_at)
    db.execute(
        """INSERT INTO cron_execution_logs (id, job, status, started_at, finished_at, duration_ms,
               consecutive_failure_count, host, pid)
           VALUES (?, ?, 'skipped', ?, ?, 0, ?, ?, ?) ON CONFLICT (id) DO NOTHING""",
        (run.run_id, run.job, at, at, count, run.owner.host, run.owner.pid),
    )


def sweep_job(
    db: sqlite3.Connection,
    run: Run,
    state: JobState,
    now: datetime,
    dead: AbstractSet[Owner],
) -> tuple[JobState, str | None]:
    """Count the job's dead runs: (the state after them, the run that still holds the job)."""
    holder: str | None = None
    for run_id, started_at, host, pid, space, process, holds, expires in db.execute(
        _RUNNING, (run.job,)
    ).fetchall():
        if run_id == run.run_id:
            continue
        owner = Owner(host, pid, space, process)
        if space is not None and space == run.owner.space:
            gone = owner in dead
        else:
            gone = has_expired(moment(expires), now)
        if gone:
            crashed = run._replace(
                run_id=run_id, started_at=datetime.fromisoformat(started_at), owner=owner
            )
            state = _commit(db, crashed._replace(test_mode=False), crash(now), state, now).state
        elif holds:
            holder = run_id
    return state, holder


def has_expired(until: datetime | None, now: datetime) -> bool:
    """Whether a lease that ends then says no more."""
    return until is None or not now < until <= now + timedelta(seconds=LONGEST_LEASE)


def _commit(
    db: sqlite3.Connection,
    run: Run,
    outcome: Outcome,
    before: JobState,
    now: datetime,
    *,
    late: bool = False,
    notified: Collection[str] = (),
) -> Decision:
    """Write an outcome, the job's state and the alerts owed."""
    decision = decide(
        before,
        outcome,
        job=run.job,
        run_id=run.run_id,
        rules=run.rules,
        snoozed=is_snoozed(before.snoozed_until, now),
        late=late,
        test_mode=run.test_mode,
        notified=notified,
    )
    finished_at = rfc3339(outcome.finished_at)
    duration = None if outcome.duration is None else round(outcome.duration * 1e6) / 1000
    ended = (outcome.status, finished_at, duration, decision.consecutive_failure_count)
    if outcome.failure is None and not late:
        db.execute(_END_WELL, (*ended, run.run_id))
    else:
        db.execute(_END_RUN, (*ended, *(outcome.failure or _NO_FAILURE), run.run_id))
    after = decision.state
    if after is not before:
        db.execute(
            _SAVE_STATE,
            (
                after.consecutive_failure_count,
                after.incident_id,
                ",".join(sorted(after.announced)) if after.announced else None,
                finished_at
                if after.last_success_at is outcome.finished_at
                else rfc3339_or_none(after.last_success_at),
                after.last_counted_run,
                run.job,
            ),
        )
    if decision.alerts:
        from cronguard.core.payload import build_due  # only when somebody is told

        enqueue(db, now, build_due(decision, run=run, outcome=outcome, before=before))
    return decision


def _fill(db: sqlite3.Connection, run: Run, outcome: Outcome) -> int | None:
    """Say why a run that was counted as crashed failed; the count on its row stays."""
    if outcome.failure is not None:
        db.execute(
            """UPDATE cron_execution_logs SET error_type = ?, error_code = ?, error_message = ?,
                   error_location = ? WHERE id = ?""",
            (*outcome.failure, run.run_id),
        )
    return _count(db, run)
