"""Random histories: every verb of the store, on a store and on the reference, answered alike."""

import json
from datetime import UTC, datetime, timedelta

from support.reference import Reference

from cronguard.core.alert_rule import alert_rules
from cronguard.core.model import (
    ChannelRule,
    Expectations,
    Failure,
    Missed,
    Outcome,
    Overrun,
    Owner,
    Run,
    Settlement,
    Silence,
    Statement,
)

JOBS = ("a", "b.c", "c:d")
CHANNELS = ("slack", "pager", "mail")
OWNERS = (
    Owner("one", 1, "space", "1"),
    Owner("one", 2, "space", "2"),
    Owner("two", 1, "other", "1"),
    Owner("mac", 7),
)
VALUES = {
    "schedule": (None, "0 6 * * *", "*/5 * * * *"),
    "timezone": ("UTC", "Europe/Oslo"),
    "grace": (0.0, 300.0),
    "max_runtime": (None, 60.0, 1800.0),
    "threshold": (1, 2, 3),
    "realert_every": (None, 1, 2),
    "notify_recovery": (False, True),
    "runbook": (None, "https://example.org/r"),
}
NEVER_STORED = "0198e9a5-0000-7000-8000-000000000000"
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class History:
    """A random history, played on a store and on the reference.

    ``set_clock(moment)`` sets the store's clock; ``chance`` is a `random.Random`. What the two
    answer is compared at once, and all that can be shown after every ``look_every``th step.
    """

    def __init__(self, store, set_clock, chance, *, look_every=1):
        self.store, self.set_clock = store, set_clock
        self.chance = chance
        self.look_every = look_every
        self.reference = Reference()
        self.runs, self.claims, self.keys = [], [], {}
        self.minted = 0
        self.done = []
        self.set_clock(self.reference.now)

    def play(self, steps):
        verbs = {
            self.start: 8,
            self.start_again: 1,
            self.finish: 8,
            self.finish_without_start: 2,
            self.sweep: 2,
            self.pass_time: 6,
            self.heartbeat: 1,
            self.unlock: 1,
            self.forget: 1,
            self.snooze: 1,
            self.declare: 3,
            self.claim: 3,
            self.settle: 3,
            self.overrun: 2,
            self.missed: 3,
            self.prune: 1,
        }
        for _ in range(steps):
            (verb,) = self.chance.choices(list(verbs), list(verbs.values()))
            self.done.append(verb.__name__)
            verb()
            there = {out.key for out in self.reference.outbox}
            self.keys = {key: alert_id for key, alert_id in self.keys.items() if key in there}
            if len(self.done) % self.look_every == 0:
                self.look()

    def same(self, found, wanted):
        assert found == wanted, f"{self.done[-12:]}\n  found {found}\n wanted {wanted}"

    # --- what is drawn --------------------------------------------------------------------------

    def name(self):
        return self.chance.choice(JOBS)

    def channels(self):
        if self.chance.random() < 0.1:
            return ()
        return tuple(
            ChannelRule(
                channel,
                self.chance.choice((None, None, 1, 2, 4)),
                self.chance.choice((None, None, 0, 1, 3)),
            )
            for channel in self.chance.sample(CHANNELS, self.chance.choice((1, 1, 2)))
        )

    def stated(self, origins=("code", "command", "settings")):
        shape = self.chance.random()
        if shape < 0.3:
            return ()
        origin = self.chance.choice(origins)
        names = (
            VALUES if shape < 0.6 else self.chance.sample(list(VALUES), self.chance.choice((1, 2)))
        )
        return tuple(
            Statement(name, self.chance.choice(VALUES[name]), origin)
            for name in Expectations._fields
            if name in names
        )

    def run(self):
        self.minted += 1
        return Run(
            f"{self.chance.getrandbits(32):08x}-0000-4000-8000-{self.minted:012x}",
            self.name(),
            self.reference.now + timedelta(seconds=self.chance.choice((0, 0, 55, -3, -9000))),
            self.chance.choice(OWNERS),
            self.channels(),
            self.stated(),
            self.chance.choice(("skip", "skip", "allow")),
            self.chance.choice((90.0, 90.0, 600.0, 0.5)),
            self.chance.random() < 0.1,
        )

    def dead(self):
        """Some processes; drawn at once, so that a history can be shortened."""
        drawn = self.chance.getrandbits(2 * len(OWNERS))
        return {owner for place, owner in enumerate(OWNERS) if drawn >> 2 * place & 3 == 3}

    def ended(self):
        """Runs that have ended, unknown to the store; most calls have none to name. Others are
        drawn too: of any job and owner, ended in the log, or never stored."""
        if self.chance.random() < 0.7:
            return ()
        known = [run.run_id for run in self.runs[-5:]]
        return self.chance.sample([*known, NEVER_STORED], self.chance.randint(1, len(known) + 1))

    def outcome(self, run):
        ends = ("success", "success", "failure", "failure", "failure", "cancelled", "skipped")
        status = self.chance.choice(ends)
        failure = Failure("ValueError", "E42", "bad ‹…›", "jobs/a.py:3 in work")
        if status != "failure" or self.chance.random() < 0.1:
            failure = None
        return Outcome(
            status,
            run.started_at + timedelta(seconds=self.chance.choice((0, 5, 700))),
            self.chance.choice((None, 0.25, 5.0)),
            failure,
        )

    def some_run(self):
        """Most often one of the latest, since those are the ones that matter."""
        near = self.runs[-4:] if self.chance.random() < 0.8 else self.runs
        return self.chance.choice(near) if near else None

    # --- verbs ----------------------------------------------------------------------------------

    def start(self):
        run = self.run()
        self.runs.append(run)
        self._start(run)

    def start_again(self):
        """The answer to a start was lost; it is sent once more."""
        if run := self.some_run():
            row = self.reference.rows.get(run.run_id)
            if row is not None and row.status in ("running", "skipped"):
                self._start(run)

    def _start(self, run):
        dead, ended = self.dead() - {run.owner}, self.ended()
        asked = set()
        judged = self.judged([run.job], run.owner, {run.run_id, *ended})
        found = self.store.start_run(run, is_dead=judge(dead, asked), ended=ended)
        assert asked <= judged, f"{self.done[-12:]}\n  asked {asked}\n may be {judged}"
        self.same(found._replace(state=None), self.reference.start_run(run, dead, ended))

    def finish(self):
        if run := self.some_run():
            self._finish(run, started=self.chance.random() < 0.8)

    def finish_without_start(self):
        run = self.run()
        self.runs.append(run)
        self._finish(run, started=self.chance.random() < 0.2)

    def _finish(self, run, *, started):
        outcome = self.outcome(run)
        notified = ()
        if self.chance.random() < 0.2:
            notified = tuple(self.chance.sample(CHANNELS, self.chance.choice((1, 2))))
        times = self.chance.choice((1, 1, 1, 2))
        for _ in range(times):
            found = self.store.finish_run(run, outcome, started=started, notified=notified)
            wanted = self.reference.finish_run(run, outcome, started=started, notified=notified)
            self.same(found._replace(state=None), wanted)

    def sweep(self):
        owner, dead, ended = self.chance.choice(OWNERS), self.dead(), self.ended()
        asked = set()
        judged = self.judged(JOBS, owner, ended)
        found = self.store.sweep(owner, is_dead=judge(dead, asked), ended=ended)
        assert asked <= judged, f"{self.done[-12:]}\n  asked {asked}\n may be {judged}"
        self.same(found, self.reference.sweep(owner, dead, ended))

    def judged(self, jobs, owner, besides):
        """Return the processes that the caller may be asked about: they run something else."""
        return {
            row.run.owner
            for job in jobs
            for row in self.reference.open_rows(job)
            if row.run.owner.space == owner.space is not None and row.run.run_id not in besides
        }

    def pass_time(self):
        seconds = self.chance.choice((1, 10, 31, 95, 700, 4000, 90_000, -5, -4000, -100_000))
        self.reference.now += timedelta(seconds=seconds)
        self.set_clock(self.reference.now)

    def heartbeat(self):
        lease = self.chance.choice((90.0, 600.0))
        run_ids, ended = [run.run_id for run in self.runs[-3:]], self.ended()
        self.store.heartbeat(run_ids, lease=lease, ended=ended)
        self.reference.heartbeat(run_ids, lease, ended)

    def unlock(self):
        name = self.name()
        self.same(self.store.unlock(name), self.reference.unlock(name))

    def forget(self):
        name = self.name()
        self.same(self.store.forget(name), self.reference.forget(name))

    def snooze(self):
        name = self.name()
        until = self.chance.choice((None, self.reference.now + timedelta(seconds=600)))
        self.same(self.store.snooze(name, until), self.reference.snooze(name, until))

    def declare(self):
        name, host = self.name(), self.chance.choice(("one", "two"))
        job = self.reference.jobs_by_name.get(name)
        stated = self.stated(("settings",))
        if job is not None and host in job.declared and self.chance.random() < 0.5:  # once more
            before = job.declared[host]
            stated = tuple(Statement(key, value, "settings") for key, value in before.items())
        self.store.declare(name, stated, host=host)
        self.reference.declare(name, stated, host)

    def claim(self):
        wanted = {
            "channels": self.chance.sample(CHANNELS, self.chance.choice((1, 2, 3))),
            "job": self.chance.choice((None, self.name())),
            "force": self.chance.random() < 0.3,
            "state": self.chance.choice(("pending", "pending", "dead")),
            "limit": self.chance.choice((1, 100)),
            "claim_for": self.chance.choice((10.0, 30.0)),
        }
        found = self.store.claim_alerts(**wanted)
        expected = self.reference.claim(**wanted)
        self.same([_told(each) for each in found], [_decided(out) for out in expected])
        for delivery, out in zip(found, expected, strict=True):
            assert self.keys.setdefault(out.key, delivery.alert_id) == delivery.alert_id
            self.claims.append((delivery, out.key))

    def settle(self):
        if not self.claims:
            return
        delivery, key = self.chance.choice(self.claims[-5:])
        settlement = Settlement(
            *self.chance.choice(
                (("sent",), ("sent",), ("dead", "http_410"), ("pending", "http_503", 60.0))
            )
        )
        # An alert that was forgotten may have been decided anew, under an id of its own.
        known = [out for out in self.reference.outbox if out.key == key]
        if known and self.keys.get(key) != delivery.alert_id:
            return
        found = self.store.settle_alert(delivery, settlement)
        self.same(found, self.reference.settle(key, delivery.attempt, settlement))

    def overrun(self):
        if run := self.some_run():
            step = self.chance.choice((1, 2, 4, 8))
            news = Overrun(run.run_id, run.job, step, 60.0 * step, f"{step} times")
            rules = alert_rules(self.channels(), Expectations())
            found = self.store.announce_overrun(news, rules)
            self.same(found, self.reference.announce_overrun(news, rules))

    def missed(self):
        name = self.name()
        job = self.reference.jobs_by_name.get(name)
        begin = (
            self.reference.now if job is None or self.chance.random() < 0.2 else job.judged_until
        )
        known = job.silence if job and job.silence and not job.silence.over else None
        if known is not None and self.chance.random() < 0.3:
            known = None
        number = self.chance.choice((0, 1, 1, 3))
        over = self.chance.random() < 0.3
        first = begin + timedelta(seconds=60)
        silence = Silence(first, number, over) if number else None
        if known is not None and (number or over):
            silence = known._replace(missed=known.missed + number, over=over, announced=frozenset())
        news = Missed(
            name,
            number,
            first if number else None,
            f"{number} missed" if number else None,
            begin,
            begin + timedelta(seconds=60),
            silence,
            known.missed if known else 0,
        )
        rules = alert_rules(self.channels(), Expectations())
        found = self.store.announce_missed(news, rules)
        self.same(found, self.reference.announce_missed(news, rules))

    def prune(self):
        keep = timedelta(seconds=self.chance.choice((0, 600, 5000)))
        counted = self.store.prune(keep=keep, dry_run=True)
        deleted = self.store.prune(keep=keep)
        self.same((counted, deleted), (self.reference.prune(keep),) * 2)

    # --- what is shown --------------------------------------------------------------------------

    def look(self):
        self.same(self.store.watches(), self.reference.watches())
        self.same(self.store.jobs(), self.reference.jobs())
        shown = self.store.alerts(limit=10_000)
        self.same([each._replace(alert_id="") for each in shown], self.reference.alerts())
        self.same(self.store.recent(limit=3), self.reference.recent(3))
        since = self.reference.now - timedelta(seconds=5000)
        found = self.store.activity(since=since, step=600.0)
        self.same(found, self.reference.activity(since, 600.0))
        for name in JOBS:
            self.same(self.store.history(name, limit=10_000), self.reference.history(name))
            after = self.reference.now - timedelta(seconds=5000)
            self.same(self.store.starts(name, after=after), self.reference.starts(name, after))


def judge(dead, asked):
    """Return an ``is_dead`` that notes whom it is asked about."""

    def is_dead(owner):
        asked.add(owner)
        return owner in dead

    return is_dead


def _told(delivery):
    facts = json.loads(delivery.payload)
    assert facts.pop("alert_id") == delivery.alert_id
    assert facts.pop("schema") == "cronguard.alert/1"
    assert facts.pop("test") == (delivery.kind == "test")
    assert facts.pop("degraded") is False
    assert (facts["kind"], facts["job"]) == (delivery.kind, delivery.job)
    return delivery.channel, delivery.attempt, facts


def _decided(out):
    facts = dict(out.facts)
    failure = facts.pop("failure") or Failure(None)
    return out.channel, out.attempts, facts | failure._asdict()
