"""The promises of `cronguard.interfaces.Store`, as tests. Subclass, give `make_store`, run pytest.

The class is written against the protocol alone, so it runs unchanged on every store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cronguard.ids import new_id
from cronguard.interfaces import Store
from cronguard.model import (
    AlertRule,
    EndStatus,
    Failure,
    Finished,
    Missed,
    Outcome,
    Overrun,
    Owner,
    Run,
    Schedule,
    Settlement,
    Started,
    Watch,
)
from cronguard.testing.clock import FrozenClock

HERE = Owner("host-a", 100, "space-a", "1")
THERE = Owner("host-b", 100, "space-b", "1")
TOLD = AlertRule("told")
FAILURE = Failure("ValueError", "E42", "bad ‹…›", "jobs/a.py:3 in work")


def everybody_lives(_owner: Owner) -> bool:
    """No process is dead."""
    return False


def everybody_died(_owner: Owner) -> bool:
    """Every process of this space is dead."""
    return True


class StoreContract:
    """Subclass it, return your store from `make_store`; give `job` a prefix if tests share it."""

    JOB = "nightly.export"
    OTHER = "other:job"

    def make_store(self, clock: FrozenClock) -> Store:
        """An empty store that measures leases, claims and snoozes with ``clock``.

        A store with a clock of its own may ignore it: then override `let_pass`.
        """
        raise NotImplementedError("return an empty store")

    def let_pass(self, seconds: float) -> None:
        """Let time pass for leases, claims and snoozes."""
        self.clock.advance(seconds)

    @pytest.fixture(autouse=True)
    def _opened(self) -> Iterator[None]:
        self.clock = FrozenClock()
        self.store = self.make_store(self.clock)
        self._minute = 0
        yield
        self.store.close()

    # --- helpers --------------------------------------------------------------------------------

    def run(self, job: str | None = None, **changes: Any) -> Run:
        """A run that is about to start, a minute after the one before."""
        self._minute += 1
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=self._minute)
        run = Run(new_id(), job or self.JOB, moment, HERE, rules=(TOLD,))
        return run._replace(**changes)

    def start(self, run: Run, is_dead: Callable[[Owner], bool] = everybody_lives) -> Started:
        """Start it."""
        return self.store.start_run(run, is_dead=is_dead)

    def finish(
        self, run: Run, status: EndStatus, *, started: bool = True, failure: Failure = FAILURE
    ) -> Finished:
        """End it five seconds after its start."""
        outcome = Outcome(
            status,
            run.started_at + timedelta(seconds=5),
            5.0,
            failure if status == "failure" else None,
        )
        return self.store.finish_run(run, outcome, started=started)

    def play(
        self, *statuses: EndStatus, job: str | None = None, **changes: Any
    ) -> list[int | None]:
        """Run the job once for each status; the counts on the rows."""
        counts = []
        for status in statuses:
            run = self.run(job, **changes)
            self.start(run)
            counts.append(self.finish(run, status).consecutive_failure_count)
        return counts

    def fail(self, times: int, **changes: Any) -> None:
        """Let the job fail so many times in a row."""
        for _ in range(times):
            self.play("failure", **changes)

    def kinds(self, job: str | None = None) -> list[str]:
        """The kinds of alert decided for a job, oldest first."""
        return [alert.kind for alert in reversed(self.store.alerts(job=job or self.JOB))]

    def payloads(self, channels: tuple[str, ...] = ("told",)) -> list[dict[str, Any]]:
        """Claim everything and read it."""
        claimed = self.store.claim_alerts(channels=channels, force=True)
        return [json.loads(delivery.payload) for delivery in claimed]

    def shown(self, run: Run) -> Any:
        """The run's row."""
        rows = [row for row in self.store.history(run.job, limit=500) if row.run_id == run.run_id]
        return rows[0] if rows else None

    # --- the streak -----------------------------------------------------------------------------

    def test_failures_count_up_and_success_resets_its_own_row(self) -> None:
        """previous + 1 after a failure, 0 after a success."""
        counts = self.play("failure", "failure", "success", "failure", "success")
        assert counts == [1, 2, 0, 1, 0]
        rows = self.store.history(self.JOB)
        assert [row.consecutive_failure_count for row in rows] == [0, 1, 0, 2, 1]

    def test_cancelled_changes_nothing(self) -> None:
        """A cancelled run carries the count on its row and leaves the streak alone."""
        assert self.play("failure", "cancelled", "failure") == [1, 1, 2]
        assert self.kinds() == ["failing"]

    def test_jobs_never_mix(self) -> None:
        """Each job has a streak and alerts of its own."""
        self.play("failure")
        self.play("failure", job=self.OTHER)
        assert self.play("failure") == [2]
        assert (self.kinds(), self.kinds(self.OTHER)) == (["failing"], [])

    def test_commit_order_counts_not_the_clock(self) -> None:
        """ "Previous" is the outcome committed before, whatever the start times say."""
        late, early = self.run(overlap="allow"), self.run(overlap="allow")
        early = early._replace(started_at=late.started_at - timedelta(hours=5))
        self.start(late)
        self.start(early)
        assert self.finish(late, "failure").consecutive_failure_count == 1
        assert self.finish(early, "failure").consecutive_failure_count == 2

    def test_parallel_failures_get_distinct_counts(self) -> None:
        """Outcomes committed at the same instant are counted one after another."""
        runs = [self.run(overlap="allow") for _ in range(24)]

        def fail(run: Run) -> int | None:
            self.start(run)
            return self.finish(run, "failure").consecutive_failure_count

        with ThreadPoolExecutor(8) as pool:
            counts = sorted(count or 0 for count in pool.map(fail, runs))
        assert counts == list(range(1, 25))
        assert self.kinds() == ["failing"]

    # --- alerts ---------------------------------------------------------------------------------

    def test_alert_on_the_transition_only(self) -> None:
        """One alert at the threshold, none before it and none after."""
        self.play("failure")
        assert self.kinds() == []
        self.play("failure")
        assert self.kinds() == ["failing"]
        self.play("failure", "failure")
        assert self.kinds() == ["failing"]

    def test_realert_every(self) -> None:
        """Again at threshold + N, + 2N."""
        self.fail(8, rules=(AlertRule("told", 2, 3),))
        counts = [alert["consecutive_failure_count"] for alert in self.payloads()]
        assert counts == [2, 5, 8]
        assert self.kinds() == ["failing", "still_failing", "still_failing"]

    def test_each_channel_has_its_own_threshold(self) -> None:
        """Slack at 2, the pager at 4; each told once, with its own threshold."""
        rules = (AlertRule("told", 2), AlertRule("pager", 4))
        self.fail(5, rules=rules)
        found = self.payloads(("told", "pager"))
        assert [(a["consecutive_failure_count"], a["threshold"]) for a in found] == [(2, 2), (4, 4)]

    def test_a_lowered_threshold_is_made_up_for_at_the_next_failure(self) -> None:
        """An incident that has not been announced is announced late rather than never."""
        self.play("failure", "failure", "failure", rules=(AlertRule("told", 5),))
        self.play("failure", rules=(AlertRule("told", 2),))
        assert [a["consecutive_failure_count"] for a in self.payloads()] == [4]

    def test_recovery_is_told_to_those_who_were_told(self) -> None:
        """With notify_recovery: at the first success after an announced incident, once."""
        rules = (AlertRule("told", 2, None, notify_recovery=True), AlertRule("quiet", 2))
        self.play("failure", "success", rules=rules)
        assert self.kinds() == []
        self.play("failure", "failure", "success", "success", rules=rules)
        assert sorted(self.kinds()) == ["failing", "failing", "recovered"]
        recovered = next(a for a in self.payloads(("told", "quiet")) if a["kind"] == "recovered")
        assert recovered["consecutive_failure_count"] == 0

    def test_each_incident_has_a_recovery_of_its_own(self) -> None:
        """Told every time, to those who were told of that incident."""
        rules = (AlertRule("told", 2, None, notify_recovery=True),)
        self.play(*(("failure", "failure", "failure", "success") * 3), rules=rules)
        assert self.kinds() == ["failing", "recovered"] * 3

    def test_each_incident_is_announced_anew(self) -> None:
        """A success ends the incident."""
        self.play("failure", "failure", "success", "failure", "failure")
        assert self.kinds() == ["failing", "failing"]

    def test_test_mode_alerts_at_every_finish_and_counts_normally(self) -> None:
        """test_mode adds a test alert; the streak and its alerts are as ever."""
        self.play("success", "failure", "failure", test_mode=True)
        assert sorted(self.kinds()) == ["failing", "test", "test", "test"]
        assert [a["test"] for a in self.payloads()] == [True, True, False, True]

    def test_snooze_enqueues_nothing_and_is_made_up_for(self) -> None:
        """Snoozed failures are silent; the first one afterwards announces the incident."""
        self.play("failure")
        assert self.store.snooze(self.JOB, self.clock() + timedelta(hours=2))
        self.play("failure", "failure")
        assert self.kinds() == []
        assert self.store.jobs()[0].snoozed_until is not None
        assert self.store.snooze(self.JOB, None)
        self.play("failure")
        assert self.kinds() == ["failing"]

    def test_a_snooze_is_over_when_its_time_is(self) -> None:
        """Without anybody ending it."""
        self.play("failure")
        self.store.snooze(self.JOB, self.clock() + timedelta(hours=2))
        self.play("failure")
        assert self.kinds() == []
        self.let_pass(2 * 3600)
        self.play("failure")
        assert self.kinds() == ["failing"]
        assert not self.store.snooze("unknown", None)

    def test_payload_has_every_fact(self) -> None:
        """cronguard.alert/1, field for field."""
        self.play("success")
        run = self.run(runbook="https://example.org/r")
        self.play("failure")
        self.start(run)
        self.finish(run, "failure")
        (payload,) = self.payloads()
        alert_id = payload.pop("alert_id")
        assert payload == {
            "schema": "cronguard.alert/1",
            "kind": "failing",
            "job": self.JOB,
            "run_id": run.run_id,
            "consecutive_failure_count": 2,
            "threshold": 2,
            "error_type": "ValueError",
            "error_code": "E42",
            "error_message": "bad ‹…›",
            "error_location": "jobs/a.py:3 in work",
            "last_success_at": "2026-01-01T00:01:05.000000Z",
            "started_at": "2026-01-01T00:02:00.000000Z",
            "finished_at": "2026-01-01T00:02:05.000000Z",
            "duration_seconds": 5.0,
            "host": "host-a",
            "runbook": "https://example.org/r",
            "degraded": False,
            "test": False,
        }
        assert alert_id == self.store.alerts(job=self.JOB)[0].alert_id

    def test_last_success_is_null_before_the_first_and_survives_pruning(self) -> None:
        """last_success_at: the last success's end, whatever has been deleted since."""
        self.play("failure", "failure")
        assert self.payloads()[0]["last_success_at"] is None
        self.play("success", "failure", "failure")
        self.let_pass(100 * 86400)
        for _ in range(5):
            self.play("failure")
        self.store.prune(keep=timedelta(0))
        self.play("failure", rules=(AlertRule("told", 2, 1),))
        assert self.payloads()[-1]["last_success_at"] == "2026-01-01T00:03:05.000000Z"
        assert self.store.jobs()[0].last_success_at == datetime(2026, 1, 1, 0, 3, 5, tzinfo=UTC)

    # --- repeated, late and lost writes ---------------------------------------------------------

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

    def test_skipped_changes_nothing(self) -> None:
        """While a run holds the job, another is skipped and carries the count unchanged."""
        self.play("failure")
        holder, late = self.run(), self.run()
        self.start(holder)
        answer = self.start(late)
        assert (answer.status, answer.held_by) == ("skipped", holder.run_id)
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

    # --- crashes --------------------------------------------------------------------------------

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

    def test_a_heartbeat_keeps_a_run_alive(self) -> None:
        """Renewed leases count from now."""
        far = self.run(owner=THERE)
        self.start(far)
        self.let_pass(60)
        self.store.heartbeat([far.run_id], lease=90)
        self.let_pass(60)
        assert self.start(self.run()).status == "skipped"

    def _crash(self) -> tuple[Run, Run]:
        gone, after = self.run(), self.run()
        self.start(gone)
        self.start(after, everybody_died)
        return gone, after

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

    # --- what is expected -----------------------------------------------------------------------

    def watch(self, job: str | None = None) -> Watch:
        """What is expected of a job."""
        (found,) = [watch for watch in self.store.watches() if watch.job == (job or self.JOB)]
        return found

    def test_a_start_registers_what_is_expected(self) -> None:
        """Rules, runbook, max_runtime and schedule are kept with the job, and follow its starts."""
        rules = (TOLD, AlertRule("pager", 5, 3, notify_recovery=True))
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
        self.play("failure", rules=(TOLD,), max_runtime=None)
        watch = self.watch()
        assert (watch.rules, watch.schedule, watch.max_runtime) == ((TOLD,), None, None)
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
        assert not self.store.announce_missed(missed, (TOLD,))
        assert self.watch().judged_until == missed.judged_from
        self.store.snooze(self.JOB, None)
        assert self.overrun(run, 1)
        assert self.store.announce_missed(missed, (TOLD,))
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
        assert self.store.announce_missed(missed, (TOLD, AlertRule("pager", 5)))
        assert not self.store.announce_missed(missed, (TOLD,))
        watch = self.watch()
        assert (watch.judged_until, watch.seen_until) == (missed.judged_until, missed.seen_until)
        assert self.kinds() == ["missed", "missed"]
        (alert,) = self.payloads()
        assert (alert["kind"], alert["error_message"]) == ("missed", "3 missed")
        assert (alert["run_id"], alert["started_at"], alert["host"]) == (None, None, None)
        assert alert["last_success_at"].startswith("2026-01-01T00:01:05")
        assert alert["runbook"] == "https://example.org/r"
        assert self.store.announce_missed(self.missed(0), (TOLD,))
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
        assert self.watch().rules == (TOLD,)

    def test_what_was_told_without_the_store_is_not_told_again(self) -> None:
        """Not by the finish that brings it, not by the failures after it, for those channels."""
        rules = (TOLD, AlertRule("pager"))
        first, second, third = (self.run(rules=rules, overlap="allow") for _ in range(3))
        self.ended(first, told=("told",))
        assert self.kinds() == []
        self.ended(second)
        assert [(a.kind, a.channel) for a in self.store.alerts()] == [("failing", "pager")]
        self.ended(third)
        assert len(self.kinds()) == 1
        again = self.run(rules=(*rules, AlertRule("third", 4)), test_mode=True)
        self.ended(again, told=("third", "pager"))
        assert next((a.kind, a.channel) for a in self.store.alerts()) == ("test", "told")
        self.ended(self.run(rules=(AlertRule("pager", 1, 1),)), told=("pager",))
        assert len(self.store.alerts()) == 2

    def ended(self, run: Run, told: tuple[str, ...] = ()) -> Finished:
        """A run whose start was never stored failed, and some were told of it."""
        outcome = Outcome("failure", run.started_at, 0.0, FAILURE)
        return self.store.finish_run(run, outcome, started=False, told=told)

    def test_telling_comes_too_late_for_nobody(self) -> None:
        """A finish that was stored after all: what it enqueued for those told is not sent."""
        rules = (TOLD._replace(threshold=1), AlertRule("pager", 1))
        run = self.run(rules=rules)
        self.ended(run)
        self.ended(run, told=("told",))
        assert [a.channel for a in self.store.alerts(state="pending")] == ["pager"]
        assert self.store.watches()[0].consecutive_failure_count == 1

    def test_who_was_told_of_a_committed_outcome_is_not_told_of_its_incident_again(self) -> None:
        """Below the threshold too; but of the next incident."""
        run = self.run()
        self.ended(run)
        self.ended(run, told=("told",))
        self.fail(3)
        assert self.kinds() == []
        self.play("success")
        self.ended(run, told=("told",))
        self.fail(1)
        self.ended(run, told=("told",))
        self.fail(1)
        assert self.kinds() == ["failing"]

    def test_who_was_told_of_how_an_incident_began_is_not_told_of_it_again(self) -> None:
        """However many failures have been counted since."""
        rules = (AlertRule("told", 3),)
        first = self.run(rules=rules)
        self.ended(first)
        self.fail(1, rules=rules)
        self.ended(first, told=("told",))
        self.fail(2, rules=rules)
        assert self.kinds() == []

    def test_who_was_told_of_a_success_is_told_of_the_next_incident(self) -> None:
        """A run counted crashed that had succeeded after all, while others failed: telling of its
        success is no news of their failures."""
        gone, after = self._crash()
        late = Outcome("success", gone.started_at, 1.0)
        self.store.finish_run(gone, late, started=True, told=("told",))
        self.finish(after, "failure")
        self.fail(1)
        assert self.kinds() == ["failing"]

    # --- the outbox -----------------------------------------------------------------------------

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

    # --- to be shown, and housekeeping ----------------------------------------------------------

    def test_history_is_newest_first_and_limited(self) -> None:
        """The newest runs, whole."""
        self.play("success", "failure", "cancelled")
        rows = self.store.history(self.JOB, limit=2)
        assert [row.status for row in rows] == ["cancelled", "failure"]
        assert rows[1].failure == FAILURE
        assert (rows[1].duration, rows[1].host, rows[1].pid) == (5.0, "host-a", 100)
        assert self.store.history("unknown") == []

    def test_jobs_at_a_glance(self) -> None:
        """By name, with the last run that was not skipped, the streak and what is expected."""
        assert self.store.jobs() == []
        self.play("failure", job=self.OTHER)
        plan = Schedule("0 6 * * *", "Europe/Oslo", 60.0)
        self.play("success", schedule=plan)
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
        deleted = self.store.prune(keep=timedelta(days=1))
        assert deleted == 2
        assert [row.consecutive_failure_count for row in self.store.history(self.JOB)] == [3]
        assert self.shown(stuck).status == "running"
        assert len(self.store.alerts(state="pending")) == 1
        assert self.play("failure") == [4]

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
