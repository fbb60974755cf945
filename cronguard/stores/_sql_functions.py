"""What PostgreSQL and Supabase have in common: every call is one of the migration's functions.

Each takes one JSON object and answers with JSON; all rules are in SQL. See ``sql/postgres``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from cronguard.errors import StoreConfigError
from cronguard.model import (
    AlertRecord,
    AlertRule,
    Delivery,
    DeliveryState,
    Failure,
    Finished,
    JobState,
    JobStatus,
    Missed,
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
from cronguard.policy import DueAlert, louder, missed_alerts, overrun_alerts
from cronguard.stores._sql_schema import SCHEMA_VERSION
from cronguard.times import moment, rfc3339, rfc3339_or_none

_PRUNE_STRETCH = 2_000


class SecretRecord(NamedTuple):
    """A secret in Vault, to be listed: never its value."""

    name: str
    created_at: datetime
    updated_at: datetime


class FunctionStore:
    """A `cronguard.interfaces.Store` whose every method calls SQL functions.

    Subclasses say how one is called.
    """

    bounded = False

    def _call(self, function: str, request: dict[str, Any]) -> Any:
        """Call ``public.<function>(request)`` and return its JSON; raises `StoreError` only."""
        raise NotImplementedError

    def _ask(self, function: str, **request: Any) -> Any:
        return self._call(function, {"schema": SCHEMA_VERSION, **request})

    # --- runs -----------------------------------------------------------------------------------

    def start_run(self, run: Run, *, is_dead: Callable[[Owner], bool]) -> Started:
        answer = self._judging("cronguard_start_run", _run(run), is_dead)
        return Started(
            answer["status"],
            answer["consecutive_failure_count"],
            answer["held_by"],
            answer["alerts_due"],
            _state(answer.get("state")),
        )

    def _judging(
        self, function: str, request: dict[str, Any], is_dead: Callable[[Owner], bool]
    ) -> Any:
        """Call a function that sweeps; again, with those that are dead, where we must judge."""
        answer = self._call(function, request)
        suspects = answer.get("suspects")
        if suspects is None:
            return answer
        request["dead"] = [
            suspect["run_id"]
            for suspect in suspects
            if is_dead(
                Owner(suspect["host"], suspect["pid"], suspect["space"], suspect["process_started"])
            )
        ]
        return self._call(function, request)

    def finish_run(
        self, run: Run, outcome: Outcome, *, started: bool, told: Collection[str] = ()
    ) -> Finished:
        request = _run(run)
        request["started"] = started
        request["outcome"] = _outcome(outcome)
        if told:
            request["told"] = sorted(told)
        answer = self._call("cronguard_finish_run", request)
        return Finished(
            answer["consecutive_failure_count"], answer["alerts_due"], _state(answer.get("state"))
        )

    def heartbeat(self, run_ids: Sequence[str], *, lease: float) -> None:
        self._ask("cronguard_heartbeat", run_ids=list(run_ids), lease=lease)

    def unlock(self, job: str) -> int:
        return int(self._ask("cronguard_unlock", job=job))

    # --- what is expected -----------------------------------------------------------------------

    def sweep(self, owner: Owner, *, is_dead: Callable[[Owner], bool]) -> list[RunRecord]:
        request = {"schema": SCHEMA_VERSION, "space": owner.space}
        answer = self._judging("cronguard_sweep", request, is_dead)
        return [_record(row) for row in answer["crashed"]]

    def declare(self, job: str, schedule: Schedule) -> None:
        self._ask("cronguard_declare", job=job, plan=_plan(schedule))

    def watches(self) -> list[Watch]:
        return [_watch(row) for row in self._ask("cronguard_watches")]

    def starts(self, job: str, *, after: datetime, limit: int = 10_000) -> list[datetime]:
        found = self._ask("cronguard_starts", job=job, after=rfc3339(after), limit=limit)
        return [datetime.fromisoformat(each) for each in found]

    def announce_overrun(self, overrun: Overrun, rules: Sequence[AlertRule]) -> bool:
        return bool(
            self._ask(
                "cronguard_announce_overrun",
                run_id=overrun.run_id,
                alerts=[
                    {**_due(each), "louder": louder(overrun, each.channel)}
                    for each in overrun_alerts(overrun, rules)
                ],
                elapsed=round(overrun.elapsed, 6),
                message=overrun.message,
            )
        )

    def announce_missed(self, missed: Missed, rules: Sequence[AlertRule]) -> bool:
        return bool(
            self._ask(
                "cronguard_announce_missed",
                job=missed.job,
                judged_from=rfc3339_or_none(missed.judged_from),
                judged_until=rfc3339_or_none(missed.judged_until),
                seen_until=rfc3339_or_none(missed.seen_until),
                alerts=[_due(each) for each in missed_alerts(missed, rules)],
                message=missed.message,
            )
        )

    def forget(self, job: str) -> bool:
        return bool(self._ask("cronguard_forget", job=job))

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
        if not channels:
            return []
        found = self._ask(
            "cronguard_claim_alerts",
            channels=list(channels),
            job=job,
            force=force,
            state=state,
            limit=limit,
            claim_for=claim_for,
        )
        return [Delivery(**row) for row in found]

    def settle_alert(self, delivery: Delivery, settlement: Settlement) -> bool:
        return bool(
            self._ask(
                "cronguard_settle_alert",
                alert_id=delivery.alert_id,
                attempt=delivery.attempt,
                state=settlement.state,
                error_code=settlement.error_code,
                retry_in=settlement.retry_in,
            )
        )

    def alerts(
        self, *, state: DeliveryState | None = None, job: str | None = None, limit: int = 100
    ) -> list[AlertRecord]:
        found = self._ask("cronguard_alerts_list", state=state, job=job, limit=limit)
        times = ("created_at", "next_attempt_at", "settled_at")
        return [AlertRecord(**{**row, **{key: moment(row[key]) for key in times}}) for row in found]

    # --- to be shown, and housekeeping ----------------------------------------------------------

    def jobs(self) -> list[JobStatus]:
        return [_status(row) for row in self._ask("cronguard_status")]

    def history(self, job: str, *, limit: int = 20) -> list[RunRecord]:
        return [_record(row) for row in self._ask("cronguard_history", job=job, limit=limit)]

    def snooze(self, job: str, until: datetime | None) -> bool:
        return bool(self._ask("cronguard_snooze", job=job, until=rfc3339_or_none(until)))

    def prune(self, *, keep: timedelta, progress: Callable[[int, int], None] | None = None) -> int:
        plan = self._ask("cronguard_prune_plan")
        after, deleted, seen = None, 0, 0
        while True:
            done = self._ask(
                "cronguard_prune",
                keep=keep.total_seconds(),
                kept=plan["kept"],
                after=after,
                limit=_PRUNE_STRETCH,
            )
            deleted += int(done["deleted"])
            seen += done["seen"]
            after = done["next"]
            if progress:
                progress(seen, max(seen, plan["total"]) if after else seen)
            if after is None:
                return deleted

    # --- the schema and the vault ---------------------------------------------------------------

    def schema_version(self) -> int:
        """The version of cronguard's schema there; 0 if there is none."""
        try:
            return int(self._call("cronguard_schema_version", {}))
        except StoreConfigError as error:
            if error.code == "schema_missing":
                return 0
            raise

    def get_secret(self, name: str) -> str | None:
        """A secret out of Supabase Vault; None if there is none of that name.

        Only names that begin with ``cronguard_`` can be reached, here and below.
        """
        return cast("str | None", self._ask("cronguard_secret_get", name=name)["value"])

    def set_secret(self, name: str, value: str) -> None:
        """Put a secret into Vault, or replace it; its plaintext reaches no table and no log."""
        plain = value.encode()
        begun = self._ask("cronguard_secret_pad", name=name, length=len(plain))
        pad = bytes.fromhex(begun["pad"])
        masked = bytes(one ^ other for one, other in zip(plain, pad, strict=True))
        self._ask("cronguard_secret_set", name=name, ticket=begun["ticket"], masked=masked.hex())

    def unset_secret(self, name: str) -> bool:
        """Delete a secret from Vault; False if there was none."""
        return bool(self._ask("cronguard_secret_unset", name=name))

    def secrets(self) -> list[SecretRecord]:
        """cronguard's secrets in Vault, by name, with dates and without values."""
        return [
            SecretRecord(
                row["name"],
                datetime.fromisoformat(row["created_at"]),
                datetime.fromisoformat(row["updated_at"]),
            )
            for row in self._ask("cronguard_secrets")
        ]


# --- to JSON and back -----------------------------------------------------------------------------


def _run(run: Run) -> dict[str, Any]:
    owner, plan = run.owner, run.schedule
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
        "rules": [
            {
                "channel": rule.channel,
                "threshold": rule.threshold,
                "realert_every": rule.realert_every,
                "notify_recovery": rule.notify_recovery,
            }
            for rule in run.rules
        ],
        "max_runtime": run.max_runtime,
        "schedule": plan and _plan(plan),
        "runbook": run.runbook,
        "test_mode": run.test_mode,
    }


def _plan(plan: Schedule) -> dict[str, Any]:
    return {"cron": plan.cron, "timezone": plan.timezone, "grace": plan.grace}


def _due(due: DueAlert) -> dict[str, Any]:
    return {"key": due.key, "channel": due.channel, "threshold": due.threshold}


def _state(row: dict[str, Any] | None) -> JobState | None:
    if row is None:
        return None
    return JobState(
        row["consecutive_failure_count"],
        row["incident_id"],
        frozenset(row["announced"]),
        moment(row["last_success_at"]),
        row["last_counted_run"],
        moment(row["snoozed_until"]),
    )


def _watch(row: dict[str, Any]) -> Watch:
    plan = row["schedule"]
    return Watch(
        job=row["job"],
        rules=tuple(AlertRule(**rule) for rule in row["rules"]),
        schedule=Schedule(**plan) if plan else None,
        max_runtime=row["max_runtime"],
        runbook=row["runbook"],
        consecutive_failure_count=row["consecutive_failure_count"],
        last_success_at=moment(row["last_success_at"]),
        snoozed_until=moment(row["snoozed_until"]),
        judged_until=moment(row["judged_until"]),
        seen_until=moment(row["seen_until"]),
        running=tuple(_record(each) for each in row["running"]),
    )


def _outcome(outcome: Outcome) -> dict[str, Any]:
    failure = outcome.failure
    request: dict[str, Any] = {
        "status": outcome.status,
        "finished_at": rfc3339(outcome.finished_at),
        "duration": None if outcome.duration is None else round(outcome.duration, 6),
    }
    if failure is not None:
        request["error_type"] = _clean(failure.error_type)
        request["error_code"] = _clean(failure.error_code)
        request["error_message"] = _clean(failure.error_message)
        request["error_location"] = _clean(failure.error_location)
    return request


def _clean(text: str | None) -> str | None:
    """Without what PostgreSQL's text cannot hold: NUL and half surrogate pairs."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _record(row: dict[str, Any]) -> RunRecord:
    failure = None
    if row["error_type"] is not None:
        failure = Failure(
            row["error_type"], row["error_code"], row["error_message"], row["error_location"]
        )
    return RunRecord(
        run_id=row["run_id"],
        job=row["job"],
        status=row["status"],
        started_at=datetime.fromisoformat(row["started_at"]),
        finished_at=moment(row["finished_at"]),
        duration=row["duration"],
        consecutive_failure_count=row["consecutive_failure_count"],
        failure=failure,
        host=row["host"],
        pid=row["pid"],
    )


def _status(row: dict[str, Any]) -> JobStatus:
    last, cron = row["last_run"], row["schedule"]
    return JobStatus(
        job=row["job"],
        consecutive_failure_count=row["consecutive_failure_count"],
        last_run=_record(last) if last else None,
        last_success_at=moment(row["last_success_at"]),
        running=row["running"],
        snoozed_until=moment(row["snoozed_until"]),
        schedule=Schedule(cron, row["timezone"], row["grace"]) if cron else None,
        alerts_pending=row["alerts_pending"],
        alerts_dead=row["alerts_dead"],
    )
