"""One call of a guarded function: start, the function, end. What it raises is raised through us.

Everything from the start on is inside the ``try``: a signal may strike anywhere, and a run that was
begun must be ended.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

from cronguard.guarding.async_recording import end, start
from cronguard.guarding.recording import Guarded, Recording, prepare


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
