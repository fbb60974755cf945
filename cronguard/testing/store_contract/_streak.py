"""The store contract on the streak."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from cronguard.core.model import Run
from cronguard.testing.store_contract._case import StoreCase


class Streak(StoreCase):
    """How a job's failures are counted."""

    def test_failures_count_up_and_success_resets_its_own_row(self) -> None:
        """previous + 1 after a failure, 0 after a success."""
        counts = self.play("failure", "failure", "success", "failure", "success")
        assert counts == [1, 2, 0, 1, 0]
        rows = self.store.history(self.JOB)
        assert [row.consecutive_failure_count for row in rows] == [0, 1, 0, 2, 1]

    def test_cancelled_changes_nothing(self) -> None:
        """A cancelled run carries the count on its row and leaves the streak alone."""
        assert self.play("failure", "cancelled", "failure") == [1, 1, 2]
        assert self.kinds() == ["failing"]

    def test_jobs_never_mix(self) -> None:
        """Each job has a streak and alerts of its own."""
        self.play("failure")
        self.play("failure", job=self.OTHER)
        assert self.play("failure") == [2]
        assert (self.kinds(), self.kinds(self.OTHER)) == (["failing"], [])

    def test_commit_order_counts_not_the_clock(self) -> None:
        """ "Previous" is the outcome committed before, whatever the start times say."""
        late, early = self.run(overlap="allow"), self.run(overlap="allow")
        early = early._replace(started_at=late.started_at - timedelta(hours=5))
        self.start(late)
        self.start(early)
        assert self.finish(late, "failure").consecutive_failure_count == 1
        assert self.finish(early, "failure").consecutive_failure_count == 2

    def test_parallel_failures_get_distinct_counts(self) -> None:
        """Outcomes committed at the same instant are counted one after another."""
        runs = [self.run(overlap="allow") for _ in range(24)]

        def fail(run: Run) -> int | None:
            self.start(run)
            return self.finish(run, "failure").consecutive_failure_count

        with ThreadPoolExecutor(8) as pool:
            counts = sorted(count or 0 for count in pool.map(fail, runs))
        assert counts == list(range(1, 25))
        assert self.kinds() == ["failing"]
