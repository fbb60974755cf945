"""The store contract on what is shown, and pruning."""

from __future__ import annotations

from datetime import timedelta

from cronguard.core.expectations import statements
from cronguard.core.model import Activity, EndStatus, Outcome, Run, Schedule, Settlement
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

    def test_recent_runs_of_every_job(self) -> None:
        """Each job's newest, as its history has them; none of a job that is forgotten."""
        assert self.store.recent() == []
        self.play("success", "failure", "cancelled", job=self.OTHER)
        self.play("success", "failure", "crashed")
        self.start(self.run())
        self.play("success", job="third")
        self.store.forget("third")
        for limit in (1, 2, 20):
            assert self.store.recent(limit=limit) == [
                *self.store.history(self.JOB, limit=limit),
                *self.store.history(self.OTHER, limit=limit),
            ]

    def test_activity_tells_of_runs_together(self) -> None:
        """Of one job, in one state, begun within one step: how many, from when to when, longest."""
        assert self.store.activity(since=self.run().started_at, step=60.0) == []
        first, second, third, fourth, other, last = (
            self.run(job) for job in (*[None] * 4, self.OTHER, None)
        )
        ended: list[tuple[Run, EndStatus, float | None]] = [
            (first, "success", 0.0),
            (second, "success", 7.5),
            (third, "failure", None),
            (fourth, "success", 3.25),
            (other, "success", 1.0),
        ]
        for run, status, took in ended:
            self.start(run)
            outcome = Outcome(status, run.started_at + timedelta(seconds=9), took, None)
            self.store.finish_run(run, outcome, started=True)
        self.start(last)
        step = 180.0
        assert self.store.activity(since=first.started_at, step=step) == [
            Activity(self.JOB, "success", 2, first.started_at, second.started_at, 7.5),
            Activity(self.JOB, "failure", 1, third.started_at, third.started_at, None),
            Activity(self.JOB, "success", 1, fourth.started_at, fourth.started_at, 3.25),
            Activity(self.JOB, "running", 1, last.started_at, last.started_at, None),
            Activity(self.OTHER, "success", 1, other.started_at, other.started_at, 1.0),
        ]
        later = second.started_at + timedelta(microseconds=1)
        assert [each.runs for each in self.store.activity(since=later, step=step)] == [1] * 4
        assert self.store.activity(since=second.started_at, step=step)[0].first == second.started_at

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
