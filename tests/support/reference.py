"""What every store must say, worked out with lists and dicts from all that ever happened.

It shares no rule with cronguard: a job is the list of its outcomes, and its streak, its incident
and its alerts are worked out anew from the whole list each time. Only the values that go in and
come out are cronguard's own. It is slow, and has no database, no lock and no clock but ``now``.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cronguard.core.model import (
    Activity,
    AlertRecord,
    Expectations,
    Failure,
    Finished,
    JobStatus,
    Outcome,
    RunRecord,
    Silence,
    Source,
    Started,
    Watch,
)

HOUR = timedelta(hours=1)
EARLY = timedelta(seconds=10)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
CRASHED = Failure(
    "Crashed", None, "the process ended before its run did (killed or lost power?)", None
)
PLAN = ("schedule", "timezone", "grace")


@dataclass
class Row:
    """A run in the log."""

    run: object
    status: str
    finished_at: datetime | None = None
    duration: float | None = None
    count: int | None = None
    failure: Failure | None = None
    lease_until: datetime | None = None
    holds: bool = False


@dataclass
class Event:
    """One outcome of a job. ``late`` is the success of a run that had been counted as crashed and
    that others were counted after: it is about its own row alone."""

    run: object
    status: str
    ended: datetime
    rules: list
    snoozed: bool
    notified: frozenset
    silence: Silence | None = None
    """One that a start had ended."""


@dataclass
class Job:
    """What is remembered of a job since it was registered."""

    judged_until: datetime
    events: list = field(default_factory=list)
    also_notified: list = field(default_factory=list)
    """(number of events at the time, channels): who was notified of a committed outcome."""
    expected: dict = field(default_factory=lambda: Expectations()._asdict())
    sources: dict = field(default_factory=dict)
    channels: tuple = ()
    channels_stated: bool = False
    declared: dict = field(default_factory=dict)
    snoozed_until: datetime | None = None
    silence: Silence | None = None


@dataclass
class Out:
    """A row of the outbox."""

    key: str
    facts: dict
    channel: str
    state: str
    attempts: int
    created_at: datetime
    due_at: datetime
    claimed_until: datetime | None = None
    settled_at: datetime | None = None
    error_code: str | None = None


def text_of(moment):
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}" if moment else None


def named(silence, channel):
    return f"silence/{text_of(silence.since)}/{channel}"


def counted(events):
    """The runs that were counted, oldest first."""
    return [e.run.run_id for e in events if e.status in ("success", "failure", "crashed")]


def recovered(event, rules, incident, notified):
    """Whom a success tells that incident and silence are over."""
    heard = event.silence.announced if event.silence else set()
    for rule in rules:
        channel = rule["channel"]
        if channel in notified:
            step = f"{incident}/recovered/{channel}"
        elif channel in heard:
            step = f"{named(event.silence, channel)}/recovered"
        else:
            continue
        if rule["notify_recovery"]:
            yield "recovered", rule, step


def history_of(job):
    """Walk a job's outcomes: (event, the streak after it, the last success after it, the one that
    its alerts show, the alerts decided: kind, rule, step; the incident, who was notified of it)."""
    streak, incident, notified, last = 0, None, set(), None
    for number, event in enumerate(job.events, 1):
        before, decided = last, []
        reached = [rule for rule in event.rules if rule["channel"] not in event.notified]
        opened = incident
        if event.status == "success":
            decided = list(recovered(event, reached, opened, notified))
            streak, incident, notified, last = 0, None, set(), event.ended
        elif event.status == "late":
            last = max(last or event.ended, event.ended)
        elif event.status in ("failure", "crashed"):
            streak += 1
            incident = opened = incident or event.run.run_id
            notified |= event.notified & {rule["channel"] for rule in event.rules}
            for rule in reached if not event.snoozed else ():
                over = streak - rule["threshold"]
                if over < 0:
                    continue
                if rule["channel"] not in notified:
                    notified.add(rule["channel"])
                    decided.append(("failing", rule, f"{opened}/failing/{rule['channel']}"))
                elif rule["realert_every"] and over > 0 and over % rule["realert_every"] == 0:
                    key = f"{opened}/{streak}/{rule['channel']}"
                    decided.append(("still_failing", rule, key))
        if event.run.test_mode and event.status != "skipped":
            decided += [
                ("test", rule, f"{event.run.run_id}/test/{rule['channel']}") for rule in reached
            ]
        for at, run_id, channels in job.also_notified:
            if at == number and streak and run_id in (counted(job.events[:at])[-1], incident):
                notified |= channels
        shown = event.ended if event.status in ("success", "late") else before
        known = [] if event.snoozed else decided
        yield event, streak, last, shown, known, incident, frozenset(notified)


class Reference:
    """What `cronguard.core.interfaces.Store` promises, in the plainest form."""

    def __init__(self):
        self.now = datetime(2027, 1, 1, tzinfo=UTC)
        self.rows = {}
        self.jobs_by_name = {}
        self.outbox = []

    # --- jobs -----------------------------------------------------------------------------------

    def job(self, name):
        return self.jobs_by_name.setdefault(name, Job(self.now))

    def streak(self, job):
        found = list(history_of(job))
        return found[-1][1] if found else 0

    def last_success(self, job):
        found = list(history_of(job))
        return found[-1][2] if found else None

    def snoozed(self, job):
        return job.snoozed_until is not None and job.snoozed_until > self.now

    def rules(self, job, channels):
        return [
            {
                "channel": each.channel,
                "threshold": each.threshold or job.expected["threshold"],
                "realert_every": job.expected["realert_every"]
                if each.realert_every is None
                else each.realert_every,
                "notify_recovery": job.expected["notify_recovery"],
            }
            for each in channels
        ]

    def state(self, job, statements):
        plan = [job.expected[name] for name in PLAN] if job.expected["schedule"] else None
        for name, value, origin in statements:
            known = job.sources.get(name)
            if known is None or known.origin != origin or job.expected[name] != value:
                job.sources[name] = Source(origin, self.now)
            job.expected[name] = value
        if plan != ([job.expected[name] for name in PLAN] if job.expected["schedule"] else None):
            job.judged_until = self.now
            if job.silence:
                job.silence = job.silence._replace(over=True)

    def restate(self, job, run, *, late=False):
        """Keep what a start states; ``late`` if only the run's end has told it."""
        statements = list(run.stated)
        if late:
            since = {name: source.since for name, source in job.sources.items()}
            statements = [
                e for e in statements if e.name not in since or since[e.name] < run.started_at
            ]
        declared = "schedule" in job.sources and job.sources["schedule"].origin == "settings"
        if declared and ("schedule", None, "code") in statements:
            theirs = {
                name
                for name in PLAN
                if name in job.sources and job.sources[name].origin == "settings"
            }
            statements = [e for e in statements if e.name not in theirs or e.origin != "code"]
        self.state(job, statements)
        if run.channels and (run.stated or not job.channels_stated):
            job.channels, job.channels_stated = run.channels, bool(run.stated)

    def declare(self, name, statements, host):
        job = self.job(name)
        last = job.declared.get(host)
        everybodys = [(n, v) for values in job.declared.values() for n, v in values.items()]
        code_gave_none = (
            job.expected["schedule"] is None
            and "schedule" in job.sources
            and job.sources["schedule"].origin == "code"
        )
        chosen = []
        for each in statements:
            if last is None:
                news = (each.name, each.value) not in everybodys
            else:
                news = (each.name, each.value) not in last.items()
            free = each.name not in job.sources or (code_gave_none and each.name in PLAN)
            if news or free:
                chosen.append(each)
        self.state(job, chosen)
        if last != {each.name: each.value for each in statements}:
            job.declared.pop(host, None)
            job.declared[host] = {each.name: each.value for each in statements}

    def hear(self, job, started_at):
        """A start ends the silence, if it is none from before it."""
        if job.silence and not job.silence.over and started_at >= job.silence.since - EARLY:
            job.silence = job.silence._replace(over=True)
            grace = timedelta(seconds=job.expected["grace"])
            job.judged_until = started_at - grace

    # --- runs -----------------------------------------------------------------------------------

    def open_rows(self, name):
        return [
            row for row in self.rows.values() if row.run.job == name and row.status == "running"
        ]

    def is_gone(self, row, space, dead):
        owner = row.run.owner
        if owner.space is not None and owner.space == space:
            return owner in dead
        return not (self.now < row.lease_until <= self.now + HOUR)

    def give_up(self, rows, ended, lease):
        """Runs that have ended, as their process says, hold nothing and are renewed."""
        for row in rows:
            if row.run.run_id in ended:
                row.holds, row.lease_until = False, self.now + timedelta(seconds=lease)

    def bury(self, name, owner, dead, channels, besides=()):
        for row in self.open_rows(name):
            if row.run.run_id not in besides and self.is_gone(row, owner.space, dead):
                gone = row.run._replace(test_mode=False)
                self.commit(row, gone, Outcome("crashed", self.now, None, CRASHED), channels)

    def start_run(self, run, dead, ended=()):
        job = self.job(run.job)
        known = self.rows.get(run.run_id)
        others = [row for row in self.open_rows(run.job) if row is not known]
        self.give_up(others, ended, run.lease)
        besides = {run.run_id, *ended}
        self.bury(run.job, run.owner, dead, job.channels or run.channels, besides)
        holders = [
            row.run.run_id
            for row in self.open_rows(run.job)
            if row.holds and row.run.run_id != run.run_id
        ]
        skipped = (known is not None and known.status == "skipped") or (
            bool(holders) and run.overlap == "skip"
        )
        count = self.streak(job)
        self.hear(job, run.started_at)
        if skipped and known is None:
            self.rows[run.run_id] = Row(run, "skipped", run.started_at, 0.0, count)
        elif not skipped:
            if known is None:
                until = self.now + timedelta(seconds=run.lease)
                self.rows[run.run_id] = Row(run, "running", lease_until=until, holds=True)
            self.restate(job, run)
        return Started(
            "skipped" if skipped else "running",
            count,
            holders[-1] if skipped and holders else None,
            self.is_due(run.job),
            None,
            Expectations(**job.expected),
            job.channels,
            self.record(self.rows[holders[-1]]) if skipped and holders else None,
        )

    def finish_run(self, run, outcome, *, started, notified=frozenset()):
        row = self.rows.get(run.run_id)
        if row is None and started and run.job not in self.jobs_by_name:
            return Finished(None)
        for out in self.outbox:
            if (
                out.facts["run_id"] == run.run_id
                and out.channel in notified
                and out.state == "pending"
            ):
                out.state, out.settled_at = "sent", self.now
        is_new = run.job not in self.jobs_by_name
        job = self.job(run.job)
        skipped = outcome.status == "skipped"
        if is_new and not skipped:
            self.restate(job, run)
        ran = row is not None and (
            row.status == "running" or (row.status == "skipped" and not started and not skipped)
        )
        if row is None and not started:
            row = self.rows[run.run_id] = Row(
                run, "running", lease_until=self.now + timedelta(seconds=run.lease), holds=True
            )
            ran = True
            self.hear(job, run.started_at)
            if not is_new and not skipped:
                self.restate(job, run, late=True)
        was_crashed = row is not None and row.status == "crashed"
        if ran or (was_crashed and outcome.status == "success"):
            channels = run.channels or job.channels
            self.commit(row, run, outcome, channels, notified=frozenset(notified), late=was_crashed)
        else:
            if was_crashed and outcome.status == "failure" and outcome.failure is not None:
                row.failure = outcome.failure
            if notified:
                job.also_notified.append((len(job.events), run.run_id, frozenset(notified)))
        return Finished(row.count if row else None, self.is_due(run.job))

    def commit(self, row, run, outcome, channels, *, notified=frozenset(), late=False):
        job = self.job(run.job)
        status = outcome.status
        about_itself = late and counted(job.events)[-1:] != [run.run_id]
        ended = job.silence if job.silence and job.silence.over else None
        if ended and outcome.finished_at < ended.since - EARLY:
            ended = None  # told late: it came after a silence before this one
        job.events.append(
            Event(
                run,
                "late" if about_itself else status,
                outcome.finished_at,
                self.rules(job, channels),
                self.snoozed(job),
                notified,
                ended,
            )
        )
        if status == "success" and not about_itself and ended:
            job.silence = None
        *_, (_event, streak, _last, shown, decided, _incident, _notified) = history_of(job)
        row.status, row.holds = status, False
        row.finished_at, row.duration, row.failure = outcome[1:]
        row.count = 0 if status == "success" else streak
        for kind, rule, step in decided:
            self.enqueue(
                f"{run.job}/{step}",
                rule["channel"],
                kind=kind,
                job=run.job,
                run_id=run.run_id,
                consecutive_failure_count=row.count,
                threshold=rule["threshold"],
                last_success_at=text_of(shown),
                started_at=text_of(row.run.started_at),
                finished_at=text_of(outcome.finished_at),
                duration_seconds=outcome.duration,
                host=row.run.owner.host,
                runbook=job.expected["runbook"],
                failure=outcome.failure,
            )

    def heartbeat(self, run_ids, lease, ended=()):
        running = [row for row in self.rows.values() if row.status == "running"]
        for row in running:
            if row.run.run_id in run_ids:
                row.lease_until = self.now + timedelta(seconds=lease)
        self.give_up(running, ended, lease)

    def unlock(self, name):
        held = [row for row in self.open_rows(name) if row.holds]
        for row in held:
            row.holds = False
        return len(held)

    def sweep(self, owner, dead, ended=()):
        before = [row for row in self.rows.values() if row.status == "running"]
        for name in sorted({row.run.job for row in before} & self.jobs_by_name.keys()):
            self.give_up(self.open_rows(name), ended, 90)
            self.bury(name, owner, dead, self.jobs_by_name[name].channels, ended)
        return [self.record(row) for row in before if row.status == "crashed"]

    def forget(self, name):
        self.outbox = [
            out for out in self.outbox if out.facts["job"] != name or out.state == "sent"
        ]
        return self.jobs_by_name.pop(name, None) is not None

    def snooze(self, name, until):
        if name not in self.jobs_by_name:
            return False
        self.jobs_by_name[name].snoozed_until = until
        return True

    # --- the outbox -----------------------------------------------------------------------------

    def enqueue(self, key, channel, **facts):
        if key not in [out.key for out in self.outbox]:
            self.outbox.append(Out(key, facts, channel, "pending", 0, self.now, self.now))

    def holds_back(self, out, until):
        """Whether an alert is left alone until then; not if a clock that was ahead wrote it."""
        if until is None or not self.now < until <= self.now + timedelta(hours=26):
            return False
        return until < out.created_at or out.created_at <= self.now + HOUR

    def is_due(self, name):
        return any(
            out.facts["job"] == name
            and out.state == "pending"
            and not self.holds_back(out, out.due_at)
            for out in self.outbox
        )

    def claim(self, *, channels, job, force, state, limit, claim_for):
        found = [
            out
            for out in self.outbox
            if out.state == state
            and out.channel in channels
            and job in (None, out.facts["job"])
            and not self.holds_back(out, out.claimed_until)
            and (force or not self.holds_back(out, out.due_at))
        ][:limit]
        for out in found:
            out.state, out.attempts = "pending", out.attempts + 1
            out.claimed_until = out.due_at = self.now + timedelta(seconds=claim_for)
        return found

    def settle(self, key, attempt, settlement):
        found = [out for out in self.outbox if out.key == key]
        if not found or found[0].state != "pending" or found[0].attempts != attempt:
            return False
        out = found[0]
        out.state, out.error_code = settlement.state, settlement.error_code
        out.claimed_until = None
        out.due_at = self.now + timedelta(seconds=settlement.retry_in or 0)
        out.settled_at = None if settlement.state == "pending" else self.now
        return True

    def announce_overrun(self, overrun, rules):
        row, job = self.rows.get(overrun.run_id), self.jobs_by_name.get(overrun.job)
        if row is None or row.status != "running" or job is None or self.snoozed(job):
            return False
        for rule in rules:
            begin = f"{overrun.job}/{overrun.run_id}/overrun"
            later = {
                f"{begin}/{step}/{rule.channel}" for step in (1, 2, 4, 8) if step > overrun.step
            }
            if later.isdisjoint(out.key for out in self.outbox):
                self.enqueue(
                    f"{begin}/{overrun.step}/{rule.channel}",
                    rule.channel,
                    kind="overrun",
                    job=overrun.job,
                    run_id=overrun.run_id,
                    consecutive_failure_count=self.streak(job),
                    threshold=rule.threshold,
                    last_success_at=text_of(self.last_success(job)),
                    started_at=text_of(row.run.started_at),
                    finished_at=None,
                    duration_seconds=overrun.elapsed,
                    host=row.run.owner.host,
                    runbook=job.expected["runbook"],
                    failure=Failure(None, None, overrun.message, None),
                )
        return self.is_due(overrun.job)

    def announce_missed(self, missed, rules):
        job = self.jobs_by_name.get(missed.job)
        if job is None or job.judged_until != missed.judged_from:
            return False
        silence, told = missed.silence, []
        for rule in rules if silence else ():
            key = f"{missed.job}/{named(silence, rule.channel)}"
            if not missed.before:
                told.append((key, rule))
                continue
            steps = range(1, silence.missed + 1, rule.realert_every or silence.missed + 1)
            passed = [step for step in steps if missed.before < step]
            if passed:
                told.append((f"{key}/{passed[-1]}", rule))
        if told and self.snoozed(job):
            return False
        if silence and not silence.over:
            begin = silence.since - EARLY - timedelta(microseconds=1)
            end = max(missed.judged_until, self.now) + EARLY
            if any(start <= end for start in self.starts(missed.job, begin)):
                return False
        job.judged_until = missed.judged_until
        if silence:
            heard = job.silence.announced if job.silence else set()
            heard = frozenset({*heard, *(rule.channel for _, rule in told)})
            job.silence = silence._replace(announced=heard)
        for key, rule in told:
            self.enqueue(
                key,
                rule.channel,
                kind="missed",
                job=missed.job,
                run_id=None,
                consecutive_failure_count=self.streak(job),
                threshold=rule.threshold,
                last_success_at=text_of(self.last_success(job)),
                started_at=None,
                finished_at=None,
                duration_seconds=None,
                host=None,
                runbook=job.expected["runbook"],
                failure=Failure(None, None, missed.message, None),
            )
        return True

    def prune(self, keep):
        before = self.now - keep
        kept = set()
        for name in self.jobs_by_name:
            of_job = [row for row in self.rows.values() if row.run.job == name]
            kept.update(row.run.run_id for row in of_job[-1:])
            kept.update([row.run.run_id for row in of_job if row.status == "success"][-1:])
        gone = [
            run_id
            for run_id, row in self.rows.items()
            if run_id not in kept
            and row.status != "running"
            and (row.finished_at or row.run.started_at) < before
        ]
        for run_id in gone:
            del self.rows[run_id]
        self.outbox = [
            out for out in self.outbox if not (out.state == "sent" and out.settled_at < before)
        ]
        return len(gone)

    # --- to be shown ----------------------------------------------------------------------------

    def record(self, row):
        return RunRecord(
            row.run.run_id,
            row.run.job,
            row.status,
            row.run.started_at,
            row.finished_at,
            row.duration,
            row.count,
            row.failure,
            row.run.owner.host,
            row.run.owner.pid,
        )

    def history(self, name):
        found = [self.record(row) for row in self.rows.values() if row.run.job == name]
        return found[::-1]

    def recent(self, limit):
        return [each for name in sorted(self.jobs_by_name) for each in self.history(name)[:limit]]

    def activity(self, since, step):
        found = {}
        for row in self.rows.values():
            name, start = row.run.job, row.run.started_at
            if name in self.jobs_by_name and start >= since:
                slot = (start - since) // timedelta(seconds=step)
                found.setdefault((name, row.status, slot), []).append((start, row.duration))
        told = []
        for (name, status, _), runs in found.items():
            starts = [start for start, _ in runs]
            took = [duration for _, duration in runs if duration is not None]
            longest = max(took, default=None)
            told.append(Activity(name, status, len(runs), min(starts), max(starts), longest))
        return sorted(told, key=lambda each: (each.job, each.first, each.status))

    def starts(self, name, after):
        return sorted(
            row.run.started_at
            for row in self.rows.values()
            if row.run.job == name and row.run.started_at > after
        )

    def watches(self):
        return [
            Watch(
                name,
                Expectations(**job.expected),
                job.sources,
                job.channels,
                self.streak(job),
                self.last_success(job),
                job.snoozed_until,
                job.judged_until,
                tuple(
                    self.record(row)._replace(
                        owner=row.run.owner,
                        lease_over=not (self.now < row.lease_until <= self.now + HOUR),
                    )
                    for row in self.open_rows(name)
                ),
                job.silence,
            )
            for name, job in sorted(self.jobs_by_name.items())
        ]

    def incident(self, job):
        """(channels that were notified of the incident that goes on, when its first run ended)."""
        found = list(history_of(job))
        opened, notified = found[-1][5:] if found else (None, set())
        first = self.rows.get(opened)
        return frozenset(notified), first.finished_at if first else None

    def jobs(self):
        return [
            JobStatus(
                name,
                self.streak(job),
                next((each for each in self.history(name) if each.status != "skipped"), None),
                self.last_success(job),
                len(self.open_rows(name)),
                job.snoozed_until,
                Expectations(**job.expected).plan,
                *(
                    sum(out.facts["job"] == name and out.state == state for out in self.outbox)
                    for state in ("pending", "dead")
                ),
                *self.incident(job),
                max(
                    (each for each in self.starts(name, LONG_AGO) if each <= self.now + EARLY),
                    default=None,
                ),
                min(
                    (
                        out.created_at
                        for out in self.outbox
                        if out.facts["job"] == name and out.state == "pending"
                    ),
                    default=None,
                ),
            )
            for name, job in sorted(self.jobs_by_name.items())
        ]

    def alerts(self):
        return [
            AlertRecord(
                "",
                out.facts["job"],
                out.channel,
                out.facts["kind"],
                out.state,
                out.attempts,
                out.created_at,
                out.due_at if out.state == "pending" else None,
                out.settled_at,
                out.error_code,
            )
            for out in reversed(self.outbox)
        ]
