"""The decorator on asynchronous functions: recorded to their real end, cancelled as ever."""

import asyncio
import contextvars
import functools
import gc
import inspect
import threading
import time
import traceback
import warnings
from contextlib import closing, suppress

import pytest
from support.record import Gate, StoreOf, record, recording, until

from cronguard import cron_guarded, guard
from cronguard.guarding.recording import _open_runs

__all__ = ["record"]


class Broken(Exception):  # noqa: N818  # the job's business
    """The job's own."""


def names_of(error):
    return [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]


# --- what can be guarded -------------------------------------------------------------------------


async def plain(what):
    await asyncio.sleep(0)
    return what


def returns_a_coroutine(what):
    return plain(what)


class Callable:
    async def __call__(self, what):
        return await plain(what)


class Methods:
    @cron_guarded(job="nightly")
    async def method(self, what):
        return await plain(what)

    @cron_guarded(job="nightly")
    @classmethod
    async def class_outside(cls, what):
        return await plain(what)

    @classmethod
    @cron_guarded(job="nightly")
    async def class_inside(cls, what):
        return await plain(what)

    @staticmethod
    @cron_guarded(job="nightly")
    async def static_inside(what):
        return await plain(what)


@functools.wraps(plain)
def wrapped_by_another(*args):
    return plain(*args)


SHAPES = {
    "async def": cron_guarded(job="nightly")(plain),
    "partial": cron_guarded(job="nightly")(functools.partial(plain)),
    "partial, called": functools.partial(cron_guarded(job="nightly")(plain)),
    "object": cron_guarded(job="nightly")(Callable()),
    "method": Methods().method,
    "class method outside": Methods.class_outside,
    "class method inside": Methods.class_inside,
    "static method inside": Methods.static_inside,
    "def that returns a coroutine": cron_guarded(job="nightly")(returns_a_coroutine),
    "lambda": cron_guarded(job="nightly")(lambda what: plain(what)),  # the shape
    "partial of one": cron_guarded(job="nightly")(functools.partial(returns_a_coroutine)),
    "decorated": cron_guarded(job="nightly")(wrapped_by_another),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_shape_is_recorded_to_its_real_end(record, shape):
    """Success is written after the work, not when the coroutine is made."""

    async def main():
        pending = shape(7)
        assert inspect.iscoroutine(pending)
        assert "success" not in record.statuses("nightly")
        return await pending

    assert asyncio.run(main()) == 7
    assert record.statuses("nightly") == ["success"]


def test_it_still_looks_like_the_function():
    """To inspect, to asyncio, and in what is said about its coroutines and tasks."""
    guarded = cron_guarded(plain)
    assert inspect.iscoroutinefunction(guarded)
    assert inspect.iscoroutinefunction(Methods.method)
    assert inspect.iscoroutinefunction(Methods().class_outside)
    assert inspect.signature(guarded) == inspect.signature(plain)
    assert not inspect.iscoroutinefunction(cron_guarded(job="nightly")(returns_a_coroutine))
    pending = guarded(1)
    assert pending.__name__ == "plain"
    assert pending.__qualname__ == "plain"
    pending.close()


def test_the_very_exception_comes_back(record):
    """Same object and context; one more frame of traceback, two where the loop shows."""
    cause, error = KeyError(), Broken()

    async def nightly():
        await asyncio.sleep(0)
        raise error from cause

    async def names(function):
        with pytest.raises(Broken) as caught:
            await function()
        assert caught.value is error
        found = names_of(error)
        error.__traceback__ = None
        return found

    bare = asyncio.run(names(nightly))
    assert len(asyncio.run(names(cron_guarded(nightly)))) <= len(bare) + 1
    returning = cron_guarded(job="nightly")(lambda *rest: nightly(*rest))
    assert len(asyncio.run(names(returning))) <= len(bare) + 2
    assert error.__cause__ is cause
    assert error.__context__ is cause or error.__context__ is None
    assert record.statuses("nightly") == ["failure"] * 2


def test_context_variables_pass_both_ways(record):
    """The function runs in its caller's context, as it would without us."""
    variable = contextvars.ContextVar("variable", default="outside")

    @cron_guarded
    async def nightly():
        assert variable.get() == "before"
        variable.set("inside")

    async def main():
        variable.set("before")
        await nightly()
        return variable.get()

    assert asyncio.run(main()) == "inside"


def forget(function):
    function(1)
    gc.collect()


def test_what_is_not_awaited_is_not_run(record):
    """A forgotten coroutine is warned of under the function's name, and nothing is recorded."""
    guarded = cron_guarded(job="nightly")(plain)
    with pytest.warns(RuntimeWarning, match="'plain' was never awaited"):
        forget(guarded)
    assert record.statuses("nightly") == []


def test_a_returned_coroutine_that_is_forgotten_ends_its_run(record):
    """Otherwise the run would hold the job for as long as the process lives."""
    guarded = cron_guarded(job="nightly")(returns_a_coroutine)
    with pytest.warns(RuntimeWarning, match="'plain' was never awaited"):
        forget(guarded)
    assert record.statuses("nightly") == ["failure"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        guarded(1).close()
        gc.collect()
    assert record.statuses("nightly") == ["failure"] * 2
    assert asyncio.run(guarded(2)) == 2


def test_awaitables_that_are_more_than_coroutines_come_back_as_they_are(record):
    """Such as aiohttp's requests, which can be awaited or entered."""

    class Request:
        def send(self, value): ...

        def throw(self, *error): ...

        def close(self): ...

        def __await__(self):
            yield

        async def __aenter__(self): ...

        async def __aexit__(self, *error): ...

    request = Request()
    assert cron_guarded(job="nightly")(lambda: request)() is request


# --- without asyncio -----------------------------------------------------------------------------


class Step:
    """What another framework's coroutines yield to their loop."""

    def __await__(self):
        return (yield "step")


@pytest.mark.parametrize("guarded", ["async def", "returned"])
def test_other_loops_are_not_sent_anything(record, guarded):
    """Driven by hand, as trio and curio do, a coroutine yields what the function's own yields."""

    async def nightly():
        return await Step(), await Step()

    def returning():
        return nightly()

    job = cron_guarded(job="nightly")(nightly if guarded == "async def" else returning)
    coroutine = job()
    assert coroutine.send(None) == "step"
    assert coroutine.send(1) == "step"
    with pytest.raises(StopIteration) as done:
        coroutine.send(2)
    assert done.value.value == (1, 2)
    assert record.statuses("nightly") == ["success"]


def test_driven_by_hand_inside_a_loop(record):
    """Not every coroutine in a running loop is a task's: who drives it must not get our futures."""

    @cron_guarded
    async def nightly():
        return await Step()

    def drive():
        coroutine = nightly()
        yielded = coroutine.send(None)
        with pytest.raises(StopIteration) as done:
            coroutine.send(3)
        return yielded, done.value.value

    async def main():
        answer = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: answer.set_result(drive()))
        return await answer

    assert asyncio.run(main()) == ("step", 3)
    assert record.statuses("nightly") == ["success"]


def test_an_exception_thrown_in_is_the_functions_own(record):
    """athrow and close reach the function, which may clean up, and the run ends."""
    cleaned = []

    @cron_guarded
    async def nightly():
        try:
            await Step()
        finally:
            cleaned.append(True)

    first = nightly()
    first.send(None)
    first.close()
    second = nightly()
    second.send(None)
    with pytest.raises(Broken):
        second.throw(Broken())
    assert cleaned == [True, True]
    assert record.statuses("nightly") == ["failure"] * 2


# --- beside a slow store -------------------------------------------------------------------------


def test_the_loop_goes_on_while_the_store_is_slow():
    """Other tasks run between a run's start being asked for and being answered."""

    async def main(gate):
        async def tick():
            await until(gate.reached.is_set)
            for _ in range(100):
                await asyncio.sleep(0)
            gate.open()  # only a loop that goes on gets here
            return True

        ticking = asyncio.create_task(tick())
        assert await job() == "done"
        return await ticking

    @cron_guarded(job="nightly")
    async def job():
        return "done"

    gate = Gate()
    with recording(store=StoreOf(gate.wait)) as record:
        assert asyncio.run(main(gate))
        assert record.statuses("nightly") == ["success"]


def test_a_coroutine_closed_while_the_store_is_slow_leaves_no_run_open():
    """The loop is gone, but the job must not be held for ever."""
    gate = Gate()

    @cron_guarded(job="nightly")
    async def job():
        raise AssertionError("it was never to run")

    async def main():
        task = asyncio.create_task(job())
        await until(gate.reached.is_set)
        threading.Timer(0.1, gate.open).start()
        task.get_coro().close()
        task.cancel()

    with recording(store=StoreOf(gate.wait)) as record:
        asyncio.run(main())
        assert record.statuses("nightly") == ["failure"]
        assert not record.runtime.open_runs._open


def test_a_coroutine_closed_while_its_end_is_written_waits_for_that():
    """A loop that is torn down may be the last thing that a process does."""
    gate = Gate()

    @cron_guarded(job="nightly")
    async def job():
        pass

    async def main():
        task = asyncio.create_task(job())
        await until(gate.reached.is_set)
        threading.Timer(0.1, gate.open).start()
        task.get_coro().close()
        written = record.statuses("nightly")
        task.cancel()
        return written

    with recording(store=StoreOf(gate.wait, at="finish")) as record:
        assert asyncio.run(main()) == ["success"]


# --- runs within runs ----------------------------------------------------------------------------


def test_the_same_job_in_tasks_inside_itself_counts_once(record):
    """A task, a thread made by to_thread and a task group carry the run along."""

    @cron_guarded
    async def nightly(depth=0):
        if depth == 0:
            await asyncio.gather(nightly(1), asyncio.create_task(nightly(1)))
            async with asyncio.TaskGroup() as group:
                group.create_task(nightly(1))
            await asyncio.to_thread(by_thread)

    @cron_guarded(job="nightly")
    def by_thread():
        pass

    asyncio.run(nightly())
    assert record.statuses("nightly") == ["success"]


def test_a_task_that_outlives_the_run_starts_its_own(record):
    """What was begun inside a run is inside it only while it is open."""

    @cron_guarded
    async def nightly(go=None):
        if go is None:
            go = asyncio.Event()
            return go, asyncio.create_task(later(go))
        return None

    async def later(go):
        await go.wait()
        await nightly(go)

    async def main():
        go, task = await nightly()
        go.set()
        await task

    asyncio.run(main())
    assert record.statuses("nightly") == ["success"] * 2


def test_side_by_side_the_second_is_skipped(record):
    """None comes of it; a function that returns coroutines still returns something to await."""

    async def main():
        release = asyncio.Event()
        job = cron_guarded(job="nightly")(release.wait)
        first = asyncio.create_task(job())
        await until(lambda: record.statuses("nightly") == ["running"])
        skipped = [await SHAPES[shape](1) for shape in ("async def", "decorated", "object")]
        release.set()
        assert await first is True
        return skipped

    assert asyncio.run(main()) == [None, None, None]
    assert sorted(record.statuses("nightly")) == ["skipped"] * 3 + ["success"]


def test_the_first_call_may_be_the_skipped_one(record):
    """Behind another decorator it cannot be told what a call would have returned: inside a loop it
    is something to await, elsewhere None."""
    job = cron_guarded(job="nightly")(wrapped_by_another)

    async def main():
        return await job(1)

    elsewhere, holder = contextvars.Context(), guard(job="nightly")
    elsewhere.run(holder.__enter__)
    assert asyncio.run(main()) is None
    assert job(1) is None
    elsewhere.run(holder.__exit__, None, None, None)
    assert asyncio.run(main()) == 1
    assert record.statuses("nightly").count("skipped") == 2


@pytest.mark.parametrize("error", [None, ValueError("x")], ids=["success", "failure"])
@pytest.mark.parametrize("shape", ["async def", "def that returns a coroutine"])
def test_nothing_of_a_run_stays_in_its_context(record, shape, error):
    """Neither a run that is over nor what it holds is kept alive by the task that ran it."""

    @cron_guarded(job="nightly")
    async def nightly():
        if error:
            raise error

    @cron_guarded(job="nightly")
    def returning():
        async def work():
            if error:
                raise error

        return work()

    async def main():
        with suppress(ValueError):
            await (nightly if shape == "async def" else returning)()
        return _open_runs.get()

    assert asyncio.run(main()) == ()


def test_a_returned_coroutine_is_a_run_before_it_is_awaited(record):
    """But what its caller does meanwhile is not inside it."""
    job = cron_guarded(job="nightly")(returns_a_coroutine)

    async def main():
        first = job(1)
        assert record.statuses("nightly") == ["running"]
        assert await job(2) is None
        return await first

    assert asyncio.run(main()) == 1
    assert sorted(record.statuses("nightly")) == ["skipped", "success"]


def test_many_tasks_lose_nothing(record):
    """A hundred at once have a hundred rows."""

    @cron_guarded(overlap="allow", threshold=1000)
    async def nightly(number):
        await asyncio.sleep(0)
        if number % 2:
            raise Broken

    async def main():
        await asyncio.gather(*map(nightly, range(100)), return_exceptions=True)

    asyncio.run(main())
    assert sorted(record.statuses("nightly")) == ["failure"] * 50 + ["success"] * 50


@pytest.mark.parametrize("what", ["__init__", "start"])
def test_no_thread_no_harm(record, monkeypatch, what):
    """Where no thread can be started, or made as in a subinterpreter, the loop asks the store."""

    def refuse(*args, **options):
        raise RuntimeError("can't start new thread")

    @cron_guarded
    async def nightly():
        return 5

    monkeypatch.setattr(threading.Thread, what, refuse)
    assert asyncio.run(nightly()) == 5
    assert record.statuses("nightly") == ["success"]


def test_a_hundred_runs_are_quick(record):
    """Each costs threads, not seconds: a bound that only a blunder breaks."""

    @cron_guarded
    async def nightly():
        pass

    async def main():
        for _ in range(100):
            await nightly()

    start = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - start < 10


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer when nothing is ready, as tests of time have."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        select = self._selector.select

        def jump(timeout=None):
            ready = select(0 if timeout else timeout)
            if timeout and not ready:
                self.now += timeout
            return ready

        self._selector.select = jump

    def time(self):
        return self.now


def test_a_clock_of_the_loops_own_is_left_alone(record):
    """No timer of cronguard's moves it beyond the program's own."""

    @cron_guarded(job="nightly")
    async def nightly():
        await asyncio.sleep(5)

    async def limited():
        async with asyncio.timeout(10):
            await nightly()

    with closing(JumpingLoop()) as loop:
        with suppress(TimeoutError):  # it jumps while it waits for a thread
            loop.run_until_complete(limited())
        assert loop.now <= 10
