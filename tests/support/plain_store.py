"""The plainest store that keeps the contract: dictionaries under one lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from support.plain_outbox import PlainOutbox, is_to_come

from cronguard.core.alert_rule import (
    crash,
    decide,
    finish_action,
    is_snoozed,
    later_step_keys,
    mark_notified,
    missed_alerts,
    overrun_alerts,
)
from cronguard.core.clock import new_id
from cronguard.core.model import (
    LONGEST_LEASE,
    AlertKind,
    AlertRecord,
    AlertRule,
    Delivery,
    DeliveryState,
    Finished,
    JobState,
    JobStatus,
    Missed,
    NewAlert,
    Outcome,
    Overrun,
    Owner,
    Run,
    RunRecord,
    Schedule,
    Settlement,
    Started,
    Watch,
)
from cronguard.core.payload import build_due, build_missed, build_overrun


@dataclass(slots=True)
class _Row:
    run: Run
    record: RunRecord
    lease_until: datetime | None = None
    holds: bool = False


class PlainStore:
    """A `cronguard.core.interfaces.Store` that forgets everything with its process.

    ``clock`` is what leases, claims and snoozes are measured with.
    """

    bounded = True

    def __init__(self, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._rows: dict[str, _Row] = {}
        self._states: dict[str, JobState] = {}
        self._watches: dict[str, Watch] = {}
        self._declared: dict[str, Schedule] = {}
        self._outbox = PlainOutbox()

    def __repr__(self) -> str:
        return f"<PlainStore of {len(self._rows)} runs>"

    # --- runs -----------------------------------------------------------------------------------

    def start_run(self, run: Run, *, is_dead: Callable[[Owner], bool]) -> Started:
        with self._lock:
            now = self._clock()
            self._register(run, now)
            holder = self._sweep_job(run, now, is_dead)
            count = self._states[run.job].consecutive_failure_count
            known = self._rows.get(run.run_id)
            skipped = holder is not None and run.overlap == "skip"
            if known is not None:
                skipped = known.record.status == "skipped"
            else:
                record = RunRecord(
                    run.run_id,
                    run.job,
                    "skipped" if skipped else "running",
                    run.started_at,
                    finished_at=run.started_at if skipped else None,
                    duration=0.0 if skipped else None,
                    consecutive_failure_count=count if skipped else None,
                    host=run.owner.host,
                    pid=run.owner.pid,
                )
                lease = now + timedelta(seconds=run.lease)
                self._rows[run.run_id] = _Row(run, record, lease, holds=not skipped)
            return Started(
                "skipped" if skipped else "running",
                count,
                holder if skipped else None,
                self._outbox.is_due(run.job, now),
            )

    def _register(self, run: Run, now: datetime) -> None:
        self._states.setdefault(run.job, JobState())
        watch = self._watches.setdefault(run.job, Watch(run.job, judged_until=now))
        plan = run.schedule
        if plan is None and run.job in self._declared:
            plan = watch.schedule
        self._expect(run.job, plan, now)
        self._watches[run.job] = self._watches[run.job]._replace(
            rules=run.rules, max_runtime=run.max_runtime, runbook=run.runbook
        )

    def _expect(self, job: str, plan: Schedule | None, now: datetime) -> None:
        watch = self._watches[job]
        if plan != watch.schedule:
            watch = watch._replace(schedule=plan, judged_until=now, seen_until=None)
        self._watches[job] = watch

    def _sweep_job(self, run: Run, now: datetime, is_dead: Callable[[Owner], bool]) -> str | None:
        """Count the job's dead runs; the run that still holds it."""
        holder: str | None = None
        for row in [row for row in self._rows.values() if row.run.job == run.job]:
            if row.record.status != "running" or row.run.run_id == run.run_id:
                continue
            owner = row.run.owner
            if owner.space is not None and owner.space == run.owner.space:
                dead = is_dead(owner)
            else:
                dead = not is_to_come(row.lease_until, now, LONGEST_LEASE)
            if dead:
                gone = run._replace(run_id=row.run.run_id, owner=owner)
                gone = gone._replace(started_at=row.run.started_at, test_mode=False)
                self._commit(gone, crash(now), now)
            elif row.holds:
                holder = row.run.run_id
        return holder

    def finish_run(
        self, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str] = ()
    ) -> Finished:
        with self._lock:
            now = self._clock()
            row = self._rows.get(run.run_id)
            existing = row.record.status if row else None
            action = finish_action(existing, outcome.status, started=started)
            if notified:
                self._outbox.settle_notified(run.run_id, notified, now)
            if row is not None and run.job not in self._states:
                self._register(run, now)
            if action == "insert":
                self._register(run, now)
                record = RunRecord(
                    run.run_id,
                    run.job,
                    "running",
                    run.started_at,
                    host=run.owner.host,
                    pid=run.owner.pid,
                )
                row = self._rows[run.run_id] = _Row(run, record)
            if row is None:
                return Finished(None)
            if action in ("fill", "ignore") and notified:
                self._states[run.job] = mark_notified(self._states[run.job], run.run_id, notified)
            if action == "fill":
                row.record = row.record._replace(failure=outcome.failure or row.record.failure)
            elif action != "ignore":
                self._commit(run, outcome, now, late=action == "revise", notified=notified)
            return Finished(row.record.consecutive_failure_count, self._outbox.is_due(run.job, now))

    def _commit(
        self,
        run: Run,
        outcome: Outcome,
        now: datetime,
        *,
        late: bool = False,
        notified: Collection[str] = (),
    ) -> None:
        before = self._states[run.job]
        decision = decide(
            before,
            outcome,
            job=run.job,
            run_id=run.run_id,
            rules=run.rules,
            snoozed=self._is_snoozed(run.job, now),
            late=late,
            test_mode=run.test_mode,
            notified=notified,
        )
        self._states[run.job] = decision.state
        row = self._rows[run.run_id]
        row.holds = False
        row.record = row.record._replace(
            status=outcome.status,
            finished_at=outcome.finished_at,
            duration=outcome.duration,
            consecutive_failure_count=decision.consecutive_failure_count,
            failure=outcome.failure,
        )
        self._outbox.enqueue(now, build_due(decision, run=run, outcome=outcome, before=before))

    def _is_snoozed(self, job: str, now: datetime) -> bool:
        return is_snoozed(self._states[job].snoozed_until, now)

    def heartbeat(self, run_ids: Sequence[str], *, lease: float) -> None:
        with self._lock:
            for run_id in run_ids:
                if run_id in self._rows:
                    self._rows[run_id].lease_until = self._clock() + timedelta(seconds=lease)

    def unlock(self, job: str) -> int:
        with self._lock:
            held = [
                row
                for row in self._rows.values()
                if row.run.job == job and row.holds and row.record.status == "running"
            ]
            for row in held:
                row.holds = False
            return len(held)

    # --- what is expected -----------------------------------------------------------------------

    def sweep(self, owner: Owner, *, is_dead: Callable[[Owner], bool]) -> list[RunRecord]:
        with self._lock:
            now = self._clock()
            running = [row for row in self._rows.values() if row.record.status == "running"]
            for job in sorted({row.run.job for row in running} & self._watches.keys()):
                watch = self._watches[job]
                run = Run("", job, now, owner, watch.rules, runbook=watch.runbook)
                self._sweep_job(run, now, is_dead)
            return [row.record for row in running if row.record.status == "crashed"]

    def declare(self, job: str, schedule: Schedule) -> None:
        with self._lock:
            now = self._clock()
            self._states.setdefault(job, JobState())
            self._watches.setdefault(job, Watch(job, judged_until=now))
            if self._declared.get(job) != schedule:
                self._declared[job] = schedule
                self._expect(job, schedule, now)

    def watches(self) -> list[Watch]:
        with self._lock:
            return [
                self._watches[job]._replace(
                    consecutive_failure_count=state.consecutive_failure_count,
                    last_success_at=state.last_success_at,
                    snoozed_until=state.snoozed_until,
                    running=tuple(
                        record
                        for record in reversed(self._newest(job))
                        if record.status == "running"
                    ),
                )
                for job, state in sorted(self._states.items())
            ]

    def starts(self, job: str, *, after: datetime, limit: int = 10_000) -> list[datetime]:
        with self._lock:
            found = (record.started_at for record in self._newest(job))
            return sorted(started for started in found if started > after)[:limit]

    def announce_overrun(self, overrun: Overrun, rules: Sequence[AlertRule]) -> bool:
        with self._lock:
            now = self._clock()
            row = self._rows.get(overrun.run_id)
            if row is None or row.record.status != "running" or overrun.job not in self._states:
                return False
            if self._is_snoozed(overrun.job, now):
                return False
            for due in overrun_alerts(overrun, rules):
                if not self._outbox.knows_any(later_step_keys(overrun, due.channel)):
                    alert = build_overrun(
                        due,
                        overrun,
                        alert_id=new_id(),
                        started_at=row.record.started_at,
                        host=row.record.host,
                        state=self._states[overrun.job],
                        runbook=self._watches[overrun.job].runbook,
                    )
                    self._outbox.enqueue(now, [NewAlert(due.key, due.channel, alert)])
            return self._outbox.is_due(overrun.job, now)

    def announce_missed(self, missed: Missed, rules: Sequence[AlertRule]) -> bool:
        with self._lock:
            now = self._clock()
            watch = self._watches.get(missed.job)
            due_alerts = missed_alerts(missed, rules)
            if watch is None or watch.judged_until != missed.judged_from:
                return False
            if due_alerts and self._is_snoozed(missed.job, now):
                return False
            self._watches[missed.job] = watch._replace(
                judged_until=missed.judged_until, seen_until=missed.seen_until
            )
            for due in due_alerts:
                alert = build_missed(
                    due,
                    missed,
                    alert_id=new_id(),
                    state=self._states[missed.job],
                    runbook=watch.runbook,
                )
                self._outbox.enqueue(now, [NewAlert(due.key, due.channel, alert)])
            return True

    def forget(self, job: str) -> bool:
        with self._lock:
            self._outbox.forget(job)
            self._watches.pop(job, None)
            self._declared.pop(job, None)
            return self._states.pop(job, None) is not None

    # --- the outbox -----------------------------------------------------------------------------

    def claim_alerts(
        self,
        *,
        channels: Sequence[str],
        job: str | None = None,
        force: bool = False,
        state: DeliveryState = "pending",
        limit: int = 100,
        claim_for: float = 10.0,
    ) -> list[Delivery]:
        with self._lock:
            return self._outbox.claim(
                self._clock(),
                channels=channels,
                job=job,
                force=force,
                state=state,
                limit=limit,
                claim_for=claim_for,
            )

    def settle_alert(self, delivery: Delivery, settlement: Settlement) -> bool:
        with self._lock:
            return self._outbox.settle(delivery, settlement, self._clock())

    # --- to be shown ----------------------------------------------------------------------------

    def jobs(self) -> list[JobStatus]:
        with self._lock:
            return [self._status(job) for job in sorted(self._states)]

    def _status(self, job: str) -> JobStatus:
        state = self._states[job]
        shown = [record for record in self._newest(job) if record.status != "skipped"]
        return JobStatus(
            job=job,
            consecutive_failure_count=state.consecutive_failure_count,
            last_run=shown[0] if shown else None,
            last_success_at=state.last_success_at,
            running=sum(record.status == "running" for record in shown),
            snoozed_until=state.snoozed_until,
            schedule=self._watches[job].schedule,
            alerts_pending=self._outbox.count(job, "pending"),
            alerts_dead=self._outbox.count(job, "dead"),
        )

    def _newest(self, job: str) -> list[RunRecord]:
        return [row.record for row in reversed(self._rows.values()) if row.run.job == job]

    def history(self, job: str, *, limit: int = 20) -> list[RunRecord]:
        with self._lock:
            return self._newest(job)[:limit]

    def alerts(
        self, *, state: DeliveryState | None = None, job: str | None = None, limit: int = 100
    ) -> list[AlertRecord]:
        with self._lock:
            return self._outbox.records(state, job)[:limit]

    def payloads(self, kind: AlertKind | None = None) -> list[str]:
        """The frozen payloads decided so far, oldest first; None for every kind."""
        with self._lock:
            return self._outbox.payloads(kind)

    # --- housekeeping ---------------------------------------------------------------------------

    def snooze(self, job: str, until: datetime | None) -> bool:
        with self._lock:
            if job not in self._states:
                return False
            self._states[job] = self._states[job]._replace(snoozed_until=until)
            return True

    def prune(self, *, keep: timedelta, progress: Callable[[int, int], None] | None = None) -> int:
        with self._lock:
            before = self._clock() - keep
            kept: set[str] = set()
            for job in self._states:
                newest = self._newest(job)
                kept.update(record.run_id for record in newest[:1])
                kept.update([r.run_id for r in newest if r.status == "success"][:1])
            gone = [
                run_id
                for run_id, row in self._rows.items()
                if run_id not in kept
                and row.record.status != "running"
                and (row.record.finished_at or row.record.started_at) < before
            ]
            for run_id in gone:
                del self._rows[run_id]
            self._outbox.prune(before)
            if progress:
                progress(len(gone), len(gone))
            return len(gone)

    def close(self) -> None:
        """Nothing to let go of."""
