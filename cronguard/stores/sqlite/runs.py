"""The two transactions of a run in SQLite: its start where nothing is in the way, and its end.

A job's row is read and written here too. What most runs do not need is elsewhere and loaded when
it is: `starting` for a start where more is to be looked at, `silences`, `restating`, `outbox`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from cronguard.core.alert_rule import (
    Decision,
    alert_rules,
    decide,
    finish_action,
    is_snoozed,
    mark_notified,
)
from cronguard.core.clock import moment, rfc3339, rfc3339_or_none
from cronguard.core.model import (
    DETAILS,
    NO_DETAILS,
    AlertRule,
    ChannelRule,
    Expectations,
    Finished,
    JobState,
    NewAlert,
    Outcome,
    Run,
    RunStatus,
    Started,
    Statement,
    details_of,
)

if TYPE_CHECKING:
    from typing import Protocol

    class Outage(Protocol):
        """What a host takes into account that decides without its store."""

        def rules(self, rules: Sequence[AlertRule]) -> Sequence[AlertRule]:
            """Return the rules to decide by."""

        def alerts(
            self, decision: Decision, *, run: Run, outcome: Outcome, before: JobState
        ) -> list[NewAlert]:
            """Return the alerts of the decision."""


EXPECTED = ", ".join(Expectations._fields)
"""The columns of `Expectations`, in its order."""
_N_EXPECTED = len(Expectations._fields)
# Constants of this module are put into queries, and nothing else.
_STATE = f"""
    SELECT consecutive_failure_count, incident_id, announced, last_success_at, last_counted_run,
           snoozed_until, {EXPECTED}, silence, channels, channels_stated,
           (SELECT r.status FROM cron_execution_logs r WHERE r.id = ?),
           EXISTS (SELECT 1 FROM cronguard_alerts a WHERE a.job = j.job AND a.state = 'pending')
    FROM cronguard_jobs j WHERE job = ?"""  # noqa: S608
_EXPECTED = f"""
    SELECT consecutive_failure_count, incident_id, announced, last_success_at, last_counted_run,
           snoozed_until, {EXPECTED}, silence, channels, channels_stated, stated,
           EXISTS (SELECT 1 FROM cronguard_alerts a WHERE a.job = j.job AND a.state = 'pending'),
           EXISTS (SELECT 1 FROM cron_execution_logs r INDEXED BY cron_execution_logs_running
                   WHERE r.job = j.job AND r.status = 'running')
    FROM cronguard_jobs j WHERE job = ?"""  # noqa: S608
_INSERT_RUNNING = """
    INSERT INTO cron_execution_logs (id, job, status, started_at, host, pid, process_space,
        process_started, lease_expires_at, holds_lease)
    VALUES (?, ?, 'running', ?, ?, ?, ?, ?, ?, 1)
    ON CONFLICT (id) DO NOTHING"""
RELEASE = """
    UPDATE cron_execution_logs SET holds_lease = 0, lease_expires_at = ?
    WHERE id = ? AND status = 'running'"""
"""A run that has ended and whose outcome is not here yet: its process goes on renewing it."""
_SET_DETAILS = ", ".join(f"{name} = ?" for name in DETAILS)
_END_RUN = f"""
    UPDATE cron_execution_logs SET status = ?, finished_at = ?, duration_ms = ?,
        consecutive_failure_count = ?, {_SET_DETAILS}, holds_lease = 0
    WHERE id = ?"""  # noqa: S608
_END_WELL = """
    UPDATE cron_execution_logs SET status = ?, finished_at = ?, duration_ms = ?,
        consecutive_failure_count = ?, holds_lease = 0
    WHERE id = ?"""
_SAVE_STATE = """
    UPDATE cronguard_jobs SET consecutive_failure_count = ?, incident_id = ?, announced = ?,
        last_success_at = ?, last_counted_run = ?
    WHERE job = ?"""
IS_RUNNING = """
    SELECT 1 FROM cron_execution_logs INDEXED BY cron_execution_logs_running
    WHERE job = ? AND status = 'running'"""
_REGISTER = f"""
    INSERT INTO cronguard_jobs (job, {EXPECTED}, sources, channels, channels_stated, stated,
        registered_at, judged_until)
    VALUES (?, {"?, " * _N_EXPECTED} ?, ?, ?, ?, ?, ?) ON CONFLICT (job) DO NOTHING"""  # noqa: S608


_UNCOUNTED = ("ignore", "fill")
Seen: TypeAlias = JobState | tuple[Any, ...]
"""A job's state as a transaction left it, or the columns that `state_of` reads it from."""


Reconcile: TypeAlias = Callable[[sqlite3.Connection, str, JobState], JobState]
"""Job and state as found → the state to go on with, should an earlier state of the file have been
restored: see `replaced.carrying`."""


def as_found(_db: sqlite3.Connection, _job: str, found: JobState) -> JobState:
    """Return the state as it was found: this file cannot be restored under us."""
    return found


def start_unopposed(
    db: sqlite3.Connection, run: Run, now: datetime, last: str | None = None
) -> tuple[Started, Seen] | None:
    """Do the common start: nothing of the job is running, and it states nothing new.

    None, and nothing written, where there is more to it than that. ``last`` is the run that this
    process saw counted last.
    """
    row = db.execute(_EXPECTED, (run.job,)).fetchone()
    if row is None:
        return _start_first(db, run, now) if last is None else None
    if row[-1]:
        return None
    if last is not None and row[4] != last and not has_counted(db, last):
        return None
    count, _, _, _, _, _, *known, silence, channels, from_statement, stated, pending, _ = row
    says_nothing = not run.stated and (from_statement or not run.channels)
    if not says_nothing and stated != statement_text(run.channels, run.stated):
        return None
    if not insert_running(db, run, now):
        return None
    if silence is not None:
        from cronguard.stores.sqlite.silences import end_silence  # few jobs have one

        end_silence(db, run, state_of(row))
    due = bool(pending) and has_due_alert(db, run.job, now)
    expected = expected_of(known)
    return Started("running", count, None, due, None, expected, _readable_channels(channels)), row


def _start_first(db: sqlite3.Connection, run: Run, now: datetime) -> tuple[Started, Seen] | None:
    """Do the first start of a job; None, and nothing written, if the log has an open run of it.

    Such a job was forgotten while it ran.
    """
    if db.execute(IS_RUNNING, (run.job,)).fetchone() or not insert_running(db, run, now):
        return None
    job = registered(db, run, now, stated=True)
    due = job.has_pending and has_due_alert(db, run.job, now)
    return Started("running", 0, None, due, None, job.state.expected, job.channels), job.state


class JobRow(NamedTuple):
    """A job's row, seen from one of its runs."""

    state: JobState
    channels: tuple[ChannelRule, ...]
    channels_stated: bool
    run_status: RunStatus | None
    """The status of the run's row; None if there is none."""
    has_pending: bool


def find_job(db: sqlite3.Connection, job: str, run_id: str | None = None) -> JobRow | None:
    """Return a job as it is now; None for an unknown one."""
    row = db.execute(_STATE, (run_id, job)).fetchone()
    return (
        None
        if row is None
        else JobRow(state_of(row), _readable_channels(row[-4]), bool(row[-3]), row[-2], row[-1])
    )


def finish(
    db: sqlite3.Connection,
    run: Run,
    outcome: Outcome,
    now: datetime,
    *,
    started: bool,
    notified: Collection[str] = (),
    reconcile: Reconcile = as_found,
    outage: Outage | None = None,
) -> tuple[Finished, Seen | None]:
    """Do `interfaces.Store.finish_run` inside a transaction; ``outage`` if not for a store."""
    if notified:
        from cronguard.stores.sqlite.outbox import (
            settle_notified,  # channels notified without the store
        )

        settle_notified(db, run.run_id, notified, now)
    job = find_job(db, run.job, run.run_id)
    found = job.state if job is not None else JobState()
    restored = reconcile(db, run.job, found)
    if job is None and restored is found and started and not is_there(db, run.run_id):
        return Finished(None), None
    states = outcome.status != "skipped"
    known, job = job is not None, job or registered(db, run, now, stated=states)
    if restored is not found:
        save_state(db, run.job, restored, rfc3339_or_none(restored.last_success_at))
        job, started = find_job(db, run.job, run.run_id) or job, False
    due = job.has_pending and has_due_alert(db, run.job, now)
    action = finish_action(job.run_status, outcome.status, started=started)
    if action in _UNCOUNTED:
        if notified:
            job = job._replace(state=_mark_notified(db, run, job.state, notified))
        count = _count(db, run) if action == "ignore" else _fill(db, run, outcome)
        return Finished(count, due), job.state
    if action == "insert":
        insert_running(db, run, now)
        from cronguard.stores.sqlite.silences import end_silence  # its start was not stored

        job = job._replace(state=end_silence(db, run, job.state))
        if known and states:
            job = restated(db, run, job, now, late=True)
    if run.channels and run.channels != job.channels:
        job = job._replace(channels=run.channels)
    late = action == "revise"
    decision = commit(db, run, outcome, job, now, late=late, notified=notified, outage=outage)
    due = due or (bool(decision.alerts) and has_due_alert(db, run.job, now))
    state = decision.state
    return Finished(decision.consecutive_failure_count, due, state), state


def _mark_notified(
    db: sqlite3.Connection, run: Run, state: JobState, notified: Collection[str]
) -> JobState:
    """Note which channels were notified of an outcome that was counted before; return the state."""
    after = mark_notified(state, run.run_id, notified)
    db.execute(
        "UPDATE cronguard_jobs SET announced = ? WHERE job = ?",
        (",".join(sorted(after.announced)) or None, run.job),
    )
    return after


def has_due_alert(db: sqlite3.Connection, job: str, now: datetime) -> bool:
    """Tell whether an alert of the job may be sent now."""
    from cronguard.stores.sqlite.outbox import is_due  # only where alerts wait

    return is_due(db, job, now)


def _count(db: sqlite3.Connection, run: Run) -> int | None:
    """Return the count in the run's row; None if there is no row."""
    shown = db.execute(
        "SELECT consecutive_failure_count FROM cron_execution_logs WHERE id = ?", (run.run_id,)
    ).fetchone()
    return shown[0] if shown else None


def has_counted(db: sqlite3.Connection, run_id: str | None) -> bool:
    """Tell whether the log has the run, ended."""
    found = db.execute(
        "SELECT 1 FROM cron_execution_logs WHERE id = ? AND status <> 'running'", (run_id,)
    )
    return found.fetchone() is not None


def is_there(db: sqlite3.Connection, run_id: str) -> bool:
    """Tell whether the log has the run."""
    found = db.execute("SELECT 1 FROM cron_execution_logs WHERE id = ?", (run_id,)).fetchone()
    return found is not None


def state_of(row: Sequence[Any]) -> JobState:
    """Return a job's state from a row that `_STATE` or `_EXPECTED` found."""
    announced: frozenset[str] = frozenset()
    if row[2]:
        announced = frozenset(row[2].split(","))
    expected = expected_of(row[6 : 6 + _N_EXPECTED])
    silence = None
    if row[6 + _N_EXPECTED] is not None:
        from cronguard.stores.sqlite.silences import readable_silence  # few jobs have one

        silence = readable_silence(row[6 + _N_EXPECTED])
    return JobState(
        row[0], row[1], announced, moment(row[3]), row[4], moment(row[5]), expected, silence
    )


def expected_of(row: Sequence[Any]) -> Expectations:
    """Return the expectations in the columns `EXPECTED`."""
    return _expected(*row)


@lru_cache(maxsize=64)
def _expected(*columns: Any) -> Expectations:
    expected = Expectations(*columns)
    return expected._replace(notify_recovery=bool(expected.notify_recovery))


@lru_cache(maxsize=64)
def statement_text(channels: tuple[ChannelRule, ...], stated: tuple[Statement, ...]) -> str:
    """Return a start's statement as text: the same text means that nothing changes.

    It is short: a job's row of more than 1,000 bytes takes a second page of the file.
    """
    said = " ".join(f"{each.name}={each.value!r}:{each.origin}" for each in stated)
    return f"{said} {channels_text(channels)}"


def channels_text(channels: Sequence[ChannelRule]) -> str:
    """Return ``slack:2:,pager::0``: channel, threshold, realert_every, empty for the job's own."""
    return ",".join(
        ":".join("" if each is None else str(each) for each in channel) for channel in channels
    )


@lru_cache(maxsize=64)
def channels_of(text: str | None) -> tuple[ChannelRule, ...]:
    """Return the channels of `channels_text`; none for None."""
    found = []
    for part in text.split(",") if text else ():
        channel, threshold, realert_every, *_ = part.split(":")
        found.append(
            ChannelRule(
                channel,
                int(threshold) if threshold else None,
                int(realert_every) if realert_every else None,
            )
        )
    return tuple(found)


def _readable_channels(text: str | None) -> tuple[ChannelRule, ...]:
    """Return the same; none for a text that nobody can read, so that the job goes on."""
    try:
        return channels_of(text)
    except ValueError:
        return ()


def register(db: sqlite3.Connection, job: str, now: datetime, run: Run | None = None) -> None:
    """Make the job's row if there is none, with what ``run`` states or nothing."""
    at = rfc3339(now)
    stated = (
        {each.name: each for each in run.stated if each.name in Expectations._fields} if run else {}
    )
    # No module for JSON is loaded for what nobody reads during a run.
    sources = ", ".join(f'"{name}": ["{each.origin}", "{at}"]' for name, each in stated.items())
    kept = channels_text(run.channels) or None if run else None
    text = statement_text(run.channels, run.stated) if run else None
    values: Any = {name: each.value for name, each in stated.items()}
    expected = Expectations()._replace(**values)
    db.execute(
        _REGISTER, (job, *expected, f"{{{sources}}}", kept, bool(stated and kept), text, at, at)
    )


def registered(db: sqlite3.Connection, run: Run, now: datetime, *, stated: bool) -> JobRow:
    """Register a run's job, with what the run states if ``stated``; return it."""
    register(db, run.job, now, run if stated else None)
    job = find_job(db, run.job, run.run_id)
    assert job is not None  # noqa: S101  # for mypy
    return job


def restated(
    db: sqlite3.Connection, run: Run, job: JobRow, now: datetime, *, late: bool = False
) -> JobRow:
    """Keep what a start states; return the job as it is then. ``late``: by the run's end."""
    channels = run.channels if run.stated or not job.channels_stated else ()
    if not run.stated and (not channels or channels == job.channels):
        return job
    from cronguard.stores.sqlite.restating import keep  # most starts state what is known

    text = statement_text(run.channels, run.stated)
    keep(db, run, now, channels=channels_text(channels) or None, text=text, late=late)
    return find_job(db, run.job, run.run_id) or job


def insert_running(db: sqlite3.Connection, run: Run, now: datetime) -> bool:
    """Insert the run as running; return False if it is there already."""
    until = rfc3339(now + timedelta(seconds=run.lease))
    inserted = db.execute(
        _INSERT_RUNNING, (run.run_id, run.job, rfc3339(run.started_at), *run.owner, until)
    )
    return inserted.rowcount == 1


def commit(
    db: sqlite3.Connection,
    run: Run,
    outcome: Outcome,
    job: JobRow,
    now: datetime,
    *,
    late: bool = False,
    notified: Collection[str] = (),
    outage: Outage | None = None,
) -> Decision:
    """Write an outcome, the job's state and the alerts that are due."""
    before = job.state
    rules: Sequence[AlertRule] = alert_rules(job.channels, before.expected)
    decision = decide(
        before,
        outcome,
        job=run.job,
        run_id=run.run_id,
        rules=rules if outage is None else outage.rules(rules),
        snoozed=is_snoozed(before.snoozed_until, now),
        late=late,
        test_mode=run.test_mode,
        notified=notified,
    )
    finished_at = rfc3339(outcome.finished_at)
    duration = None if outcome.duration is None else round(outcome.duration * 1e6) / 1000
    ended = (outcome.status, finished_at, duration, decision.consecutive_failure_count)
    details = details_of(outcome)
    if details is NO_DETAILS and not late:
        db.execute(_END_WELL, (*ended, run.run_id))
    else:
        db.execute(_END_RUN, (*ended, *details, run.run_id))
    after = decision.state
    if after is not before:
        succeeded = finished_at if after.last_success_at is outcome.finished_at else None
        save_state(db, run.job, after, succeeded or rfc3339_or_none(after.last_success_at))
        if after.silence is not before.silence:
            from cronguard.stores.sqlite.silences import save_silence  # few jobs have one

            save_silence(db, run.job, after.silence)
    if decision.alerts:
        from cronguard.core.payload import build_due  # only where an alert is due
        from cronguard.stores.sqlite.outbox import enqueue

        build = build_due if outage is None else outage.alerts
        enqueue(db, now, build(decision, run=run, outcome=outcome, before=before))
    return decision


def save_state(
    db: sqlite3.Connection, job: str, state: JobState, last_success_at: str | None
) -> None:
    """Write what outcomes change in a job's row; its last success is given as text."""
    db.execute(
        _SAVE_STATE,
        (
            state.consecutive_failure_count,
            state.incident_id,
            ",".join(sorted(state.announced)) if state.announced else None,
            last_success_at,
            state.last_counted_run,
            job,
        ),
    )


def _fill(db: sqlite3.Connection, run: Run, outcome: Outcome) -> int | None:
    """Say why a run that was counted as crashed failed; the count on its row stays."""
    if outcome.failure is not None:
        db.execute(
            f"UPDATE cron_execution_logs SET {_SET_DETAILS} WHERE id = ?",  # noqa: S608
            (*details_of(outcome), run.run_id),
        )
    return _count(db, run)
