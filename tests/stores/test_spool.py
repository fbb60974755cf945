"""A remote store out of reach: nothing is lost, nothing is told twice, the job does not wait."""

import json
import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.damage import damage_sqlite
from support.faulty import PASSING

from cronguard.core.alert_rule import alert_rules, overlay
from cronguard.core.clock import new_id
from cronguard.core.errors import StoreConfigError, StoreError
from cronguard.core.expectations import statements
from cronguard.core.interfaces import Store
from cronguard.core.model import (
    AlertRule,
    ChannelRule,
    Expectations,
    Failure,
    JobState,
    Missed,
    Outcome,
    Overrun,
    Owner,
    Run,
    Settlement,
    Silence,
)
from cronguard.stores.spool import backlog, local
from cronguard.stores.spool.known import Known, LastKnown
from cronguard.stores.spool.local import LocalStore
from cronguard.stores.spool.queue import OutcomeQueue
from cronguard.stores.spool.values import (
    outcome_of,
    outcome_text,
    run_of,
    run_text,
    state_of,
    state_text,
)
from cronguard.stores.spooled import PASSED_ON, SpooledStore
from cronguard.stores.sqlite import runs as sqlite_runs
from cronguard.stores.sqlite.file import SQLiteFile
from cronguard.testing import MemoryStore, StoreContract

HERE = Owner("host", 1, "space", "1")
KILLED = Owner("host", 2, "space", "1")
THERE = Owner("other", 1, "other space", "1")
TOLD = ChannelRule("slack")


class Remote(MemoryStore):
    """A store that can be out of reach, refuse for good, and tells its jobs' states."""

    def __init__(self, **options):
        super().__init__(**options)
        self.trouble = None
        self.refuses = {}
        """Job → the code with which its outcomes are refused."""
        self.takes = None
        """A function (error message) → whether the store takes it."""
        self.asked = 0
        self.answers_late = False

    def _reach(self):
        self.asked += 1
        if self.trouble is not None and not self.answers_late:
            raise self.trouble

    def _too_late(self):
        if self.answers_late:
            raise self.trouble

    def start_run(self, run, *, is_dead, ended=()):
        self._reach()
        started = super().start_run(run, is_dead=is_dead, ended=ended)
        self._too_late()
        return started._replace(state=self._state(run.job))

    def finish_run(self, run, outcome, *, started, notified=()):
        self._reach()
        if run.job in self.refuses:
            raise StoreError("did not do what it was asked", code=self.refuses[run.job])
        text = outcome.failure and outcome.failure.error_message
        if self.takes and text and not self.takes(text):
            raise StoreError("did not do what it was asked", code="22P05")
        finished = super().finish_run(run, outcome, started=started, notified=notified)
        self._too_late()
        return finished._replace(state=self._state(run.job))

    def claim_alerts(self, **wanted):
        self._reach()
        return super().claim_alerts(**wanted)

    def announce_overrun(self, overrun, rules):
        self._reach()
        return super().announce_overrun(overrun, rules)

    def heartbeat(self, run_ids, *, lease, ended=()):
        self._reach()
        super().heartbeat(run_ids, lease=lease, ended=ended)

    def _state(self, job):
        row = self._file.read(lambda db: sqlite_runs.find_job(db, job))
        return row and row.state

    def up(self):
        self.trouble, self.answers_late = None, False

    def down(self, code="connection_refused", *, late=False):
        self.trouble, self.answers_late = StoreError("out of reach", code=code), late


class Host:
    """One host: its spool, and processes that come and go."""

    def __init__(self, remote, folder, name="a"):
        self.remote = remote
        self.path = folder and Path(folder) / f"spool-{name}.db"
        self.said = []
        self.store = self._process()
        self.sent = []

    def _process(self):
        return SpooledStore(self.remote, self.path, warn=self.said.append)

    def restart(self):
        self.store.close()
        self.store = self._process()

    def begin(self, job="nightly", **changes):
        run = Run(new_id(), job, datetime.now(UTC), HERE, (TOLD,))._replace(**changes)
        started = self.store.start_run(run, is_dead=lambda owner: owner.pid == KILLED.pid)
        return run, started

    def end(self, run, status, *, started=True):
        failure = Failure("ValueError") if status == "failure" else None
        outcome = Outcome(status, datetime.now(UTC), 0.5, failure)
        try:
            return self.store.finish_run(run, outcome, started=started)
        except StoreError:  # as a recording does
            self.store.keep(run, outcome, started=started, notified=set())
            raise

    def play(self, *statuses, **changes):
        for status in statuses:
            run, _ = self.begin(**changes)
            self.end(run, status)
        return self

    def deliver(self):
        """Send what is due; the payloads, oldest first."""
        try:
            claimed = self.store.claim_alerts(channels=("slack", "pager"), force=True)
        except StoreError:  # nothing waits here, and the store cannot be asked
            claimed = []
        for delivery in claimed:
            assert self.store.settle_alert(delivery, Settlement("sent"))
        self.sent += [json.loads(delivery.payload) for delivery in claimed]
        return self.sent


@pytest.fixture
def remote():
    return Remote()


@pytest.fixture
def host(remote, tmp_path):
    made = Host(remote, tmp_path)
    yield made
    made.store.close()


def history(remote, job="nightly"):
    """(status, count) of the job's rows, oldest first."""
    rows = reversed(MemoryStore.history(remote, job, limit=1000))
    return [(row.status, row.consecutive_failure_count) for row in rows]


class TestReachedStore(StoreContract):
    """While the store can be reached, the spool is not noticed."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.path = tmp_path / "spool.db"

    def make_store(self, clock):
        return SpooledStore(Remote(clock=clock), self.path)

    def damage(self, table, key):
        damage_sqlite(self.store.store, table, key)

    def test_no_spool_was_made(self):
        """Nothing is written for it until it is needed."""
        self.play("failure", "failure", "success")
        assert not self.path.exists()


# --- what is kept, and when it goes ---------------------------------------------------------------


def test_down_at_start_and_finish(host, remote):
    """The record is complete, in order, with its true count, once the store answers."""
    host.play("failure")
    remote.down()
    host.play("success", "failure", "failure", "cancelled")
    assert history(remote) == [("failure", 1)]
    remote.up()
    host.play("failure")
    assert history(remote) == [
        ("failure", 1),
        ("success", 0),
        ("failure", 1),
        ("failure", 2),
        ("cancelled", 2),
        ("failure", 3),
    ]
    assert host.store.waiting() == 0


def test_down_at_the_finish_only(host, remote):
    """The start is known there: the row is ended, not written anew."""
    run, _ = host.begin()
    remote.down()
    host.end(run, "failure")
    remote.up()
    host.begin("other")
    assert history(remote) == [("failure", 1)]


def test_down_at_the_start_only(host, remote):
    """The store learns of the run at its end, and the spool forgets it."""
    remote.down()
    run, started = host.begin()
    assert started.status == "running"
    remote.up()
    assert host.end(run, "failure").consecutive_failure_count == 1
    assert history(remote) == [("failure", 1)]
    host.restart()
    host.begin("other")
    assert history(remote) == [("failure", 1)]


def test_an_answer_that_comes_too_late_counts_once(host, remote):
    """The store had taken the outcome after all: no second failure, and no second alert."""
    host.play("failure")
    remote.down("timeout", late=True)
    host.play("failure")
    assert [alert["degraded"] for alert in host.deliver()] == [True]
    remote.up()
    host.restart()
    host.play("failure")
    assert history(remote) == [("failure", 1), ("failure", 2), ("failure", 3)]
    assert len(host.deliver()) == 1


def test_the_streak_goes_on_from_what_was_last_known(host, remote):
    """The alert goes out in time, says that it is degraded, and is the only one in all."""
    host.play("success", "failure")
    host.restart()
    remote.down()
    host.play("failure")
    (alert,) = host.deliver()
    assert (alert["kind"], alert["degraded"]) == ("failing", True)
    assert (alert["consecutive_failure_count"], alert["threshold"]) == (2, 2)
    assert alert["last_success_at"] is not None
    host.play("failure")
    remote.up()
    host.restart()
    host.play("failure")
    assert history(remote)[-1] == ("failure", 4)
    assert len(host.deliver()) == 1


def test_with_nothing_known_a_failure_alerts_at_once(host, remote):
    """The streak is unknown, so the alert says so; replayed, it is not made again."""
    remote.down()
    host.play("failure", "failure", channels=(TOLD._replace(threshold=3),))
    (alert,) = host.deliver()
    assert (alert["degraded"], alert["consecutive_failure_count"]) == (True, None)
    assert (alert["threshold"], alert["last_success_at"]) == (3, None)
    remote.up()
    host.play("failure", "failure", channels=(TOLD._replace(threshold=3),))
    assert history(remote)[-1] == ("failure", 4)
    assert len(host.deliver()) == 1


def test_an_incident_announced_before_is_not_announced_again(host, remote):
    """What the store knows to have been told is known here."""
    host.play("failure", "failure")
    assert len(host.deliver()) == 1
    host.restart()
    remote.down()
    host.play("failure", "failure")
    assert len(host.deliver()) == 1


def test_a_recovery_is_told_once(host, remote):
    """By the host that saw it, while the store was out of reach."""
    rules = {"stated": statements(notify_recovery=True)}
    host.play("failure", "failure", **rules)
    host.deliver()
    remote.down()
    host.play("success", **rules)
    assert [alert["kind"] for alert in host.deliver()] == ["failing", "recovered"]
    remote.up()
    host.play("success", **rules)
    assert len(host.deliver()) == 2


def test_a_run_killed_meanwhile_is_counted(host, remote):
    """Its start was only known here; its process is gone at the next start."""
    host.play("failure")
    remote.down()
    host.begin(owner=KILLED)
    host.restart()
    run, _ = host.begin()
    assert [alert["error_type"] for alert in host.deliver()] == ["Crashed"]
    remote.up()
    host.end(run, "failure")
    assert history(remote) == [("failure", 1), ("crashed", 2), ("failure", 3)]
    assert len(host.deliver()) == 1


def test_a_run_killed_meanwhile_is_counted_by_the_store_if_it_is_back(host, remote):
    """Nobody has to be told from here then."""
    remote.down()
    host.begin(owner=KILLED)
    remote.up()
    host.restart()
    host.play("failure")
    assert history(remote) == [("crashed", 1), ("failure", 2)]
    assert [alert["degraded"] for alert in host.deliver()] == [False]


def test_a_run_of_another_space_is_left_while_its_lease_lasts(host, remote):
    """A container that shares the folder: its processes cannot be judged from here."""
    remote.down()
    elsewhere, _ = host.begin(owner=THERE, lease=0.0, overlap="allow")
    living, _ = host.begin(owner=THERE, overlap="allow")
    host.restart()
    remote.up()
    host.begin("other")
    assert history(remote) == [("crashed", 1)]
    assert host.end(living, "success").consecutive_failure_count == 0
    assert elsewhere.run_id != living.run_id


def test_a_snooze_is_respected(host, remote):
    """The store's last word on it counts here too."""
    host.play("failure")
    remote.snooze("nightly", datetime.now(UTC) + timedelta(hours=1))
    host.play("failure")
    remote.down()
    host.play("failure")
    assert host.deliver() == []


def test_a_test_alert_is_no_news_of_the_incident(host, remote):
    """In test mode a first failure sends a test; when the streak reaches the threshold, it is told,
    and the test does not come again."""
    host.play("success")
    remote.down()
    host.play("failure", test_mode=True)
    assert [alert["kind"] for alert in host.deliver()] == ["test"]
    remote.up()
    host.play("failure")
    assert [alert["kind"] for alert in host.deliver()] == ["test", "failing"]


def test_a_cancelled_run_is_no_knowledge(host, remote):
    """With nothing known before it, the failure after it alerts at once."""
    remote.down()
    host.play("cancelled", "failure", "failure")
    (alert,) = host.deliver()
    assert alert["consecutive_failure_count"] is None


def test_another_process_of_this_host_may_know_more(host, remote):
    """What it heard from the store since is what counts, so an incident is announced once."""
    host.play("failure")
    neighbour = Host(remote, host.path.parent)
    neighbour.play("failure")
    assert len(neighbour.deliver()) == 1
    remote.down()
    host.play("failure")
    assert host.deliver() == []
    neighbour.store.close()


def test_what_was_told_before_it_could_be_kept_is_told_once(host, remote):
    """Neither store nor spool could be written, so it was told directly; now one of them can."""
    host.play("failure")
    remote.down()
    run, _ = host.begin()
    outcome = Outcome("failure", datetime.now(UTC), 0.5, Failure("ValueError"))
    host.store.finish_run(run, outcome, started=False, notified=("slack",))
    remote.up()
    host.play("failure")
    assert host.deliver() == []
    assert history(remote) == [("failure", 1), ("failure", 2), ("failure", 3)]


def test_a_spool_that_cannot_be_emptied_holds_up_nothing(host, remote, monkeypatch):
    """Its disk is full, or it was made read-only: what the store takes is recorded, once."""
    remote.down()
    host.play("failure")
    remote.up()
    full = StoreError("the disk is full", code="disk_full")
    with monkeypatch.context() as patch:
        patch.setattr(OutcomeQueue, "drop", raising(full))
        host.play("failure", "failure")
        assert history(remote) == [("failure", 1), ("failure", 2), ("failure", 3)]
        assert len({said for said in host.said if "disk is full" in said}) == 1
    host.restart()
    assert host.store.waiting() == 0
    host.play("success")
    assert [count for _, count in history(remote)] == [1, 2, 3, 0]


def test_an_outcome_whose_start_was_kept_nowhere_is_told_whole(host, remote):
    """Its row was never written, so it is inserted."""
    remote.down()
    run = Run(new_id(), "nightly", datetime.now(UTC), HERE, (TOLD,))
    host.end(run, "failure", started=False)
    remote.up()
    assert host.store.replay() == 1
    assert history(remote) == [("failure", 1)]


def test_an_outcome_whose_row_was_pruned_meanwhile_changes_nothing(host, remote):
    """The store knew of its start and has let go of it since; it does not come back."""
    run, _ = host.begin()
    remote.down()
    host.end(run, "failure")
    remote.up()
    other = run._replace(run_id=new_id())
    remote.start_run(other, is_dead=lambda _: True)
    remote.finish_run(other, Outcome("success", datetime.now(UTC), 0.5), started=True)
    assert remote.prune(keep=timedelta(0)) == 1
    assert host.store.replay() == 1
    assert history(remote) == [("success", 0)]


def test_what_was_learned_by_telling_counts_when_the_store_is_gone_again(host, remote):
    """An incident that was announced from here is not announced again in the next outage."""
    host.play("failure")
    remote.down()
    host.play("failure")
    (alert,) = host.deliver()
    remote.up()
    host.store.replay()
    remote.down()
    run, started = host.begin()
    assert (started.consecutive_failure_count, len(host.deliver())) == (2, 1)
    assert host.end(run, "failure").consecutive_failure_count == 3
    assert host.deliver() == [alert]


def test_alerts_that_wait_here_are_due_at_the_next_run(host, remote):
    """Down or up: the run that comes next is told that there is something to send."""
    host.play("failure")
    remote.down()
    host.play("failure")
    run, started = host.begin()
    assert started.alerts_due
    remote.up()
    assert host.end(run, "success", started=False).alerts_due
    run, started = host.begin()
    assert started.alerts_due
    host.deliver()
    assert not host.end(run, "success").alerts_due


def test_a_heartbeat_reaches_what_began_here(host, remote):
    """While the store is out of reach a run of another space lives by the lease that is here."""
    remote.down()
    far, _ = host.begin(owner=THERE, lease=0.0)
    with pytest.raises(StoreError):
        host.store.heartbeat([far.run_id], lease=90.0)
    _, started = host.begin()
    assert (started.status, started.held_by) == ("skipped", far.run_id)


def test_the_living_are_not_judged_by_every_start(host, remote, monkeypatch):
    """Hundreds may run at once while the store is away; each would judge all the others."""
    monkeypatch.setattr(local, "ALIVE_SECONDS", 3600.0)
    judged = []
    remote.down()
    host.begin()
    host.restart()
    for _ in range(20):
        run = Run(new_id(), "nightly", datetime.now(UTC), HERE, (TOLD,), overlap="allow")
        host.store.start_run(run, is_dead=judged.append)
    assert len(judged) <= 2


def raising(error):
    def work(*_args, **_keywords):
        raise error

    return work


def test_a_check_finds_what_was_killed_here_meanwhile(host, remote):
    """Without another start of the job."""
    remote.down()
    run, _ = host.begin(owner=KILLED)
    remote.up()
    host.restart()
    found = host.store.sweep(HERE, is_dead=lambda owner: owner.pid == KILLED.pid)
    assert [(record.run_id, record.status) for record in found] == [(run.run_id, "crashed")]
    assert found[0].consecutive_failure_count == 1
    assert history(remote) == [("crashed", 1)]
    assert host.store.sweep(HERE, is_dead=lambda _: True) == []


def test_a_start_that_only_this_host_knows_is_no_missed_one(host, remote):
    """The run goes on, or its end waits here; the store has heard of neither."""
    host.play("success", stated=statements(schedule="0 6 * * *"))
    remote.down()
    host.play("failure")
    going, _ = host.begin()
    remote.up()
    before = going.started_at - timedelta(hours=1)
    found = host.store.starts("nightly", after=before)
    assert len(found) == 3
    assert found == sorted(found)
    assert found[-1] == going.started_at
    assert host.store.starts("nightly", after=before, limit=1) == found[:1]
    assert host.store.starts("nightly", after=going.started_at) == []
    assert host.store.starts("other", after=before) == []


def test_alerts_that_wait_here_are_counted(host, remote):
    """At a glance, with the store's own: those given up too."""
    host.play("failure")
    remote.down()
    host.play("failure")
    remote.up()
    host.play("failure")
    assert host.store.jobs()[0].alerts_pending == 1
    (claimed,) = host.store.claim_alerts(channels=("slack",))
    host.store.settle_alert(claimed, Settlement("dead", "http_404"))
    assert (host.store.jobs()[0].alerts_pending, host.store.jobs()[0].alerts_dead) == (0, 1)


def test_an_overrun_is_told_from_here(host, remote):
    """Once a step, degraded, with the job's last known state."""
    host.play("failure")
    run, _ = host.begin(stated=statements(max_runtime=1.0))
    remote.down()
    for _ in range(2):
        assert host.store.announce_overrun(Overrun(run.run_id, "nightly", 1, 1.5, "slow"), (TOLD,))
    (alert,) = host.deliver()
    assert (alert["kind"], alert["degraded"], alert["error_message"]) == ("overrun", True, "slow")
    assert (alert["consecutive_failure_count"], alert["host"]) == (1, "host")
    other, _ = host.begin(job="other", stated=statements(max_runtime=1.0))
    assert host.store.announce_overrun(Overrun(other.run_id, "other", 1, 1.5, "slow"), (TOLD,))
    assert host.deliver()[-1]["consecutive_failure_count"] == 0
    host.end(run, "failure")
    assert host.store.announce_overrun(Overrun(run.run_id, "nightly", 2, 2.5, "slow"), (TOLD,))
    assert [alert["consecutive_failure_count"] for alert in host.deliver()[2:]] == [2, 2]


def test_an_overrun_told_from_here_is_not_told_again(host, remote):
    """Neither it nor an earlier step once the store is back; a later step and others are."""
    run, _ = host.begin(stated=statements(max_runtime=1.0))
    pager = ChannelRule("pager")
    remote.down()
    host.store.announce_overrun(Overrun(run.run_id, "nightly", 2, 2.5, "slow"), (TOLD,))
    remote.up()
    for step in (1, 2, 4):
        host.store.announce_overrun(Overrun(run.run_id, "nightly", step, 9.0, "s"), (TOLD, pager))
        host.deliver()
    notified = sorted(alert.channel for alert in host.store.alerts())
    assert notified == ["pager", "pager", "pager", "slack", "slack"]


def test_what_somebody_must_correct_is_spooled(host, remote):
    """A wrong key, a schema that is not there: said with what to do, and nothing is lost."""
    host.play("failure")
    remote.trouble = StoreConfigError("the key is refused: set another", code="key_refused")
    host.play("failure", "success")
    assert host.store.waiting() == 2
    assert {sentence.partition(" until ")[2] for sentence in host.said} == {
        "somebody corrects this: the key is refused: set another"
    }
    remote.up()
    host.play("failure")
    assert history(remote) == [("failure", 1), ("failure", 2), ("success", 0), ("failure", 1)]


def test_a_job_is_forgotten_here_too(host, remote):
    """What waits is told first; then neither its streak nor its alert is left anywhere."""
    host.play("success")
    remote.down()
    host.play("failure", "failure")
    remote.up()
    assert host.store.forget("nightly")
    assert (host.store.waiting(), host.store.jobs(), host.deliver()) == (0, [], [])
    assert len(host.store.history("nightly")) == 3
    host.restart()
    remote.down()
    _, started = host.begin()
    assert started.consecutive_failure_count == 0


REFUSED = ["22021", "23514", "invalid_request"]


@pytest.mark.parametrize("code", REFUSED)
def test_refused_outcome_waits(host, remote, code):
    """What the store refuses holds up no other job, is said, and is recorded once it is taken."""
    remote.refuses = {"nightly": code}
    host.play("failure")
    host.play("failure", job="other")
    assert history(remote) == [("running", None)]
    assert history(remote, "other") == [("failure", 1)]
    assert any("refuses an outcome of nightly" in each for each in host.said)
    assert [queue.job for queue in host.store.refused()] == ["nightly"]
    remote.refuses = {}
    host.restart()
    host.play("success")
    assert history(remote) == [("failure", 1), ("success", 0)]
    assert host.store.waiting() == 0
    assert host.store.refused() == []


def test_refused_outcome_later_ones_queue(host, remote):
    """The order of a job is kept; its next runs start, since the ended one gives up its lease."""
    remote.refuses = {"nightly": "23514"}
    host.play("failure")
    remote.refuses = {"nightly": "23514"}
    run, started = host.begin()
    assert started.status == "running"
    host.end(run, "success")
    assert [status for status, _ in history(remote)] == ["running", "running"]
    assert host.store.waiting() == 2
    remote.refuses = {}
    assert host.store.replay() == 2
    assert history(remote) == [("failure", 1), ("success", 0)]


def test_refused_outcome_decides_here(host, remote):
    """Streak and alerts go on, degraded, and nobody is told again once the store takes it all."""
    host.play("success")
    remote.refuses = {"nightly": "23514"}
    host.play("failure", "failure", "failure")
    (alert,) = host.deliver()
    assert (alert["kind"], alert["degraded"]) == ("failing", True)
    assert alert["consecutive_failure_count"] == 2
    remote.refuses = {}
    host.play("failure")
    assert history(remote)[-1] == ("failure", 4)
    assert len(host.deliver()) == 1


@pytest.mark.parametrize(
    ("takes", "message"),
    [(str.isascii, "\\xf8 is missing"), (lambda text: not text, None)],
    ids=["ascii", "none"],
)
def test_refused_text_is_left_out(host, remote, takes, message):
    """In a database of another encoding, or with a rule on the text: the outcome counts."""
    remote.takes = takes
    run, _ = host.begin()
    failure = Failure("ValueError", "E1", "ø is missing", "a.py:1 in f")
    host.store.finish_run(run, Outcome("failure", datetime.now(UTC), 0.5, failure), started=True)
    assert history(remote) == [("failure", 1)]
    (record,) = MemoryStore.history(remote, "nightly")
    assert record.failure.error_message == message
    assert (record.failure.error_type, record.failure.error_code) == ("ValueError", "E1")
    assert host.store.waiting() == 0


def test_a_store_that_does_not_answer_is_asked_once(host, remote):
    """Its time-out is paid at the start; the finish goes straight to the spool."""
    remote.down("timeout")
    host.play("failure")
    assert remote.asked == 1
    assert host.store.waiting() == 1


def test_no_place_for_a_spool_keeps_in_memory(remote, tmp_path):
    """This process goes on as it would with one: streak, alerts, and what it has yet to tell."""
    (tmp_path / "file").touch()
    host = Host(remote, tmp_path / "file")
    host.play("success", "failure")
    remote.down()
    host.play("failure")
    (alert,) = host.deliver()
    assert (alert["consecutive_failure_count"], alert["degraded"]) == (2, True)
    assert host.store.waiting() == 1
    remote.up()
    host.play("failure")
    assert history(remote) == [("success", 0), ("failure", 1), ("failure", 2), ("failure", 3)]
    assert any("wait in the memory of this process" in each for each in host.said)


def test_no_place_for_a_spool_says_what_is_lost(remote, tmp_path):
    """A process that ends takes with it what only it knows: not in silence."""
    host = Host(remote, None)
    remote.down()
    host.play("failure", "failure")
    host.store.close()
    assert any("2 outcomes are lost with this process" in each for each in host.said)


@pytest.mark.parametrize("ends", ["close", "killed"])
def test_an_alert_that_memory_alone_has(remote, ends):
    """Its channel was away too, and the process ends: the store sends it, once for the incident."""
    host = Host(remote, None)
    host.play("failure")
    remote.down()
    host.play("failure")
    (delivery,) = host.store.claim_alerts(channels=("slack",))
    host.store.settle_alert(delivery, Settlement("pending", "connection_refused", 30.0))
    remote.up()
    if ends == "close":
        host.store.close()
    else:
        host.play("failure")
    host = Host(remote, None)
    host.play("failure")
    (alert,) = host.deliver()
    assert (alert["kind"], alert["consecutive_failure_count"]) == ("failing", 2)
    assert "degraded" not in alert or not alert["degraded"]


def test_an_alert_that_memory_alone_has_is_sent_meanwhile(remote):
    """Where the store does not take the outcome, this process goes on to send it."""
    host = Host(remote, None)
    host.play("failure")
    remote.down()
    host.play("failure", "failure")
    (alert,) = host.deliver()
    assert (alert["kind"], alert["degraded"]) == ("failing", True)
    remote.up()
    host.play("failure")
    assert len(host.deliver()) == 1


def test_an_alert_on_its_way_is_not_sent_twice(remote):
    """The store is told meanwhile that the channel has been notified."""
    host = Host(remote, None)
    host.play("failure")
    remote.down()
    host.play("failure")
    (delivery,) = host.store.claim_alerts(channels=("slack",))
    remote.up()
    host.play("failure")
    assert host.store.settle_alert(delivery, Settlement("sent"))
    assert host.deliver() == []


@pytest.mark.parametrize("made", [backlog.Backlog, LocalStore], ids=["backlog", "database"])
def test_threads_that_need_a_place_first_and_together(remote, monkeypatch, made):
    """What one thread keeps does not go with a place that another one makes meanwhile."""
    makers, two_are_at_it, one_is_done = [], threading.Event(), threading.Event()
    make = made.__init__

    def make_together(self, *args, **options):
        makers.append(self)
        if len(makers) == 1:
            two_are_at_it.wait(1)  # one alone may make it
        else:
            two_are_at_it.set()
            one_is_done.wait(1)
        make(self, *args, **options)

    def fail(job):
        host.play("failure", job=job)
        one_is_done.set()

    monkeypatch.setattr(made, "__init__", make_together)
    host = Host(remote, None)
    remote.down()
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(fail, ["nightly", "hourly"]))
    remote.up()
    assert host.store.replay() == 2
    assert history(remote, "nightly") == history(remote, "hourly") == [("failure", 1)]


def test_a_delivery_that_another_was_quicker_than(host, remote):
    """It says nothing of the store, of which it is known; who asks by hand is told."""
    wanted = {"channels": ("slack",), "job": "nightly"}
    host.play("failure")
    remote.down()
    with pytest.raises(StoreError):
        host.store.claim_alerts(**wanted)
    host.play("failure")
    assert len(host.store.claim_alerts(**wanted)) == 1
    assert host.store.claim_alerts(**wanted) == []
    with pytest.raises(StoreError):
        host.store.claim_alerts(**wanted, force=True)


def test_outcomes_beyond_what_memory_keeps(remote, monkeypatch):
    """The oldest are dropped, and how many is said: at 1, 2, 4 and so on, not at each."""
    monkeypatch.setattr("cronguard.stores.spooled._MAX_UNSPOOLED", 2)
    host = Host(remote, None)
    outcome = Outcome("failure", datetime.now(UTC), 0.5, Failure("ValueError"))
    for _ in range(5):
        run = Run(new_id(), "nightly", datetime.now(UTC), HERE, (TOLD,))
        host.store.keep(run, outcome, started=False, notified=set())
    assert host.store.waiting() == 2
    lost = [said.partition(" ")[0] for said in host.said if "are lost" in said]
    assert lost == ["1", "2"]
    assert host.store.replay() == 2
    assert history(remote) == [("failure", 1), ("failure", 2)]


def test_outcome_that_nothing_can_keep_waits(host, remote, monkeypatch):
    """Neither file nor memory takes it, as with no memory left: then this process remembers."""
    host.play("failure")
    remote.down()
    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "end", raising(MemoryError()))
        patched.setattr(LocalStore, "begin", raising(MemoryError()))
        with pytest.raises(StoreError, match="out of reach"):
            host.begin()
        run = Run(new_id(), "nightly", datetime.now(UTC), HERE, (TOLD,))
        with pytest.raises(StoreError, match="out of reach"):
            host.end(run, "failure", started=False)
    assert host.store.waiting() == 1
    remote.up()
    host.play("failure")
    assert history(remote) == [("failure", 1), ("failure", 2), ("failure", 3)]


def test_a_damaged_spool_is_left_alone(host, remote):
    """What comes now is recorded; what was kept stays where it is, and it is said."""
    remote.down()
    host.play("failure")
    host.store.close()
    host.path.write_bytes(b"not a database, but somebody's bytes" * 100)
    before = host.path.read_bytes()
    remote.up()
    host.restart()
    host.play("failure")
    assert history(remote) == [("failure", 1)]
    assert host.path.read_bytes() == before
    assert any("local spool cannot be read" in each for each in host.said)


def test_a_row_that_cannot_be_read_is_set_aside(host, remote):
    """The others get their turn, and it stays where it is."""
    remote.down()
    host.play("failure", "failure", "failure")
    host.store.close()
    with closing(sqlite3.connect(host.path)) as db, db:
        db.execute("UPDATE waiting SET outcome = '{' WHERE seq = 2")
    remote.up()
    host.restart()
    host.play("failure")
    assert history(remote) == [("failure", n) for n in (1, 2, 3)]
    assert host.store.waiting() == 0
    with closing(sqlite3.connect(host.path)) as db:
        assert db.execute("SELECT outcome FROM waiting").fetchall() == [("{",)]
        assert db.execute("SELECT * FROM cronguard_jobs").fetchall() == []
    assert host.store.unreadable() == ["nightly"]


def test_each_duty_of_a_store_is_done_or_passed_on(host, remote):
    """By a method of the spool's own or by the store's, and nothing else is passed on."""
    duties = {name for name in vars(Store) if not name.startswith("_")}
    done = {name for name in duties if name in vars(SpooledStore)}
    assert done | PASSED_ON == duties
    assert not done & PASSED_ON
    for name in PASSED_ON:
        assert getattr(host.store, name) == getattr(remote, name)
    with pytest.raises(AttributeError, match="migrate"):
        host.store.migrate()


def test_a_running_row_that_cannot_be_read_is_passed_over(host, remote):
    """And a state that cannot be read is none: jobs are recorded all the same."""
    remote.down()
    host.begin(overlap="allow", owner=THERE, lease=0.0)
    host.play("failure", "failure", overlap="allow")
    with closing(sqlite3.connect(host.path)) as db, db:
        db.execute("UPDATE begun SET run = '{'")
    host.restart()
    host.play("failure")
    remote.up()
    host.play("failure")
    assert history(remote) == [("failure", n) for n in (1, 2, 3, 4)]


def test_a_long_queue_does_not_delay_a_job(host, remote, monkeypatch):
    """A start spends its share of time on it and goes to the end of the queue itself."""
    remote.down()
    host.play(*["failure"] * 20)
    remote.up()
    monkeypatch.setattr("cronguard.stores.spool.backlog.REPLAY_SECONDS", 0.0)
    run, _ = host.begin()
    assert host.store.waiting() == 20
    host.end(run, "failure")
    assert host.store.waiting() == 21
    notified = []
    assert host.store.replay(lambda done, total: notified.append((done, total))) == 21
    assert notified[-1] == (21, 21)
    assert [count for _, count in history(remote)] == list(range(1, 22))


def test_a_long_queue_is_not_read_by_every_run(host, remote, monkeypatch):
    """What a run costs while the store is away does not grow with how long it has been."""
    remote.down()
    host.play(*["success"] * 30)
    read = []

    def reads(text):
        read.append(text)
        return run_of(text)

    monkeypatch.setattr(local, "run_of", reads)
    host.play("success")
    assert len(read) <= 3


def test_a_slow_store_is_not_asked_twice_by_one_start(host, remote, monkeypatch):
    """What the queue took, the dead in it too, the start itself does not take again."""
    remote.down()
    for _ in range(3):
        host.begin(owner=KILLED)
    remote.up()
    monkeypatch.setattr("cronguard.stores.spool.backlog.REPLAY_SECONDS", 0.05)
    tell = Remote.finish_run

    def slowly(*args, **keywords):
        time.sleep(0.1)
        return tell(remote, *args, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(remote, "finish_run", slowly)
        asked = remote.asked
        host.begin(overlap="allow")
        run, _ = host.begin(overlap="allow")
        assert remote.asked == asked + 2
    assert history(remote) == [("crashed", 1), ("crashed", 2)]
    monkeypatch.setattr("cronguard.stores.spool.backlog.REPLAY_SECONDS", 60.0)
    host.end(run, "failure")
    assert history(remote) == [("crashed", 1), ("crashed", 2), ("crashed", 3), ("failure", 4)]


def test_the_spool_is_its_owners_alone(host, remote):
    """Messages are redacted, and still nobody else's business."""
    host.play("success")
    remote.down()
    host.play("failure")
    assert host.path.stat().st_mode & 0o077 == 0
    known = host.path.with_suffix(".known")
    assert known.stat().st_mode & 0o077 == 0
    assert [each.stat().st_mode & 0o077 for each in known.iterdir()] == [0]


def test_alerts_of_both_outboxes_are_listed_and_settled(host, remote):
    """Those decided here and those decided there, each settled where it is."""
    host.play("failure", "failure")
    remote.down()
    host.play("failure", "failure", job="other")
    remote.up()
    host.store.replay()
    found = host.store.alerts(state="pending")
    assert sorted(alert.job for alert in found) == ["nightly", "other"]
    assert len(host.deliver()) == 2
    assert host.store.alerts(state="pending") == []
    assert len(host.store.alerts(state="sent")) == 2


# --- silences -------------------------------------------------------------------------------------


def fall_silent(remote, host):
    """A job that ran and then missed a time, as its host's next start hears."""
    stated = statements(schedule="* * * * *", notify_recovery=True)
    host.play("success", stated=stated)
    (watch,) = remote.watches()
    since = watch.judged_until - timedelta(seconds=5)
    missed = Missed("nightly", 1, since, "missed", watch.judged_until, since, Silence(since))
    long_ago = "UPDATE cron_execution_logs SET started_at = '2026-01-01T00:00:00.000000Z'"
    remote._file.write(lambda db: db.execute(long_ago))
    assert remote.announce_missed(missed, alert_rules((TOLD,), Expectations()))
    host.deliver()
    return stated


def test_a_silence_ends_while_the_store_is_away(remote, host):
    """Its end is told of from here, once; and the store is told who has heard of it."""
    stated = fall_silent(remote, host)
    run, _ = host.begin(stated=stated)
    remote.down()
    host.end(run, "success")
    remote.up()
    assert [each["kind"] for each in host.deliver()] == ["missed", "recovered"]
    host.store.replay()
    host.play("success", stated=stated)
    assert [each["kind"] for each in host.deliver()] == ["missed", "recovered"]
    (watch,) = remote.watches()
    assert watch.silence is None
    assert [each.kind for each in remote.alerts()] == ["missed"]


def test_a_start_that_is_told_late_ends_the_silence(remote, host):
    """As the store was away when it began: with its end it is told, whatever came of it."""
    stated = fall_silent(remote, host)
    remote.down()
    host.play("failure", stated=stated)
    (watch,) = remote.watches()
    assert not watch.silence.over
    remote.up()
    host.store.replay()
    (watch,) = remote.watches()
    assert watch.silence.over
    host.play("success", stated=stated)
    assert [each["kind"] for each in host.deliver()].count("recovered") == 1


# --- the values on disk ---------------------------------------------------------------------------


def test_values_survive_the_disk():
    """Every field of a run, an outcome and a state, empty and full."""
    now = datetime.now(UTC)
    full = Run(
        *(new_id(), "job", now, HERE, (TOLD, ChannelRule("p", 5, 2))),
        *(statements(**Expectations("0 6 * * *", threshold=3)._asdict()), "allow", 12.5, True),
    )
    for run in (full, Run(new_id(), "job", now, Owner("h", 1))):
        assert run_of(run_text(run)) == run
    for outcome in (
        Outcome("failure", now, 0.25, Failure("E", "1", "ø", "a.py:1 in f")),
        Outcome("crashed", now),
    ):
        assert outcome_of(outcome_text(outcome)) == outcome
    for state in (
        JobState(),
        JobState(
            *(3, "id", frozenset({"b", "a"}), now, "run", now, Expectations(grace=5.0)),
            Silence(now, 4, True, frozenset({"slack", "pager"})),
        ),
    ):
        assert state_of(state_text(state)) == state


def test_version_1_reads_what_is_kept():
    """It shares the file until it is upgraded too; and what it kept is read here."""
    stated = statements(schedule="0 6 * * *", max_runtime=60.0, threshold=3)
    run = Run(new_id(), "nightly", datetime.now(UTC), HERE, (TOLD, ChannelRule("p", 5, 2)), stated)
    facts = json.loads(run_text(run))
    assert facts["rules"][1] == {
        "channel": "p",
        "threshold": 5,
        "realert_every": 2,
        "notify_recovery": False,
    }
    assert facts["schedule"] == {"cron": "0 6 * * *", "timezone": "UTC", "grace": 300.0}
    assert (facts["max_runtime"], facts["runbook"]) == (60.0, None)
    del facts["channels"], facts["stated"]
    read = run_of(json.dumps(facts))
    expected = overlay(Expectations(), read.stated)
    assert (expected.plan, expected.max_runtime) == (("0 6 * * *", "UTC", 300.0), 60.0)
    assert alert_rules(read.channels, expected) == (
        AlertRule("slack", 3),
        AlertRule("p", 5, 2),
    )


def test_what_a_later_version_kept_can_be_read():
    """Facts that this version knows nothing of are passed over, wherever they stand."""
    run = Run(new_id(), "nightly", datetime.now(UTC), HERE, (TOLD,), statements(threshold=3))
    facts = json.loads(run_text(run))
    for each in (facts, facts["owner"], facts["channels"][0], facts["stated"][0]):
        each["later"] = 1
    assert run_of(json.dumps(facts)) == run
    outcome = Outcome("failure", datetime.now(UTC), 0.5, Failure("ValueError"))
    facts = json.loads(outcome_text(outcome))
    facts["later"] = facts["failure"]["later"] = 1
    assert outcome_of(json.dumps(facts)) == outcome


def test_what_was_known_survives_and_garbage_is_nothing(tmp_path):
    """A file a job, whatever its name; one that cannot be read counts as not there."""
    state = JobState(2, "incident", frozenset({"slack"}))
    LastKnown(tmp_path / "known").note("a:b.c", state, keep=True)
    again = LastKnown(tmp_path / "known")
    assert again.get("a:b.c") == Known(state)
    assert again.get("other") == Known()
    (file,) = (tmp_path / "known").iterdir()
    for garbage in ("", "{", "[]", '{"consecutive_failure_count": "x"}'):
        file.write_text(garbage)
        assert LastKnown(tmp_path / "known").get("a:b.c") == Known()


def test_two_threads_that_note_the_same_job(tmp_path, monkeypatch):
    """The file is what one of them wrote, whole, though one comes while the other one writes."""
    known = LastKnown(tmp_path / "known")
    shorter, longer = JobState(2), JobState(3, "incident", frozenset({"slack", "pager"}))
    write, others = os.write, [longer]

    def write_after_another(number, text):
        if others:
            another = threading.Thread(
                target=known.note, args=("nightly", others.pop()), kwargs={"keep": True}
            )
            another.start()
            another.join()
        return write(number, text)

    monkeypatch.setattr("cronguard.stores.spool.known.os.write", write_after_another)
    known.note("nightly", shorter, keep=True)
    assert LastKnown(tmp_path / "known").get("nightly").state in (shorter, longer)


# --- what histories found -------------------------------------------------------------------------


def full_disk(monkeypatch, host):
    """Let no write to the host's database go well, until the context is left."""
    write = SQLiteFile.write

    def fail(file, *args, **keywords):
        if file.path == host.path:
            raise StoreError("the disk is full", code="disk_full")
        return write(file, *args, **keywords)

    monkeypatch.setattr(SQLiteFile, "write", fail)


def test_lost_start_refused_outcome(host, remote):
    """The store has a row of which nobody was told: it gives up its lease all the same."""
    remote.down(late=True)
    run, _ = host.begin()
    remote.up()
    remote.refuses = {"nightly": "23514"}
    host.end(run, "success")
    _, started = host.begin()
    assert started.status == "running"


def test_lost_answer_of_a_skipped_start(host, remote):
    """The run went on, since nobody was heard: its outcome is not taken for a skipped one's."""
    other = Owner("other", 1, "other space", "1")
    holder = Run(new_id(), "nightly", datetime.now(UTC), other, (TOLD,))
    remote.start_run(holder, is_dead=lambda _: False)
    remote.down(late=True)
    run, started = host.begin()
    assert started.status == "running"
    remote.up()
    host.store.heartbeat([run.run_id], lease=90.0)
    host.end(run, "failure")
    assert history(remote) == [("running", None), ("failure", 1)]


def test_disk_full_between_start_and_finish(host, remote, monkeypatch):
    """The outcome waits in memory, is recorded whole, and the next run starts."""
    remote.down()
    run, _ = host.begin()
    with monkeypatch.context() as patch:
        full_disk(patch, host)
        host.end(run, "failure")
    _, started = host.begin()
    assert started.status == "running"
    remote.up()
    host.store.replay()
    assert history(remote) == [("failure", 1)]
    neighbour = Host(remote, host.path.parent)
    assert not neighbour.store._made_backlog().has_begun(run.run_id)
    neighbour.store.close()


@pytest.mark.parametrize("kind", PASSING)
def test_any_fault_is_the_stores(host, remote, kind):
    """Whatever it raises, the outcome waits, and the next run starts."""
    run, _ = host.begin()
    remote.trouble = PASSING[kind]()
    host.end(run, "failure")
    assert host.store.waiting() == 1
    remote.up()
    host.store._quiet_until = 0.0
    host.play("failure")
    assert history(remote) == [("failure", 1), ("failure", 2)]


def test_disk_full_when_the_store_is_back(host, remote, monkeypatch):
    """The store takes the outcome of a run that began here; later the file says so too."""
    remote.down()
    run, _ = host.begin()
    remote.up()
    with monkeypatch.context() as patch:
        full_disk(patch, host)
        host.end(run, "success")
    _, started = host.begin()
    assert started.status == "running"
    assert history(remote) == [("success", 0), ("running", None)]


def test_told_outcome_is_taken_out_later(host, remote, monkeypatch):
    """Once the file can be written again, by the process that goes on."""
    remote.down()
    host.play("failure")
    remote.up()
    with monkeypatch.context() as patch:
        full_disk(patch, host)
        host.store.replay()
    host.store.replay()
    neighbour = Host(remote, host.path.parent)
    assert neighbour.store.waiting() == 0
    neighbour.store.close()


def test_lost_answer_delivered_before_the_next_run(host, remote):
    """The store would tell as well what was told from here: it hears of that first."""
    host.play("failure")
    run, _ = host.begin()
    remote.down(late=True)
    host.end(run, "failure")
    remote.up()
    neighbour = Host(remote, host.path.parent)
    assert len(neighbour.deliver() + host.deliver()) == 1
    neighbour.store.close()


def test_order_with_an_outcome_only_this_process_knows(host, remote, monkeypatch):
    """A store that is left alone for a while is not asked: what comes later still queues behind."""
    remote.down("timeout")
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "end", raising(MemoryError()))
        run = Run(new_id(), "nightly", datetime.now(UTC), HERE, (TOLD,))
        with pytest.raises(StoreError):
            host.end(run, "failure", started=False)
    host.play("success")
    remote.up()
    host.store._quiet_until = 0.0
    host.store.replay()
    assert history(remote) == [("failure", 1), ("success", 0)]


def test_crash_found_at_a_start_is_known_here(host, remote):
    """The process that heard of it is killed: another one of this host announces nothing anew."""
    host.play("failure")
    host.begin(owner=KILLED)
    run, _ = host.begin(owner=KILLED._replace(started="2"))
    assert len(host.deliver()) == 1
    host.store = host._process()
    remote.down()
    host.end(run, "failure", started=True)
    assert len(host.deliver()) == 1


@pytest.mark.parametrize("error", [StoreConfigError("no key", code="key_refused"), LookupError()])
def test_unexplained_refusal_holds_no_other_job(host, remote, monkeypatch, error):
    """A proxy may dislike one job's text, and a plugin one job's row: the others are recorded."""
    tell = Remote.finish_run

    def dislike(run, outcome, **keywords):
        if run.job == "nightly" and outcome.failure and outcome.failure.error_message:
            raise error
        return tell(remote, run, outcome, **keywords)

    monkeypatch.setattr(remote, "finish_run", dislike)
    failure = Failure("ValueError", "E1", "<script>", "a.py:1 in f")
    run, _ = host.begin()
    host.store.finish_run(run, Outcome("failure", datetime.now(UTC), 0.5, failure), started=True)
    other, _ = host.begin(job="other")
    assert history(remote, "other") == [("running", None)]
    host.end(other, "failure")
    assert history(remote, "other") == [("failure", 1)]
    for _ in range(3):  # what it dislikes is left out in the end
        host.store.replay()
    host.store.replay()
    assert history(remote) == [("failure", 1)]
    (record,) = MemoryStore.history(remote, "nightly")
    assert record.failure.error_message is None


# --- siblings and containers ----------------------------------------------------------------------


def test_sibling_with_an_outcome_that_waits(host, remote):
    """Another worker of the same server tells it, and runs the job at once."""
    sibling = Host(remote, host.path.parent)
    run, _ = host.begin()
    remote.down()
    host.end(run, "failure")
    remote.up()
    again, started = sibling.begin(owner=HERE._replace(pid=3))
    assert started.status == "running"
    sibling.end(again, "failure")
    assert history(remote) == [("failure", 1), ("failure", 2)]
    assert len(sibling.deliver() + host.deliver()) == 1
    sibling.store.close()


def test_sibling_with_an_outcome_that_waits_in_memory(remote):
    """With the worker's next heartbeat, which comes soon, the job is free for the others."""
    host, sibling = Host(remote, None), Host(remote, None, "b")
    soon = []
    host.store.on_kept = lambda: soon.append(True)
    run, _ = host.begin()
    remote.refuses = {"nightly": "23514"}
    host.end(run, "failure")
    assert soon == [True]
    host.store.heartbeat([], lease=90.0)
    assert history(remote) == [("running", None)]
    again, started = sibling.begin(owner=HERE._replace(pid=3))
    assert started.status == "running"
    remote.refuses = {}
    sibling.end(again, "success")
    host.store.replay()
    assert history(remote) == [("failure", 1), ("success", 0)]


@pytest.mark.parametrize("is_back", [True, False])
def test_container_restarted_with_an_outcome_on_its_disk(host, remote, is_back):
    """Its processes cannot be judged from the new one, and its lease goes on: the job runs."""
    run, _ = host.begin(owner=THERE)
    remote.down()
    host.end(run, "failure")
    if is_back:
        remote.up()
    restarted = Host(remote, host.path.parent)
    again, started = restarted.begin(owner=THERE._replace(space="another"))
    assert started.status == "running"
    remote.up()
    restarted.end(again, "failure")
    assert history(remote) == [("failure", 1), ("failure", 2)]
    assert restarted.store.waiting() == 0
    restarted.store.close()


def test_container_restarted_with_an_outcome_nobody_knows(remote):
    """The row gave up its lease before, so the job runs; once that is over, it has crashed."""
    host = Host(remote, None)
    run, _ = host.begin(owner=THERE)
    remote.refuses = {"nightly": "23514"}
    host.end(run, "failure")
    host.store.heartbeat([], lease=90.0)
    remote.refuses = {}
    restarted = Host(remote, None)
    again, started = restarted.begin(owner=THERE._replace(space="another"))
    assert started.status == "running"
    restarted.end(again, "failure")
    assert history(remote) == [("running", None), ("failure", 1)]
    remote.heartbeat([run.run_id], lease=0.0)
    restarted.play("failure")
    assert history(remote) == [("crashed", 2), ("failure", 1), ("failure", 3)]
