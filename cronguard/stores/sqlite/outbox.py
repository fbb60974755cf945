"""The outbox in SQLite: alerts enqueued, claimed, settled, shown."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from cronguard.core.clock import moment, rfc3339
from cronguard.core.model import (
    LONGEST_LEASE,
    LONGEST_PAUSE,
    AlertRecord,
    Delivery,
    DeliveryState,
    NewAlert,
    Settlement,
)

_RECORD = """alert_id, job, channel, kind, state, attempts, created_at, due_at, settled_at,
    error_code"""


class Wanted(NamedTuple):
    """Which alerts to claim: the arguments of `cronguard.core.interfaces.Store.claim_alerts`."""

    channels: tuple[str, ...]
    job: str | None
    force: bool
    state: DeliveryState
    limit: int
    claim_for: float


def enqueue(db: sqlite3.Connection, now: datetime, alerts: Iterable[NewAlert]) -> None:
    """Write them, due at once; one whose key is known is left alone."""
    from cronguard.core.payload import encode  # only when an alert is sent

    at = rfc3339(now)
    db.executemany(
        """INSERT INTO cronguard_alerts
               (alert_id, alert_key, job, run_id, channel, kind, payload, due_at, created_at)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (alert_key) DO NOTHING""",
        [
            (
                *(alert.alert_id, key, alert.job, alert.run_id, channel, alert.kind),
                *(encode(alert), at, at),
            )
            for key, channel, alert in alerts
        ],
    )


def _over(column: str) -> str:
    """Return the condition that a pause is over, with `_now` for its values.

    Its end has come, or was written by a clock that has been put back since.
    """
    return f"({column} <= ? OR {column} > ? OR (created_at > ? AND {column} >= created_at))"


def _now(now: datetime) -> tuple[str, str, str]:
    later = (now + timedelta(seconds=seconds) for seconds in (0, LONGEST_PAUSE, LONGEST_LEASE))
    at, far, ahead = map(rfc3339, later)
    return at, far, ahead


def is_due(db: sqlite3.Connection, job: str, now: datetime) -> bool:
    """Tell whether there is an alert of the job whose time has come."""
    query = (
        f"SELECT 1 FROM cronguard_alerts WHERE job = ? AND state = 'pending' AND {_over('due_at')}"  # noqa: S608  # a constant of this module
    )
    return db.execute(query, (job, *_now(now))).fetchone() is not None


def claim(db: sqlite3.Connection, wanted: Wanted, now: datetime) -> list[Delivery]:
    """Take what is due; oldest first."""
    until = rfc3339(now + timedelta(seconds=wanted.claim_for))
    marks = ", ".join("?" * len(wanted.channels))
    found = db.execute(
        f"""SELECT alert_id, job, channel, kind, attempts + 1, payload FROM cronguard_alerts
            WHERE state = ? AND channel IN ({marks}) AND (? IS NULL OR job = ?)
              AND (claimed_until IS NULL OR {_over("claimed_until")})
              AND (? OR {_over("due_at")})
            ORDER BY rowid LIMIT ?""",  # noqa: S608  # only question marks are put in
        (
            *(wanted.state, *wanted.channels, wanted.job, wanted.job),
            *(*_now(now), wanted.force, *_now(now), wanted.limit),
        ),
    ).fetchall()
    db.executemany(
        """UPDATE cronguard_alerts
           SET state = 'pending', attempts = ?, claimed_until = ?, due_at = ?
           WHERE alert_id = ?""",
        [(attempt, until, until, alert_id) for alert_id, _, _, _, attempt, _ in found],
    )
    return [Delivery(*row) for row in found]


def settle(
    db: sqlite3.Connection, delivery: Delivery, settlement: Settlement, now: datetime
) -> bool:
    """Write what became of a try, unless the claim was lost."""
    changed = db.execute(
        """UPDATE cronguard_alerts
           SET state = ?, error_code = ?, claimed_until = NULL, due_at = ?, settled_at = ?
           WHERE alert_id = ? AND attempts = ? AND state = 'pending'""",
        (
            settlement.state,
            settlement.error_code,
            rfc3339(now + timedelta(seconds=settlement.retry_in or 0)),
            None if settlement.state == "pending" else rfc3339(now),
            delivery.alert_id,
            delivery.attempt,
        ),
    )
    return changed.rowcount == 1


def settle_notified(
    db: sqlite3.Connection, run_id: str, notified: Collection[str], now: datetime
) -> None:
    """Settle the alerts of a run for channels that were notified without the store."""
    db.executemany(
        """UPDATE cronguard_alerts SET state = 'sent', settled_at = ?
           WHERE run_id = ? AND channel = ? AND state = 'pending'""",
        [(rfc3339(now), run_id, channel) for channel in notified],
    )


def alerts(
    db: sqlite3.Connection, state: DeliveryState | None, job: str | None, limit: int
) -> list[AlertRecord]:
    """Return outbox rows, newest first."""
    found = db.execute(
        f"""SELECT {_RECORD}
            FROM cronguard_alerts WHERE (? IS NULL OR state = ?) AND (? IS NULL OR job = ?)
            ORDER BY rowid DESC LIMIT ?""",  # noqa: S608  # a constant of this module
        (state, state, job, job, limit),
    )
    from cronguard.core.damage import readable  # not on a run's path

    return readable(found, record_of)


def open_rows(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Return the alerts that were not sent, newest first, for `record_of`."""
    return db.execute(
        f"SELECT {_RECORD} FROM cronguard_alerts WHERE state <> 'sent' ORDER BY rowid DESC"  # noqa: S608  # a constant of this module
    ).fetchall()


def record_of(row: tuple[Any, ...]) -> AlertRecord:
    """Return an outbox row as it is shown."""
    return AlertRecord(
        alert_id=row[0],
        job=row[1],
        channel=row[2],
        kind=row[3],
        state=row[4],
        attempts=row[5],
        created_at=datetime.fromisoformat(row[6]),
        next_attempt_at=moment(row[7]) if row[4] == "pending" else None,
        settled_at=moment(row[8]),
        error_code=row[9],
    )


def prune(db: sqlite3.Connection, before: str) -> None:
    """Forget alerts that were sent long ago."""
    db.execute("DELETE FROM cronguard_alerts WHERE state = 'sent' AND settled_at < ?", (before,))
