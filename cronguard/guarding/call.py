"""One call of a guarded function: start, the function, end. Its exception goes through unchanged.

Everything from the start on is inside the ``try``: a signal handler may raise anywhere, and a run
that was started must be ended. `start` and `end` let the event loop go on while the store answers.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from cronguard.core.errors import JobOverlap
from cronguard.core.model import STREAK
from cronguard.guarding.recording import Recording, end_status, new_recording
from cronguard.process import log, threads
from cronguard.process.signals import attempt, interrupted_by_ctrl_c
from cronguard.runtime.runtime import Guarded

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future, Task
    from types import FrameType


_LOOK_SECONDS = 1.0
"""How often it is looked whether a thread that should make a store call still lives."""
_RETRYING = {
    **dict.fromkeys(
        ("backoff", "retry", "retrying", "stamina", "tenacity"),
        "put the retry below @cron_guarded, so that one run has all its tries",
    ),
    "celery.app.autoretry": "call self.retry() in the task, in place of autoretry_for",
}
"""Modules that call a failed function again, and what to do."""


def call_plain(guarded: Guarded, *, wraps_async: bool) -> Callable[..., Any]:
    """Return what wrapt calls for a plain function.

    ``wraps_async`` is True if the function is a wrapper around an asynchronous one, so that it may
    return a coroutine.
    """
    returns_coroutine = False

    def call(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
        nonlocal returns_coroutine
        recording = new_recording(guarded)
        try:
            recording.start()
            if recording.skipped:
                if returns_coroutine or (wraps_async and _loop_is_running()):
                    return _skipped(recording)
                _skip(recording)
                return None
            recording.enter()
            result = wrapped(*args, **kwargs)
            recording.leave()
            if result is not None and recording.live and _is_coroutine(result):
                returns_coroutine = True
                return _guard_coroutine(recording, result)
            recording.end(None)
        except BaseException as error:
            try:
                warn_of_retry(recording, error, sys._getframe().f_back)  # noqa: SLF001
                recording.close(error)
            except BaseException:
                recording.close(error)  # a signal handler may have raised before it was done
                raise
            raise
        return result

    return call


def warn_of_retry(recording: Recording, error: BaseException, caller: FrameType | None) -> None:
    """Say once that every try counts, where a library that tries again calls the failed job.

    Raises only what a signal handler of the program raises meanwhile; `end` must still be called.
    """
    # Odd globals, or a type in ``ignore``, may raise.
    library = attempt(_retrying_library, recording, error, caller, only=Exception)
    if library is not None and recording.job is not None:
        log.warning_once(
            "%s is tried again by %s from outside its guard, so every try is a run that counts: %s",
            recording.job.config.job,
            library,
            _RETRYING[library],
        )


def _retrying_library(
    recording: Recording, error: BaseException, caller: FrameType | None
) -> str | None:
    """Return which of the libraries called the job, if that was a failure; else None."""
    while caller is not None and caller.f_globals.get("__name__") == "wrapt.wrappers":
        caller = caller.f_back  # there where wrapt has no C extension
    name = caller.f_globals.get("__name__") if caller is not None else None
    if not isinstance(name, str) or not recording.live or recording.job is None:
        return None
    library = name if name in _RETRYING else name.partition(".")[0]
    if library not in _RETRYING:
        return None
    return library if STREAK[end_status(error, recording.job.config.ignore)] == "grow" else None


def _is_coroutine(result: object) -> bool:
    """Tell whether the result is a coroutine to guard; one that is a context manager is not.

    This looks at the type only: `isinstance` would ask the result itself, and a lazy object would
    then be evaluated.
    """
    kind = type(result)
    return issubclass(kind, Coroutine) and not hasattr(kind, "__aenter__")


def _loop_is_running() -> bool:
    """Tell whether a loop is running here, so that only the caller can await what is returned."""
    asyncio = sys.modules.get("asyncio")  # without it no loop can be running
    try:
        return asyncio is not None and asyncio.get_running_loop() is not None
    except (RuntimeError, AttributeError):  # the latter if it is a file of the program's
        return False


def _skip(recording: Recording) -> None:
    """Do nothing, or raise JobOverlap where the job asks for it."""
    if recording.raises_overlap:
        raise JobOverlap(recording.overlap)


async def _skipped(recording: Recording) -> None:
    """Return the coroutine that a skipped call gives to a caller who awaits the result."""
    _skip(recording)


def _guard_coroutine(
    recording: Recording, result: Coroutine[Any, Any, Any]
) -> Coroutine[Any, Any, Any]:
    """Return a coroutine that awaits the function's own and ends the run.

    The run also ends if nobody ever awaits the coroutine.
    """
    awaited: list[bool] = []
    guarded_coroutine = _copy_name(result, _await_and_end(recording, result, awaited))

    def end_if_never_awaited(_: object) -> None:
        if not awaited:
            result.close()
            recording.end(GeneratorExit())

    recording.watch = weakref.ref(guarded_coroutine, end_if_never_awaited)
    return guarded_coroutine


async def _await_and_end(
    recording: Recording, coroutine: Coroutine[Any, Any, Any], awaited: list[bool]
) -> Any:
    """Await the coroutine that a plain function returned, then end the run."""
    awaited.append(True)
    try:
        recording.enter()
        result = await coroutine
        recording.leave()
    except BaseException as error:
        recording.leave()
        await end(recording, error)
        raise
    await end(recording, None)
    return result


def call_async(guarded: Guarded) -> Callable[..., Any]:
    """Return what wrapt calls for an ``async def`` function."""

    def call(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Coroutine[Any, Any, Any]:
        return _copy_name(wrapped, _await_call(guarded, wrapped, args, kwargs))

    return call


def _copy_name(function: Any, coroutine: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
    """Give the coroutine the function's name, for messages about tasks; return the coroutine."""
    named: Any = coroutine
    with contextlib.suppress(AttributeError, TypeError):  # a partial has none
        named.__name__, named.__qualname__ = function.__name__, function.__qualname__
    return coroutine


async def _await_call(guarded: Guarded, wrapped: Any, args: Any, kwargs: Any) -> Any:
    recording = new_recording(guarded)
    try:
        await start(recording)
        if recording.skipped:
            _skip(recording)
            return None
        recording.enter()
        result = await wrapped(*args, **kwargs)
        recording.leave()
    except BaseException as error:
        recording.leave()
        try:
            warn_of_retry(recording, error, sys._getframe().f_back)  # noqa: SLF001
        finally:
            await end(recording, error)
        raise
    await end(recording, None)
    return result


async def start(recording: Recording) -> None:
    """Start a run; raise a cancellation that comes meanwhile once the store has answered."""
    if recording.run is None:
        return
    cancelled = await _run_in_thread(recording.start)
    if cancelled is not None:
        raise cancelled


async def end(recording: Recording, error: BaseException | None) -> None:
    """End a run; a cancellation that comes meanwhile is passed to what the task awaits next."""
    if not recording.live or isinstance(error, GeneratorExit):  # being closed, it may not await
        recording.end(error)
        return
    task = asyncio_task()
    requests = task.cancelling() if task else 0
    cancelled = await _run_in_thread(lambda: recording.end(error))
    if cancelled is not None and task is not None:
        _cancel_again(task, cancelled, requests)


def _cancel_again(task: Task[Any], cancelled: BaseException, requests: int) -> None:
    """Cancel whatever the task awaits next, as would have happened without cronguard.

    The caller of ``cancel`` may take it back, as ``asyncio.timeout`` does when its block ends by
    itself, so this waits for one turn of the loop. After Ctrl-C it does not wait.
    """

    def cancel() -> None:
        if not task.done() and task.cancelling() > requests:
            task.uncancel()
            task.cancel(*cancelled.args)

    if interrupted_by_ctrl_c():
        cancel()
    else:
        task.get_loop().call_soon(cancel)


def asyncio_task() -> Task[Any] | None:
    """Return the asyncio task that runs us; None in another loop or a coroutine run by hand."""
    asyncio = sys.modules.get("asyncio")  # for a synchronous job, importing it would take long
    try:
        return asyncio.current_task() if asyncio is not None else None
    except (RuntimeError, AttributeError):  # the latter if it is a file of the program's
        return None


async def _run_in_thread(work: Callable[[], None]) -> BaseException | None:
    """Make a store call in a thread, so that the event loop goes on, and wait for its end.

    A cancellation does not stop the wait: a run must not be left half recorded, and the call ends
    within the store's timeout. Without asyncio, or if no thread can be started, the call is made
    here.

    Returns:
        The cancellation that arrived meanwhile, or None.
    """
    if asyncio_task() is None:
        work()
        return None
    asyncio = sys.modules["asyncio"]  # an import could fail here, and the job with it
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    try:
        thread = threads.own_thread(
            "record",
            contextvars.copy_context().run,
            _work_and_notify,
            work,
            loop,
            done,
            daemon=True,  # which a subinterpreter may refuse
        )
        threads.start(thread)
    except (RuntimeError, MemoryError):
        work()
        return None
    cancelled: BaseException | None = None
    # A loop with a clock of its own, as tests of time have, would jump to the end of each pause.
    is_real = getattr(type(loop), "time", None) is asyncio.BaseEventLoop.time
    pause = _LOOK_SECONDS if is_real else None
    try:
        while not done.done() and thread.is_alive():
            try:
                await asyncio.wait((done,), timeout=pause)
            except asyncio.CancelledError as error:
                cancelled = error
            except MemoryError:  # the loop cannot even wait
                thread.join()
        if threads.give_up(thread):  # it has ended before it began, without memory
            work()
    except BaseException:  # the coroutine is being closed
        if thread is not threading.current_thread():
            thread.join()
        raise
    return cancelled


def _work_and_notify(work: Callable[[], None], loop: AbstractEventLoop, done: Future[None]) -> None:
    try:
        work()
    except Exception as error:  # noqa: BLE001  # a recording never raises to its program
        log.error("cronguard could not record a run (%s)", type(error).__name__)
    finally:
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits
            loop.call_soon_threadsafe(_resolve, done)


def _resolve(done: Future[None]) -> None:
    if not done.done():
        done.set_result(None)
