"""The ``cronguard`` logger, used in a way that cannot hurt a job.

`logging` is imported only when there is something to log. What a handler raises does not reach the
guarded program, and a handler that hangs does not hold it up.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cronguard.process.signals import raised_by_handler, tolerate

if TYPE_CHECKING:
    from cronguard.process.workers import TimeoutPool

_STDERR = 2
_WARNING, _ERROR = 30, 40
_HANDLER_WAIT_SECONDS = 1.0
"""How long a log handler may take before it is left behind."""
_logged_once: set[str] = set()
_echo_sink: Callable[[str], object] | None = None
_handler_pool: TimeoutPool | None = None
_stderr: tuple[int, int] | None = None
"""Which file standard error is; None if it was closed when that was noted."""


def echo(sink: Callable[[str], object] | None) -> None:
    """Pass warnings and errors to ``sink``, one line each, instead of `logging`; None ends that.

    The command line uses it, since its messages are for the person who typed the command.
    """
    global _echo_sink  # noqa: PLW0603  # one command line a process
    _echo_sink = sink


def debug(message: str, *values: object) -> None:
    """Log what helps to investigate a problem."""
    _log(10, message, values)


def warning(message: str, *values: object) -> None:
    """Log what somebody should look at; the job is not affected."""
    _log(_WARNING, message, values)


def notice(message: str, *values: object) -> None:
    """Log a `warning` where the program collects its log lines, and nowhere else.

    Standard error, which cron mails, is left alone.
    """
    if _echo_sink is None and _logging().getLogger("cronguard").hasHandlers():
        _log(_WARNING, message, values)


def warning_once(message: str, *values: object) -> None:
    """Log a `warning`, but the same line only once per process."""
    _log_once(_WARNING, message, values)


def error(message: str, *values: object) -> None:
    """Log that cronguard could not do its work."""
    _log(_ERROR, message, values)


def error_once(message: str, *values: object) -> None:
    """Log an `error`, but the same line only once per process."""
    _log_once(_ERROR, message, values)


def _log_once(level: int, message: str, values: tuple[object, ...]) -> None:
    line = message % values if values else message
    if line not in _logged_once:
        _logged_once.add(line)
        _log(level, "%s", (line,))


def _log(level: int, message: str, values: tuple[object, ...]) -> None:
    caught: Exception | None = None
    try:
        if _echo_sink is not None:
            if level >= _WARNING:
                _echo_sink(message % values if values else message)
            return
        logging = _logging()
        logger = logging.getLogger("cronguard")
        last = logging.lastResort
        if not logger.isEnabledFor(level):
            return
        if logger.hasHandlers():
            _call_handler(lambda: logger.log(level, message, *values))
        elif last is not None and level >= last.level:
            from cronguard.process import (
                stderr,  # where `logging` writes too, but may leave text in the buffer
            )

            line = message % values if values else message
            said = line.removeprefix("cronguard ")  # cron's mail does not say who speaks
            _call_handler(lambda: stderr.write(f"cronguard: {said}\n"))
    except Exception as error:  # noqa: BLE001  # a third-party handler or filter
        caught = error
    if caught is not None:
        if interruption := raised_by_handler(caught):
            raise interruption
        if level >= _WARNING:
            last_line(message % values if values else message)


def _logging() -> Any:
    """Return Python's `logging`, which a file beside the job may hide."""
    hidden = sys.modules.get("cronguard.process.hidden")
    if hidden is not None and (own := hidden.own("logging")) is not None:
        return own
    import logging  # a run that goes well logs nothing

    return logging


def _call_handler(work: Callable[[], None]) -> None:
    """Call a log handler in a thread, so that the job does not wait with it forever.

    A handler may be waiting for a network or a full disk.
    """
    from cronguard.process.workers import (  # a run that goes well logs nothing
        Failed,
        NoThread,
        Overdue,
        TimeoutPool,
    )

    global _handler_pool  # noqa: PLW0603  # made when first needed
    _handler_pool = _handler_pool or TimeoutPool(most_late=1)
    try:
        _handler_pool.call(work, _HANDLER_WAIT_SECONDS)
    except NoThread:
        work()
    except (Failed, Overdue):  # its own business
        return


def note_stderr() -> None:
    """Note which file standard error is, before this process opens files of ours."""
    global _stderr  # noqa: PLW0603  # one a process
    _stderr = _file_of_stderr()


def last_line(text: str) -> None:
    """Write a line to standard error where nothing else works: no import, no descriptor is needed.

    Only if it is the file that it was at first: a program that closed it may have another one there
    now, a database perhaps.
    """
    try:
        if _stderr is not None and _file_of_stderr() == _stderr:
            os.write(_STDERR, f"{text}\n".encode("utf-8", "replace"))
    except (OSError, ValueError, MemoryError) as caught:  # nowhere is left to say it
        if isinstance(caught, OSError) and caught.errno is None:
            raise  # a time limit of the program's, raised just now


def _file_of_stderr() -> tuple[int, int] | None:
    with tolerate(OSError):
        found = os.fstat(_STDERR)
        return found.st_dev, found.st_ino
    return None
