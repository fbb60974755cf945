"""The outbox of `plain_store.PlainStore`: alerts enqueued, claimed, settled, shown."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cronguard.core.model import (
    LONGEST_LEASE,
    LONGEST_PAUSE,
    AlertKind,
    AlertRecord,
    Delivery,
    DeliveryState,
    NewAlert,
    Settlement,
)
from cronguard.core.payload import encode


@dataclass(slots=True)
class _Outgoing:
    delivery: Delivery
    state: DeliveryState
    created_at: datetime
    due_at: datetime
    claimed_until: datetime | None = None
    settled_at: datetime | None = None
    error_code: str | None = None


class PlainOutbox:
    """Alerts by their key, oldest first. Whoever calls holds the store's lock."""

    def __init__(self) -> None:
        self._alerts: dict[str, _Outgoing] = {}

    def enqueue(self, now: datetime, alerts: Iterable[NewAlert]) -> None:
        """Write them, due at once; one whose key is known is left alone."""
        for key, channel, alert in alerts:
            if key not in self._alerts:
                known = (alert.alert_id, alert.job, channel, alert.kind)
                delivery = Delivery(*known, 0, encode(alert))
                self._alerts[key] = _Outgoing(delivery, "pending", now, now)

    def knows_any(self, keys: Collection[str]) -> bool:
        """Whether an alert was decided under one of these keys."""
        return not self._alerts.keys().isdisjoint(keys)

    def is_due(self, job: str, now: datetime) -> bool:
        """Whether there is an alert of the job whose time has come."""
        return any(
            out.state == "pending" and out.delivery.job == job and not _holds(out.due_at, out, now)
            for out in self._alerts.values()
        )

    def claim(
        self,
        now: datetime,
        *,
        channels: Sequence[str],
        job: str | None,
        force: bool,
        state: DeliveryState,
        limit: int,
        claim_for: float,
    ) -> list[Delivery]:
        """As `cronguard.core.interfaces.Store.claim_alerts`."""
        claimed: list[Delivery] = []
        for out in self._alerts.values():
            wanted = out.state == state and out.delivery.channel in channels
            if not wanted or (job is not None and out.delivery.job != job):
                continue
            if _holds(out.claimed_until, out, now):
                continue
            if not force and _holds(out.due_at, out, now):
                continue
            if len(claimed) == limit:
                break
            out.state = "pending"
            out.claimed_until = out.due_at = now + timedelta(seconds=claim_for)
            out.delivery = out.delivery._replace(attempt=out.delivery.attempt + 1)
            claimed.append(out.delivery)
        return claimed

    def settle(self, delivery: Delivery, settlement: Settlement, now: datetime) -> bool:
        """As `cronguard.core.interfaces.Store.settle_alert`."""
        for out in self._alerts.values():
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

    def settle_notified(self, run_id: str, notified: Collection[str], now: datetime) -> None:
        """Alerts of a run that wait for channels that have been told without the store."""
        for out in self._alerts.values():
            about = json.loads(out.delivery.payload)["run_id"]
            if (about, out.state) == (run_id, "pending") and out.delivery.channel in notified:
                out.state, out.settled_at = "sent", now

    def count(self, job: str, state: DeliveryState) -> int:
        """How many alerts of the job are in this state."""
        return sum(out.state == state and out.delivery.job == job for out in self._alerts.values())

    def records(self, state: DeliveryState | None, job: str | None) -> list[AlertRecord]:
        """Rows, newest first; None means every state, every job."""
        return [
            _shown(out)
            for out in reversed(self._alerts.values())
            if (state is None or out.state == state) and (job is None or out.delivery.job == job)
        ]

    def payloads(self, kind: AlertKind | None) -> list[str]:
        """The frozen payloads, oldest first; None for every kind."""
        return [
            out.delivery.payload
            for out in self._alerts.values()
            if kind is None or out.delivery.kind == kind
        ]

    def forget(self, job: str) -> None:
        """Alerts of the job that have not gone out are gone."""
        for key, out in list(self._alerts.items()):
            if out.delivery.job == job and out.state != "sent":
                del self._alerts[key]

    def prune(self, before: datetime) -> None:
        """Forget alerts that were sent long ago."""
        for key, out in list(self._alerts.items()):
            if out.state == "sent" and out.settled_at and out.settled_at < before:
                del self._alerts[key]


def is_to_come(moment: datetime | None, now: datetime, longest: float) -> bool:
    """Later than now; no further off than any that was written by a clock that is right."""
    return moment is not None and now < moment <= now + timedelta(seconds=longest)


def _holds(moment: datetime | None, out: _Outgoing, now: datetime) -> bool:
    """Whether an alert is left alone until then: not by a clock that has been put back since."""
    if moment is None or not is_to_come(moment, now, LONGEST_PAUSE):
        return False
    return moment < out.created_at or not now + timedelta(seconds=LONGEST_LEASE) < out.created_at


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
