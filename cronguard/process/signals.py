"""How to tell what a program's signal handlers raise from errors inside cronguard.

A Python signal handler runs between any two bytecodes of the main thread, cronguard's included. A
time limit that a program sets with SIGALRM (and Celery with SIGUSR1) must reach the program even if
the signal comes while cronguard is writing.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # not in its type stubs
import contextlib
import os
import signal
import stat
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

_CO_VARARGS = 0x04
"""As in `inspect`, which is slow to import."""
_MOST_LINKS = 40
"""That are followed in one path, as on Linux."""


def attempt(
    work: Callable[..., T],
    *args: Any,
    failed: Callable[[BaseException], object] | None = None,
    only: type[BaseException] = BaseException,
) -> T | None:
    """Return what ``work`` returns; if it raises, pass that to ``failed``, return None.

    Raised here are what is not of the type ``only``, and what a signal handler of the program
    raises meanwhile.
    """
    interruption: BaseException | None = None
    answer, caught = _answer_or_error(work, args, only)
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
        caught = interruption = None  # else the frame and the errors keep each other alive


def _answer_or_error(
    work: Callable[..., T], args: tuple[Any, ...], only: type[BaseException]
) -> tuple[T | None, BaseException | None]:
    """Return the result and None, or None and the exception raised."""
    try:
        return work(*args), None
    except only as error:  # judged by the caller, outside the clause
        return None, error


class tolerate:  # noqa: N801  # as `contextlib.suppress` is called
    """Suppress errors of these types, but not what a signal handler of the program raises.

    A time limit is often a TimeoutError, which is an OSError: whoever takes it for the disk's
    trouble keeps it from the program.
    """

    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds
        self._outside: BaseException | None = None

    def __enter__(self) -> None:
        self._outside = sys.exception()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        return isinstance(error, self._kinds) and not _led_to(error, self._outside)


def raised_by_handler(error: BaseException) -> BaseException | None:
    """Return the exception that a signal handler of the program raised, if it led to ``error``.

    Other code may have turned it into another exception, for example because it took a TimeoutError
    for a disk error. So the causes and contexts of ``error`` are searched as well, up to the
    exception that was already being handled. Call this after the ``except`` clause that caught
    ``error``, not in it.
    """
    outside = sys.exception()
    try:
        return _led_to(error, outside)
    except MemoryError:  # there is none even to look: it is no time limit's
        return None


def _led_to(error: BaseException, outside: BaseException | None) -> BaseException | None:
    """Return what a handler raised among ``error`` and its causes, up to ``outside``."""
    handlers = _handler_codes()
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and found is not outside and id(found) not in seen:
        seen.add(id(found))
        trace = found.__traceback__
        while trace is not None:
            frame = trace.tb_frame
            if frame.f_code in handlers or _is_handler_call(frame, frame.f_back):
                return found
            if trace.tb_next is None and _is_ctrl_c(found, trace):
                return found
            trace = trace.tb_next
        found = found.__cause__ or found.__context__
    return None


def interrupted_by_ctrl_c() -> bool:
    """Tell whether `asyncio.run` is cancelling its main task because of SIGINT.

    Since 3.11 its runner cancels the task at the first Ctrl-C, and raises KeyboardInterrupt only
    when the task has ended. Until then the runner's own counter is the only sign of it.
    """
    handler = _handler(signal.SIGINT)
    runner = getattr(getattr(handler, "func", None), "__self__", None)
    return bool(getattr(runner, "_interrupt_count", 0))


def end_by_ctrl_c() -> None:
    """Have an unhandled Ctrl-C end the process by SIGINT, as it would without us.

    The interpreter forgets it when any thread compiles text meanwhile, as `namedtuple` and
    `dataclass` do in modules that our threads import while the program ends. It notes it again when
    such a text raises KeyboardInterrupt.
    """
    if _program_ended_by_ctrl_c():
        with contextlib.suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noqa: S102  # a text of ours


def _program_ended_by_ctrl_c() -> bool:
    """Tell whether the main program was ended so; an interactive session goes on after it."""
    error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    if type(error) is not KeyboardInterrupt or error.__traceback__ is None:
        return False
    if sys.flags.interactive or hasattr(sys, "ps1"):
        return False
    outermost = error.__traceback__.tb_frame
    main = getattr(sys.modules.get("__main__"), "__dict__", None)
    by_module_name = outermost.f_globals.get("__name__") == "runpy"  # python -m
    return by_module_name or (
        outermost.f_globals is main and outermost.f_code.co_filename != "<console>"
    )


def _handler(number: int) -> Any:
    """Return the handler as `signal.getsignal` does, which before 3.12 calls its ``repr`` too."""
    return _signal.getsignal(number)


def _is_ctrl_c(error: BaseException, innermost: TracebackType) -> bool:
    """Tell whether Python's own SIGINT handler raised it: there is no frame and no ``raise``."""
    if type(error) is not KeyboardInterrupt:
        return False
    from opcode import opmap  # rare path

    return innermost.tb_frame.f_code.co_code[innermost.tb_lasti] != opmap["RAISE_VARARGS"]


def _is_handler_call(frame: FrameType, interrupted: FrameType | None) -> bool:
    """Tell whether a function was called as signal handlers are: (signal number, frame).

    ``frame`` must be the one that was interrupted. This also finds a handler that installs another
    one before it raises; `_handler_codes` does not have that one any more.
    """
    code = frame.f_code
    named, has_varargs = code.co_argcount, bool(code.co_flags & _CO_VARARGS)
    if interrupted is None or named + has_varargs == 0:
        return False
    names = [*code.co_varnames[:named], *([_varargs_name(code)] if has_varargs else [])]
    given: list[object] = []
    for name in names:
        value = frame.f_locals.get(name)
        given += value if type(value) is tuple else (value,)
    return any(
        after is interrupted and isinstance(before, int) for before, after in pairwise(given)
    )


def _varargs_name(code: CodeType) -> str:
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
            call = getattr(type(function), "__call__", None)  # noqa: B004  # we need its code
            code = getattr(call, "__code__", None)
        if isinstance(code, CodeType):
            codes.add(code)
    return codes


# --- questions about paths ----------------------------------------------------------------------
#
# `os.path` and `Path.mkdir(exist_ok=True)` take any OSError for an answer, a time limit's too;
# so do `Path.exists()` and the like since 3.14.


def make_folder(path: Path) -> None:
    """Make the folder, for this user alone, and those above it, as the user's umask says.

    Raises:
        OSError: It is not there and cannot be made.
    """
    try:
        _make(path, 0o700)
    except FileNotFoundError:
        missing = [each for each in path.parents if not is_folder(each)]
        for each in reversed(missing):
            _make(each, 0o777)
        _make(path, 0o700)


def _make(path: Path, mode: int) -> None:
    is_made = False
    with tolerate(OSError):  # autofs and NFS say EROFS or EACCES of a folder that is there
        path.mkdir(mode)
        is_made = True
    if not is_made and not is_folder(path):
        path.mkdir(mode)


def make_file(path: Path) -> None:
    """Make an empty file, for this user alone, where the path leads, unless there is something.

    Without a descriptor, where the system can: whoever closes any descriptor of a file gives up the
    locks that all of the process has on it, and another thread may use the file already.

    Raises:
        OSError: It cannot be made.
    """
    target = real_path(path)
    with tolerate(AttributeError, OSError):  # Windows has none, macOS allows none
        os.mknod(target, stat.S_IFREG | 0o600)
        return
    with contextlib.suppress(FileExistsError):
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def is_folder(path: Path) -> bool:
    """Tell whether there is a folder; False where that cannot be seen."""
    with tolerate(OSError, ValueError):
        return stat.S_ISDIR(path.stat().st_mode)
    return False


def is_file(path: Path) -> bool:
    """Tell whether there is a regular file; False where that cannot be seen."""
    with tolerate(OSError, ValueError):
        return stat.S_ISREG(path.stat().st_mode)
    return False


def is_there(path: Path, *, follow: bool = True) -> bool:
    """Tell whether there is anything; ``follow`` links, else one to nothing is something."""
    with tolerate(OSError, ValueError):
        path.stat(follow_symlinks=follow)
        return True
    return False


def real_path(path: Path) -> Path:
    """Return the path without symbolic links, as far as its parts are there."""
    for _ in range(_MOST_LINKS):
        with tolerate(OSError, ValueError):
            return Path(os.path.realpath(path, strict=True))
        link = None
        with tolerate(OSError, ValueError):
            link = path.readlink()
        if link is None:
            break
        path = path.parent / link
    return path if path.parent == path else real_path(path.parent) / path.name
