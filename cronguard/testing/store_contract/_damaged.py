"""The store contract on rows that somebody else has written."""

from __future__ import annotations

from cronguard.core.expectations import statements
from cronguard.core.model import Settlement
from cronguard.testing.store_contract._case import RULE, THERE, StoreCase, everybody_lives


class Damages(StoreCase):
    """A row that cannot be what the store wrote is named, and stops no other job."""

    def test_nothing_that_the_store_wrote_is_damaged(self) -> None:
        """Jobs, runs and alerts in every state."""
        assert self.store.damaged() == []
        self.play("success", "failure", "failure", "crashed", "cancelled")
        self.play("failure", job="third", stated=statements(schedule="0 6 * * *", threshold=1))
        self.store.declare(self.OTHER, statements("settings", schedule="*/5 * * * *", grace=0.0))
        self.store.snooze(self.OTHER, self.clock.now)
        for settlement in (Settlement("dead", "http_410"), Settlement("pending", "http_503", 60.0)):
            (delivery,) = self.store.claim_alerts(channels=["told"], limit=1)
            self.store.settle_alert(delivery, settlement)
        for _ in range(2):
            self.start(self.run())
        assert self.store.damaged() == []

    def test_a_damaged_job_is_named(self) -> None:
        """By its table and its name, with what is wrong."""
        self.play("failure")
        self.damage("cronguard_jobs", self.JOB)
        (found,) = self.store.damaged()
        assert (found.table, found.key) == ("cronguard_jobs", self.JOB)
        assert self.JOB in found.row
        assert found.problem
        self._others_go_on()

    def test_a_damaged_run_is_named(self) -> None:
        """One that is going on, by its id."""
        run = self.run(owner=THERE, lease=1.0)
        self.start(run)
        self.damage("cron_execution_logs", run.run_id)
        (found,) = self.store.damaged()
        assert (found.table, found.key) == ("cron_execution_logs", run.run_id)
        self._others_go_on()

    def test_a_damaged_alert_is_named(self) -> None:
        """One that was not sent, by its id."""
        self.fail(2)
        (alert,) = self.store.alerts()
        self.damage("cronguard_alerts", alert.alert_id)
        (found,) = self.store.damaged()
        assert (found.table, found.key) == ("cronguard_alerts", alert.alert_id)
        self._others_go_on()

    def _others_go_on(self) -> None:
        """Their dead runs are counted, they start, finish, are alerted about and shown."""
        gone = self.run(self.OTHER, owner=THERE, lease=1.0)
        self.start(gone)
        self.let_pass(60.0)
        swept = self.store.sweep(THERE._replace(space="third"), is_dead=everybody_lives)
        assert gone.run_id in {run.run_id for run in swept}
        assert self.play("failure", job=self.OTHER) == [2]
        (delivery,) = self.store.claim_alerts(channels=[RULE.channel], job=self.OTHER)
        assert self.store.settle_alert(delivery, Settlement("sent"))
        assert [watch.job for watch in self.store.watches() if watch.job == self.OTHER]
        assert [status.job for status in self.store.jobs() if status.job == self.OTHER]
        assert [run.job for run in self.store.recent() if run.job == self.OTHER]
        assert [alert.job for alert in self.store.alerts() if alert.job == self.OTHER]
