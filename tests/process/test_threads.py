"""Threads of ours that Python starts and that never begin, as where there is no memory for one."""

import asyncio
import threading

import pytest
from support.record import record

from cronguard import cron_guarded
from cronguard.process import threads, workers
from cronguard.process.threads import own_thread, run_in_background, start
from cronguard.process.workers import NoThread, TimeoutPool

__all__ = ["record"]


@pytest.fixture
def late(monkeypatch):
    """Threads begin when this is set, and then find that they were given up."""
    begin, real, waiting = threading.Event(), threading.Thread._bootstrap, []

    def bootstrap(thread):
        over = threading.Event()
        waiting.append(over)
        begin.wait()
        real(thread)
        over.set()

    monkeypatch.setattr(workers, "_idle_workers", [])
    monkeypatch.setattr(threads, "_begins", True)
    monkeypatch.setattr(threads, "_BEGIN_SECONDS", 0.01)
    monkeypatch.setattr(threads, "_BEGIN_SECONDS_NOW", 0.01)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "_bootstrap", bootstrap)
        yield begin
    begin.set()
    for over in waiting:
        assert over.wait(60)


def test_a_thread_that_does_not_begin(late):
    """It is refused as one that cannot be started, and does nothing if it begins after all."""
    called, before = [], threading.enumerate()
    with pytest.raises(RuntimeError, match="not begun"):
        start(own_thread("late", called.append, 1))
    assert threading.enumerate() == before
    with pytest.raises(NoThread):
        TimeoutPool(most_late=1).call(list, 1.0)
    assert run_in_background("late", list, 0.0) is None
    late.set()
    assert called == []


async def guarded():
    """Fail as an asynchronous job does."""
    raise ValueError("bad")


def test_an_asynchronous_run_whose_threads_do_not_begin(late, record):
    """It is recorded in the thread of the loop."""
    with pytest.raises(ValueError, match="bad"):
        asyncio.run(cron_guarded(job="nightly")(guarded)())
    assert record.statuses("nightly") == ["failure"]


def test_an_asynchronous_run_whose_threads_end_at_once(record, monkeypatch):
    """As where the memory was enough to begin, and for nothing more."""

    class Full(set):
        def add(self, _):
            raise MemoryError

    monkeypatch.setattr(threads, "_ours", Full())
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with pytest.raises(ValueError, match="bad"):
        asyncio.run(cron_guarded(job="nightly")(guarded)())
    assert record.statuses("nightly") == ["failure"]
