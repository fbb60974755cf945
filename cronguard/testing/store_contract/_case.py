"""A store under test, and what every group of promises does with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cronguard.core.clock import new_id
from cronguard.core.interfaces import Store
from cronguard.core.model import (
    ChannelRule,
    EndStatus,
    Failure,
    Finished,
    Outcome,
    Owner,
    Run,
    Started,
)
from cronguard.testing.memory import FrozenClock

HERE = Owner("host-a", 100, "space-a", "1")
THERE = Owner("host-b", 100, "space-b", "1")
RULE = ChannelRule("told")
FAILURE = Failure("ValueError", "E42", "bad ‹…›", "jobs/a.py:3 in work")


def everybody_lives(_owner: Owner) -> bool:
    """No process is dead."""
    return False


def everybody_died(_owner: Owner) -> bool:
    """Every process of this space is dead."""
    return True


class StoreCase:
    """One store, opened for each test, and runs of two jobs to play on it."""

    JOB = "nightly.export"
    OTHER = "other:job"

    def make_store(self, clock: FrozenClock) -> Store:
        """Return an empty store that measures leases, claims and snoozes with ``clock``.

        A store with a clock of its own may ignore it: then override `let_pass`.
        """
        raise NotImplementedError("return an empty store")

    def damage(self, table: str, key: str) -> None:  # noqa: ARG002  # for those who say how
        """Make the row one that the store cannot have written, as a person might by hand.

        ``table`` is ``cronguard_jobs`` (``key`` is a job), ``cron_execution_logs`` (the id of a run
        that is going on) or ``cronguard_alerts`` (an alert's id), whatever yours are called.
        """
        pytest.skip("nobody but the store's own code writes to its rows")

    def let_pass(self, seconds: float) -> None:
        """Let time pass for leases, claims and snoozes."""
        self.clock.advance(seconds)

    @pytest.fixture(autouse=True)
    def _opened(self) -> Iterator[None]:
        self.clock = FrozenClock()
        self.store = self.make_store(self.clock)
        self._minute = 0
        yield
        self.store.close()

    def run(self, job: str | None = None, **changes: Any) -> Run:
        """A run that is about to start, a minute after the one before."""
        self._minute += 1
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=self._minute)
        run = Run(new_id(), job or self.JOB, moment, HERE, channels=(RULE,))
        return run._replace(**changes)

    def start(self, run: Run, is_dead: Callable[[Owner], bool] = everybody_lives) -> Started:
        """Start it."""
        return self.store.start_run(run, is_dead=is_dead)

    def finish(
        self, run: Run, status: EndStatus, *, started: bool = True, failure: Failure = FAILURE
    ) -> Finished:
        """End it five seconds after its start."""
        outcome = Outcome(
            status,
            run.started_at + timedelta(seconds=5),
            5.0,
            failure if status == "failure" else None,
        )
        return self.store.finish_run(run, outcome, started=started)

    def play(
        self, *statuses: EndStatus, job: str | None = None, **changes: Any
    ) -> list[int | None]:
        """Run the job once for each status; the counts on the rows."""
        counts = []
        for status in statuses:
            run = self.run(job, **changes)
            self.start(run)
            counts.append(self.finish(run, status).consecutive_failure_count)
        return counts

    def fail(self, times: int, **changes: Any) -> None:
        """Let the job fail so many times in a row."""
        for _ in range(times):
            self.play("failure", **changes)

    def kinds(self, job: str | None = None) -> list[str]:
        """The kinds of alert decided for a job, oldest first."""
        return [alert.kind for alert in reversed(self.store.alerts(job=job or self.JOB))]

    def payloads(self, channels: tuple[str, ...] = ("told",)) -> list[dict[str, Any]]:
        """Claim everything and read it."""
        claimed = self.store.claim_alerts(channels=channels, force=True)
        return [json.loads(delivery.payload) for delivery in claimed]

    def shown(self, run: Run) -> Any:
        """The run's row."""
        rows = [row for row in self.store.history(run.job, limit=500) if row.run_id == run.run_id]
        return rows[0] if rows else None

    def _crash(self) -> tuple[Run, Run]:
        gone, after = self.run(), self.run()
        self.start(gone)
        self.start(after, everybody_died)
        return gone, after
