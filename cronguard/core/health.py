"""How a job is doing: one pure function, which every command, page and JSON shows.

What goes in is what a store gives (`JobStatus`, `Watch`), what this host keeps for it (`KeptRun`),
the time, and which of the runs that look open have lost their process. Nothing is written, so
whoever looks sees the same. `cronguard.runtime.health` reads all that from a store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, TypeAlias, get_args

from cronguard.core.alert_rule import is_snoozed
from cronguard.core.clock import readable
from cronguard.core.damage import UNREADABLE, watch_problem
from cronguard.core.errors import ConfigError
from cronguard.core.model import (
    AlertRule,
    Expectations,
    Failure,
    JobStatus,
    KeptRun,
    RunRecord,
    Watch,
)
from cronguard.core.rendering import duration
from cronguard.core.run_states import FAILURES
from cronguard.core.schedule import Lateness, lateness, missed_sentence

State: TypeAlias = Literal["failing", "stuck", "late", "warning", "new", "ok"]
STATES: tuple[State, ...] = get_args(State)
"""From the worst to the best."""
WRONG: tuple[State, ...] = ("failing", "stuck", "late")
"""Those for which `needs_attention` holds, unless the job is snoozed."""
MAX_WAITING = timedelta(minutes=1)
"""How long an alert may wait: until then the process that decided it may be sending it."""
_UNCOUNTED = Failure(
    "Crashed",
    error_message="its process is gone: the job's next start, or cronguard check, counts it",
)


class Health(NamedTuple):
    """How one job is doing. Times are aware, in UTC; durations are seconds."""

    job: str
    state: State
    """The worst of `states`; ``warning`` at least where something cannot be judged."""
    why: str
    """One sentence about the state, without the job's name and without a full stop; its times are
    in UTC, and `explain` has them in another zone."""
    since: datetime | None
    """When the state began: the end of the first failure, the moment at which a run passed its
    ``max_runtime``, the first occurrence that was missed. None for ``new`` and ``ok``, and where
    that is not known any more."""
    states: tuple[State, ...]
    """All that apply, worst first; ``new`` or ``ok`` alone."""
    failures: int
    """How many in a row, with crashes that nobody has counted yet."""
    threshold: int
    """The lowest of the job's rules: so many failures in a row make it ``failing``."""
    expected: Expectations
    rules: tuple[AlertRule, ...] = ()
    """Who is notified of the job; empty if that is not known yet."""
    running: tuple[RunRecord, ...] = ()
    """Runs that are going on, oldest first."""
    dead: tuple[RunRecord, ...] = ()
    """Runs whose process is gone and that nobody has counted yet, oldest first; as ``crashed``,
    with no end and no count."""
    kept: tuple[RunRecord, ...] = ()
    """Runs that look open in the store, or that it knows nothing of, and whose end is kept on this
    host until the store takes it; in order."""
    last_run: RunRecord | None = None
    """The newest run that ended or is still going; skipped ones do not count."""
    last_start_at: datetime | None = None
    """The latest start, skipped ones included."""
    last_success_at: datetime | None = None
    next_due: datetime | None = None
    """The first occurrence of the schedule that may still be met. It has passed already where the
    job is waited for, by its grace at most. None without a schedule."""
    missed: int = 0
    """How many occurrences in a row have been missed; 0 unless the job is late."""
    missed_latest: datetime | None = None
    """The last of them."""
    snoozed_until: datetime | None = None
    """None unless the job is snoozed now."""
    alerts_waiting: int = 0
    waiting_since: datetime | None = None
    """When the oldest of the waiting alerts was decided."""
    alerts_given_up: int = 0
    """How many alerts were given up."""
    problem: str | None = None
    """What keeps the job from being judged, such as a damaged row or a schedule that this host
    cannot evaluate; None for nothing."""

    @property
    def running_since(self) -> datetime | None:
        """Return when the oldest run that is going on started; None if none is."""
        return min((run.started_at for run in self.running), default=None)


def needs_attention(health: Health, now: datetime) -> bool:
    """Tell whether ``cronguard check`` exits 1 for this job.

    It does while the job is failing, stuck, late or cannot be judged, and is not snoozed, and while
    an alert is given up or has waited for more than `MAX_WAITING`.
    """
    wrong = health.problem is not None or health.state in WRONG
    return (wrong and health.snoozed_until is None) or has_undelivered(health, now)


def has_undelivered(health: Health, now: datetime) -> bool:
    """Tell whether an alert of the job is given up or has waited too long."""
    waiting = health.waiting_since
    return health.alerts_given_up > 0 or (waiting is not None and now - waiting > MAX_WAITING)


def by_urgency(healths: Sequence[Health]) -> list[Health]:
    """Return the jobs in the order of `STATES`, snoozed ones last in each, then by name."""
    return sorted(
        healths,
        key=lambda each: (STATES.index(each.state), each.snoozed_until is not None, each.job),
    )


def judge(
    status: JobStatus,
    watch: Watch,
    *,
    rules: Sequence[AlertRule] = (),
    dead: Collection[str] = (),
    kept: Sequence[RunRecord] = (),
    problem: str | None = None,
    now: datetime,
) -> Health:
    """Judge how a job is doing.

    Args:
        status: The job as the store shows it.
        watch: What is expected of it; ``Watch(job)`` where that cannot be read.
        rules: Who is notified; the job's own threshold holds where nobody is.
        dead: Ids of runs of ``watch.running`` whose process is gone.
        kept: Runs whose end is kept on this host.
        problem: What is known to keep it from being judged.
        now: The current time.
    """
    problem = problem or watch_problem(watch)
    late = None
    if problem is None:
        late, problem = _lateness(watch, status, now)
    health = _unjudged(status, watch, rules, dead, now)._replace(kept=tuple(kept), problem=problem)
    if late is not None:
        is_late = late.since is not None and not health.running
        health = health._replace(next_due=late.next_due)
        if is_late:
            health = health._replace(missed=late.number, missed_latest=late.latest)
    found = sorted(_findings(health, status, late, now), key=lambda each: STATES.index(each[0]))
    if problem is not None and all(state not in WRONG for state, _ in found):
        found.insert(0, ("warning", None))
    state, since = found[0] if found else (_well(health), None)
    states = tuple(dict.fromkeys(each for each, _ in found)) or (state,)
    health = health._replace(state=state, since=since, states=states)
    return health._replace(why=explain(health, now))


def _unjudged(
    status: JobStatus,
    watch: Watch,
    rules: Sequence[AlertRule],
    dead: Collection[str],
    now: datetime,
) -> Health:
    """Return what is known beside the state."""
    gone = tuple(_crashed(run) for run in watch.running if run.run_id in dead)
    last = status.last_run
    return Health(
        job=status.job,
        state="ok",
        why="",
        since=None,
        states=(),
        failures=max(status.consecutive_failure_count, 0) + len(gone),
        threshold=min((rule.threshold for rule in rules), default=watch.expected.threshold),
        expected=watch.expected,
        rules=tuple(rules),
        running=tuple(run for run in watch.running if run.run_id not in dead),
        dead=gone,
        last_run=_crashed(last) if last is not None and last.run_id in dead else last,
        last_start_at=status.last_start_at,
        last_success_at=status.last_success_at,
        snoozed_until=status.snoozed_until if is_snoozed(status.snoozed_until, now) else None,
        alerts_waiting=status.alerts_pending,
        waiting_since=status.pending_since,
        alerts_given_up=status.alerts_dead,
    )


def _crashed(run: RunRecord) -> RunRecord:
    return run._replace(status="crashed", failure=_UNCOUNTED)


def judged(runs: Iterable[RunRecord], health: Health, *, limit: int) -> list[RunRecord]:
    """Return a job's newest runs as every face shows them, newest first.

    One whose process is gone is ``crashed``, whatever its row says; one whose end is kept on this
    host is what it ended as; and those that the store knows nothing of are among them.

    Args:
        runs: The job's newest rows, newest first, those that look open among them.
        health: How the job is doing.
        limit: How many were asked for: a full page says nothing of what is older.
    """
    ended = {run.run_id: run for run in (*health.dead, *health.kept)}
    found = [ended.get(run.run_id, run) for run in runs]
    ids = {run.run_id for run in found}
    oldest = found[-1].started_at if len(found) >= limit else None
    missing = [
        run
        for run in (*health.running, *ended.values())
        if run.run_id not in ids and (oldest is None or run.started_at > oldest)
    ]
    for run in missing:
        place = next((n for n, each in enumerate(found) if each.started_at < run.started_at), None)
        found.insert(len(found) if place is None else place, run)
    return found[:limit]


_Finding: TypeAlias = tuple[State, datetime | None]


def _findings(
    health: Health, status: JobStatus, late: Lateness | None, now: datetime
) -> Iterator[_Finding]:
    """Yield what applies and is not well, and since when."""
    since = status.failing_since
    if not status.consecutive_failure_count and health.dead:
        since = health.dead[0].started_at
    if health.failures and (health.failures >= health.threshold or status.announced):
        yield "failing", since
    elif health.failures:
        yield "warning", since
    limit = health.expected.max_runtime
    if limit is not None and health.problem is None:
        for run in health.running:
            if (now - run.started_at).total_seconds() >= limit:
                yield "stuck", run.started_at + timedelta(seconds=limit)
                break
    if health.missed and late is not None:
        yield "late", late.since


def _well(health: Health) -> State:
    has_run = health.last_run is not None or health.running or health.last_success_at is not None
    return "ok" if has_run else "new"


def explain(health: Health, now: datetime, write: Callable[[datetime], str] | None = None) -> str:
    """Return `Health.why`; ``write`` returns a moment as text, by default in UTC."""
    at = write or readable
    if health.problem is not None and health.state not in WRONG:
        return f"it cannot be judged: {health.problem}"
    if health.state == "failing":
        worked = health.last_success_at
        tail = f"last worked at {at(worked)}" if worked else "never worked"
        return f"{_failures(health)}; {tail}"
    if health.state == "warning":
        return f"{_failures(health)}; alerts from {health.threshold}"
    limit, plan = health.expected.max_runtime, health.expected.plan
    if health.state == "stuck" and health.since is not None and limit is not None:
        elapsed = (now - health.since).total_seconds() + limit
        return (
            f"still running after {duration(elapsed)},"
            f" longer than its max_runtime of {duration(limit)}"
        )
    if health.state == "late" and health.since is not None and plan is not None:
        return missed_sentence(plan, health.missed, health.since, health.missed_latest, at)
    if health.state == "new":
        due = health.next_due
        return f"never ran; due at {at(due)}" if due else "never ran"
    if health.last_success_at is not None:
        return f"last worked at {at(health.last_success_at)}"
    return "running for the first time" if health.running else "no failure"


def _failures(health: Health) -> str:
    count = "1 failure" if health.failures == 1 else f"{health.failures:,} failures in a row"
    if health.dead:
        return f"{count}, the last a crash that nobody has counted yet: its process is gone"
    last = health.last_run
    if last is None or last.failure is None:
        return count
    code = f" ({last.failure.error_code})" if last.failure.error_code else ""
    return f"{count}, the last {last.failure.error_type}{code}"


def _lateness(watch: Watch, status: JobStatus, now: datetime) -> tuple[Lateness | None, str | None]:
    """Return what of the schedule was missed, and what keeps it from being judged."""
    try:
        return lateness(watch, status.last_start_at, now), None
    except ConfigError as error:
        return None, str(error)
    except UNREADABLE:
        return None, "its times cannot be judged"


def with_kept(status: JobStatus, watch: Watch, kept: Sequence[KeptRun]) -> tuple[JobStatus, Watch]:
    """Return a job as it will be once the store has taken what this host keeps for it, in order."""
    ids = {each.run.run_id for each in kept}
    open_ids = {run.run_id for run in watch.running}
    running = [run for run in watch.running if run.run_id not in ids]
    for each in kept:
        record, last = kept_record(each), status.last_start_at
        status = status._replace(
            last_start_at=record.started_at if last is None else max(last, record.started_at)
        )
        if each.outcome is None:
            running.append(record)
        elif each.outcome.status != "skipped":
            status = _ended(status, record, is_over=each.started and record.run_id not in open_ids)
    changed = len(running) - len(watch.running)
    return (
        status._replace(running=max(status.running + changed, 0)),
        watch._replace(running=tuple(running)),
    )


def _ended(status: JobStatus, record: RunRecord, *, is_over: bool) -> JobStatus:
    """Return the status after an outcome, as `alert_rule.finish_action` goes on with it.

    ``is_over``: the run is not open in the store, which had its start. It was counted as crashed
    there, or the store took the outcome and its answer was lost.
    """
    last = status.last_run
    if last is not None and last.run_id == record.run_id and last.status != "running":
        is_late = record.status == "success" and last.status == "crashed"
        return _counted(status, record) if is_late else status
    if last is None or not is_over:
        return _counted(status, record)
    if record.status != "success" or record.finished_at is None:
        return status
    times = (record.finished_at, status.last_success_at or record.finished_at)
    return status._replace(last_success_at=max(times))


def kept_record(kept: KeptRun) -> RunRecord:
    """Return a run that the store has not taken yet as one of its rows, without a count."""
    run, outcome, lease_over, _ = kept
    record = RunRecord(
        run.run_id, run.job, "running", run.started_at, host=run.owner.host, pid=run.owner.pid
    )
    if outcome is None:
        return record._replace(owner=run.owner, lease_over=lease_over)
    return record._replace(
        status=outcome.status,
        finished_at=outcome.finished_at,
        duration=outcome.duration,
        failure=outcome.failure,
    )


def _counted(status: JobStatus, record: RunRecord) -> JobStatus:
    """Return the status after an outcome that the store has not taken yet."""
    count = status.consecutive_failure_count
    if record.status == "success":
        return status._replace(
            consecutive_failure_count=0,
            announced=frozenset(),
            failing_since=None,
            last_run=record._replace(consecutive_failure_count=0),
            last_success_at=record.finished_at,
        )
    if record.status in FAILURES:
        count += 1
        status = status._replace(failing_since=status.failing_since or record.finished_at)
    return status._replace(
        consecutive_failure_count=count, last_run=record._replace(consecutive_failure_count=count)
    )


__all__ = [
    "MAX_WAITING",
    "STATES",
    "WRONG",
    "Health",
    "State",
    "by_urgency",
    "explain",
    "has_undelivered",
    "judge",
    "judged",
    "kept_record",
    "needs_attention",
    "with_kept",
]
