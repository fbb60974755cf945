"""The store contract on who was told without the store."""

from __future__ import annotations

from datetime import timedelta

from cronguard.core.model import ChannelRule, Finished, Outcome, Run
from cronguard.testing.store_contract._case import FAILURE, RULE, StoreCase


class Notified(StoreCase):
    """Channels that were told of an outcome without the store."""

    def test_what_was_told_without_the_store_is_not_told_again(self) -> None:
        """Not by the finish that brings it, not by the failures after it, for those channels."""
        rules = (RULE, ChannelRule("pager"))
        first, second, third = (self.run(channels=rules, overlap="allow") for _ in range(3))
        self.ended(first, notified=("told",))
        assert self.kinds() == []
        self.ended(second)
        assert [(a.kind, a.channel) for a in self.store.alerts()] == [("failing", "pager")]
        self.ended(third)
        assert len(self.kinds()) == 1
        again = self.run(channels=(*rules, ChannelRule("third", 4)), test_mode=True)
        self.ended(again, notified=("third", "pager"))
        assert next((a.kind, a.channel) for a in self.store.alerts()) == ("test", "told")
        self.ended(self.run(channels=(ChannelRule("pager", 1, 1),)), notified=("pager",))
        assert len(self.store.alerts()) == 2

    def ended(self, run: Run, notified: tuple[str, ...] = ()) -> Finished:
        """A run whose start was never stored failed, and some were told of it."""
        outcome = Outcome("failure", run.started_at, 0.0, FAILURE)
        return self.store.finish_run(run, outcome, started=False, notified=notified)

    def test_telling_comes_too_late_for_nobody(self) -> None:
        """A finish that was stored after all: what it enqueued for those told is not sent."""
        rules = (RULE._replace(threshold=1), ChannelRule("pager", 1))
        run = self.run(channels=rules)
        self.ended(run)
        self.ended(run, notified=("told",))
        assert [a.channel for a in self.store.alerts(state="pending")] == ["pager"]
        assert self.store.watches()[0].consecutive_failure_count == 1

    def test_who_was_told_of_a_committed_outcome_is_not_told_of_its_incident_again(self) -> None:
        """Below the threshold too; but of the next incident."""
        run = self.run()
        self.ended(run)
        self.ended(run, notified=("told",))
        self.fail(3)
        assert self.kinds() == []
        self.play("success")
        self.ended(run, notified=("told",))
        self.fail(1)
        self.ended(run, notified=("told",))
        self.fail(1)
        assert self.kinds() == ["failing"]

    def test_who_was_told_of_a_pruned_run_is_not_told_of_its_incident_again(self) -> None:
        """Its row is gone, and what the job remembers of it is not."""
        first, second = self.run(), self.run()
        self.ended(first)
        self.ended(second)
        self.let_pass(200 * 86400)
        self.store.prune(keep=timedelta(days=1))
        outcome = Outcome("failure", first.started_at, 0.0, FAILURE)
        notified = ("told", "pager")
        assert self.shown(first) is None
        self.store.finish_run(first, outcome, started=True, notified=notified)
        self.play("failure", channels=(RULE, ChannelRule("pager")))
        assert [alert.channel for alert in self.store.alerts()] == ["told"]

    def test_who_was_told_of_how_an_incident_began_is_not_told_of_it_again(self) -> None:
        """However many failures have been counted since."""
        rules = (ChannelRule("told", 3),)
        first = self.run(channels=rules)
        self.ended(first)
        self.fail(1, channels=rules)
        self.ended(first, notified=("told",))
        self.fail(2, channels=rules)
        assert self.kinds() == []

    def test_who_was_told_of_a_success_is_told_of_the_next_incident(self) -> None:
        """A run counted crashed that had succeeded after all, while others failed: telling of its
        success is no news of their failures."""
        gone, after = self._crash()
        late = Outcome("success", gone.started_at, 1.0)
        self.store.finish_run(gone, late, started=True, notified=("told",))
        self.finish(after, "failure")
        self.fail(1)
        assert self.kinds() == ["failing"]
