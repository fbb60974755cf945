"""What PostgreSQL and Supabase have in common: every call is one of the migration's functions.

Each takes one JSON object and answers with JSON; all rules are in SQL. See ``sql/postgres``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

from cronguard.core.alert_rule import later_step_keys, overrun_alerts
from cronguard.core.clock import rfc3339, rfc3339_or_none
from cronguard.core.damage import Damaged, damaged_rows, readable
from cronguard.core.errors import StoreConfigError, StoreError
from cronguard.core.model import (
    MOST_ALERTS,
    Activity,
    AlertRecord,
    AlertRule,
    Delivery,
    DeliveryState,
    Finished,
    JobStatus,
    Missed,
    Outcome,
    Overrun,
    Owner,
    Run,
    RunRecord,
    RunStatus,
    Settlement,
    Started,
    Statement,
    Watch,
)
from cronguard.stores.server.schema import SCHEMA_VERSION
from cronguard.stores.server.values import (
    activity_of,
    alert_of,
    channels_of,
    due_json,
    held_of,
    missed_json,
    outcome_json,
    record_of,
    run_json,
    state_of,
    statements_json,
    status_of,
    watch_of,
)
from cronguard.stores.server.vault import SecretRecord

_PRUNE_STRETCH = 2_000


class FunctionStore:
    """A `cronguard.core.interfaces.Store` whose every method calls SQL functions.

    Subclasses say how one is called.
    """

    bounded = False

    def _call(self, function: str, request: dict[str, Any]) -> Any:
        """Call ``public.<function>(request)`` and return its JSON; raises `StoreError` only."""
        raise NotImplementedError

    def _error(self, code: str) -> StoreError:
        """Return the error for a code of `cronguard.stores.server.errors`."""
        raise NotImplementedError

    def _ask(self, function: str, **request: Any) -> Any:
        return self._call(function, {"schema": SCHEMA_VERSION, **request})

    # --- runs -----------------------------------------------------------------------------------

    def start_run(
        self, run: Run, *, is_dead: Callable[[Owner], bool], ended: Collection[str] = ()
    ) -> Started:
        request = run_json(run) | _ended_json(ended)
        answer = self._judging("cronguard_start_run", request, is_dead)
        holder = answer.get("holder")
        return Started(
            answer["status"],
            answer["consecutive_failure_count"],
            answer["held_by"],
            answer["alerts_due"],
            (state := state_of(answer.get("state"))),
            state.expected if state else None,
            channels_of(answer.get("channels")),
            next(iter(readable([holder], record_of)), None) if holder else None,
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
        self, run: Run, outcome: Outcome, *, started: bool, notified: Collection[str] = ()
    ) -> Finished:
        request = run_json(run)
        request["started"] = started
        request["outcome"] = outcome_json(outcome)
        if notified:
            request["notified"] = sorted(notified)
        answer = self._call("cronguard_finish_run", request)
        return Finished(
            answer["consecutive_failure_count"], answer["alerts_due"], state_of(answer.get("state"))
        )

    def heartbeat(
        self, run_ids: Sequence[str], *, lease: float, ended: Collection[str] = ()
    ) -> None:
        said = _ended_json(ended)
        self._ask("cronguard_heartbeat", run_ids=list(run_ids), lease=lease, **said)

    def unlock(self, job: str) -> int:
        return int(self._ask("cronguard_unlock", job=job))

    # --- what is expected -----------------------------------------------------------------------

    def sweep(
        self, owner: Owner, *, is_dead: Callable[[Owner], bool], ended: Collection[str] = ()
    ) -> list[RunRecord]:
        request = {"schema": SCHEMA_VERSION, "space": owner.space, **_ended_json(ended)}
        answer = self._judging("cronguard_sweep", request, is_dead)
        return readable(answer["crashed"], record_of)

    def declare(self, job: str, stated: Sequence[Statement], *, host: str = "") -> None:
        self._ask("cronguard_declare", job=job, stated=statements_json(stated), host=host)

    def watches(self) -> list[Watch]:
        return readable(self._ask("cronguard_watches"), watch_of)

    def damaged(self) -> list[Damaged]:
        jobs = self._ask("cronguard_watches")
        alerts = [
            row
            for state in ("dead", "pending")
            for row in self._ask("cronguard_alerts_list", state=state, limit=MOST_ALERTS)
        ]
        return damaged_rows(
            [
                *(("cronguard_jobs", row["job"], partial(watch_of, row)) for row in jobs),
                *(
                    ("cron_execution_logs", run["run_id"], partial(held_of, run))
                    for row in jobs
                    for run in row["running"]
                ),
                *(("cronguard_alerts", row["alert_id"], partial(alert_of, row)) for row in alerts),
            ]
        )

    def starts(self, job: str, *, after: datetime, limit: int = 10_000) -> list[datetime]:
        found = self._ask("cronguard_starts", job=job, after=rfc3339(after), limit=limit)
        return [datetime.fromisoformat(each) for each in found]

    def announce_overrun(self, overrun: Overrun, rules: Sequence[AlertRule]) -> bool:
        return bool(
            self._ask(
                "cronguard_announce_overrun",
                run_id=overrun.run_id,
                alerts=[
                    {**due_json(each), "later": later_step_keys(overrun, each.channel)}
                    for each in overrun_alerts(overrun, rules)
                ],
                elapsed=round(overrun.elapsed, 6),
                message=overrun.message,
            )
        )

    def announce_missed(self, missed: Missed, rules: Sequence[AlertRule]) -> bool:
        return bool(self._ask("cronguard_announce_missed", **missed_json(missed, rules)))

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
        return readable(found, alert_of)

    # --- to be shown, and housekeeping ----------------------------------------------------------

    def jobs(self) -> list[JobStatus]:
        return readable(self._ask("cronguard_status"), status_of)

    def history(
        self,
        job: str,
        *,
        limit: int = 20,
        statuses: Collection[RunStatus] = (),
        since: datetime | None = None,
    ) -> list[RunRecord]:
        only: dict[str, Any] = {"statuses": sorted(statuses)} if statuses else {}
        if since is not None:
            only["since"] = rfc3339(since)
        found = self._ask("cronguard_history", job=job, limit=limit, **only)
        return readable(found, record_of)

    def recent(self, *, limit: int = 20) -> list[RunRecord]:
        return readable(self._ask("cronguard_recent", limit=limit), record_of)

    def activity(self, *, since: datetime, step: float) -> list[Activity]:
        found = self._ask("cronguard_activity", since=rfc3339(since), step=step)
        return readable(found, activity_of)

    def snooze(self, job: str, until: datetime | None) -> bool:
        return bool(self._ask("cronguard_snooze", job=job, until=rfc3339_or_none(until)))

    def prune(
        self,
        *,
        keep: timedelta,
        progress: Callable[[int, int], None] | None = None,
        dry_run: bool = False,
    ) -> int:
        plan = self._ask("cronguard_prune_plan")
        after, deleted, seen = None, 0, 0
        while True:
            done = self._ask(
                "cronguard_prune",
                keep=keep.total_seconds(),
                kept=plan["kept"],
                after=after,
                limit=_PRUNE_STRETCH,
                **({"dry_run": True} if dry_run else {}),
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
        """Return the version of cronguard's schema there; 0 if there is none."""
        try:
            return int(self._call("cronguard_schema_version", {}))
        except StoreConfigError as error:
            if error.code == "schema_missing":
                return 0
            raise

    def schema_problem(self) -> StoreError | None:
        """Return what is wrong with the schema or its database where calls may work all the same.

        A newer schema than this cronguard's (code ``schema_newer``), whose functions serve older
        clients as before, or another encoding than UTF-8 (``wrong_encoding``). None: nothing.
        """
        return self._error("CG002") if self.schema_version() > SCHEMA_VERSION else None

    def get_secret(self, name: str) -> str | None:
        """Return a secret out of Supabase Vault; None if there is none of that name.

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
        """Return cronguard's secrets in Vault, by name, with dates and without values."""
        return [
            SecretRecord(
                row["name"],
                datetime.fromisoformat(row["created_at"]),
                datetime.fromisoformat(row["updated_at"]),
            )
            for row in self._ask("cronguard_secrets")
        ]


def _ended_json(ended: Collection[str]) -> dict[str, Any]:
    """Return the runs that have ended; nothing where there are none, as most often."""
    return {"ended": sorted(ended)} if ended else {}
