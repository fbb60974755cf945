"""Threads of one process over a store that comes and goes: each outcome is recorded once."""

import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from cronguard.core.clock import new_id
from cronguard.core.errors import StoreError
from cronguard.core.model import ChannelRule, Failure, Outcome, Owner, Run, Settlement
from cronguard.stores.spooled import SpooledStore
from cronguard.testing import MemoryStore

HERE = Owner("host", 1, "space", "1")
THREADS = 6
RUNS = 6


class ComesAndGoes(MemoryStore):
    """A store that a thread of its own takes away, also between a call and its answer."""

    reach = "there"

    def start_run(self, run, *, is_dead, ended=()):
        self._look("away")
        started = super().start_run(run, is_dead=is_dead, ended=ended)
        self._look("late")
        return started

    def finish_run(self, run, outcome, *, started, notified=()):
        self._look("away")
        finished = super().finish_run(run, outcome, started=started, notified=notified)
        self._look("late")
        return finished

    def _look(self, moment):
        if self.reach == moment:
            raise StoreError("out of reach", code="connection_closed")

    def come_and_go(self, draw, is_over):
        while not is_over.is_set():
            self.reach = draw.choice(["there", "there", "late", "away", "away"])
            time.sleep(draw.random() * 0.004)
        self.reach = "there"


def work(store, job, draw):
    """Run a job a few times; return how each run ended."""
    ended = []
    for _ in range(RUNS):
        run = Run(new_id(), job, datetime.now(UTC), HERE, (ChannelRule("slack"),))
        started = False
        with suppress(StoreError):
            started = store.start_run(run, is_dead=lambda _: False).status == "running"
        time.sleep(draw.choice([0, draw.random() * 0.003]))
        status = draw.choice(["failure", "failure", "success"])
        failure = Failure("ValueError") if status == "failure" else None
        outcome = Outcome(status, datetime.now(UTC), 0.1, failure)
        try:
            store.finish_run(run, outcome, started=started)
        except StoreError:  # as a recording does
            store.keep(run, outcome, started=started, notified=set())
        with suppress(StoreError):
            store.heartbeat([], lease=90)
        with suppress(StoreError):
            for delivery in store.claim_alerts(channels=("slack",), force=True):
                store.settle_alert(delivery, Settlement("sent"))
        ended.append(status)
    return ended


def counted(ended):
    """Return (status, failures in a row) of each run, as anybody would count them."""
    rows, count = [], 0
    for status in ended:
        count = count + 1 if status == "failure" else 0
        rows.append((status, count))
    return rows


@pytest.fixture
def _switching():
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_switching")
@pytest.mark.parametrize(
    "rounds", [5, pytest.param(300, marks=pytest.mark.soak)], ids=["few", "many"]
)
@pytest.mark.parametrize("stores", [0, 1, 2], ids=["in memory", "one store", "two stores"])
def test_threads_over_a_store_that_comes_and_goes(tmp_path, stores, rounds):
    """All begin together, where nothing was kept before; two stores share the host's file, as
    settings that change leave them."""
    for number in range(rounds):
        draw = random.Random(number)
        remote, is_over = ComesAndGoes(), threading.Event()
        path = tmp_path / str(number) / "spool.db" if stores else None
        spooled = [SpooledStore(remote, path) for _ in range(max(stores, 1))]
        draws = [random.Random(f"{number} {each}") for each in range(THREADS)]
        jobs = [f"job-{each}" for each in range(THREADS)]
        with ThreadPoolExecutor(THREADS + 1) as threads:
            taking_away = threads.submit(remote.come_and_go, draw, is_over)
            runs = [
                threads.submit(work, spooled[each % len(spooled)], jobs[each], draws[each])
                for each in range(THREADS)
            ]
            try:
                ended = [each.result() for each in runs]
            finally:
                is_over.set()
            taking_away.result()
        for store in spooled:
            store.replay()
        for job, each in zip(jobs, ended, strict=True):
            rows = [
                (row.status, row.consecutive_failure_count)
                for row in reversed(remote.history(job, limit=100))
            ]
            assert rows == counted(each), (number, job)
        for store in spooled:
            store.close()
