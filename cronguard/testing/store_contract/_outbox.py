"""The store contract on the outbox."""

from __future__ import annotations

from cronguard.core.model import Settlement
from cronguard.testing.store_contract._case import StoreCase


class Outbox(StoreCase):
    """Alerts are claimed, settled and tried again."""

    def test_a_claimed_alert_is_nobody_elses(self) -> None:
        """Two claims never hand out the same alert, until the first one's time is up."""
        self.play("failure", "failure")
        (first,) = self.store.claim_alerts(channels=["told"], claim_for=10)
        assert first.attempt == 1
        assert not self.store.claim_alerts(channels=["told"], force=True)
        self.let_pass(11)
        (second,) = self.store.claim_alerts(channels=["told"])
        assert (second.alert_id, second.payload, second.attempt) == (
            first.alert_id,
            first.payload,
            2,
        )

    def test_only_the_last_claimer_may_settle(self) -> None:
        """A claim that was lost writes nothing."""
        self.play("failure", "failure")
        (first,) = self.store.claim_alerts(channels=["told"], claim_for=10)
        self.let_pass(11)
        (second,) = self.store.claim_alerts(channels=["told"])
        assert not self.store.settle_alert(first, Settlement("dead", "late"))
        assert self.store.settle_alert(second, Settlement("sent"))
        assert not self.store.settle_alert(second, Settlement("dead", "twice"))
        (shown,) = self.store.alerts()
        assert (shown.state, shown.attempts, shown.next_attempt_at) == ("sent", 2, None)
        assert shown.settled_at is not None

    def test_a_failed_try_waits_for_its_back_off_unless_forced(self) -> None:
        """retry_in holds an alert back; force does not mind."""
        self.play("failure", "failure")
        (claim,) = self.store.claim_alerts(channels=["told"])
        self.store.settle_alert(claim, Settlement("pending", "http_503", retry_in=60))
        assert not self.store.claim_alerts(channels=["told"])
        (shown,) = self.store.alerts()
        assert (shown.state, shown.error_code, shown.settled_at) == ("pending", "http_503", None)
        assert shown.next_attempt_at is not None
        assert 59 < (shown.next_attempt_at - shown.created_at).total_seconds() < 3600
        (forced,) = self.store.claim_alerts(channels=["told"], force=True)
        self.store.settle_alert(forced, Settlement("pending", "http_503", retry_in=60))
        self.let_pass(61)
        (free,) = self.store.claim_alerts(channels=["told"])
        self.store.settle_alert(free, Settlement("pending", "http_503", retry_in=0.0))
        assert len(self.store.claim_alerts(channels=["told"])) == 1

    def test_dead_letters_stay_until_they_are_asked_for(self) -> None:
        """dead alerts are shown and counted, and can be tried again."""
        self.play("failure", "failure")
        (claim,) = self.store.claim_alerts(channels=["told"])
        self.store.settle_alert(claim, Settlement("dead", "http_410"))
        assert not self.store.claim_alerts(channels=["told"], force=True)
        assert self.store.jobs()[0].alerts_dead == 1
        (again,) = self.store.claim_alerts(channels=["told"], force=True, state="dead")
        assert self.store.settle_alert(again, Settlement("sent"))

    def test_claims_are_for_own_channels_and_one_job_if_asked(self) -> None:
        """A process sends through the channels it has, and can keep to one job."""
        self.play("failure", "failure")
        self.play("failure", "failure", job=self.OTHER)
        assert not self.store.claim_alerts(channels=["elsewhere"])
        assert not self.store.claim_alerts(channels=[])
        (mine,) = self.store.claim_alerts(channels=["told"], job=self.OTHER)
        assert mine.job == self.OTHER
        (rest,) = self.store.claim_alerts(channels=["told"])
        assert rest.job == self.JOB

    def test_a_start_says_whether_alerts_wait(self) -> None:
        """alerts_due tells the next run that there is something to deliver."""
        assert not self.start(self.run(self.OTHER)).alerts_due
        self.play("failure")
        run = self.run()
        self.start(run)
        assert self.finish(run, "failure").alerts_due
        after = self.run()
        assert self.start(after).alerts_due
        assert self.finish(after, "success").alerts_due
        (claim,) = self.store.claim_alerts(channels=["told"])
        self.store.settle_alert(claim, Settlement("sent"))
        last = self.run()
        assert not self.start(last).alerts_due
        assert not self.finish(last, "success").alerts_due
