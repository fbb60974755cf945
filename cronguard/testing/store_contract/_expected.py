"""The store contract on what is expected of jobs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from cronguard.core.alert_rule import alert_rules
from cronguard.core.expectations import statements
from cronguard.core.model import AlertRule, ChannelRule, Expectations, Overrun, Run, Watch
from cronguard.testing.store_contract._case import (
    HERE,
    RULE,
    THERE,
    StoreCase,
    everybody_died,
    everybody_lives,
)

RULES = (AlertRule(RULE.channel),)


class Expected(StoreCase):
    """Schedules, runs that go on too long, and jobs that are forgotten."""

    def watch(self, job: str | None = None) -> Watch:
        """What is expected of a job."""
        (found,) = [watch for watch in self.store.watches() if watch.job == (job or self.JOB)]
        return found

    def declare(self, host: str = "host-a", **stated: Any) -> None:
        """Let a host's settings declare this of the job."""
        self.store.declare(self.JOB, statements("settings", **stated), host=host)

    def test_a_start_states_what_is_expected(self) -> None:
        """Everything is kept with the job, with who said it and since when, and its channels."""
        channels = (RULE, ChannelRule("pager", 5, 3))
        expected = Expectations(
            "0 6 * * *", "Europe/Oslo", 60.0, 90.0, 3, 7, True, "https://example.org/r"
        )
        run = self.run(channels=channels, stated=statements(**expected._asdict()))
        self.let_pass(60)
        started = self.start(run)
        watch = self.watch()
        assert (watch.expected, watch.channels) == (expected, channels)
        assert started.expected == expected
        assert started.channels == channels
        assert {each.origin for each in watch.sources.values()} == {"code"}
        assert len({each.since for each in watch.sources.values()}) == 1
        assert watch.sources.keys() == set(Expectations._fields)
        assert watch.silence is None
        assert [record.run_id for record in watch.running] == [run.run_id]

    def test_what_is_not_stated_is_kept(self) -> None:
        """A start by hand states nothing, and changes nothing; one may state a single thing."""
        stated = statements("command", schedule="0 6 * * *", max_runtime=60.0, threshold=3)
        self.play("success", stated=stated)
        before = self.watch()
        self.play("failure", channels=(ChannelRule("other", 1),))
        assert [alert.channel for alert in self.store.alerts()] == ["other"]
        after = self.watch()
        assert (after.expected, after.channels) == (before.expected, (RULE,))
        assert (after.sources, after.judged_until) == (before.sources, before.judged_until)
        self.let_pass(60)
        self.play("success", stated=statements("command", runbook="https://example.org/r"))
        after = self.watch()
        assert after.expected == before.expected._replace(runbook="https://example.org/r")
        assert after.sources["runbook"].since > before.sources["threshold"].since
        assert after.sources["threshold"] == before.sources["threshold"]

    def test_an_expectation_is_taken_back(self) -> None:
        """By stating the default; none for the schedule, and no limit for max_runtime."""
        self.play("success", stated=statements(schedule="0 6 * * *", threshold=3, max_runtime=9.0))
        taken_back = statements("command", schedule=None, threshold=2, max_runtime=None)
        self.play("success", stated=taken_back)
        assert self.watch().expected == Expectations(max_runtime=None)
        assert self.store.jobs()[0].schedule is None

    def test_the_threshold_is_the_jobs(self) -> None:
        """A start that states none goes by the one that is kept; a channel may have its own."""
        channels = (RULE, ChannelRule("pager", 4))
        self.play("failure", stated=statements(threshold=3, realert_every=2), channels=channels)
        self.fail(5, channels=channels)
        self.play("failure", channels=(ChannelRule("told", None, 0), ChannelRule("pager", 4)))
        found = [(each.kind, each.channel) for each in reversed(self.store.alerts())]
        assert found == [
            ("failing", "told"),
            ("failing", "pager"),
            ("still_failing", "told"),
            ("still_failing", "pager"),
        ]

    def test_a_skipped_start_changes_no_expectation(self) -> None:
        """Nor the channels."""
        self.start(self.run(stated=statements(threshold=3)))
        skipped = self.run(stated=statements(threshold=9), channels=(ChannelRule("other"),))
        assert self.start(skipped).status == "skipped"
        watch = self.watch()
        assert (watch.expected.threshold, watch.channels) == (3, (RULE,))

    def test_a_schedule_counts_from_its_registration(self) -> None:
        """The same one again changes nothing; another one counts from when it came."""
        self.play("success", stated=statements(schedule="0 6 * * *"))
        first = self.watch().judged_until
        self.let_pass(60)
        self.play("success", stated=statements(schedule="0 6 * * *", max_runtime=7.0))
        assert self.watch().judged_until == first
        self.play("success", stated=statements(schedule="0 7 * * *"))
        later = self.watch().judged_until
        assert first is not None
        assert later is not None
        assert later > first

    def test_a_job_is_declared_before_it_runs(self) -> None:
        """It is there, nobody is told of it yet, and repeating the declaration changes nothing."""
        plan: dict[str, Any] = {"schedule": "0 6 * * *", "timezone": "Europe/Oslo"}
        plan["threshold"] = 4
        self.declare(**plan)
        watch = self.watch()
        assert watch.expected == Expectations("0 6 * * *", "Europe/Oslo", threshold=4)
        assert (watch.channels, watch.consecutive_failure_count) == ((), 0)
        assert watch.sources.keys() == plan.keys()
        assert [status.job for status in self.store.jobs()] == [self.JOB]
        self.let_pass(60)
        self.declare(**plan)
        again = self.watch()
        assert (again.judged_until, again.sources) == (watch.judged_until, watch.sources)

    def test_a_declared_schedule_stands(self) -> None:
        """Beside code that gives none, and starts that state nothing; not beside one of code's."""
        code: dict[str, Any] = Expectations()._asdict()
        self.declare(schedule="0 6 * * *", timezone="Europe/Oslo", threshold=5)
        self.play("success")
        self.play("success", stated=statements(**code))
        expected = self.watch().expected
        assert expected == Expectations("0 6 * * *", "Europe/Oslo")  # the threshold is code's
        self.play("success", stated=statements(**code | {"schedule": "0 7 * * *"}))
        self.declare(schedule="0 6 * * *", timezone="Europe/Oslo", threshold=5)
        assert self.watch().expected == Expectations("0 7 * * *")
        self.declare(schedule="0 8 * * *", timezone="Europe/Oslo", threshold=5)
        assert self.watch().expected.schedule == "0 8 * * *"

    def test_a_declaration_comes_after_code_that_gave_no_schedule(self) -> None:
        """Whichever of the two was first, the job is expected."""
        self.play("success", stated=statements(**Expectations()._asdict()))
        for _ in range(2):
            self.declare(schedule="0 6 * * *", grace=60.0)
            assert self.watch().expected == Expectations("0 6 * * *", grace=60.0)
            self.play("success", stated=statements(**Expectations()._asdict()))
            assert self.watch().expected == Expectations("0 6 * * *", grace=60.0)

    def test_hosts_whose_settings_differ_do_not_take_turns(self) -> None:
        """Each is heard once, and again when it changes its mind, back to what it was included."""
        for host, cron in (("host-a", "0 6 * * *"), ("host-b", "0 7 * * *")):
            self.declare(host, schedule=cron, threshold=4)
        judged = self.watch().judged_until
        for host, cron in (("host-a", "0 6 * * *"), ("host-b", "0 7 * * *")) * 2:
            self.let_pass(60)
            self.declare(host, schedule=cron, threshold=4)
        self.declare("host-c", schedule="0 6 * * *")
        assert self.watch().expected.schedule == "0 7 * * *"
        assert self.watch().judged_until == judged
        self.declare("host-a", schedule="0 8 * * *")
        self.declare("host-a", schedule="0 6 * * *")
        assert self.watch().expected.schedule == "0 6 * * *"

    def test_what_a_start_stated_under_settings_stands(self) -> None:
        """Until a declaration changes."""
        self.declare(schedule="0 6 * * *")
        self.play("success", stated=statements("settings", schedule="0 8 * * *"))
        self.declare(schedule="0 6 * * *")
        assert self.watch().expected.schedule == "0 8 * * *"

    def test_codes_time_zone_goes_with_the_schedule_of_settings(self) -> None:
        """Where those name none; whichever of the two was first."""
        code = statements(**Expectations(timezone="Europe/Oslo")._asdict())
        wanted = Expectations("0 6 * * *", "Europe/Oslo")
        self.declare(schedule="0 6 * * *")
        self.play("success", stated=code)
        assert self.watch().expected == wanted
        self.play("success", stated=code, job=self.OTHER)
        self.store.declare(self.OTHER, statements("settings", schedule="0 6 * * *"), host="host-a")
        assert self.watch(self.OTHER).expected == wanted

    def test_channels_follow_starts_that_state_nothing(self) -> None:
        """Unless a start that stated something has named them."""
        other, third = ChannelRule("other"), ChannelRule("third")
        self.play("success")
        self.play("success", channels=(other,))
        assert self.watch().channels == (other,)
        self.play("success", channels=(RULE,), stated=statements(threshold=3))
        self.play("success", channels=(third,))
        assert self.watch().channels == (RULE,)
        self.play("success", channels=(), stated=statements(threshold=4))
        assert self.watch().channels == (RULE,)

    def test_what_an_unstored_start_stated_is_kept_at_its_end(self) -> None:
        """But not over what was stated since it started."""
        self.play("success", stated=statements(threshold=3))
        day = timedelta(days=1)
        for started, wanted in ((self.clock() - day, (3, 7.0)), (self.clock() + day, (5, 7.0))):
            stated = statements("command", threshold=5, max_runtime=7.0)
            self.finish(self.run(started_at=started, stated=stated), "success", started=False)
            expected = self.watch().expected
            assert (expected.threshold, expected.max_runtime) == wanted
        pruned = self.run(stated=statements(threshold=9))
        self.finish(pruned, "success")
        assert self.watch().expected == expected

    def test_statement_after_a_late_one(self) -> None:
        """A start that states the same as one which was told too late to hold is kept."""
        self.play("success", stated=statements(threshold=3))
        day = timedelta(days=1)
        late = self.run(started_at=self.clock() - day, stated=statements(threshold=5))
        self.finish(late, "success", started=False)
        assert self.watch().expected.threshold == 3
        self.play("success", stated=statements(threshold=5))
        assert self.watch().expected.threshold == 5

    def test_a_crash_is_told_to_those_who_are_kept_with_the_job(self) -> None:
        """Not to those of a start by hand that finds it."""
        self.play("failure", stated=statements(threshold=2, runbook="https://example.org/r"))
        self.start(self.run())
        by_hand = self.run(channels=(ChannelRule("other", 1),))
        self.start(by_hand, everybody_died)
        (alert,) = self.payloads()
        assert (alert["error_type"], alert["runbook"]) == ("Crashed", "https://example.org/r")
        assert self.payloads(("other",)) == []

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
        return self.store.announce_overrun(found, alert_rules(run.channels, Expectations()))

    def test_an_overrun_is_announced_once_a_step(self) -> None:
        """To every channel, while the run goes on; nothing lower after something higher."""
        self.play("failure", "success", "failure")
        run = self.run(stated=statements(runbook="https://example.org/r"))
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

    def test_snooze_holds_back_an_overrun(self) -> None:
        """It is announced by whoever looks afterwards."""
        run = self.run()
        self.start(run)
        self.store.snooze(self.JOB, self.clock() + timedelta(hours=1))
        assert not self.overrun(run, 1)
        self.store.snooze(self.JOB, None)
        assert self.overrun(run, 1)
        assert self.kinds() == ["overrun"]

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

    def test_a_job_forgotten_while_it_runs_is_still_held(self) -> None:
        """By the run that goes on: a start is skipped, and states nothing."""
        run = self.run()
        self.start(run)
        self.store.forget(self.JOB)
        skipped = self.start(self.run(stated=statements(threshold=9)))
        assert (skipped.status, skipped.held_by) == ("skipped", run.run_id)
        assert self.watch().expected == Expectations()
        assert self.finish(run, "failure").consecutive_failure_count == 1

    def test_a_run_killed_and_forgotten_is_counted(self) -> None:
        """On the job as its next start registers it, and told to that start's channels."""
        self.start(self.run())
        self.store.forget(self.JOB)
        after = self.run(channels=(ChannelRule("told", 1),), stated=statements(threshold=3))
        assert self.start(after, everybody_died).consecutive_failure_count == 1
        assert (self.kinds(), self.watch().expected.threshold) == (["failing"], 3)

    def test_a_job_forgotten_while_it_runs_comes_back_with_its_end(self) -> None:
        """The run is not lost, and does not stay open for ever."""
        run = self.run()
        self.start(run)
        self.store.forget(self.JOB)
        assert self.finish(run, "failure").consecutive_failure_count == 1
        assert self.shown(run).status == "failure"
        assert self.watch().channels == (RULE,)
