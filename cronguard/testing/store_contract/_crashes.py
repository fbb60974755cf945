"""The store contract on crashes."""

from __future__ import annotations

from datetime import timedelta

from cronguard.core.model import Settlement
from cronguard.testing.store_contract._case import (
    FAILURE,
    THERE,
    StoreCase,
    everybody_died,
    everybody_lives,
)


class Crashes(StoreCase):
    """Runs whose process is gone, and what they say should they be alive after all."""

    def test_a_dead_process_is_counted_at_the_next_start(self) -> None:
        """crashed counts like a failure, alerts like one, and frees the job."""
        self.play("failure")
        gone = self.run()
        self.start(gone)
        answer = self.start(self.run(), everybody_died)
        assert (answer.status, answer.consecutive_failure_count) == ("running", 2)
        assert answer.alerts_due
        row = self.shown(gone)
        assert (row.status, row.consecutive_failure_count, row.duration) == ("crashed", 2, None)
        assert row.failure.error_type == "Crashed"
        assert "the process ended before its run did" in row.failure.error_message
        (payload,) = self.payloads()
        assert (payload["run_id"], payload["error_type"]) == (gone.run_id, "Crashed")
        assert payload["started_at"] == "2026-01-01T00:02:00.000000Z"
        assert payload["duration_seconds"] is None

    def test_a_living_process_is_left_alone_whatever_its_lease(self) -> None:
        """In the same process space the process itself is judged."""
        self.start(self.run())
        self.let_pass(3600)
        assert self.start(self.run()).status == "skipped"

    def test_elsewhere_the_lease_decides(self) -> None:
        """A run of another space is alive until its lease runs out, and never judged by pid."""
        gone = self.run(owner=THERE)
        self.start(gone)
        assert self.start(self.run(), everybody_died).status == "skipped"
        self.let_pass(91)
        assert self.start(self.run(), everybody_lives).status == "running"
        assert self.shown(gone).status == "crashed"

    def test_a_long_lease_is_as_long_as_it_says(self) -> None:
        """Whatever the lease of those who look."""
        away = self.run(owner=THERE, lease=1800.0)
        self.start(away)
        assert self.start(self.run()).held_by == away.run_id
        self.let_pass(1790)
        assert self.start(self.run()).held_by == away.run_id
        self.let_pass(11)
        assert self.start(self.run()).status == "running"
        assert self.shown(away).status == "crashed"

    def test_a_clock_that_was_days_ahead_holds_nothing_up(self) -> None:
        """A lease, a claim or a back-off that it wrote is over when the clock is right again."""
        self.fail(2)
        away = self.run(owner=THERE)
        self.start(away)
        (claimed,) = self.store.claim_alerts(channels=["told"])
        self.let_pass(-3 * 86_400)
        assert self.start(self.run()).status == "running"
        assert self.shown(away).status == "crashed"
        (again,) = self.store.claim_alerts(channels=["told"])
        assert again.alert_id == claimed.alert_id

    def test_a_clock_that_was_hours_ahead_holds_up_no_alert(self) -> None:
        """As where a machine took its clock's local time for UTC: a claim or a back-off written
        then is over, the next run brings the news, and what is written now counts."""
        self.fail(2)
        (claimed,) = self.store.claim_alerts(channels=["told"])
        self.let_pass(-5 * 3600)
        run = self.run()
        assert self.start(run).alerts_due
        (again,) = self.store.claim_alerts(channels=["told"])
        assert again.alert_id == claimed.alert_id
        assert self.store.claim_alerts(channels=["told"], force=True) == []
        self.store.settle_alert(again, Settlement("pending", "http_503", 60.0))
        assert not self.finish(run, "failure").alerts_due
        assert self.store.claim_alerts(channels=["told"]) == []
        self.let_pass(61)
        assert self.start(self.run()).alerts_due
        assert len(self.store.claim_alerts(channels=["told"])) == 1

    def test_alerts_keep_the_order_in_which_they_were_decided(self) -> None:
        """Whatever the clock said when."""
        for job in (self.JOB, self.OTHER):
            self.play("failure", "failure", job=job)
            self.let_pass(-3600)
        assert [alert.job for alert in self.store.alerts()] == [self.OTHER, self.JOB]
        claimed = self.store.claim_alerts(channels=["told"], force=True)
        assert [delivery.job for delivery in claimed] == [self.JOB, self.OTHER]

    def test_a_heartbeat_keeps_a_run_alive(self) -> None:
        """Renewed leases count from now."""
        far = self.run(owner=THERE)
        self.start(far)
        self.let_pass(60)
        self.store.heartbeat([far.run_id], lease=90)
        self.let_pass(60)
        assert self.start(self.run()).status == "skipped"

    def test_crashed_then_success_resets_if_nothing_was_counted_since(self) -> None:
        """A run that was only thought dead ends its own incident."""
        gone, after = self._crash()
        assert self.finish(gone, "success").consecutive_failure_count == 0
        row = self.shown(gone)
        assert (row.status, row.failure, row.duration) == ("success", None, 5.0)
        assert self.finish(after, "failure").consecutive_failure_count == 1

    def test_crashed_then_success_after_a_later_outcome_changes_only_its_row(self) -> None:
        """What was counted since stands."""
        gone, after = self._crash()
        self.finish(after, "failure")
        assert self.finish(gone, "success").consecutive_failure_count == 0
        assert self.shown(gone).status == "success"
        job = self.store.jobs()[0]
        assert job.consecutive_failure_count == 2
        assert job.last_success_at == gone.started_at + timedelta(seconds=5)

    def test_a_success_told_late_does_not_set_the_last_one_back(self) -> None:
        """A run counted crashed that had succeeded before a later one did: its row says so, and the
        job last worked when the later one ended."""
        gone, after = self._crash()
        self.finish(after, "success")
        self.finish(gone, "success")
        worked = after.started_at + timedelta(seconds=5)
        (status,) = self.store.jobs()
        assert (status.last_success_at, status.consecutive_failure_count) == (worked, 0)
        assert self.shown(gone).status == "success"

    def test_crashed_then_failure_fills_in_the_error_and_counts_once(self) -> None:
        """It stays crashed, says why, and does not alert again."""
        gone, _ = self._crash()
        assert self.finish(gone, "failure").consecutive_failure_count == 1
        row = self.shown(gone)
        assert (row.status, row.failure) == ("crashed", FAILURE)
        assert self.store.jobs()[0].consecutive_failure_count == 1
        assert self.kinds() == []

    def test_crashed_then_cancelled_is_ignored(self) -> None:
        """Any other change to an ended run is ignored."""
        gone, _ = self._crash()
        self.finish(gone, "cancelled")
        assert self.shown(gone).status == "crashed"

    def test_a_skipped_run_that_ran_counts(self) -> None:
        """The answer to its start was lost, so it ran; whoever knew of the skip changes nothing."""
        holder, ran = self.run(), self.run()
        self.start(holder)
        assert self.start(ran).status == "skipped"
        assert self.finish(ran, "failure").consecutive_failure_count == 0
        assert self.finish(ran, "failure", started=False).consecutive_failure_count == 1
        assert self.finish(ran, "failure", started=False).consecutive_failure_count == 1
        assert self.shown(ran).status == "failure"
        assert self.finish(holder, "failure").consecutive_failure_count == 2
        assert self.kinds() == ["failing"]
