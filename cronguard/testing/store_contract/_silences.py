"""Silences: occurrences of a schedule that nobody kept, told of once until a start ends them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cronguard.core.alert_rule import alert_rules
from cronguard.core.expectations import statements
from cronguard.core.model import (
    AlertRule,
    ChannelRule,
    Expectations,
    Missed,
    Run,
    Silence,
    Watch,
)
from cronguard.testing.store_contract._case import RULE, StoreCase

RULES = alert_rules((RULE,), Expectations())
EARLY = timedelta(seconds=10)
STATED = statements(schedule="0 6 * * *", notify_recovery=True)


class Silences(StoreCase):
    """What a store does with what was missed."""

    def _watch(self) -> Watch:
        (found,) = [watch for watch in self.store.watches() if watch.job == self.JOB]
        return found

    def _silence(self) -> Silence | None:
        return self._watch().silence

    def _missed(self, number: int = 1, *, over: bool = False, goes_on: bool = False) -> Missed:
        """So many occurrences missed, the first two hours after what was judged before."""
        watch = self._watch()
        before = watch.judged_until
        assert before is not None
        known = watch.silence if goes_on else None
        first = before + timedelta(hours=2)
        latest = first + timedelta(hours=number)
        silence = Silence(first, number, over)
        if known is not None:
            silence = known._replace(missed=known.missed + number, over=over)
        return Missed(
            self.JOB,
            number,
            latest,
            f"{number} missed",
            before,
            latest,
            silence,
            known.missed if known else 0,
        )

    def _silent(self, *rules: AlertRule, number: int = 1) -> datetime:
        """Let the job fall silent; return since when."""
        missed = self._missed(number)
        assert missed.silence is not None
        assert self.store.announce_missed(missed, rules or RULES)
        return missed.silence.since

    def _start_at(self, moment: datetime, **changes: Any) -> Run:
        run = self.run(started_at=moment, **changes)
        self.start(run)
        return run

    def test_a_silence_is_announced_once(self) -> None:
        """To every channel; only the first of two that judge at once is heard."""
        self.play("success", stated=statements(runbook="https://example.org/r"))
        missed = self._missed(3)
        assert self.store.announce_missed(missed, (*RULES, AlertRule("pager", 5)))
        assert not self.store.announce_missed(missed, RULES)
        watch = self._watch()
        assert watch.judged_until == missed.judged_until
        assert missed.silence is not None
        assert watch.silence == missed.silence._replace(announced=frozenset({"told", "pager"}))
        assert self.kinds() == ["missed", "missed"]
        (alert,) = self.payloads()
        assert (alert["kind"], alert["error_message"]) == ("missed", "3 missed")
        assert (alert["run_id"], alert["started_at"], alert["host"]) == (None, None, None)
        assert alert["last_success_at"].startswith("2026-01-01T00:01:05")
        assert alert["runbook"] == "https://example.org/r"

    def test_nothing_missed_leaves_the_silence_alone(self) -> None:
        """Only how far was judged is noted."""
        self.play("success")
        self._silent()
        before = self._watch()
        assert before.judged_until is not None
        until = before.judged_until + timedelta(hours=1)
        calm = Missed(self.JOB, 0, None, None, before.judged_until, until)
        assert self.store.announce_missed(calm, RULES)
        assert self._watch()._replace(judged_until=before.judged_until) == before
        assert self.kinds() == ["missed"]

    def test_a_silence_that_goes_on_is_told_of_by_the_rule(self) -> None:
        """Every so many further occurrences, and not at all without `realert_every`."""
        self.play("success")
        often = AlertRule("often", 2, 3)
        since = self._silent(*RULES, often)
        for total in (2, 3, 4, 5, 9, 10):
            step = self._missed(total - getattr(self._silence(), "missed", 0), goes_on=True)
            assert self.store.announce_missed(step, (*RULES, often))
        assert self._silence() == Silence(since, 10, False, frozenset({"told", "often"}))
        found = [(alert.channel, alert.kind) for alert in self.store.alerts(job=self.JOB)]
        assert sorted(found) == [("often", "missed")] * 4 + [("told", "missed")]

    def test_a_start_ends_a_silence(self) -> None:
        """Ten seconds before it already; the next one is told of again."""
        self.play("success")
        since = self._silent()
        self._start_at(since - EARLY - timedelta(seconds=1), overlap="allow")
        assert self._silence() == Silence(since, 1, False, frozenset({"told"}))
        run = self._start_at(since - EARLY, overlap="allow")
        ended = Silence(since, 1, True, frozenset({"told"}))
        assert self._silence() == ended
        self.finish(run, "cancelled")
        assert self._silence() == ended
        again = self._silent()
        assert self._silence() == Silence(again, 1, False, frozenset({"told"}))
        assert self.kinds() == ["missed", "missed"]

    def test_what_was_missed_before_a_start_is_part_of_the_silence(self) -> None:
        """It was not judged yet when the start ended it, and is no silence of its own."""
        self.play("success", stated=STATED)
        since = self._silent()
        start = since + timedelta(days=3)
        self._start_at(start)
        assert self._watch().judged_until == start - timedelta(seconds=300)

    def test_what_was_missed_after_a_start_told_late_is_another_silence(self) -> None:
        """Until then it counted as part of the first; now it is judged anew."""
        self.play("success", stated=STATED)
        since = self._silent()
        assert self.store.announce_missed(self._missed(3, goes_on=True), RULES)
        run = self.run(started_at=since + timedelta(minutes=2), stated=STATED)
        self.finish(run, "success", started=False)
        assert self._silence() is None
        assert self._watch().judged_until == run.started_at - timedelta(seconds=300)
        assert self.kinds() == ["missed", "recovered"]

    def test_a_skipped_start_ends_a_silence(self) -> None:
        """The scheduler did start it."""
        self._start_at(datetime.fromisoformat("2026-01-01T00:00:30Z"))
        since = self._silent()
        self._start_at(since)
        assert self.store.history(self.JOB)[0].status == "skipped"
        assert self._silence() == Silence(since, 1, True, frozenset({"told"}))

    def test_a_start_that_was_told_late_ends_a_silence(self) -> None:
        """With its end; one from before the silence does not."""
        self.play("success")
        since = self._silent()
        old = self.run(started_at=since - timedelta(hours=1))
        self.finish(old, "failure", started=False)
        assert self._silence() == Silence(since, 1, False, frozenset({"told"}))
        self.finish(self.run(started_at=since), "failure", started=False)
        assert self._silence() == Silence(since, 1, True, frozenset({"told"}))

    def test_a_start_meanwhile_is_no_silence(self) -> None:
        """Whoever judged did not see it: it is judged anew."""
        self.play("success")
        missed = self._missed()
        assert missed.silence is not None
        self._start_at(missed.silence.since)
        assert not self.store.announce_missed(missed, RULES)
        assert (self._silence(), self.kinds()) == (None, [])
        over = missed._replace(silence=missed.silence._replace(over=True))
        assert self.store.announce_missed(over, RULES)
        assert self.kinds() == ["missed"]

    def test_a_start_that_is_still_to_come_hides_no_silence(self) -> None:
        """It was noted by a clock that is ahead; nor is it the job's latest start."""
        run = self._start_at(datetime(2025, 12, 31, tzinfo=UTC))
        self.finish(run, "success")
        self._silent()
        now = self.store.alerts()[0].created_at  # by the store's clock
        for ahead in (now + timedelta(hours=1), datetime(2199, 1, 1, tzinfo=UTC)):
            self.finish(self._start_at(ahead), "success")
            (found,) = self.store.jobs()
            assert found.last_start_at == run.started_at
        self._silent()
        assert self.kinds() == ["missed", "missed"]

    def test_a_success_after_a_silence_is_told_of_once(self) -> None:
        """To the channels that heard of it, and want to know."""
        self.play("success", stated=STATED)
        since = self._silent(*RULES, AlertRule("other", 2))
        runs = [self._start_at(since + timedelta(minutes=n), stated=STATED) for n in (0, 1)]
        for run in runs:
            self.finish(run, "success")
        assert self._silence() is None
        self.play("success", stated=STATED)
        assert self.kinds() == ["missed", "missed", "recovered"]

    def test_a_success_from_before_a_silence_tells_of_no_end(self) -> None:
        """Told late, it ended the silence before: of this one only a start is known."""
        self.play("success", stated=STATED)
        first = self._silent()
        old = self._start_at(first + timedelta(minutes=1), stated=STATED)
        second = self._silent()
        assert second > first
        later = self._start_at(second, overlap="allow", stated=STATED)
        self.finish(old, "success")
        assert self._silence() == Silence(second, 1, True, frozenset({"told"}))
        assert self.kinds() == ["missed", "missed"]
        self.finish(later, "success")
        assert self._silence() is None
        assert self.kinds() == ["missed", "missed", "recovered"]

    def test_a_success_after_a_silence_and_an_incident_is_told_of_once(self) -> None:
        """One alert for both; a failure in between ends no silence."""
        failing = (*STATED, *statements(threshold=1))
        self.play("failure", stated=failing)
        since = self._silent()
        for status in ("failure", "success"):
            run = self._start_at(since, stated=failing)
            self.finish(run, status)
        assert self._silence() is None
        assert self.kinds() == ["failing", "missed", "recovered"]

    def test_a_success_without_a_start_since_ends_no_silence(self) -> None:
        """A run that was open before it: nothing has started yet."""
        run = self.run(stated=STATED)
        self.start(run)
        since = self._silent()
        self.finish(run, "success")
        assert self._silence() == Silence(since, 1, False, frozenset({"told"}))
        assert self.kinds() == ["missed"]

    def test_another_schedule_ends_a_silence(self) -> None:
        """What is expected now was never missed."""
        self.play("success", stated=STATED)
        since = self._silent()
        stated = statements("settings", schedule="0 7 * * *")
        self.store.declare(self.JOB, stated, host="host-a")
        assert self._silence() == Silence(since, 1, True, frozenset({"told"}))

    def test_a_snoozed_silence_stays_to_be_judged(self) -> None:
        """And is announced by whoever looks when the snooze is over."""
        self.play("success", channels=(ChannelRule("told"),))
        self.store.snooze(self.JOB, self.clock() + timedelta(hours=1))
        missed = self._missed()
        assert not self.store.announce_missed(missed, RULES)
        assert self._watch().judged_until == missed.judged_from
        assert self._silence() is None
        self.store.snooze(self.JOB, None)
        assert self.store.announce_missed(missed, RULES)
        assert self.kinds() == ["missed"]
