"""The store contract on alerts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cronguard.core.expectations import statements
from cronguard.core.model import ChannelRule
from cronguard.testing.store_contract._case import RULE, StoreCase


class Alerts(StoreCase):
    """Which outcomes are told, to whom, and in which words."""

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
        self.fail(8, channels=(ChannelRule("told", 2, 3),))
        counts = [alert["consecutive_failure_count"] for alert in self.payloads()]
        assert counts == [2, 5, 8]
        assert self.kinds() == ["failing", "still_failing", "still_failing"]

    def test_each_channel_has_its_own_threshold(self) -> None:
        """Slack at 2, the pager at 4; each told once, with its own threshold."""
        rules = (ChannelRule("told", 2), ChannelRule("pager", 4))
        self.fail(5, channels=rules)
        found = self.payloads(("told", "pager"))
        assert [(a["consecutive_failure_count"], a["threshold"]) for a in found] == [(2, 2), (4, 4)]

    def test_a_lowered_threshold_is_made_up_for_at_the_next_failure(self) -> None:
        """An incident that has not been announced is announced late rather than never."""
        self.play("failure", "failure", "failure", channels=(ChannelRule("told", 5),))
        self.play("failure", channels=(ChannelRule("told", 2),))
        assert [a["consecutive_failure_count"] for a in self.payloads()] == [4]

    def test_recovery_is_told_to_those_who_were_told(self) -> None:
        """With notify_recovery: at the first success after an announced incident, once."""
        channels = (RULE, ChannelRule("quiet", 5))
        job: dict[str, Any] = {"stated": statements(notify_recovery=True), "channels": channels}
        self.play("failure", "success", **job)
        assert self.kinds() == []
        self.play("failure", "failure", "success", "success", **job)
        assert [each.channel for each in self.store.alerts()] == ["told", "told"]
        _, recovered = self.payloads()
        assert (recovered["kind"], recovered["consecutive_failure_count"]) == ("recovered", 0)

    def test_each_incident_has_a_recovery_of_its_own(self) -> None:
        """Told every time, to those who were told of that incident."""
        stated = statements(notify_recovery=True)
        self.play(*(("failure", "failure", "failure", "success") * 3), stated=stated)
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
        run = self.run(stated=statements(runbook="https://example.org/r"))
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
        self.play("failure", channels=(ChannelRule("told", 2, 1),))
        assert self.payloads()[-1]["last_success_at"] == "2026-01-01T00:03:05.000000Z"
        assert self.store.jobs()[0].last_success_at == datetime(2026, 1, 1, 0, 3, 5, tzinfo=UTC)
