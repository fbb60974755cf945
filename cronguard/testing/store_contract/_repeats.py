"""The store contract on repeated, late and lost writes."""

from __future__ import annotations

from cronguard.testing.store_contract._case import StoreCase


class Repeats(StoreCase):
    """Writes that come twice, late, or of whose start nothing is known."""

    def test_a_start_may_be_repeated_after_what_it_was_told(self) -> None:
        """Skipped stays skipped although the holder has ended since: the second answer is the one
        that is heard, and the row must say the same."""
        holder, late = self.run(), self.run()
        self.start(holder)
        assert self.start(late).status == "skipped"
        self.finish(holder, "success")
        again = self.start(late)
        assert (again.status, self.shown(late).status) == ("skipped", "skipped")
        after = self.run()
        assert self.start(after).status == "running"
        assert self.start(after).status == "running"

    def test_writes_may_be_repeated(self) -> None:
        """The second time changes nothing and answers alike."""
        self.play("failure")
        run = self.run()
        assert self.start(run).status == self.start(run).status == "running"
        first, second = self.finish(run, "failure"), self.finish(run, "failure")
        assert first.consecutive_failure_count == second.consecutive_failure_count == 2
        assert self.kinds() == ["failing"]
        assert len(self.store.history(self.JOB)) == 2

    def test_an_ended_run_stays_as_it_ended(self) -> None:
        """A second, different end is ignored."""
        run = self.run()
        self.start(run)
        self.finish(run, "failure")
        assert self.finish(run, "success").consecutive_failure_count == 1
        assert self.shown(run).status == "failure"
        assert self.store.jobs()[0].consecutive_failure_count == 1

    def test_a_finish_whose_start_was_never_stored_inserts_the_row(self) -> None:
        """The run is recorded whole, as a job's first run too."""
        run = self.run()
        assert self.finish(run, "failure", started=False).consecutive_failure_count == 1
        row = self.shown(run)
        assert (row.status, row.started_at, row.host) == ("failure", run.started_at, "host-a")
        assert self.play("failure") == [2]

    def test_a_finish_of_a_pruned_row_changes_nothing(self) -> None:
        """A row that was there and is gone is not counted a second time."""
        assert self.play("failure") == [1]
        run = self.run()
        assert self.finish(run, "failure", started=True).consecutive_failure_count is None
        assert self.shown(run) is None
        assert self.play("failure") == [2]
