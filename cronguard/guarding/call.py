"""One call of a guarded function: start, the function, end. What it raises is raised through us.

Everything from the start on is inside the ``try``: a signal may strike anywhere, and a run that was
begun must be ended. In an event loop, `start` and `end` let it go on while the store answers.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from cronguard.guarding.recording import Recording, prepare
from cronguard.process import log
from cronguard.process.forks import own_thread
from cronguard.process.signals import interrupted_by_ctrl_c
from cronguard.runtime.runtime import Guarded

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future, Task


def call_plain(guarded: Guarded, *, wraps_async: bool) -> Callable[..., Any]:
    """What wrapt calls for a plain function; ``wraps_async`` if it may return a coroutine."""
    returns_coroutine = False

    def call(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
        nonlocal returns_coroutine
        recording = prepare(guarded)
        try:
            recording.start()
            if recording.skipped:
                awaited = returns_coroutine or (wraps_async and _in_loop())
                return _nothing() if awaited else None
            recording.enter()
            result = wrapped(*args, **kwargs)
            recording.leave()
            if result is not None and recording.live and _is_coroutine(result):
                returns_coroutine = True
                return _later(recording, result)
            recording.end(None)
        except BaseException as error:
            try:
                recording.close(error)
            except BaseException:
                recording.close(error)  # a signal may have struck before that was done
                raise
            raise
        return result

    return call


def _is_coroutine(result: object) -> bool:
    """Something that only has to be awaited; what can be entered as well is left as it is.

    Judged by its type: `isinstance` would ask the result itself, which wakes a lazy object.
    """
    kind = type(result)
    return issubclass(kind, Coroutine) and not hasattr(kind, "__aenter__")


def _in_loop() -> bool:
    """Whether nobody but the caller can await what is returned, since a loop is running here."""
    import asyncio  # not on the path of a run

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _nothing() -> None:
    """What a skipped call comes to where the caller awaits it."""


def _later(recording: Recording, result: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
    """A coroutine for the function's own, which ends the run even if nobody ever awaits it."""
    awaited: list[bool] = []
    rest = _named_after(result, _rest(recording, result, awaited))

    def forgotten(_: object) -> None:
        if not awaited:
            result.close()
            recording.end(GeneratorExit())

    recording.watch = weakref.ref(rest, forgotten)
    return rest


async def _rest(
    recording: Recording, coroutine: Coroutine[Any, Any, Any], awaited: list[bool]
) -> Any:
    """The real end of a plain function that returned a coroutine."""
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
    """What wrapt calls for an ``async def`` function."""

    def call(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Coroutine[Any, Any, Any]:
        return _named_after(wrapped, _run(guarded, wrapped, args, kwargs))

    return call


def _named_after(whom: Any, coroutine: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
    """The guarded function's name, for what is said of tasks and of what nobody awaited."""
    named: Any = coroutine
    with contextlib.suppress(AttributeError, TypeError):  # a partial has none
        named.__name__, named.__qualname__ = whom.__name__, whom.__qualname__
    return coroutine


async def _run(guarded: Guarded, wrapped: Any, args: Any, kwargs: Any) -> Any:
    recording = prepare(guarded)
    try:
        await start(recording)
        if recording.skipped:
            return None
        recording.enter()
        result = await wrapped(*args, **kwargs)
        recording.leave()
    except BaseException as error:
        recording.leave()
        await end(recording, error)
        raise
    await end(recording, None)
    return result


async def start(recording: Recording) -> None:
    """Start a run; a cancellation that comes meanwhile is raised once the store has answered."""
    if recording.run is None:
        return
    cancelled = await _run_in_thread(recording.start)
    if cancelled is not None:
        raise cancelled


async def end(recording: Recording, error: BaseException | None) -> None:
    """End a run; a cancellation that comes meanwhile comes too late for the function."""
    if not recording.live:
        return
    if isinstance(error, GeneratorExit):  # the coroutine is being closed: it may not await
        recording.end(error)
        return
    import asyncio  # it costs a synchronous job more than its whole record

    task = asyncio.current_task() if _in_asyncio() else None
    requests = task.cancelling() if task else 0
    cancelled = await _run_in_thread(lambda: recording.end(error))
    if cancelled is not None and task is not None:
        _hand_on(task, cancelled, requests)


def _hand_on(task: Task[Any], cancelled: BaseException, requests: int) -> None:
    """Cancel whatever the task awaits next, as would have happened without us.

    Who asked for it may take it back, as ``asyncio.timeout`` does when its block ends by itself, so
    it waits for one turn of the loop. Ctrl-C waits for nobody.
    """

    def cancel() -> None:
        if not task.done() and task.cancelling() > requests:
            task.uncancel()
            task.cancel(*cancelled.args)

    if interrupted_by_ctrl_c():
        cancel()
    else:
        task.get_loop().call_soon(cancel)


def _in_asyncio() -> bool:
    """Whether an asyncio task drives us: there are other loops, and coroutines driven by hand."""
    import asyncio  # as above

    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


async def _run_in_thread(work: Callable[[], None]) -> BaseException | None:
    """Do a store call in a thread, so that the event loop goes on; see it through when cancelled.

    Returns a cancellation that arrived meanwhile: a run must not be left half-recorded, and the
    call ends within the store's time-out. Without asyncio, or when no thread can be had, the call
    is made here.
    """
    if not _in_asyncio():
        work()
        return None
    import asyncio  # as above

    loop = asyncio.get_running_loop()
    done = loop.create_future()
    try:
        thread = own_thread(
            "record",
            contextvars.copy_context().run,
            _work_and_tell,
            work,
            loop,
            done,
            daemon=True,  # which a subinterpreter may refuse
        )
        thread.start()
    except RuntimeError:
        work()
        return None
    cancelled: BaseException | None = None
    try:
        while not done.done():
            try:
                await asyncio.shield(done)
            except asyncio.CancelledError as error:
                cancelled = error
    except BaseException:  # the coroutine is being closed
        if thread is not threading.current_thread():
            thread.join()
        raise
    return cancelled


def _work_and_tell(work: Callable[[], None], loop: AbstractEventLoop, done: Future[None]) -> None:
    try:
        work()
    except Exception as error:  # noqa: BLE001  # a recording never raises to its program
        log.error("cronguard could not record a run (%s)", type(error).__name__)
    finally:
        with contextlib.suppress(RuntimeError):  # the loop was closed; nobody waits any more
            loop.call_soon_threadsafe(_tell, done)


def _tell(done: Future[None]) -> None:
    if not done.done():
        done.set_result(None)
