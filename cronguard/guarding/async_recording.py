"""A recording's start and end inside an event loop, which goes on while the store answers."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cronguard.guarding.recording import Recording
from cronguard.process import log
from cronguard.process.signals import interrupted_by_ctrl_c

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future, Task


async def start(recording: Recording) -> None:
    """Start a run; a cancellation that comes meanwhile is raised once the store has answered."""
    if recording.run is None:
        return
    cancelled = await _aside(recording.start)
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
    cancelled = await _aside(lambda: recording.end(error))
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


async def _aside(work: Callable[[], None]) -> BaseException | None:
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
        thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(_work_and_tell, work, loop, done),
            name="cronguard-record",
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
