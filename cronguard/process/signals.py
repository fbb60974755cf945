"""Telling a program's own signals from cronguard's troubles.

A Python signal handler runs between any two bytecodes of the main thread, cronguard's included. A
time limit that a program sets with SIGALRM (and Celery with SIGUSR1) must reach the program even if
it strikes while cronguard is writing.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # not in its type stubs
import signal
import sys
from collections.abc import Callable
from itertools import pairwise
from types import CodeType, FrameType, TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

_VARARGS = 0x04
"""``inspect.CO_VARARGS``."""


def attempt(
    work: Callable[..., T], *args: Any, failed: Callable[[BaseException], object] | None = None
) -> T | None:
    """What somebody else's code answers; None if it raises, which ``failed`` is told.

    What a signal handler of the program raises meanwhile goes on its way.
    """
    interruption: BaseException | None = None
    answer, caught = _answer_or_error(work, args)
    if caught is None:
        return answer
    try:
        interruption = raised_by_handler(caught)
        if interruption is not None:
            raise interruption
        if failed is not None:
            failed(caught)
        return None
    finally:
        caught = interruption = None  # else they hold on to this frame, and it to them


def _answer_or_error(
    work: Callable[..., T], args: tuple[Any, ...]
) -> tuple[T | None, BaseException | None]:
    """One of the two."""
    try:
        return work(*args), None
    except BaseException as error:  # noqa: BLE001  # judged by whoever asked, outside the clause
        return None, error


def raised_by_handler(error: BaseException) -> BaseException | None:
    """The exception that a signal handler of the program raised, if ``error`` comes of one.

    On its way it may have been turned into another, since a TimeoutError looks like an error of
    the disk: so what ``error`` arose from counts as well, up to the exception that is being handled
    around us. Call this after the ``except`` clause that caught ``error``, not in it.
    """
    outside = sys.exception()
    handlers = _handler_codes()
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and found is not outside and id(found) not in seen:
        seen.add(id(found))
        trace = found.__traceback__
        while trace is not None:
            frame = trace.tb_frame
            if frame.f_code in handlers or _was_given(frame, frame.f_back):
                return found
            if trace.tb_next is None and _is_ctrl_c(found, trace):
                return found
            trace = trace.tb_next
        found = found.__cause__ or found.__context__
    return None


def interrupted_by_ctrl_c() -> bool:
    """Whether `asyncio.run` is cancelling its main task because of SIGINT.

    Since 3.11 its runner answers the first Ctrl-C by cancelling the task and raises
    KeyboardInterrupt only when that has ended; the runner's count is the one sign of it.
    """
    handler = _handler(signal.SIGINT)
    runner = getattr(getattr(handler, "func", None), "__self__", None)
    return bool(getattr(runner, "_interrupt_count", 0))


def _handler(number: int) -> Any:
    """`signal.getsignal`, which before 3.12 asks the handler for its ``repr``, without that."""
    return _signal.getsignal(number)


def _is_ctrl_c(error: BaseException, innermost: TracebackType) -> bool:
    """Whether Python's own handler of SIGINT raised it: it has no frame, and no ``raise``."""
    if type(error) is not KeyboardInterrupt:
        return False
    from opcode import opmap  # rare path

    return innermost.tb_frame.f_code.co_code[innermost.tb_lasti] != opmap["RAISE_VARARGS"]


def _was_given(frame: FrameType, interrupted: FrameType | None) -> bool:
    """Whether a function was called as handlers are, with the frame that it interrupted.

    Holds for one that puts another handler in its place before it raises, which `_handler_codes`
    no longer knows.
    """
    code = frame.f_code
    named, spread = code.co_argcount, bool(code.co_flags & _VARARGS)
    if interrupted is None or named + spread == 0:
        return False
    names = [*code.co_varnames[:named], *([_spread_name(code)] if spread else [])]
    given: list[object] = []
    for name in names:
        value = frame.f_locals.get(name)
        given += value if type(value) is tuple else (value,)
    return any(
        after is interrupted and isinstance(before, int) for before, after in pairwise(given)
    )


def _spread_name(code: CodeType) -> str:
    return code.co_varnames[code.co_argcount + code.co_kwonlyargcount]


def _handler_codes() -> set[CodeType]:
    codes: set[CodeType] = set()
    for number in signal.Signals:
        handler = _handler(number)
        if handler is None or isinstance(handler, int):
            continue
        function = getattr(handler, "func", handler)
        function = getattr(function, "__func__", function)
        code = getattr(function, "__code__", None)
        if code is None and not isinstance(function, type(len)):
            call = getattr(type(function), "__call__", None)  # noqa: B004  # its code is wanted
            code = getattr(call, "__code__", None)
        if isinstance(code, CodeType):
            codes.add(code)
    return codes
