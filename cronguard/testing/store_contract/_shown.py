"""The store contract on what is shown, and pruning."""

from __future__ import annotations

from datetime import timedelta

from cronguard.core.expectations import statements
from cronguard.core.model import Schedule, Settlement
from cronguard.testing.store_contract._case import FAILURE, StoreCase


class Shown(StoreCase):
    """What is shown of jobs and runs, and what pruning leaves."""

    def test_history_is_newest_first_and_limited(self) -> None:
        """The newest runs, whole."""
        self.play("success", "failure", "cancelled")
        rows = self.store.history(self.JOB, limit=2)
        assert [row.status for row in rows] == ["cancelled", "failure"]
        assert rows[1].failure == FAILURE
        assert (rows[1].duration, rows[1].host, rows[1].pid) == (5.0, "host-a", 100)
        assert self.store.history("unknown") == []

    def test_history_of_some_runs(self) -> None:
        """Of some statuses, or since some time; the limit counts what they leave."""
        self.play("failure", "success", "failure", "success")
        self.let_pass(3600)
        run = self.run()
        self.start(run)
        self.finish(run, "success")
        self.play("cancelled", job=self.OTHER)
        history = self.store.history
        assert [row.status for row in history(self.JOB, statuses=["failure"])] == ["failure"] * 2
        assert len(history(self.JOB, statuses=["failure"], limit=1)) == 1
        assert len(history(self.JOB, statuses=["failure", "success"])) == 5
        assert history(self.JOB, statuses=["crashed"]) == []
        since = run.started_at
        assert [row.run_id for row in history(self.JOB, since=since)] == [run.run_id]
        assert history(self.JOB, since=since, statuses=["failure"]) == []
        assert len(history(self.JOB, since=since - timedelta(days=1), limit=4)) == 4
        assert history(self.JOB, since=since + timedelta(microseconds=1)) == []

    def test_jobs_at_a_glance(self) -> None:
        """By name, with the last run that was not skipped, the streak and what is expected."""
        assert self.store.jobs() == []
        self.play("failure", job=self.OTHER)
        plan = Schedule("0 6 * * *", "Europe/Oslo", 60.0)
        self.play(
            "success", stated=statements(schedule=plan.cron, timezone=plan.timezone, grace=60.0)
        )
        assert [status.schedule for status in self.store.jobs()] == [plan, None]
        running = self.run()
        self.start(running)
        self.start(self.run())
        mine, other = self.store.jobs()
        assert (mine.job, other.job) == (self.JOB, self.OTHER)
        assert (mine.running, mine.last_run and mine.last_run.run_id) == (1, running.run_id)
        assert (mine.last_success_at is None, other.last_success_at is None) == (False, True)
        assert (other.consecutive_failure_count, other.running) == (1, 0)

    def test_prune_keeps_what_matters(self) -> None:
        """Ended runs go; the newest run, running ones and open alerts stay, the streak too."""
        self.play("failure", "failure", "failure")
        stuck = self.run(self.OTHER)
        self.start(stuck)
        self.let_pass(200 * 86400)
        for _ in range(2):
            would_delete = self.store.prune(keep=timedelta(days=1), dry_run=True)
        deleted = self.store.prune(keep=timedelta(days=1))
        assert deleted == would_delete
        assert deleted == 2
        assert [row.consecutive_failure_count for row in self.store.history(self.JOB)] == [3]
        assert self.shown(stuck).status == "running"
        assert len(self.store.alerts(state="pending")) == 1
        assert self.play("failure") == [4]

    def test_prune_keeps_the_newest_beside_a_job_that_never_ran(self) -> None:
        """Such a job has none to keep, which takes nothing from the others."""
        self.play("failure", "success")
        self.store.declare(self.OTHER, statements("settings", schedule="0 6 * * *"))
        self.let_pass(200 * 86400)
        assert self.store.prune(keep=timedelta(days=1)) == 1
        assert [row.status for row in self.store.history(self.JOB)] == ["success"]

    def test_prune_forgets_alerts_that_were_sent_long_ago(self) -> None:
        """Whatever else has become of an alert, it stays to be seen."""
        for job in (self.JOB, self.OTHER, "third"):
            self.play("failure", "failure", job=job)
        (sent,) = self.store.claim_alerts(channels=["told"], job=self.JOB)
        (dead,) = self.store.claim_alerts(channels=["told"], job=self.OTHER)
        self.store.settle_alert(sent, Settlement("sent"))
        self.store.settle_alert(dead, Settlement("dead", "http_410"))
        self.store.prune(keep=timedelta(days=1))
        assert len(self.store.alerts()) == 3
        self.let_pass(2 * 86400)
        self.store.prune(keep=timedelta(days=1))
        assert sorted(alert.state for alert in self.store.alerts()) == ["dead", "pending"]
