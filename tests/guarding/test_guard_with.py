"""``with guard(...)`` and ``async with guard(...)``: a block is a run."""

import asyncio
import contextlib
import threading

import pytest
from support.record import failing_store, record, recording

from cronguard import ConfigError, JobOverlap, cron_guarded, guard
from cronguard.core.errors import StoreError

__all__ = ["record"]


class Broken(Exception):  # noqa: N818  # the job's business
    """The job's own."""


def test_a_block_is_a_run(record):
    """The block gets the run's id, and its end is recorded."""
    with guard(job="nightly") as run:
        assert record.statuses("nightly") == ["running"]
        assert run.run_id == record.runs("nightly")[0].run_id
        assert run.job == "nightly"
        assert run.run_id in repr(run)
    assert record.statuses("nightly") == ["success"]


def test_the_very_exception_leaves_the_block(record):
    """Not swallowed, not changed, not one frame added."""
    error = Broken()
    frames = []

    def block():
        with guard(job="nightly"):
            raise error

    with pytest.raises(Broken) as caught:
        block()
    trace = caught.value.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert caught.value is error
    assert frames[-1] == "block"
    assert error.__context__ is None
    assert record.statuses("nightly") == ["failure"]


def test_leaving_the_block_early_is_success(record):
    """return, break and continue are ways to be done."""

    def returns():
        with guard(job="nightly"):
            return 1

    assert returns() == 1
    for _ in range(2):
        with guard(job="nightly"):
            continue
    assert record.statuses("nightly") == ["success"] * 3


def test_an_open_job_raises_overlap(record):
    """A block cannot be skipped, so entering says who holds the job; the attempt has a row."""
    holder = guard(job="nightly")
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with holder:
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(30)
    try:
        with (
            pytest.raises(JobOverlap, match=r"^nightly was skipped: another run goes on since "),
            guard(job="nightly"),
        ):
            raise AssertionError("the block was entered")
        with guard(job="nightly", overlap="allow"):
            pass
    finally:
        leave.set()
        thread.join(30)
    assert sorted(record.statuses("nightly")) == ["skipped", "success", "success"]


def test_the_name_stands_in_front_or_is_a_keyword(record):
    """Either, not two different ones, and not none."""
    for guarded in guard("nightly"), guard(job="nightly"), guard("nightly", job="nightly"):
        with guarded as run:
            assert run.job == "nightly"
    assert record.statuses("nightly") == ["success"] * 3
    with pytest.raises(ConfigError, match="two names"):
        guard("nightly", job="weekly")
    with pytest.raises(ConfigError, match="write guard"):
        guard(threshold=2)


def test_one_guard_serves_many_threads(record):
    """A guard object keeps no state that two of its blocks could mix up."""
    shared = guard(job="nightly", overlap="allow")
    first_in, second_in = threading.Event(), threading.Event()

    def good():
        with shared:
            first_in.set()
            second_in.wait(30)

    def bad():
        first_in.wait(30)
        with pytest.raises(Broken), shared:
            leave_last()

    def leave_last():
        second_in.set()
        thread.join(30)
        raise Broken

    thread = threading.Thread(target=good)
    thread.start()
    bad()
    first, second = record.runs("nightly")
    assert (first.status, second.status) == ("success", "failure")


def test_one_guard_serves_many_tasks(record):
    """Nor in tasks of one thread, that end in the order in which they began."""
    shared = guard(job="nightly", overlap="allow")

    async def first(others_turn, my_turn):
        async with shared:
            others_turn.set()
            await my_turn.wait()

    async def second(my_turn, others_turn):
        await my_turn.wait()
        async with shared:
            others_turn.set()
            await asyncio.sleep(0.05)
            raise Broken

    async def main():
        one, two = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(first(one, two), second(one, two), return_exceptions=True)

    assert isinstance(asyncio.run(main())[1], Broken)
    assert [run.status for run in record.runs("nightly")] == ["success", "failure"]


def test_a_guard_can_be_used_again(record):
    """And inside itself, where it counts once."""
    again = guard(job="nightly")
    for _ in range(2):
        with again, again as inner:
            assert inner.run_id is None
    assert record.statuses("nightly") == ["success"] * 2


def test_blocks_may_be_left_in_any_order(record):
    """ExitStack and generators do not nest properly; each run still gets its own end."""
    one, two = contextlib.ExitStack(), contextlib.ExitStack()
    one.enter_context(guard(job="one"))
    two.enter_context(guard(job="two"))
    one.close()
    with guard(job="one"):
        assert record.statuses("one") == ["success", "running"]
    two.close()
    assert record.statuses("two") == ["success"]
    with guard(job="two") as run:
        assert run.run_id is not None


def test_a_decorated_function_inside_the_block_is_that_run(record):
    """The same job, whichever way it is guarded."""

    @cron_guarded
    def nightly():
        return 1

    with guard(job="nightly"):
        assert nightly() == 1
    assert record.statuses("nightly") == ["success"]


async def enters_asynchronously(body):
    async with guard(job="nightly") as run:
        return body(run)


def test_async_with_is_the_same(record):
    """Run id, success, the very exception."""
    error = Broken()

    def fail(run):
        raise error

    assert asyncio.run(enters_asynchronously(lambda run: run.run_id)) is not None
    with pytest.raises(Broken) as caught:
        asyncio.run(enters_asynchronously(fail))
    assert caught.value is error
    assert record.statuses("nightly") == ["success", "failure"]


def test_async_with_raises_overlap_too(record):
    """While another task is in its block."""

    async def main():
        async with guard(job="nightly"):
            return await asyncio.gather(
                asyncio.create_task(other(), context=contextvars_of_nobody()),
                return_exceptions=True,
            )

    async def other():
        async with guard(job="nightly"):
            raise AssertionError("the block was entered")

    (caught,) = asyncio.run(main())
    assert isinstance(caught, JobOverlap)
    assert sorted(record.statuses("nightly")) == ["skipped", "success"]


def contextvars_of_nobody():
    import contextvars

    return contextvars.Context()


def test_a_guard_without_a_store_still_lets_in():
    """There is nothing to be held, and no id to be told."""
    with recording(store=failing_store(StoreError("away"))), guard(job="nightly"):
        entered = True
    assert entered


@pytest.mark.parametrize("options", [{}, {"job": "two words"}, {"job": "x", "threshold": 0}])
def test_wrong_options_are_told_at_once(options):
    """Before anything is entered."""
    with pytest.raises(ConfigError):
        guard(**options)


def test_leaving_what_was_never_entered():
    """Is a mistake of the caller's own, and said as one."""
    with pytest.raises(RuntimeError, match=r"guard\(job='a'\) was left without being entered"):
        guard(job="a").__exit__(None, None, None)
