"""The store contract on runs beside each other."""

from __future__ import annotations

from cronguard.testing.store_contract._case import StoreCase, everybody_died


class Overlaps(StoreCase):
    """Runs of one job beside each other: skipped, allowed, unlocked."""

    def test_skipped_changes_nothing(self) -> None:
        """While a run holds the job, another is skipped and carries the count unchanged."""
        self.play("failure")
        holder, late = self.run(), self.run()
        self.start(holder)
        answer = self.start(late)
        assert (answer.status, answer.held_by) == ("skipped", holder.run_id)
        if answer.holder is not None:
            assert answer.holder in self.store.history(holder.job)
            assert answer.holder.run_id == holder.run_id
        row = self.shown(late)
        assert (row.status, row.consecutive_failure_count) == ("skipped", 1)
        assert row.finished_at is not None
        assert self.finish(holder, "failure").consecutive_failure_count == 2

    def test_a_finished_run_holds_nothing(self) -> None:
        """The lease ends with the run."""
        self.play("failure")
        assert self.start(self.run()).status == "running"

    def test_overlap_allow_runs_beside_and_both_count(self) -> None:
        """allow starts anyway; a later skip still sees the lease."""
        first, second = self.run(), self.run(overlap="allow")
        assert [self.start(first).status, self.start(second).status] == ["running", "running"]
        assert self.store.jobs()[0].running == 2
        self.finish(first, "failure")
        assert self.start(self.run()).status == "skipped"
        assert self.finish(second, "failure").consecutive_failure_count == 2

    def test_runs_side_by_side_that_crash_are_each_counted(self) -> None:
        """Oldest first, each on its own row; what one of them says late is about its row alone."""
        gone = [self.run(overlap="allow") for _ in range(3)]
        for run in gone:
            self.start(run)
        after = self.run()
        assert self.start(after, everybody_died).consecutive_failure_count == 3
        rows = [self.shown(run) for run in gone]
        assert [row.consecutive_failure_count for row in rows] == [1, 2, 3]
        assert self.kinds() == ["failing"]
        assert self.finish(gone[0], "success").consecutive_failure_count == 0
        assert self.finish(gone[1], "failure").consecutive_failure_count == 2
        assert self.store.jobs()[0].consecutive_failure_count == 3
        assert self.finish(gone[2], "success").consecutive_failure_count == 0
        assert self.store.jobs()[0].consecutive_failure_count == 0
        assert self.finish(after, "failure").consecutive_failure_count == 1

    def test_a_start_beside_others_finds_the_dead_too(self) -> None:
        """With overlap="allow" no start depends on it, and it is counted all the same."""
        gone, after = self.run(overlap="allow"), self.run(overlap="allow")
        self.start(gone)
        assert self.start(after, everybody_died).consecutive_failure_count == 1
        assert self.shown(gone).status == "crashed"

    def test_unlocked_runs_both_end(self) -> None:
        """Each is recorded and counted as it ends, and neither holds the job afterwards."""
        first, second = self.run(), self.run()
        self.start(first)
        self.store.unlock(self.JOB)
        self.start(second)
        assert self.start(self.run()).held_by == second.run_id
        assert self.finish(second, "failure").consecutive_failure_count == 1
        assert self.finish(first, "failure").consecutive_failure_count == 2
        assert self.kinds() == ["failing"]
        assert self.start(self.run()).status == "running"

    def test_unlock_frees_the_job(self) -> None:
        """The next run starts, and the one that was freed may still finish."""
        holder = self.run()
        self.start(holder)
        assert self.store.unlock(self.JOB) == 1
        assert self.store.unlock(self.JOB) == 0
        assert self.start(self.run()).status == "running"
        assert self.finish(holder, "failure").consecutive_failure_count == 1
