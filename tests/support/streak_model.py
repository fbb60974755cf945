"""Any history of outcomes over several jobs, against a reference that knows nothing but the list.

The reference keeps every outcome and works each count and alert out from the whole list; the store
keeps one row a job and decides in the transaction of each outcome.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cronguard.core.clock import new_id
from cronguard.core.model import AlertRule, Failure, Outcome, Owner, Run
from cronguard.testing import FrozenClock

HERE = Owner("host", 1, "space", "1")
JOBS = ("a", "b.c", "c:d")
CHANNELS = ("slack", "pager")


@dataclass
class Event:
    """One outcome, as the reference remembers it: a run's status, or ``late`` for the success of a
    run that had been counted as crashed before others were counted: it is about its row alone."""

    run_id: str
    status: str
    rules: tuple
    snoozed: bool
    ended: datetime


@dataclass
class Reference:
    """One job: the whole list of what happened, in the order of commits."""

    events: list = field(default_factory=list)

    def late(self, run_id: str) -> str:
        """What the success of a run comes to that had been counted as crashed."""
        counted = [e.run_id for e in self.events if e.status in ("success", "failure", "crashed")]
        return "success" if counted[-1] == run_id else "late"

    def last_success(self, upto: int):
        """When the job last worked before position ``upto``; late news takes nothing back."""
        last = None
        for event in self.events[:upto]:
            if event.status == "success":
                last = event.ended
            elif event.status == "late":
                last = max(last or event.ended, event.ended)
        return last

    def streak(self, upto: int) -> int:
        """How many failures stand in a row before position ``upto``."""
        count = 0
        for event in reversed(self.events[:upto]):
            if event.status == "success":
                return count
            count += event.status in ("failure", "crashed")
        return count

    def incident(self, upto: int) -> list:
        """The events since the last success before position ``upto``."""
        since = [i for i, e in enumerate(self.events[:upto]) if e.status == "success"]
        return self.events[since[-1] + 1 if since else 0 : upto]

    def alerts(self) -> list:
        """(kind, channel, count, last success) for the whole list, in order."""
        out = []
        notified = {}
        for i, event in enumerate(self.events):
            count = self.streak(i + 1)
            for each in event.rules:
                if event.status == "success":
                    if each.notify_recovery and each.channel in notified and not event.snoozed:
                        out.append(("recovered", each.channel, 0, event.ended))
                    continue
                if event.status not in ("failure", "crashed") or event.snoozed:
                    continue
                last = self.last_success(i)
                if count >= each.threshold and each.channel not in notified:
                    notified[each.channel] = True
                    out.append(("failing", each.channel, count, last))
                elif (
                    each.channel in notified
                    and each.realert_every
                    and count > each.threshold
                    and (count - each.threshold) % each.realert_every == 0
                ):
                    out.append(("still_failing", each.channel, count, last))
            if event.status == "success":
                notified = {}
        return out


RULES = st.lists(  # of any run: channels come and go in the middle of incidents
    st.builds(
        AlertRule,
        st.sampled_from(CHANNELS),
        st.integers(1, 5),
        st.none() | st.integers(1, 3),
        st.booleans(),
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda rule: rule.channel,
).map(tuple)


class StreakMachine(RuleBasedStateMachine):
    """Runs of three jobs end in every way; counts and alerts must equal the reference's."""

    def make_store(self, clock):
        raise NotImplementedError

    @initialize()
    def begin(self):
        self.clock = FrozenClock(datetime(2027, 1, 1, tzinfo=UTC))
        self.store = self.make_store(self.clock)
        self.reference = {job: Reference() for job in JOBS}
        self.open = {job: [] for job in JOBS}
        self.thought_dead = []
        self.snoozed = set()
        self.counts = []
        self.dead = False
        self.tick = 0

    def _run(self, job, rules):
        self.tick += 1
        started = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=self.tick)
        return Run(new_id(), job, started, HERE, rules=rules)

    def _note(self, job, run, status, rules, ended):
        reference = self.reference[job]
        reference.events.append(Event(run.run_id, status, rules, job in self.snoozed, ended))
        return reference.streak(len(reference.events))

    def _busy(self):
        return [job for job in JOBS if self.open[job]]

    @rule(job=st.sampled_from(JOBS), rules=RULES, overlap=st.sampled_from(["skip", "allow"]))
    def start(self, job, rules, overlap):
        run = self._run(job, rules)._replace(overlap=overlap)
        answer = self.store.start_run(run, is_dead=lambda _: False)
        if self.open[job] and overlap == "skip":
            assert answer.status == "skipped"
            assert answer.held_by in [other.run_id for other in self.open[job]]
        else:
            assert answer.status == "running"
            self.open[job].append(run)
        reference = self.reference[job]
        assert answer.consecutive_failure_count == reference.streak(len(reference.events))

    @precondition(lambda self: self._busy())
    @rule(data=st.data(), status=st.sampled_from(["success", "failure", "failure", "cancelled"]))
    def finish(self, data, status):
        job = data.draw(st.sampled_from(self._busy()))
        run = data.draw(st.sampled_from(self.open[job]))
        self.open[job].remove(run)
        self._finish(job, run, status, started=True)

    def _finish(self, job, run, status, *, started):
        ended = run.started_at + timedelta(seconds=7)
        failure = Failure("ValueError") if status == "failure" else None
        outcome = Outcome(status, ended, 7.0, failure)
        count = self._note(job, run, status, run.rules, ended)
        answer = self.store.finish_run(run, outcome, started=started)
        assert answer.consecutive_failure_count == count
        again = self.store.finish_run(run, outcome, started=started)
        assert again.consecutive_failure_count == count

    @rule(job=st.sampled_from(JOBS), rules=RULES, status=st.sampled_from(["success", "failure"]))
    def finish_without_a_start(self, job, rules, status):
        self._finish(job, self._run(job, rules), status, started=False)

    @precondition(lambda self: self._busy())
    @rule(data=st.data(), rules=RULES)
    def crash(self, data, rules):
        job = data.draw(st.sampled_from(self._busy()))
        run = self._run(job, rules)
        for gone in self.open[job]:
            count = self._note(job, gone, "crashed", rules, self.clock())
            self.thought_dead.append((gone, count))
        answer = self.store.start_run(run, is_dead=lambda _: True)
        assert (answer.status, answer.consecutive_failure_count) == ("running", count)
        self.open[job] = [run]

    @precondition(lambda self: self.thought_dead)
    @rule(data=st.data(), status=st.sampled_from(["success", "success", "failure"]))
    def finish_late(self, data, status):
        gone, count = data.draw(st.sampled_from(self.thought_dead))
        self.thought_dead.remove((gone, count))
        ended = gone.started_at + timedelta(seconds=30)
        rows = {row.run_id for row in self.store.history(gone.job, limit=1000)}
        if gone.run_id not in rows:
            count = None
        elif status == "success":
            late = self.reference[gone.job].late(gone.run_id)
            self._note(gone.job, gone, late, gone.rules, ended)
            count = 0
        outcome = Outcome(status, ended, 30.0, Failure("KeyError") if status == "failure" else None)
        for _ in range(2):
            answer = self.store.finish_run(gone, outcome, started=True)
            assert answer.consecutive_failure_count == count

    @rule(job=st.sampled_from(JOBS), on=st.booleans())
    def snooze(self, job, on):
        until = self.clock() + timedelta(days=9) if on else None
        if self.store.snooze(job, until):
            (self.snoozed.add if on else self.snoozed.discard)(job)

    @rule()
    def prune(self):
        self.store.prune(keep=timedelta(0))

    @invariant()
    def counts_and_alerts_are_the_references(self):
        if not hasattr(self, "store"):
            return
        for status in self.store.jobs():
            reference = self.reference[status.job]
            assert status.consecutive_failure_count == reference.streak(len(reference.events))
            assert status.last_success_at == reference.last_success(len(reference.events))

    def teardown(self):
        if not hasattr(self, "store"):
            return
        found = {job: [] for job in JOBS}
        while claimed := self.store.claim_alerts(channels=CHANNELS, force=True):
            for delivery in claimed:
                facts = json.loads(delivery.payload)
                last = facts["last_success_at"]
                found[delivery.job].append(
                    (
                        facts["kind"],
                        delivery.channel,
                        facts["consecutive_failure_count"],
                        datetime.fromisoformat(last) if last else None,
                    )
                )
        for job in JOBS:
            assert found[job] == self.reference[job].alerts(), job
        self.store.close()
