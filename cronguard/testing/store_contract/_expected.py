"""The store contract on what is expected of jobs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from cronguard.core.model import AlertRule, Missed, Overrun, Run, Schedule, Watch
from cronguard.testing.store_contract._case import (
    HERE,
    RULE,
    THERE,
    StoreCase,
    everybody_died,
    everybody_lives,
)


class Expected(StoreCase):
    """Schedules, runs that go on too long, and jobs that are forgotten."""

    def watch(self, job: str | None = None) -> Watch:
        """What is expected of a job."""
        (found,) = [watch for watch in self.store.watches() if watch.job == (job or self.JOB)]
        return found

    def test_a_start_registers_what_is_expected(self) -> None:
        """Rules, runbook, max_runtime and schedule are kept with the job, and follow its starts."""
        rules = (RULE, AlertRule("pager", 5, 3, notify_recovery=True))
        plan = Schedule("0 6 * * *", "Europe/Oslo", 300.0)
        known: dict[str, Any] = {"max_runtime": 60.0, "runbook": "https://example.org/runbook"}
        run = self.run(rules=rules, schedule=plan, **known)
        self.start(run)
        watch = self.watch()
        assert watch.rules == rules
        assert (watch.schedule, watch.max_runtime) == (plan, 60.0)
        assert watch.runbook == "https://example.org/runbook"
        assert watch.seen_until is None
        assert [record.run_id for record in watch.running] == [run.run_id]
        self.finish(run, "failure")
        self.play("failure", rules=(RULE,), max_runtime=None)
        watch = self.watch()
        assert (watch.rules, watch.schedule, watch.max_runtime) == ((RULE,), None, None)
        assert (watch.consecutive_failure_count, watch.running) == (2, ())

    def test_a_schedule_counts_from_its_registration(self) -> None:
        """The same one again changes nothing; another one counts from when it came."""
        plan = Schedule("0 6 * * *", "UTC", 300.0)
        self.play("success", schedule=plan)
        first = self.watch().judged_until
        self.let_pass(60)
        self.play("success", schedule=plan, max_runtime=7.0)
        assert self.watch().judged_until == first
        self.play("success", schedule=plan._replace(cron="0 7 * * *"))
        later = self.watch().judged_until
        assert first is not None
        assert later is not None
        assert later > first

    def test_a_job_is_declared_before_it_runs(self) -> None:
        """It is there, nobody is told of it yet, and repeating the declaration changes nothing."""
        plan = Schedule("0 6 * * *", "Europe/Oslo", 300.0)
        self.store.declare(self.JOB, plan)
        watch = self.watch()
        assert (watch.schedule, watch.rules, watch.consecutive_failure_count) == (plan, (), 0)
        assert [status.job for status in self.store.jobs()] == [self.JOB]
        self.let_pass(60)
        self.store.declare(self.JOB, plan)
        assert self.watch().judged_until == watch.judged_until

    def test_a_declared_schedule_outlives_starts_that_name_none(self) -> None:
        """And a start's own goes before it, until another one is declared."""
        declared = Schedule("0 6 * * *", "UTC", 300.0)
        own, new = declared._replace(cron="0 7 * * *"), declared._replace(cron="0 8 * * *")
        self.store.declare(self.JOB, declared)
        self.play("success", "success")
        assert self.watch().schedule == declared
        self.play("success", schedule=own)
        self.store.declare(self.JOB, declared)
        assert self.watch().schedule == own
        self.store.declare(self.JOB, new)
        assert self.watch().schedule == new

    def test_a_sweep_counts_the_dead_runs_of_every_job(self) -> None:
        """With the rules kept with each job; living ones and other spaces' leases are respected."""
        self.play("failure")
        dead, other = self.run(), self.run(self.OTHER)
        away = self.run(self.OTHER, owner=THERE, overlap="allow")
        for run in (dead, other, away):
            self.start(run)
        assert self.store.sweep(HERE, is_dead=everybody_lives) == []
        found = self.store.sweep(HERE, is_dead=everybody_died)
        assert [(record.run_id, record.status) for record in found] == [
            (dead.run_id, "crashed"),
            (other.run_id, "crashed"),
        ]
        assert self.shown(away).status == "running"
        assert (self.kinds(), self.kinds(self.OTHER)) == (["failing"], [])
        self.let_pass(91)
        assert [r.run_id for r in self.store.sweep(HERE, is_dead=everybody_lives)] == [away.run_id]
        assert self.kinds(self.OTHER) == ["failing"]
        assert self.store.sweep(HERE, is_dead=everybody_died) == []

    def test_starts_are_told_in_order(self) -> None:
        """Skipped ones too, later than a moment, as many as asked for."""
        runs = [self.run(overlap="skip") for _ in range(3)]
        for run in runs:
            self.start(run)
        self.play("success", job=self.OTHER)
        moments = [run.started_at for run in runs]
        before = moments[0] - timedelta(seconds=1)
        assert self.store.starts(self.JOB, after=before) == moments
        assert self.store.starts(self.JOB, after=moments[0]) == moments[1:]
        assert self.store.starts(self.JOB, after=before, limit=2) == moments[:2]
        assert self.store.starts("unknown", after=before) == []

    def overrun(self, run: Run, step: int) -> bool:
        """Announce that a run has passed its max_runtime of 10 s so many times."""
        found = Overrun(run.run_id, run.job, step, step * 10.0, f"{step} times 10 s")
        return self.store.announce_overrun(found, run.rules)

    def test_an_overrun_is_announced_once_a_step(self) -> None:
        """To every channel, while the run goes on; nothing lower after something higher."""
        self.play("failure", "success", "failure")
        run = self.run(runbook="https://example.org/r")
        self.start(run)
        assert self.overrun(run, 1)
        (alert,) = self.payloads()
        assert (alert["kind"], alert["run_id"], alert["job"]) == ("overrun", run.run_id, self.JOB)
        assert (alert["duration_seconds"], alert["error_message"]) == (10, "1 times 10 s")
        assert (alert["consecutive_failure_count"], alert["threshold"]) == (1, 2)
        assert alert["started_at"].startswith("2026-01-01T00:04:00")
        assert alert["last_success_at"].startswith("2026-01-01T00:02:05")
        assert (alert["host"], alert["runbook"]) == ("host-a", "https://example.org/r")
        assert alert["error_type"] is alert["finished_at"] is None
        for step in (1, 4, 2, 4, 8):
            self.overrun(run, step)
        assert self.kinds() == ["overrun"] * 3
        self.finish(run, "success")
        assert not self.overrun(self.run(), 1)
        self.overrun(run, 16)
        assert self.kinds() == ["overrun"] * 3

    def test_a_forgotten_run_is_not_told_of(self) -> None:
        """It goes on, and nothing is expected of it any more."""
        run = self.run()
        self.start(run)
        self.store.forget(self.JOB)
        assert not self.overrun(run, 1)
        assert self.store.alerts() == []

    def test_snooze_holds_back_what_is_expected(self) -> None:
        """No overrun is told meanwhile; what was missed stays to be judged."""
        run = self.run()
        self.start(run)
        self.store.snooze(self.JOB, self.clock() + timedelta(hours=1))
        assert not self.overrun(run, 1)
        missed = self.missed(1)
        assert not self.store.announce_missed(missed, (RULE,))
        assert self.watch().judged_until == missed.judged_from
        self.store.snooze(self.JOB, None)
        assert self.overrun(run, 1)
        assert self.store.announce_missed(missed, (RULE,))
        assert self.kinds() == ["overrun", "missed"]

    def missed(self, number: int) -> Missed:
        """So many occurrences missed, as of now."""
        before = self.watch().judged_until
        assert before is not None
        latest = before + timedelta(hours=2)
        sentence = f"{number} missed" if number else None
        return Missed(
            self.JOB, number, latest if number else None, sentence, before, latest, before
        )

    def test_missed_occurrences_are_announced_once(self) -> None:
        """One alert a channel and judgement; only the first of two that judge at once is heard."""
        self.play("success", runbook="https://example.org/r")
        missed = self.missed(3)
        assert self.store.announce_missed(missed, (RULE, AlertRule("pager", 5)))
        assert not self.store.announce_missed(missed, (RULE,))
        watch = self.watch()
        assert (watch.judged_until, watch.seen_until) == (missed.judged_until, missed.seen_until)
        assert self.kinds() == ["missed", "missed"]
        (alert,) = self.payloads()
        assert (alert["kind"], alert["error_message"]) == ("missed", "3 missed")
        assert (alert["run_id"], alert["started_at"], alert["host"]) == (None, None, None)
        assert alert["last_success_at"].startswith("2026-01-01T00:01:05")
        assert alert["runbook"] == "https://example.org/r"
        assert self.store.announce_missed(self.missed(0), (RULE,))
        assert len(self.kinds()) == 2

    def test_a_forgotten_job_is_gone_until_it_runs_again(self) -> None:
        """Its streak and open alerts too; its runs can still be read."""
        self.fail(2)
        self.play("failure", job=self.OTHER)
        assert self.store.forget(self.JOB)
        assert not self.store.forget(self.JOB)
        assert [status.job for status in self.store.jobs()] == [self.OTHER]
        assert self.kinds() == []
        assert len(self.store.history(self.JOB)) == 2
        assert self.play("failure") == [1]

    def test_a_job_forgotten_while_it_runs_comes_back_with_its_end(self) -> None:
        """The run is not lost, and does not stay open for ever."""
        run = self.run()
        self.start(run)
        self.store.forget(self.JOB)
        assert self.finish(run, "failure").consecutive_failure_count == 1
        assert self.shown(run).status == "failure"
        assert self.watch().rules == (RULE,)
