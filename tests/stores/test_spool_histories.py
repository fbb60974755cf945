"""Any history of several hosts, whatever goes wrong: in the end the log has all of it, once."""

import json
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from support.faulty import PASSING, VERBS, Faulty

from cronguard.core.alert_rule import alert_rules
from cronguard.core.clock import new_id
from cronguard.core.errors import StoreError
from cronguard.core.expectations import statements
from cronguard.core.model import (
    ChannelRule,
    Expectations,
    Failure,
    Outcome,
    Overrun,
    Owner,
    Run,
    Settlement,
)
from cronguard.stores.spool import backlog, local
from cronguard.stores.spooled import SpooledStore
from cronguard.stores.sqlite.file import SQLiteFile

HOSTS = ("a", "b", "c")
DISKLESS = "c"
SHARED = "shared"
"""A job that every host runs; each has one of its own besides, named as the host."""
CHANNELS = (ChannelRule("slack"), ChannelRule("pager", 3, 1), ChannelRule("mail", 1, 0))
THRESHOLDS = {"slack": 2, "pager": 3, "mail": 1}


@dataclass
class Process:
    """One process of a host, with the runs that it has open."""

    host: str
    owner: Owner
    store: SpooledStore
    open: list = field(default_factory=list)
    is_alive: bool = True


@dataclass
class Fate:
    """What is known of a run without asking cronguard."""

    run: Run
    process: Process
    started: bool = False
    status: str = "open"
    lost: bool = False
    """Known only to a process that is gone: nobody can be asked for more than that it is over."""


class Spools(RuleBasedStateMachine):
    """Processes of three hosts, one without a disk, on a store that fails at any verb in any way.

    While something fails, what a host decides may differ: counts are those of the last known state
    and null where there is none, a failure may be announced before its threshold, and a host knows
    nothing of what others do meanwhile. What must hold nevertheless:

    - The store's log has every outcome exactly once, with the statuses and counts that the
      reference works out, and each process's outcomes of a job in their order.
    - No run that has ended is ``running``, and none holds its job; a start is skipped only for a
      run that goes on, or for one of which this host cannot know that it is over.
    - Of an incident each channel is notified once by each host.
    - Nothing waits.
    """

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.dead = set()
        self.pids = count(1)
        self.remote = Faulty(self.dead)
        self.full = set()
        """The databases that cannot be written."""
        self.patience = local.ALIVE_SECONDS, backlog.ALIVE_SECONDS
        local.ALIVE_SECONDS = backlog.ALIVE_SECONDS = 0.0
        self.nothing_works = False
        """Whether not even memory takes anything."""
        self.write = write = SQLiteFile.write

        def write_or_fail(file, *args, **keywords):
            if file is not self.remote._file:
                if self.nothing_works:
                    raise MemoryError
                if file.path in self.full:
                    raise StoreError("the disk is full", code="disk_full")
            return write(file, *args, **keywords)

        SQLiteFile.write = write_or_fail
        self.fates = {}
        self.notified = Counter()
        """(host, channel, kind, run) → how often it was sent."""
        self.odd = set()
        """Jobs of which a streak was cut off by hand, so that incidents cannot be told apart."""
        self.forgotten = set()
        """Runs whose state a process took with it: another may tell it once more."""
        self.processes = {(host, n): self._process(host) for host in HOSTS for n in (0, 1)}
        self.told_by = {}

    def _process(self, host):
        path = Path(self.folder.name) / f"{host}.db" if host != DISKLESS else None
        owner = Owner(host, next(self.pids), host, "1")
        return Process(host, owner, SpooledStore(self.remote, path))

    # --- what a process does --------------------------------------------------------------------

    processes_drawn = st.tuples(st.sampled_from(HOSTS), st.sampled_from((0, 1)))

    @rule(
        at=processes_drawn,
        shared=st.booleans(),
        overlap=st.sampled_from(["skip", "skip", "allow"]),
        stated=st.fixed_dictionaries(
            {
                "realert_every": st.sampled_from([None, None, 1, 2]),
                "notify_recovery": st.booleans(),
            }
        ),
        test_mode=st.sampled_from([False] * 7 + [True]),
    )
    def start(self, at, shared, overlap, stated, test_mode):
        process = self.processes[at]
        job = SHARED if shared else process.host
        self._start(process, job, overlap, statements(**stated), test_mode=test_mode)

    def _start(self, process, job, overlap="skip", stated=(), *, test_mode=False):
        run = Run(
            *(new_id(), job, datetime.now(UTC), process.owner, CHANNELS, stated, overlap, 90.0),
            test_mode,
        )
        fate = self.fates[run.run_id] = Fate(run, process)
        try:
            started = process.store.start_run(run, is_dead=self.dead.__contains__)
        except StoreError:
            status = "running"
        else:
            fate.started, status = True, started.status
        if status == "skipped":
            assert overlap == "skip"
            assert self._holders(fate), "skipped for a run that is over"
            fate.status = "skipped"
        else:
            process.open.append(run)
        return fate

    def _holders(self, fate):
        """The runs that may hold the job of one that starts, for all that its host can know."""
        host = fate.process.host
        others = [
            other
            for other in self.fates.values()
            if other is not fate and other.run.job == fate.run.job
        ]
        return [
            other
            for other in others
            if (other.status == "open" and other.process.is_alive)
            or other.process.host != host
            or (other.process is not fate.process and self._keeps_apart(other.process))
        ]

    def _keeps_apart(self, process):
        """Whether other processes of the host do not see what waits in this one."""
        apart = process.host == DISKLESS or self.full or self._memory(process)
        return process.is_alive and (apart or process.store._unspooled)

    @rule(
        at=processes_drawn,
        which=st.integers(0, 3),
        status=st.sampled_from(["success", "failure", "failure", "cancelled"]),
        message=st.sampled_from([None, "plain", "ø ‹…›"]),
    )
    def end(self, at, which, status, message):
        process = self.processes[at]
        if process.open:
            self._end(process, process.open[which % len(process.open)], status, message)

    @rule(
        at=processes_drawn,
        shared=st.booleans(),
        statuses=st.lists(st.sampled_from(["success", "failure", "failure"]), min_size=1),
    )
    def run(self, at, shared, statuses):
        """Whole runs, one after the other."""
        process = self.processes[at]
        for status in statuses[:4]:
            fate = self._start(process, SHARED if shared else process.host, "allow")
            self._end(process, fate.run, status)

    def _end(self, process, run, status, message=None):
        fate = self.fates[run.run_id]
        failure = Failure("ValueError", None, message) if status == "failure" else None
        outcome = Outcome(status, datetime.now(UTC), 0.5, failure)
        process.open.remove(run)
        fate.status = status
        notified = set()
        try:
            process.store.finish_run(run, outcome, started=fate.started, notified=notified)
        except StoreError:  # as a recording does
            process.store.keep(run, outcome, started=fate.started, notified=notified)
        self.told_by.setdefault((id(process), run.job), []).append(run.run_id)

    @rule(at=processes_drawn)
    def heartbeat(self, at):
        self._heartbeat(self.processes[at])

    def _heartbeat(self, process):
        with suppress(StoreError, *FAULTS):
            process.store.heartbeat([run.run_id for run in process.open], lease=90.0)

    @rule(at=processes_drawn)
    def note(self, at):
        """What the watchdog does when a run has lasted for a second."""
        process = self.processes[at]
        lasting = [run.run_id for run in process.open if self.fates[run.run_id].started]
        process.store.note_open(lasting)

    @rule(at=processes_drawn)
    def sweep(self, at):
        process = self.processes[at]
        with suppress(StoreError, *FAULTS):
            self._sweep(process)

    def _sweep(self, process):
        """Of a crash that was found so, hosts learn with the next answer to a start or an end."""
        found = process.store.sweep(process.owner, is_dead=self.dead.__contains__)
        self.odd.update(record.job for record in found)

    @rule(at=processes_drawn, shared=st.booleans())
    def deliver(self, at, shared):
        process = self.processes[at]
        self._deliver(process, SHARED if shared else process.host)

    def _deliver(self, process, job):
        names = [each.channel for each in CHANNELS]
        try:
            claimed = process.store.claim_alerts(channels=names, job=job)
        except (StoreError, *FAULTS):
            return
        for delivery in claimed:
            facts = json.loads(delivery.payload)
            self.notified[process.host, delivery.channel, delivery.kind, facts["run_id"]] += 1
            with suppress(StoreError, *FAULTS):
                process.store.settle_alert(delivery, Settlement("sent"))

    @rule(at=processes_drawn, which=st.integers(0, 3), step=st.sampled_from([1, 2]))
    def overrun(self, at, which, step):
        process = self.processes[at]
        if not process.open:
            return
        run = process.open[which % len(process.open)]
        if self.fates[run.run_id].started:
            news = Overrun(run.run_id, run.job, step, 60.0 * step, "slow")
            with suppress(StoreError):
                process.store.announce_overrun(news, alert_rules(CHANNELS, Expectations()))

    # --- what goes wrong ------------------------------------------------------------------------

    @rule(
        verbs=st.sampled_from(
            [VERBS, VERBS, ("start",), ("finish",), ("heartbeat",), ("start", "finish")]
        ),
        kind=st.sampled_from(sorted(PASSING)),
        late=st.booleans(),
        lasting=st.booleans(),
    )
    def fail(self, verbs, kind, late, lasting):
        faults = self.remote.faults if lasting else self.remote.once
        faults.update(dict.fromkeys(verbs, (kind, late)))

    @rule()
    def come(self):
        self._up()

    @rule(at=st.sampled_from(HOSTS), shared=st.booleans())
    def refuse(self, at, shared):
        self.remote.refuses[SHARED if shared else at] = "23514"

    @rule(takes=st.sampled_from([str.isascii, lambda text: not text]))
    def refuse_text(self, takes):
        self.remote.takes = takes

    @rule(host=st.sampled_from(HOSTS[:2]))
    def fill_disk(self, host):
        """Or empty it again. Meanwhile its processes know nothing of one another."""
        self.full ^= {Path(self.folder.name) / f"{host}.db"}
        self.forgotten.add(host)

    @rule(nothing_works=st.booleans())
    def run_out_of_memory(self, nothing_works):
        """Or have some again. Meanwhile each process alone knows what it could not keep."""
        self.nothing_works = nothing_works
        self.forgotten.update(HOSTS)

    @rule(at=processes_drawn)
    def kill(self, at):
        self._gone(at)

    @rule(at=processes_drawn)
    def restart(self, at):
        process = self.processes[at]
        if not process.open:
            process.store.close()
            self._gone(at)

    def _gone(self, at):
        process = self.processes[at]
        for run_id in self._known_only_to(process):
            self.fates[run_id].lost = True
        if self._memory(process) or process.host == DISKLESS:
            self.forgotten.add(process.host)
        process.is_alive = False
        self.dead.add(process.owner)
        self.processes[at] = self._process(process.host)

    def _memory(self, process):
        kept = process.store._backlog
        return kept and kept._places._databases.get(None)

    def _known_only_to(self, process):
        yield from process.store._unspooled
        if memory := self._memory(process):
            query = "SELECT run_id FROM waiting UNION SELECT run_id FROM begun"
            for (run_id,) in memory._file.read(lambda db: db.execute(query).fetchall()):
                yield run_id

    # --- what people do -------------------------------------------------------------------------

    @rule(job=st.sampled_from([*HOSTS, SHARED]), hours=st.sampled_from([None, 1]))
    def snooze(self, job, hours):
        self.odd.add(job)
        until = datetime.now(UTC) + timedelta(hours=hours) if hours else None
        if job in self.remote.reference.jobs_by_name:
            self.remote.snooze(job, until)

    @rule(at=processes_drawn, shared=st.booleans())
    def forget(self, at, shared):
        process = self.processes[at]
        job = SHARED if shared else process.host
        self.odd.add(job)
        with suppress(StoreError, *FAULTS):
            process.store.forget(job)

    # --- what must hold -------------------------------------------------------------------------

    def _up(self):
        self.remote.up()
        for process in self.processes.values():
            process.store._quiet_until = 0.0

    @rule()
    def settle(self):
        """Everything can be reached, and every process does once what it does every 30 s."""
        self._up()
        self.full.clear()
        self.nothing_works = False
        for process in self.processes.values():
            process.store.replay()
            self._heartbeat(process)
        for process in self.processes.values():
            self._sweep(process)
            assert process.store.waiting() == 0
            assert process.store.refused() == []
        self._look_at_log()
        self._look_at_order()
        self._look_at_alerts()

    def _look_at_log(self):
        assert self.remote.differences == [], self.remote.differences[0]
        rows = {}
        for job in (*HOSTS, SHARED):
            for run_id, status, _count in self.remote.log(job):
                assert run_id not in rows
                rows[run_id] = status
        assert rows.keys() <= self.fates.keys()
        for run_id, fate in self.fates.items():
            found = rows.get(run_id)
            if fate.run.job not in self.remote.reference.jobs_by_name and found == "running":
                continue  # a forgotten job is swept by its next start
            if fate.status == "open" and fate.process.is_alive:
                assert found in (None, "running", "skipped"), fate  # it may not have heard
            elif fate.lost or fate.status == "open":
                assert found in (None, "crashed", "skipped", fate.status), fate
            else:
                assert found == fate.status, fate

    def _look_at_order(self):
        place = {run_id: place for place, run_id in enumerate(self.remote.committed)}
        for told in self.told_by.values():
            places = [place[run_id] for run_id in told if not self.fates[run_id].lost]
            assert places == sorted(places)

    def _look_at_alerts(self):
        """Once a channel and host; the store's own word counts as that of a host."""
        for job in (*HOSTS, SHARED):
            if job in self.odd:
                continue
            incident, of_run = 0, {}
            for run_id in self.remote.committed:
                row = self.remote.reference.rows[run_id]
                if row.run.job == job:
                    incident += row.status == "success"
                    of_run[run_id] = incident
            self._look_at_incidents(job, of_run)

    def _look_at_incidents(self, job, of_run):
        failing = Counter()
        for (host, channel, kind, run_id), times in self._all_notified().items():
            if run_id not in of_run:
                continue
            if kind == "failing":
                failing[host, channel, of_run[run_id]] += times
            elif kind in ("overrun", "test"):
                assert times <= 2
        private = job != SHARED and job not in self.forgotten and job != DISKLESS
        for (host, channel, incident), times in failing.items():
            assert times <= 1 or not private, (host, channel, incident)
        self._look_at_lengths(job, of_run, failing, private=private)

    def _look_at_lengths(self, job, of_run, failing, *, private):
        """An incident that reached a channel's threshold has been announced there."""
        lengths = Counter(
            incident
            for run_id, incident in of_run.items()
            if self.remote.reference.rows[run_id].status in ("failure", "crashed")
        )
        for incident, length in lengths.items():
            for channel, threshold in THRESHOLDS.items():
                total = sum(
                    times
                    for (_, name, number), times in failing.items()
                    if (name, number) == (channel, incident)
                )
                enough = total == 1 if private else total >= 1
                assert enough or length < threshold, (job, channel, incident, length)

    def _all_notified(self):
        """What was sent, and what waits to be."""
        found = Counter(self.notified)
        query = "SELECT job, channel, kind, run_id FROM cronguard_alerts WHERE state = 'pending'"
        places = [("store", self.remote)]
        for process in self.processes.values():
            kept = process.store._backlog
            places += [(process.host, place) for place in (kept._places.found() if kept else ())]
        for host, place in places:
            for job, channel, kind, run_id in place._file.read(
                lambda db: db.execute(query).fetchall()
            ):
                whose = job if host == "store" and job != SHARED else host
                found[whose, channel, kind, run_id] = max(1, found[whose, channel, kind, run_id])
        return found

    def teardown(self):
        if not hasattr(self, "folder"):
            return
        try:
            self.settle()
            self._aftermath()
        finally:
            SQLiteFile.write = self.write
            local.ALIVE_SECONDS, backlog.ALIVE_SECONDS = self.patience
            for process in self.processes.values():
                process.store.close()
            self.folder.cleanup()

    def _aftermath(self):
        """The next run of each job starts, on any host, since nothing goes on any more."""
        for process in self.processes.values():
            for run in list(process.open):
                self._end(process, run, "success")
        for process in self.processes.values():
            for job in (process.host, SHARED):
                fate = self._start(process, job)
                assert fate.status == "open" or job in self.odd
                if fate.status == "open":
                    self._end(process, fate.run, "success")
        for job in (*HOSTS, SHARED):
            statuses = [status for _, status, _ in self.remote.log(job)]
            assert "running" not in statuses or job in self.odd


FAULTS = (TypeError, ImportError, MemoryError, OSError, UnicodeError)


@pytest.mark.one_python
class TestAnyHistory(Spools.TestCase):
    settings = settings(max_examples=25, stateful_step_count=25)


@pytest.mark.long
@pytest.mark.one_python
class TestAnyLongHistory(Spools.TestCase):
    settings = settings(max_examples=80, stateful_step_count=50)


@pytest.mark.soak
class TestManyLongHistories(Spools.TestCase):
    settings = settings(max_examples=1000, stateful_step_count=50)
