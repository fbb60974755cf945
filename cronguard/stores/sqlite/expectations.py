"""What is expected of jobs, in SQLite: dead runs of all of them, schedules, overruns."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from cronguard.core.alert_rule import (
    EARLY_SECONDS,
    announced_silence,
    is_snoozed,
    later_step_keys,
    missed_alerts,
    overrun_alerts,
)
from cronguard.core.clock import moment, new_id, rfc3339
from cronguard.core.damage import UNREADABLE, Damaged, damaged_rows, readable
from cronguard.core.model import (
    AlertRule,
    Expectations,
    JobState,
    Missed,
    NewAlert,
    Overrun,
    Owner,
    Run,
    RunRecord,
    Silence,
    Statement,
    Watch,
)
from cronguard.core.payload import build_missed, build_overrun
from cronguard.stores.sqlite import outbox, restating, silences, starting, views
from cronguard.stores.sqlite import runs as rows
from cronguard.stores.sqlite.outbox import enqueue, is_due
from cronguard.stores.sqlite.views import records

_WATCH = f"""
    SELECT job, {rows.EXPECTED}, sources, channels, consecutive_failure_count, last_success_at,
           snoozed_until, judged_until, silence
    FROM cronguard_jobs"""  # noqa: S608  # constants of this package


def owners(db: sqlite3.Connection, space: str | None, ended: Collection[str]) -> set[Owner]:
    """Return who runs anything in a process space, so that they can be judged."""
    found = db.execute(
        "SELECT id, host, pid, process_space, process_started"
        " FROM cron_execution_logs INDEXED BY cron_execution_logs_running"
        " WHERE status = 'running' AND process_space = ?",
        (space,),
    )
    return {Owner(*row) for run_id, *row in found.fetchall() if run_id not in ended}


def sweep(
    db: sqlite3.Connection,
    owner: Owner,
    now: datetime,
    dead: AbstractSet[Owner],
    ended: Collection[str],
) -> list[RunRecord]:
    """Do `interfaces.Store.sweep` inside a transaction; ``dead`` are known to be."""
    running = list(records(db, "status = 'running'", (), limit=-1))
    for job in sorted({record.job for record in running}):
        with suppress(*UNREADABLE):  # a row that cannot be: the other jobs go on
            known = rows.find_job(db, job)
            if known is not None:
                starting.sweep_job(db, Run("", job, now, owner), known, now, dead, ended=ended)
    crashed = (
        next(records(db, "id = ? AND status = 'crashed'", (record.run_id,), limit=1), None)
        for record in reversed(running)
    )
    return [record for record in crashed if record is not None]


def declare(
    db: sqlite3.Connection, job: str, stated: Sequence[Statement], host: str, now: datetime
) -> None:
    """Do `interfaces.Store.declare` inside a transaction."""
    rows.register(db, job, now)
    restating.declare(db, job, stated, host, now)


def watches(db: sqlite3.Connection, now: datetime) -> list[Watch]:
    """Do `interfaces.Store.watches`."""
    running: dict[str, list[RunRecord]] = {}
    for record in views.running(db, now):
        running.setdefault(record.job, []).append(record)
    found = readable(db.execute(f"{_WATCH} ORDER BY job").fetchall(), _read)
    return [watch._replace(running=tuple(running.get(watch.job, ()))) for watch in found]


def damaged(db: sqlite3.Connection, now: datetime) -> list[Damaged]:
    """Do `interfaces.Store.damaged`."""
    jobs = db.execute(f"{_WATCH} ORDER BY job").fetchall()
    runs, alerts = views.running_rows(db), outbox.open_rows(db)
    return damaged_rows(
        [
            *(("cronguard_jobs", row[0], partial(_read_strictly, row)) for row in jobs),
            *(("cron_execution_logs", row[0], partial(views.held_of, now, row)) for row in runs),
            *(("cronguard_alerts", row[0], partial(outbox.record_of, row)) for row in alerts),
        ]
    )


def _read_strictly(row: Sequence[Any]) -> Watch:
    restating.read_sources(row[1 + len(Expectations._fields)])
    return _read(row)


def _read(row: Sequence[Any]) -> Watch:
    job, *expected = row[: 1 + len(Expectations._fields)]
    sources, channels, count, succeeded, snoozed, judged, silence = row[1 + len(expected) :]
    return Watch(
        job=job,
        expected=rows.expected_of(expected),
        sources=restating.sources_of(sources),
        channels=rows.channels_of(channels),
        consecutive_failure_count=count,
        last_success_at=moment(succeeded),
        snoozed_until=moment(snoozed),
        judged_until=moment(judged),
        silence=silences.silence_of(silence),
    )


def starts(db: sqlite3.Connection, job: str, after: datetime, limit: int) -> list[datetime]:
    """Do `interfaces.Store.starts`."""
    found = db.execute(
        "SELECT started_at FROM cron_execution_logs WHERE job = ? AND started_at > ?"
        " ORDER BY started_at LIMIT ?",
        (job, rfc3339(after), limit),
    )
    return [datetime.fromisoformat(text) for (text,) in found.fetchall()]


def announce_overrun(
    db: sqlite3.Connection, overrun: Overrun, rules: Sequence[AlertRule], now: datetime
) -> bool:
    """Do `interfaces.Store.announce_overrun` inside a transaction."""
    record = next(records(db, "id = ?", (overrun.run_id,), limit=1), None)
    watch = _watch(db, overrun.job)
    if (
        record is None
        or record.status != "running"
        or watch is None
        or is_snoozed(watch.snoozed_until, now)
    ):
        return False
    enqueued = []
    for due in overrun_alerts(overrun, rules):
        if _is_known(db, later_step_keys(overrun, due.channel)):
            continue
        alert = build_overrun(
            due,
            overrun,
            alert_id=new_id(),
            started_at=record.started_at,
            host=record.host,
            state=_state(watch),
        )
        enqueued.append(NewAlert(due.key, due.channel, alert))
    enqueue(db, now, enqueued)
    return is_due(db, overrun.job, now)


def announce_missed(
    db: sqlite3.Connection, missed: Missed, rules: Sequence[AlertRule], now: datetime
) -> bool:
    """Do `interfaces.Store.announce_missed` inside a transaction."""
    watch = _watch(db, missed.job)
    due_alerts = missed_alerts(missed, rules)
    if watch is None or watch.judged_until != missed.judged_from:
        return False
    if due_alerts and is_snoozed(watch.snoozed_until, now):
        return False
    silence = missed.silence
    judged = max(missed.judged_until, now)
    if silence is not None and not silence.over and _has_started(db, missed.job, silence, judged):
        return False
    db.execute(
        "UPDATE cronguard_jobs SET judged_until = ? WHERE job = ?",
        (rfc3339(missed.judged_until), missed.job),
    )
    if silence is not None:
        after = announced_silence(missed, watch.silence, due_alerts)
        silences.save_silence(db, missed.job, after)
    enqueued = []
    for due in due_alerts:
        alert = build_missed(due, missed, alert_id=new_id(), state=_state(watch))
        enqueued.append(NewAlert(due.key, due.channel, alert))
    enqueue(db, now, enqueued)
    return True


def _has_started(db: sqlite3.Connection, job: str, silence: Silence, until: datetime) -> bool:
    """Tell whether a run has started, by then, since the silence was read that goes on."""
    early = timedelta(seconds=EARLY_SECONDS)
    query = "SELECT 1 FROM cron_execution_logs WHERE job = ? AND started_at BETWEEN ? AND ?"
    span = rfc3339(silence.since - early), rfc3339(until + early)
    return db.execute(query, (job, *span)).fetchone() is not None


def forget(db: sqlite3.Connection, job: str) -> bool:
    """Do `interfaces.Store.forget` inside a transaction."""
    db.execute("DELETE FROM cronguard_alerts WHERE job = ? AND state <> 'sent'", (job,))
    return db.execute("DELETE FROM cronguard_jobs WHERE job = ?", (job,)).rowcount == 1


def _watch(db: sqlite3.Connection, job: str) -> Watch | None:
    row = db.execute(f"{_WATCH} WHERE job = ?", (job,)).fetchone()
    return None if row is None else _read(row)


def _state(watch: Watch) -> JobState:
    return JobState(
        watch.consecutive_failure_count,
        last_success_at=watch.last_success_at,
        expected=watch.expected,
    )


def _is_known(db: sqlite3.Connection, keys: Sequence[str]) -> bool:
    return any(
        db.execute("SELECT 1 FROM cronguard_alerts WHERE alert_key = ?", (key,)).fetchone()
        for key in keys
    )
