"""The plainest store that keeps the contract: dictionaries under one lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cronguard.ids import new_id
from cronguard.model import (
    AlertKind,
    AlertRecord,
    Delivery,
    DeliveryState,
    Finished,
    JobState,
    JobStatus,
    Outcome,
    Owner,
    Run,
    RunRecord,
    Schedule,
    Settlement,
    Started,
)
from cronguard.payload import build, encode
from cronguard.policy import crash, decide, finish_action


@dataclass(slots=True)
class _Row:
    run: Run
    record: RunRecord
    lease_until: datetime | None = None
    holds: bool = False


@dataclass(slots=True)
class _Outgoing:
    delivery: Delivery
    state: DeliveryState
    created_at: datetime
    due_at: datetime
    claimed_until: datetime | None = None
    settled_at: datetime | None = None
    error_code: str | None = None


class MemoryStore:
    """A `cronguard.interfaces.Store` that forgets everything with its process.

    ``clock`` is what leases, claims and snoozes are measured with.
    """

    bounded = True

    def __init__(self, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._rows: dict[str, _Row] = {}
        self._states: dict[str, JobState] = {}
        self._schedules: dict[str, Schedule | None] = {}
        self._outbox: dict[str, _Outgoing] = {}

    def __repr__(self) -> str:
        return f"<MemoryStore of {len(self._rows)} runs>"

    # --- runs -----------------------------------------------------------------------------------

    def start_run(self, run: Run, *, is_dead: Callable[[Owner], bool]) -> Started:
        with self._lock:
            now = self._clock()
            self._states.setdefault(run.job, JobState())
            self._schedules[run.job] = run.schedule
            holder: str | None = None
            for row in [row for row in self._rows.values() if row.run.job == run.job]:
                if row.record.status != "running" or row.run.run_id == run.run_id:
                    continue
                owner = row.run.owner
                if owner.space is not None and owner.space == run.owner.space:
                    dead = is_dead(owner)
                else:
                    dead = row.lease_until is None or row.lease_until <= now
                if dead:
                    gone = run._replace(run_id=row.run.run_id, owner=owner)
                    gone = gone._replace(started_at=row.run.started_at)
                    self._commit(gone, crash(now), now)
                elif row.holds:
                    holder = row.run.run_id
            count = self._states[run.job].consecutive_failure_count
            skipped = holder is not None and run.overlap == "skip"
            if run.run_id not in self._rows:
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
                self._due(run.job, now),
            )

    def finish_run(self, run: Run, outcome: Outcome, *, started: bool) -> Finished:
        with self._lock:
            now = self._clock()
            row = self._rows.get(run.run_id)
            existing = row.record.status if row else None
            action = finish_action(existing, outcome.status, started=started)
            if action == "insert":
                self._states.setdefault(run.job, JobState())
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
            if action == "fill":
                row.record = row.record._replace(failure=outcome.failure or row.record.failure)
            elif action != "ignore":
                self._commit(run, outcome, now, late=action == "revise")
            return Finished(row.record.consecutive_failure_count, self._due(run.job, now))

    def _commit(self, run: Run, outcome: Outcome, now: datetime, *, late: bool = False) -> None:
        before = self._states[run.job]
        decision = decide(
            before,
            outcome,
            job=run.job,
            run_id=run.run_id,
            rules=run.rules,
            snoozed=before.snoozed_until is not None and before.snoozed_until > now,
            late=late,
            test_mode=run.test_mode,
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
        for due in decision.alerts:
            if due.key in self._outbox:
                continue
            alert = build(
                due,
                alert_id=new_id(),
                run=run,
                outcome=outcome,
                before=before,
                count=decision.consecutive_failure_count,
            )
            delivery = Delivery(alert.alert_id, run.job, due.channel, due.kind, 0, encode(alert))
            self._outbox[due.key] = _Outgoing(delivery, "pending", now, now)

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

    # --- the outbox -----------------------------------------------------------------------------

    def _due(self, job: str, now: datetime) -> bool:
        return any(
            out.state == "pending" and out.delivery.job == job and out.due_at <= now
            for out in self._outbox.values()
        )

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
            now = self._clock()
            claimed: list[Delivery] = []
            for out in self._outbox.values():
                wanted = out.state == state and out.delivery.channel in channels
                if not wanted or (job is not None and out.delivery.job != job):
                    continue
                if out.claimed_until is not None and out.claimed_until > now:
                    continue
                if not force and out.due_at > now:
                    continue
                if len(claimed) == limit:
                    break
                out.state = "pending"
                out.claimed_until = out.due_at = now + timedelta(seconds=claim_for)
                out.delivery = out.delivery._replace(attempt=out.delivery.attempt + 1)
                claimed.append(out.delivery)
            return claimed

    def settle_alert(self, delivery: Delivery, settlement: Settlement) -> bool:
        with self._lock:
            now = self._clock()
            for out in self._outbox.values():
                if out.delivery.alert_id != delivery.alert_id:
                    continue
                if out.state != "pending" or out.delivery.attempt != delivery.attempt:
                    return False
                out.state = settlement.state
                out.error_code = settlement.error_code
                out.claimed_until = None
                out.due_at = now + timedelta(seconds=settlement.retry_in or 0)
                out.settled_at = None if settlement.state == "pending" else now
                return True
            return False

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
            schedule=self._schedules.get(job),
            alerts_pending=self._count(job, "pending"),
            alerts_dead=self._count(job, "dead"),
        )

    def _newest(self, job: str) -> list[RunRecord]:
        return [row.record for row in reversed(self._rows.values()) if row.run.job == job]

    def _count(self, job: str, state: DeliveryState) -> int:
        return sum(out.state == state and out.delivery.job == job for out in self._outbox.values())

    def history(self, job: str, *, limit: int = 20) -> list[RunRecord]:
        with self._lock:
            return self._newest(job)[:limit]

    def alerts(
        self, *, state: DeliveryState | None = None, job: str | None = None, limit: int = 100
    ) -> list[AlertRecord]:
        with self._lock:
            return [
                _shown(out)
                for out in reversed(self._outbox.values())
                if (state is None or out.state == state)
                and (job is None or out.delivery.job == job)
            ][:limit]

    def payloads(self, kind: AlertKind | None = None) -> list[str]:
        """The frozen payloads decided so far, oldest first; None for every kind."""
        with self._lock:
            return [
                out.delivery.payload
                for out in self._outbox.values()
                if kind is None or out.delivery.kind == kind
            ]

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
            for key, out in list(self._outbox.items()):
                if out.state == "sent" and out.settled_at and out.settled_at < before:
                    del self._outbox[key]
            if progress:
                progress(len(gone), len(gone))
            return len(gone)

    def close(self) -> None:
        """Nothing to let go of."""


def _shown(out: _Outgoing) -> AlertRecord:
    return AlertRecord(
        alert_id=out.delivery.alert_id,
        job=out.delivery.job,
        channel=out.delivery.channel,
        kind=out.delivery.kind,
        state=out.state,
        attempts=out.delivery.attempt,
        created_at=out.created_at,
        next_attempt_at=out.due_at if out.state == "pending" else None,
        settled_at=out.settled_at,
        error_code=out.error_code,
    )
