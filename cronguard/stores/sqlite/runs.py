"""What is read and written in a SQLite transaction: runs, a job's state, alerts that are due."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from cronguard.core.alert_rule import (
    Decision,
    alert_rules,
    crash,
    decide,
    ends_silence,
    finish_action,
    has_expired,
    is_snoozed,
    mark_notified,
)
from cronguard.core.clock import moment, rfc3339, rfc3339_or_none
from cronguard.core.model import (
    AlertRule,
    ChannelRule,
    Expectations,
    Finished,
    JobState,
    NewAlert,
    Outcome,
    Owner,
    Run,
    RunRecord,
    RunStatus,
    Silence,
    Started,
    Statement,
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
_RUNNING = """
    SELECT id, started_at, host, pid, process_space, process_started, holds_lease, lease_expires_at
    FROM cron_execution_logs INDEXED BY cron_execution_logs_running
    WHERE job = ? AND status = 'running'"""
_INSERT_RUNNING = """
    INSERT INTO cron_execution_logs (id, job, status, started_at, host, pid, process_space,
        process_started, lease_expires_at, holds_lease)
    VALUES (?, ?, 'running', ?, ?, ?, ?, ?, ?, 1)
    ON CONFLICT (id) DO NOTHING"""
RELEASE = """
    UPDATE cron_execution_logs SET holds_lease = 0, lease_expires_at = ?
    WHERE id = ? AND status = 'running'"""
"""A run that has ended and whose outcome is not here yet: its process goes on renewing it."""
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
_IS_RUNNING = """
    SELECT 1 FROM cron_execution_logs INDEXED BY cron_execution_logs_running
    WHERE job = ? AND status = 'running'"""
_REGISTER = f"""
    INSERT INTO cronguard_jobs (job, {EXPECTED}, sources, channels, channels_stated, stated,
        registered_at, judged_until)
    VALUES (?, {"?, " * _N_EXPECTED} ?, ?, ?, ?, ?, ?) ON CONFLICT (job) DO NOTHING"""  # noqa: S608


_NO_FAILURE = (None, None, None, None)
_UNCOUNTED = ("ignore", "fill")
Seen: TypeAlias = JobState | tuple[Any, ...]
"""A job's state as a transaction left it, or the columns that `state_of` reads it from."""


Checked: TypeAlias = Callable[[sqlite3.Connection, str, JobState], JobState]
"""Job and state as found → the state to go on with: see `replaced.carrying`."""


def _as_it_is(_db: sqlite3.Connection, _job: str, found: JobState) -> JobState:
    return found


def start_unopposed(
    db: sqlite3.Connection, run: Run, now: datetime, last: str | None = None
) -> tuple[Started, Seen] | None:
    """Do the common start: the job's last start stated the same, and nothing of it is running.

    None, and nothing written, where there is more to it than that. ``last`` is the run that this
    process saw counted last.
    """
    row = db.execute(_EXPECTED, (run.job,)).fetchone()
    if row is None or row[-1]:
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
        end_silence(db, run, state_of(row))
    due = bool(pending) and _is_due(db, run.job, now)
    expected = expected_of(known)
    return Started("running", count, None, due, None, expected, _kept_channels(channels)), row


def owners(db: sqlite3.Connection, run: Run, ended: Collection[str]) -> set[Owner]:
    """Who runs the job in the run's own process space, so that they can be judged."""
    found = db.execute(_RUNNING, (run.job,)).fetchall()
    space = run.owner.space
    return {
        Owner(*row[2:6])
        for row in found
        if space is not None and row[4] == space
        if row[0] != run.run_id and row[0] not in ended
    }


def start(
    db: sqlite3.Connection,
    run: Run,
    now: datetime,
    dead: AbstractSet[Owner],
    *,
    ended: Collection[str] = (),
    checked: Checked = _as_it_is,
) -> tuple[Started, Seen]:
    """Do `interfaces.Store.start_run` inside a transaction; ``dead`` are known to be."""
    job = find_job(db, run.job, run.run_id)
    states_anew = True
    if job is None:
        # A job that was forgotten while it ran: then this run may have to be skipped.
        # So must one whose row says so already.
        states_anew = db.execute(_IS_RUNNING, (run.job,)).fetchone() is not None
        states = not states_anew and not _is_there(db, run.run_id)
        job = _registered(db, run, now, stated=states)
    found = job.state
    state = checked(db, run.job, found)
    if state is not found:
        save_state(db, run.job, state, rfc3339_or_none(state.last_success_at))
        job = job._replace(state=state)
    swept = job._replace(channels=job.channels or run.channels)
    state, holder = sweep_job(db, run, swept, now, dead, ended=ended)
    skipped = job.run_status == "skipped" or (holder is not None and run.overlap == "skip")
    count = state.consecutive_failure_count
    state = end_silence(db, run, state)
    if skipped:
        _insert_skipped(db, run, count)
    else:
        insert_running(db, run, now)
        holder = None
        if states_anew:
            job = _restated(db, run, job, now)
    due = (job.has_pending or state is not found) and _is_due(db, run.job, now)
    status: Literal["running", "skipped"] = "skipped" if skipped else "running"
    started = Started(status, count, holder, due, None, job.state.expected, job.channels)
    return started._replace(holder=_shown(db, holder)) if holder else started, state


def _shown(db: sqlite3.Connection, run_id: str) -> RunRecord | None:
    from cronguard.stores.sqlite.views import records  # few starts are skipped

    return next(records(db, "id = ?", (run_id,), limit=1), None)


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
        else JobRow(state_of(row), _kept_channels(row[-4]), bool(row[-3]), row[-2], row[-1])
    )


def finish(
    db: sqlite3.Connection,
    run: Run,
    outcome: Outcome,
    now: datetime,
    *,
    started: bool,
    notified: Collection[str] = (),
    checked: Checked = _as_it_is,
    outage: Outage | None = None,
) -> tuple[Finished, Seen | None]:
    """Do `interfaces.Store.finish_run` inside a transaction; ``outage`` if not for a store."""
    if notified:
        settle_notified(db, run.run_id, notified, now)
    job = find_job(db, run.job, run.run_id)
    there = job.state if job is not None else JobState()
    restored = checked(db, run.job, there)
    if job is None and restored is there and started and not _is_there(db, run.run_id):
        return Finished(None), None
    states = outcome.status != "skipped"
    known, job = job is not None, job or _registered(db, run, now, stated=states)
    if restored is not there:
        save_state(db, run.job, restored, rfc3339_or_none(restored.last_success_at))
        job, started = find_job(db, run.job, run.run_id) or job, False
    due = job.has_pending and _is_due(db, run.job, now)
    action = finish_action(job.run_status, outcome.status, started=started)
    if action in _UNCOUNTED:
        after = job.state
        if notified:
            after = mark_notified(after, run.run_id, notified)
            db.execute(
                "UPDATE cronguard_jobs SET announced = ? WHERE job = ?",
                (",".join(sorted(after.announced)) or None, run.job),
            )
        count = _count(db, run) if action == "ignore" else _fill(db, run, outcome)
        return Finished(count, due), after
    if action == "insert":
        insert_running(db, run, now)
        job = job._replace(state=end_silence(db, run, job.state))
        if known and states:
            job = _restated(db, run, job, now, late=True)
    job = job._replace(channels=run.channels or job.channels)
    late = action == "revise"
    decision = _commit(db, run, outcome, job, now, late=late, notified=notified, outage=outage)
    due = due or (bool(decision.alerts) and _is_due(db, run.job, now))
    state = decision.state
    return Finished(decision.consecutive_failure_count, due, state), state


def _is_due(db: sqlite3.Connection, job: str, now: datetime) -> bool:
    from cronguard.stores.sqlite.outbox import is_due  # only where alerts wait

    return is_due(db, job, now)


def _count(db: sqlite3.Connection, run: Run) -> int | None:
    """What the run's row shows; None if there is none."""
    shown = db.execute(
        "SELECT consecutive_failure_count FROM cron_execution_logs WHERE id = ?", (run.run_id,)
    ).fetchone()
    return shown[0] if shown else None


def settle_notified(
    db: sqlite3.Connection, run_id: str, notified: Collection[str], now: datetime
) -> None:
    """Settle the alerts of a run for channels that were notified without the store."""
    db.executemany(
        """UPDATE cronguard_alerts SET state = 'sent', settled_at = ?
           WHERE run_id = ? AND channel = ? AND state = 'pending'""",
        [(rfc3339(now), run_id, channel) for channel in notified],
    )


def has_counted(db: sqlite3.Connection, run_id: str | None) -> bool:
    """Tell whether the log has the run, ended."""
    found = db.execute(
        "SELECT 1 FROM cron_execution_logs WHERE id = ? AND status <> 'running'", (run_id,)
    )
    return found.fetchone() is not None


def _is_there(db: sqlite3.Connection, run_id: str) -> bool:
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
        silence = _kept_silence(row[6 + _N_EXPECTED])
    return JobState(
        row[0], row[1], announced, moment(row[3]), row[4], moment(row[5]), expected, silence
    )


def silence_of(text: str | None) -> Silence | None:
    """Return the silence that `save_silence` wrote; None for None. Raises ValueError."""
    if text is None:
        return None
    since, missed, over, announced = text.split("|")
    begin = datetime.fromisoformat(since)
    if begin.tzinfo is None:
        raise ValueError("a time without a zone")
    channels = frozenset(announced.split(",") if announced else ())
    return Silence(begin, int(missed), over == "1", channels)


def _kept_silence(text: str) -> Silence | None:
    """Return the same; None for a text that nobody can read, so that the job goes on."""
    try:
        return silence_of(text)
    except ValueError:
        return None


def end_silence(db: sqlite3.Connection, run: Run, state: JobState) -> JobState:
    """Note that a start has ended a silence, unless it is one from before it; the state then."""
    silence = state.silence
    if silence is None or silence.over or not ends_silence(silence, run.started_at):
        return state
    ended = silence._replace(over=True)
    save_silence(db, run.job, ended)
    # What was missed before the start is part of the silence, judged or not; what was missed since,
    # where the start is told late, is another one.
    judged = run.started_at - timedelta(seconds=state.expected.grace)
    db.execute(
        "UPDATE cronguard_jobs SET judged_until = ? WHERE job = ?", (rfc3339(judged), run.job)
    )
    return state._replace(silence=ended)


def save_silence(db: sqlite3.Connection, job: str, silence: Silence | None) -> None:
    """Write a job's silence; None for none."""
    text = None
    if silence is not None:
        since, missed, over, announced = silence
        text = f"{rfc3339(since)}|{missed}|{over:d}|{','.join(sorted(announced))}"
    db.execute("UPDATE cronguard_jobs SET silence = ? WHERE job = ?", (text, job))


def _kept_moment(text: str | None) -> datetime | None:
    """Return the time that a row says; None for a text that nobody can read, as above."""
    try:
        return moment(text)
    except (ValueError, TypeError):
        return None


def expected_of(row: Sequence[Any]) -> Expectations:
    """Return the expectations in the columns `EXPECTED`."""
    return _expected(*row)


@lru_cache(maxsize=64)
def _expected(*columns: Any) -> Expectations:
    expected = Expectations(*columns)
    return expected._replace(notify_recovery=bool(expected.notify_recovery))


@lru_cache(maxsize=64)
def statement_text(channels: tuple[ChannelRule, ...], stated: tuple[Statement, ...]) -> str:
    """Return a start's statement as text: the same text means that nothing changes."""
    return repr((channels, stated))


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


def _kept_channels(text: str | None) -> tuple[ChannelRule, ...]:
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


def _registered(db: sqlite3.Connection, run: Run, now: datetime, *, stated: bool) -> JobRow:
    register(db, run.job, now, run if stated else None)
    job = find_job(db, run.job, run.run_id)
    assert job is not None  # noqa: S101  # for mypy
    return job


def _restated(
    db: sqlite3.Connection, run: Run, job: JobRow, now: datetime, *, late: bool = False
) -> JobRow:
    """Keep what a start states; return the job as it is then. ``late``: told by the run's end."""
    channels = run.channels if run.stated or not job.channels_stated else ()
    if not run.stated and (not channels or channels == job.channels):
        return job
    from cronguard.stores.sqlite.restating import keep  # most starts state what is known

    text = statement_text(run.channels, run.stated)
    keep(db, run, now, channels=channels_text(channels) or None, text=text, late=late)
    return find_job(db, run.job, run.run_id) or job


def insert_running(db: sqlite3.Connection, run: Run, now: datetime) -> bool:
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
    job: JobRow,
    now: datetime,
    dead: AbstractSet[Owner],
    *,
    ended: Collection[str],
) -> tuple[JobState, str | None]:
    """Count the job's dead runs: (the state after them, the run that still holds the job).

    Those of ``ended`` are neither; they give up the lease.
    """
    holder: str | None = None
    for run_id, started_at, host, pid, space, process, holds, expires in db.execute(
        _RUNNING, (run.job,)
    ).fetchall():
        if run_id == run.run_id:
            continue
        if run_id in ended:
            db.execute(RELEASE, (rfc3339(now + timedelta(seconds=run.lease)), run_id))
            continue
        owner = Owner(host, pid, space, process)
        if space is not None and space == run.owner.space:
            gone = owner in dead
        else:
            gone = has_expired(_kept_moment(expires), now)
        if gone:
            begin = _kept_moment(started_at) or now
            crashed = run._replace(run_id=run_id, started_at=begin, owner=owner, test_mode=False)
            job = job._replace(state=_commit(db, crashed, crash(now), job, now).state)
        elif holds:
            holder = run_id
    return job.state, holder


def _commit(
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
    if outcome.failure is None and not late:
        db.execute(_END_WELL, (*ended, run.run_id))
    else:
        db.execute(_END_RUN, (*ended, *(outcome.failure or _NO_FAILURE), run.run_id))
    after = decision.state
    if after is not before:
        succeeded = finished_at if after.last_success_at is outcome.finished_at else None
        save_state(db, run.job, after, succeeded or rfc3339_or_none(after.last_success_at))
        if after.silence is not before.silence:
            save_silence(db, run.job, after.silence)
    if decision.alerts:
        from cronguard.core.payload import build_due  # only when somebody is told
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


def seed(db: sqlite3.Connection, job: str, state: JobState) -> None:
    """Write what another store said of a job into the row that it has here."""
    save_state(db, job, state, rfc3339_or_none(state.last_success_at))
    if state.silence is not None:
        save_silence(db, job, state.silence)
    columns = ", ".join(f"{name} = ?" for name in Expectations._fields)
    db.execute(
        f"UPDATE cronguard_jobs SET snoozed_until = ?, {columns} WHERE job = ?",  # noqa: S608  # names of this module
        (rfc3339_or_none(state.snoozed_until), *state.expected, job),
    )


def _fill(db: sqlite3.Connection, run: Run, outcome: Outcome) -> int | None:
    """Say why a run that was counted as crashed failed; the count on its row stays."""
    if outcome.failure is not None:
        db.execute(
            """UPDATE cron_execution_logs SET error_type = ?, error_code = ?, error_message = ?,
                   error_location = ? WHERE id = ?""",
            (*outcome.failure, run.run_id),
        )
    return _count(db, run)
