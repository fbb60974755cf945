"""Cancellation, time-outs and Ctrl-C: they mean what they mean without cronguard.

A store that waits at a gate makes room for them at a run's start and at its finish.
"""

import asyncio
import signal
import sys
import threading

import pytest
from support.record import Gate, StoreOf, record, recording, until

from cronguard import cron_guarded, guard

__all__ = ["record"]


class Broken(Exception):  # noqa: N818  # the job's business
    """The job's own."""


async def sleeps():
    await asyncio.sleep(60)


def gated(at):
    """A gate, and cronguard on a store that waits at it when a run starts or finishes."""
    gate = Gate()
    return gate, recording(store=StoreOf(gate.wait, at=at))


def open_soon(gate):
    threading.Timer(0.05, gate.open).start()


async def expire(limit, gate):
    """Let a time-out strike while the store is waiting at its gate."""
    await until(gate.reached.is_set)
    limit.reschedule(asyncio.get_running_loop().time())
    await until(limit.expired)
    gate.open()


async def under_timeout(gate, function):
    """The function under a time-out that strikes while the store is waiting."""
    async with asyncio.timeout(None) as limit:
        expiring = asyncio.create_task(expire(limit, gate))
        result = await function()
        del expiring  # kept alive until here
        return result


# --- while the function runs ---------------------------------------------------------------------


def test_a_timeout_of_the_caller_is_a_failed_run(record):
    """It arrives as a cancellation and becomes a TimeoutError where it was asked for."""
    seen, limits = [], []

    @cron_guarded
    async def nightly():
        for limit in limits:  # not before the function runs, however busy the machine
            limit.reschedule(asyncio.get_running_loop().time())
        try:
            await sleeps()
        except asyncio.CancelledError as error:
            seen.append(error)
            raise

    async def main():
        with pytest.raises(TimeoutError) as caught:  # noqa: PT012  # one await
            async with asyncio.timeout(None) as limit:
                limits.append(limit)
                await nightly()
        limits.clear()
        assert caught.value.__context__ is seen[0]  # 3.11.2 does not name it as the cause
        assert asyncio.current_task().cancelling() == 0
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(nightly(), 1.0)

    asyncio.run(main())
    assert record.statuses("nightly") == ["failure"] * 2
    assert record.runs("nightly")[0].failure.error_type.endswith("CancelledError")


def test_a_timeout_of_the_functions_own_is_its_own(record):
    """Handled inside, it is none of our business."""

    @cron_guarded
    async def nightly():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await sleeps()
        return 1

    assert asyncio.run(nightly()) == 1
    assert record.statuses("nightly") == ["success"]


def test_a_function_may_refuse_to_be_cancelled(record):
    """What it returns then is what comes back, as ever."""

    @cron_guarded
    async def nightly():
        with pytest.raises(asyncio.CancelledError):
            await sleeps()
        asyncio.current_task().uncancel()
        return "stayed"

    async def main():
        task = asyncio.create_task(nightly())
        await until(lambda: record.statuses("nightly") == ["running"])
        await asyncio.sleep(0.01)
        task.cancel()
        return await task

    assert asyncio.run(main()) == "stayed"
    assert record.statuses("nightly") == ["success"]


@pytest.mark.parametrize("how", ["decorator", "block"])
def test_a_failing_sibling_cancels_as_ever(record, how):
    """The group's error is the sibling's alone; our run failed of its cancellation."""

    @cron_guarded
    async def nightly():
        await sleeps()

    async def block():
        async with guard(job="nightly"):
            await sleeps()

    async def fails():
        await until(lambda: record.statuses("nightly") == ["running"])
        raise Broken

    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(nightly() if how == "decorator" else block())
            group.create_task(fails())

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(main())
    assert [type(error) for error in caught.value.exceptions] == [Broken]
    assert record.statuses("nightly") == ["failure"]


# --- while the start is being recorded -----------------------------------------------------------


@pytest.mark.parametrize("how", ["decorator", "block"])
def test_cancelled_at_the_start_the_function_is_not_called(how):
    """As a task is that is cancelled before its first step; the run is closed all the same."""

    @cron_guarded
    async def nightly():
        raise AssertionError("called although cancelled")

    async def block():
        async with guard(job="nightly"):
            raise AssertionError("entered although cancelled")

    async def main(gate):
        task = asyncio.create_task(nightly() if how == "decorator" else block())
        await until(gate.reached.is_set)
        task.cancel("stop")
        await asyncio.sleep(0.01)
        task.cancel("stop at once")
        assert not task.done()
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    gate, place = gated("start")
    with place as record:
        asyncio.run(main(gate))
        assert record.statuses("nightly") == ["failure"]
        assert not record.runtime.open_runs._open


def test_a_timeout_at_the_start_is_a_timeout():
    """The caller's time is up, whoever used it."""

    async def main(gate):
        with pytest.raises(TimeoutError):
            await under_timeout(gate, cron_guarded(job="nightly")(sleeps))
        await asyncio.sleep(0.01)

    gate, place = gated("start")
    with place as record:
        asyncio.run(main(gate))
        assert record.statuses("nightly") == ["failure"]


# --- while the finish is being recorded ----------------------------------------------------------


@cron_guarded(job="nightly")
async def returns():
    return "result"


@cron_guarded(job="nightly")
async def raises():
    raise Broken


async def block():
    async with guard(job="nightly"):
        pass
    return "result"


@pytest.mark.parametrize("function", [returns, block])
def test_a_timeout_at_the_finish_comes_too_late(function):
    """The function was in time: its result counts, and no cancellation is left lying about."""

    async def main(gate):
        result = await under_timeout(gate, function)
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0.01)
        return result

    gate, place = gated("finish")
    with place as record:
        assert asyncio.run(main(gate)) == "result"
        assert record.statuses("nightly") == ["success"]


def test_a_timeout_around_more_than_the_job_strikes_what_comes_next():
    """As it would have without us: the job is done, its caller is not."""

    async def main(gate):
        reached = []

        async def more():
            reached.append(await returns())
            await sleeps()

        with pytest.raises(TimeoutError):
            await under_timeout(gate, more)
        await asyncio.sleep(0.01)
        return reached == ["result"]

    gate, place = gated("finish")
    with place:
        assert asyncio.run(main(gate))


def test_an_exception_is_not_lost_to_a_cancellation_at_the_finish():
    """The job's own exception comes out, and the cancellation strikes the next await."""

    async def caller():
        with pytest.raises(Broken):
            await raises()
        with pytest.raises(asyncio.CancelledError) as caught:
            await sleeps()
        assert caught.value.args == ("enough",)
        raise caught.value

    async def main(gate):
        task = asyncio.create_task(caller())
        await until(gate.reached.is_set)
        assert task.cancel("enough")
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await task

    gate, place = gated("finish")
    with place as record:
        asyncio.run(main(gate))
        assert record.statuses("nightly") == ["failure"]


def test_two_failing_siblings_are_both_reported():
    """A sibling that fails while our failure is being written hides nothing."""

    async def sibling(gate):
        await until(gate.reached.is_set)
        open_soon(gate)
        raise ValueError

    async def main(gate):
        async with asyncio.TaskGroup() as group:
            group.create_task(raises())
            group.create_task(sibling(gate))

    gate, place = gated("finish")
    with place, pytest.raises(ExceptionGroup) as caught:
        asyncio.run(main(gate))
    assert {type(error) for error in caught.value.exceptions} == {Broken, ValueError}


def test_a_group_whose_body_is_finishing_goes_on_as_ever():
    """A child fails while the body's job is being written: only its error is raised."""

    async def child(gate):
        await until(gate.reached.is_set)
        open_soon(gate)
        raise ValueError

    async def main(gate):
        results = []

        async def body():
            async with asyncio.TaskGroup() as group:
                group.create_task(child(gate))
                results.append(await returns())

        with pytest.raises(ExceptionGroup) as caught:
            await body()
        assert [type(error) for error in caught.value.exceptions] == [ValueError]
        assert results == ["result"]
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0.01)

    gate, place = gated("finish")
    with place:
        asyncio.run(main(gate))


def test_a_second_cancel_at_the_finish_changes_nothing():
    """The function was cancelled already: the run is written, the cancellation comes out."""

    async def main(gate):
        task = asyncio.create_task(cron_guarded(job="nightly")(sleeps)())
        await asyncio.sleep(0.05)
        task.cancel("first")
        await until(gate.reached.is_set)
        for _ in range(3):
            task.cancel("again")
            await asyncio.sleep(0)
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    gate, place = gated("finish")
    with place as record:
        asyncio.run(main(gate))
        assert record.statuses("nightly") == ["failure"]


def test_a_loop_that_ends_at_the_finish_waits_for_it():
    """asyncio.run cancels what is left over; the outcome is not."""
    gate, place = gated("finish")

    async def main():
        task = asyncio.create_task(returns())
        await until(gate.reached.is_set)
        open_soon(gate)
        return task

    with place as record:
        assert asyncio.run(main()).result() == "result"
        assert record.statuses("nightly") == ["success"]


# --- Ctrl-C --------------------------------------------------------------------------------------


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def ctrl_c():
    """SIGINT as Python sets it up, whatever runs the tests made of it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_in_a_plain_function_is_cancelled(record, ctrl_c):
    """Somebody stopped it: no failure, and the very interrupt goes on."""

    @cron_guarded
    def nightly():
        press_ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        nightly()
    assert record.statuses("nightly") == ["cancelled"]


def test_ctrl_c_as_asyncio_delivers_it_is_cancelled(record, ctrl_c):
    """The runner cancels its task first; that is no time-out."""

    @cron_guarded
    async def nightly():
        asyncio.get_running_loop().call_later(0.01, press_ctrl_c)
        await sleeps()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(nightly())
    assert record.statuses("nightly") == ["cancelled"]
    assert asyncio.run(returns()) == "result"


def test_an_error_after_ctrl_c_is_a_failure(record, ctrl_c):
    """What the function makes of the cancellation is its own; another error is no Ctrl-C."""

    @cron_guarded
    async def nightly():
        asyncio.get_running_loop().call_later(0.01, press_ctrl_c)
        try:
            await sleeps()
        except asyncio.CancelledError:
            raise ValueError("while cleaning up") from None

    with pytest.raises(ValueError, match="cleaning up"):
        asyncio.run(nightly())
    assert record.statuses("nightly") == ["failure"]


@pytest.mark.parametrize("at", ["start", "finish"])
def test_ctrl_c_while_the_store_is_slow_is_not_lost(ctrl_c, at):
    """It ends the program then, too."""

    async def main(gate):
        asyncio.get_running_loop().call_soon(press_when, gate, asyncio.get_running_loop())
        await returns()
        await sleeps()

    def press_when(gate, loop):
        if gate.reached.is_set():
            open_soon(gate)
            press_ctrl_c()
        else:
            loop.call_later(0.001, press_when, gate, loop)

    gate, place = gated(at)
    with place as record:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(main(gate))
        assert record.statuses("nightly") == ["cancelled" if at == "start" else "success"]


def test_ctrl_c_at_the_very_end_is_not_lost(ctrl_c):
    """The job is all that asyncio.run runs, and is being written when Ctrl-C comes."""
    gate, place = gated("finish")

    @cron_guarded(job="nightly")
    async def nightly():
        loop = asyncio.get_running_loop()
        loop.call_soon(threading.Thread(target=interrupt_at_the_gate, args=(loop,)).start)
        return "result"

    def interrupt_at_the_gate(loop):
        gate.reached.wait(30)
        loop.call_soon_threadsafe(press_ctrl_c)
        open_soon(gate)

    with place as record:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(nightly())
        assert record.statuses("nightly") == ["success"]


def test_eager_tasks_are_cancelled_as_ever(record):
    """A task that runs its first step at once."""
    if sys.version_info < (3, 12):
        pytest.skip("eager tasks came with 3.12")

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        task = asyncio.create_task(cron_guarded(job="nightly")(sleeps)())
        await until(lambda: record.statuses("nightly") == ["running"])
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert record.statuses("nightly") == ["failure"]
