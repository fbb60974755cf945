"""The thread that looks after a process's runs: leases renewed in time, overruns told, at rest
otherwise."""

import threading

import pytest

from cronguard import guard
from cronguard.core.errors import StoreError
from cronguard.core.model import HEARTBEAT_SECONDS, LEASE_SECONDS
from cronguard.process.threads import NotBegunError, give_up, start
from cronguard.runtime.composition import installed
from cronguard.runtime.runtime import Runtime
from cronguard.runtime.watchdog import Watchdog
from cronguard.settings.loading import ChannelSettings, Settings
from cronguard.testing import MemoryStore

PATIENCE = 60


class Remote(MemoryStore):
    """Notes what it is told, and may be out of reach."""

    bounded = True

    def __init__(self):
        super().__init__()
        self.renewed = []
        self.overruns = []
        self.down = False

    def heartbeat(self, run_ids, *, lease, ended=()):
        self.renewed.append((tuple(run_ids), lease))
        self._reach()

    def start_run(self, run, *, is_dead, ended=()):
        self._reach()
        return super().start_run(run, is_dead=is_dead, ended=ended)

    def announce_overrun(self, overrun, rules):
        self._reach()
        self.overruns.append(overrun.step)
        return super().announce_overrun(overrun, rules)

    def _reach(self):
        if self.down:
            raise StoreError("out of reach", code="connection_refused")


class Watched:
    """A runtime whose watchdog beats when it is told to, on a clock of its own."""

    def __init__(self):
        self.store = Remote()
        settings = Settings(store=self.store, channels=(ChannelSettings("log", "log"),))
        self.runtime = Runtime(settings, self.store)
        self.runtime.open_runs.watchdog.ensure = lambda *_: None
        self.now = 0.0
        self.runtime.monotonic = lambda: self.now

    def after(self, seconds):
        """How long it wants to be left alone, so many seconds later."""
        self.now += seconds
        return self.runtime.open_runs._beat()


@pytest.fixture
def watched():
    made = Watched()
    with installed(made.runtime):
        yield made
    made.runtime.close()


def test_leases_are_renewed_in_time(watched):
    """Every 30 s, of every run that is open, for 90 s; not once it has ended."""
    with guard(job="one", max_runtime=None) as one:
        assert watched.after(0) == 1
        assert watched.after(1) == HEARTBEAT_SECONDS - 1
        assert watched.after(28) == 1
        assert watched.store.renewed == []
        with guard(job="two", max_runtime=None) as two:
            watched.after(0)
            assert watched.after(1) == HEARTBEAT_SECONDS
        watched.after(30)
    watched.after(30)
    both = (one.run_id, two.run_id)
    assert watched.store.renewed == [(both, LEASE_SECONDS), (both[:1], LEASE_SECONDS)]


def test_a_renewal_that_fails_is_tried_again(watched):
    """And overruns are told all the same, as soon as the store takes them."""
    with guard(job="one", max_runtime=45.0):
        watched.after(0)
        watched.store.down = True
        assert watched.after(30) == 15
        assert watched.after(15) == 15
        watched.after(15)
        assert watched.store.overruns == []
        watched.store.down = False
        watched.after(30)
    assert len(watched.store.renewed) == 3
    assert watched.store.overruns == [2]


def test_overrun_of_a_run_that_the_store_misses(watched):
    """Its start was not taken: this host announces it, and the store is not asked about it."""
    watched.store.down = True
    with guard(job="one", max_runtime=10.0):
        watched.store.down = False
        watched.after(0)
        assert watched.after(20) == 10
        assert watched.runtime.store.alerts()[0].kind == "overrun"
    assert watched.store.overruns == []


class Beats:
    """What a watchdog calls; each call is awaited with `wait`."""

    def __init__(self, *pauses):
        self.pauses = list(pauses)
        self.arrived = threading.Semaphore(0)

    def __call__(self):
        self.arrived.release()
        pause = self.pauses.pop(0) if self.pauses else 3600.0
        if isinstance(pause, Exception):
            raise pause
        return pause

    def wait(self, timeout=PATIENCE):
        return self.arrived.acquire(timeout=timeout)


@pytest.fixture
def started():
    dogs = []

    def start(beats, interval=3600.0):
        dog = Watchdog(beats, interval)
        dogs.append(dog)
        dog.ensure()
        assert beats.wait()
        return dog

    yield start
    for dog in dogs:
        dog.pause()
        assert dog._thread is None or not dog._thread.is_alive()


def test_it_rests_between_beats(started):
    """It costs nothing while there is nothing to do."""
    beats = Beats(3600.0)
    started(beats)
    assert not beats.wait(0.1)


def test_a_thread_that_came_too_late_is_tried_again(started, monkeypatch):
    """On a busy machine; the next run has a watchdog."""

    def too_late(thread):
        give_up(thread)
        raise NotBegunError

    beats = Beats(3600.0)
    dog = Watchdog(beats, 3600.0)
    with monkeypatch.context() as patch:
        patch.setattr("cronguard.runtime.watchdog.start", too_late)
        dog.ensure()
    dog.ensure()
    assert beats.wait()
    dog.end()


def test_two_first_runs_together_start_one_thread(monkeypatch):
    """The second comes while the first one's is beginning."""
    begun = []

    def start_while_another_comes(thread):
        begun.append(thread)
        if len(begun) == 1:
            another = threading.Thread(target=dog.ensure)
            another.start()
            another.join()
        start(thread)

    monkeypatch.setattr("cronguard.runtime.watchdog.start", start_while_another_comes)
    dog = Watchdog(Beats(3600.0), 3600.0)
    dog.ensure()
    dog.ensure()
    assert begun == [dog._thread]
    dog.end()


def test_it_wakes_when_it_asked_to_and_at_least_every_interval(started):
    """Whichever is sooner; trouble in a beat changes nothing."""
    beats = Beats(0.0, ValueError("its own"), 3600.0)
    started(beats, interval=0.01)
    assert all(beats.wait() for _ in range(5))


def test_a_run_that_may_take_little_time_wakes_it(started):
    """It had thought to sleep for an hour; what is no sooner than that lets it sleep."""
    beats = Beats(3600.0, 3600.0)
    dog = started(beats)
    dog.ensure(7200.0)
    assert not beats.wait(0.05)
    dog.ensure(0.0)
    assert beats.wait()


def test_paused_for_a_fork_it_is_gone_until_it_is_called(started):
    """No thread of ours is alive meanwhile; a second pause has nothing to end."""
    beats = Beats()
    dog = started(beats)
    assert dog.pause()
    assert not dog._thread.is_alive()
    assert not dog.pause()
    dog.ensure()
    assert beats.wait()
