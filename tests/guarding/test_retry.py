"""A retry around the guard: every try is a run, which is said once."""

import asyncio
import logging

import pytest
from support.record import record

from cronguard import cron_guarded, guard
from cronguard.process import log

__all__ = ["record"]


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch):
    monkeypatch.setattr(log, "_logged_once", set())


def tenacity(func):
    from tenacity import retry, stop_after_attempt, wait_none

    return retry(stop=stop_after_attempt(3), wait=wait_none(), reraise=True)(func)


def stamina(func):
    from stamina import retry

    return retry(on=ValueError, attempts=3, wait_initial=0, wait_jitter=0)(func)


def backoff(func):
    from backoff import constant, on_exception

    return on_exception(constant, ValueError, max_tries=3, interval=0, jitter=None)(func)


def said(caplog):
    return [each for each in caplog.messages if "tried again" in each]


LIBRARIES = pytest.mark.parametrize("retry", [tenacity, stamina, backoff])


@LIBRARIES
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_retry_outside_the_guard_is_told_of_once(record, caplog, retry, asynchronous):
    """It names the library; the three tries are three failures, as ever."""
    pytest.importorskip(retry.__name__)

    async def later():
        raise ValueError("broken")

    def now():
        raise ValueError("broken")

    job = retry(cron_guarded(job="nightly")(later if asynchronous else now))
    with caplog.at_level(logging.WARNING, "cronguard"), pytest.raises(ValueError, match="broken"):
        asyncio.run(job()) if asynchronous else job()
    assert record.streaks("nightly") == [1, 2, 3]
    (line,) = said(caplog)
    assert f"nightly is tried again by {retry.__name__}" in line
    assert "put the retry below @cron_guarded" in line


@LIBRARIES
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_retry_around_a_guarded_block_is_told_of(record, caplog, retry, asynchronous):
    """What the library calls is the function that holds the block."""
    pytest.importorskip(retry.__name__)

    @retry
    async def later():
        async with guard("nightly"):
            raise ValueError("broken")

    @retry
    def now():
        with guard("nightly"):
            raise ValueError("broken")

    with caplog.at_level(logging.WARNING, "cronguard"), pytest.raises(ValueError, match="broken"):
        asyncio.run(later()) if asynchronous else now()
    assert record.streaks("nightly") == [1, 2, 3]
    assert len(said(caplog)) == 1


@LIBRARIES
def test_a_retry_inside_the_guard_is_as_it_should_be(record, caplog, retry):
    """One run has all tries, and nothing is said."""
    pytest.importorskip(retry.__name__)

    def nightly():
        raise ValueError("broken")

    job = cron_guarded(job="nightly")(retry(nightly))
    with caplog.at_level(logging.WARNING, "cronguard"), pytest.raises(ValueError, match="broken"):
        job()
    assert record.streaks("nightly") == [1]
    assert not said(caplog)


def test_tries_that_do_not_count_are_not_told_of(record, caplog):
    """An ignored error, or a job that works."""
    pytest.importorskip("tenacity")

    @tenacity
    @cron_guarded(job="nightly", ignore=ValueError)
    def nightly(broken):
        if broken:
            raise ValueError("broken")

    with caplog.at_level(logging.WARNING, "cronguard"):
        nightly(broken=False)
        with pytest.raises(ValueError, match="broken"):
            nightly(broken=True)
    assert not said(caplog)


def test_a_loop_of_ones_own_is_none(record, caplog):
    """A scheduler's loop calls a failed job again too, and each call is a run."""

    @cron_guarded(job="nightly")
    def nightly():
        raise ValueError("broken")

    with caplog.at_level(logging.WARNING, "cronguard"):
        for _ in range(3):
            with pytest.raises(ValueError, match="broken"):
                nightly()
    assert not said(caplog)


class Broken(dict):
    """Globals of a function that cannot be asked."""

    def get(self, *_):
        raise RuntimeError("no answer")


class Unable(type):
    """The type of a type that nothing can be compared with."""

    def __instancecheck__(cls, _):
        raise RuntimeError("no answer")


CALLERS = """
def now(func):
    return func()

async def later(func):
    return await func()

def block(guard):
    with guard:
        raise ValueError("broken")

async def later_block(guard):
    async with guard:
        raise ValueError("broken")
"""


@pytest.mark.parametrize("names", [Broken(), {"__name__": "tenacity"}], ids=["globals", "ignore"])
def test_a_caller_that_cannot_be_judged_harms_no_job(record, names):
    """The job's own error comes out, and its run is over."""

    async def later():
        raise ValueError("broken")

    def now():
        raise ValueError("broken")

    exec(CALLERS, names)  # a function's globals are those of its code
    ignore = (Unable("Error", (Exception,), {}),)
    guarded = {"job": "nightly", "ignore": ignore}
    for call in (
        lambda: names["now"](cron_guarded(**guarded)(now)),
        lambda: names["block"](guard(**guarded)),
        lambda: asyncio.run(names["later"](cron_guarded(**guarded)(later))),
        lambda: asyncio.run(names["later_block"](guard(**guarded))),
    ):
        with pytest.raises(ValueError, match="broken"):
            call()
    assert record.streaks("nightly") == [1, 2, 3, 4]


def test_celery_s_autoretry_is_told_of(record, caplog):
    """The guard sees the job's own error each time, not Celery's Retry."""
    from celery import Celery

    app = Celery(set_as_current=False)
    app.conf.task_always_eager = True

    @app.task(autoretry_for=(ValueError,), max_retries=1, default_retry_delay=0)
    @cron_guarded(job="nightly")
    def nightly():
        raise ValueError("broken")

    with caplog.at_level(logging.WARNING, "cronguard"):
        nightly.apply()
    (line,) = said(caplog)
    assert "call self.retry() in the task" in line
