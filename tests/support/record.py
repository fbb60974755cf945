"""cronguard in this process, over a store in memory: what is recorded, and who is told.

``record`` is a fixture. The stores at the end misbehave in the ways that stores do.
"""

import asyncio
import threading
from contextlib import contextmanager

import pytest

from cronguard.runtime.composition import installed
from cronguard.runtime.runtime import Runtime
from cronguard.settings.loading import ChannelSettings, Settings
from cronguard.testing import MemoryStore, RecordingChannel


class Record:
    """What was recorded: ``store``, the ``channel`` that was told, and the ``runtime`` itself."""

    def __init__(self, store=None, channel=None, **settings):
        self.store = store if store is not None else MemoryStore()
        self.channel = channel if channel is not None else RecordingChannel()
        named = ChannelSettings("recording", "recording", instance=self.channel)
        self.settings = Settings(store=self.store, channels=(named,), **settings)
        self.runtime = Runtime(self.settings, self.store)

    def runs(self, job):
        """The job's runs, oldest first."""
        return list(reversed(self.store.history(job, limit=10_000)))

    def statuses(self, job):
        """How the job's runs ended, oldest first."""
        return [run.status for run in self.runs(job)]

    def streaks(self, job):
        """The count on each of the job's rows, oldest first."""
        return [run.consecutive_failure_count for run in self.runs(job)]


@contextmanager
def recording(store=None, channel=None, **settings):
    """Every guarded run in this block is recorded in the `Record` given."""
    record = Record(store, channel, **settings)
    try:
        with installed(record.runtime):
            yield record
    finally:
        record.runtime.close()


@pytest.fixture
def record():
    """A `Record` that everything guarded in this test goes to."""
    with recording() as found:
        yield found


async def until(condition):
    """Let the loop turn until ``condition()`` holds; fails the test if it never does."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # any condition, also of other threads
            await asyncio.sleep(0.001)


# --- stores that misbehave -----------------------------------------------------------------------


class StoreOf(MemoryStore):
    """A store in memory that calls ``before`` when it is asked to write a start or a finish.

    ``at`` is ``"start"`` or ``"finish"`` for one of them only.
    """

    def __init__(self, before, *, at="start, finish", bounded=True):
        super().__init__()
        self.before = before
        self.at = at
        self.bounded = bounded

    def start_run(self, run, *, is_dead, ended=()):
        if "start" in self.at:
            self.before()
        return super().start_run(run, is_dead=is_dead, ended=ended)

    def finish_run(self, run, outcome, *, started, notified=()):
        if "finish" in self.at:
            self.before()
        return super().finish_run(run, outcome, started=started, notified=notified)


def failing_store(error, **options):
    """A store that raises ``error`` (an exception, or a function that makes one) at its writes."""

    def fail():
        raise error() if callable(error) else error

    return StoreOf(fail, **options)


SOON = 20
"""Seconds in which whoever does not wait is back, however busy the machine: what hangs, hangs for
longer (`Gate`) or for ever."""


class Gate:
    """Holds up whoever passes ``wait`` until ``open``; ``reached`` tells that somebody is there."""

    def __init__(self):
        self.reached = threading.Event()
        self.opened = threading.Event()

    def wait(self):
        self.reached.set()
        assert self.opened.wait(30), "nobody opened the gate"

    def open(self):
        self.opened.set()
