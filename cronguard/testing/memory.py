"""What a test runs on: a store in memory, and a clock that moves only when a test moves it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from cronguard.core.model import AlertKind
from cronguard.stores.sqlite.store import SQLiteStore

_utc_now: Callable[[], datetime] = partial(datetime.now, UTC)


class FrozenClock:
    """Call it for the time, an aware `datetime` in UTC; `advance` moves it, backwards too."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        if start.tzinfo is None:
            raise ValueError("a FrozenClock starts at an aware datetime: pass tzinfo=UTC")
        self.now = start

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta | float) -> datetime:
        """Move by a `timedelta` or by seconds; returns the new time."""
        self.now += by if isinstance(by, timedelta) else timedelta(seconds=by)
        return self.now

    def __repr__(self) -> str:
        return f"FrozenClock({self.now.isoformat()})"


class MemoryStore(SQLiteStore):
    """A `cronguard.core.interfaces.Store` that forgets everything with its process.

    It is the SQLite store on ``:memory:``. ``clock`` is what leases, claims and snoozes are
    measured with.
    """

    def __init__(self, *, clock: Callable[[], datetime] = _utc_now) -> None:
        super().__init__(":memory:", clock=clock)

    def payloads(self, kind: AlertKind | None = None) -> list[str]:
        """Return the frozen payloads decided so far, oldest first; None for every kind."""

        def work(db: sqlite3.Connection) -> list[str]:
            rows = db.execute(
                "SELECT payload FROM cronguard_alerts WHERE coalesce(kind = ?, TRUE)"
                " ORDER BY rowid",
                (kind,),
            )
            return [payload for (payload,) in rows]

        return self._file.read(work)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
