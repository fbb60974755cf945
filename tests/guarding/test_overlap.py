"""A second run of a job that is still going: skipped, refused or allowed, and what is said."""

import asyncio
import contextlib
import logging
import threading
from datetime import timedelta

import pytest
from support.record import record

from cronguard import JobOverlap, cron_guarded, guard

__all__ = ["record"]


@contextlib.contextmanager
def held(job, **options):
    """Another run of the job goes on meanwhile, in another thread."""
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with guard(job, **options):
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(60)
    try:
        yield
    finally:
        leave.set()
        thread.join(60)


def test_overlap_raise_refuses_the_call(record, caplog):
    """The function is not called, the attempt has its row, and nothing is said twice."""
    called = []

    @cron_guarded(job="nightly", overlap="raise")
    def nightly():
        called.append(True)
        return "result"

    with held("nightly"), caplog.at_level(logging.WARNING, "cronguard"):
        with pytest.raises(JobOverlap, match=r"^nightly was skipped: another run goes on since"):
            nightly()
        assert not caplog.records
    assert not called
    assert nightly() == "result"
    assert record.statuses("nightly") == ["success", "skipped", "success"]


@pytest.mark.parametrize("wrapped", [False, True])
def test_overlap_raise_waits_for_the_await(record, wrapped):
    """Asynchronous jobs raise where they are awaited, behind another decorator too."""

    async def nightly():
        raise AssertionError("it was called")

    async def main():
        job = nightly
        if wrapped:
            job = lambda: nightly()  # noqa: E731
            job.__wrapped__ = nightly
        awaitable = cron_guarded(job=f"nightly{wrapped}", overlap="raise")(job)()
        with pytest.raises(JobOverlap):
            await awaitable

    with held(f"nightly{wrapped}"):
        asyncio.run(main())
    assert sorted(record.statuses(f"nightly{wrapped}")) == ["skipped", "success"]


def test_overlap_raise_keeps_the_streak(record):
    """A refused run is no failure."""

    @cron_guarded(job="nightly", overlap="raise")
    def nightly():
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        nightly()
    with held("nightly"), pytest.raises(JobOverlap):
        nightly()
    skipped = [run for run in record.runs("nightly") if run.status == "skipped"]
    assert [run.consecutive_failure_count for run in skipped] == [1]


def test_a_skip_says_since_when_and_where(record, caplog):
    """And how to free the job only once the other run has gone on for longer than it may."""

    @cron_guarded(job="nightly")
    def nightly():
        raise AssertionError("it was called")

    with held("nightly"), caplog.at_level(logging.WARNING, "cronguard"):
        holder = record.runs("nightly")[0]
        assert nightly() is None
        (first,) = caplog.messages
        assert f"since {holder.started_at:%Y-%m-%d %H:%M:%S} UTC" in first
        assert f"on {holder.host}, process {holder.pid}" in first
        assert "unlock" not in first
        record.runtime.now = lambda: holder.started_at + timedelta(minutes=31)
        assert nightly() is None
        assert "cronguard unlock nightly" in caplog.messages[1]
