"""The ``cronguard`` logger, used in a way that cannot hurt a job.

`logging` is imported when there is something to say, and a handler that raises is not allowed to
reach the guarded program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cronguard.process.workers import TimeoutPool

_WARNING, _ERROR = 30, 40
_PATIENCE = 1.0
"""Seconds that a log handler may take before it is left behind."""
_said: set[str] = set()
_echo: Callable[[str], object] | None = None
_bound: TimeoutPool | None = None


def echo(sink: Callable[[str], object] | None) -> None:
    """Hand warnings and errors to ``sink``, a line each, instead of `logging`; None ends that.

    What the command line does: its messages are for the person in front of it.
    """
    global _echo  # noqa: PLW0603  # the process's one command line
    _echo = sink


def debug(message: str, *values: object) -> None:
    """Of use when something is being looked into."""
    _say(10, message, values)


def warning(message: str, *values: object) -> None:
    """Somebody should look at this; the job is not affected."""
    _say(_WARNING, message, values)


def warning_once(message: str, *values: object) -> None:
    """As `warning`, but the same line only once a process."""
    _say_once(_WARNING, message, values)


def error(message: str, *values: object) -> None:
    """cronguard could not do what it is for."""
    _say(_ERROR, message, values)


def error_once(message: str, *values: object) -> None:
    """As `error`, but the same line only once a process."""
    _say_once(_ERROR, message, values)


def _say_once(level: int, message: str, values: tuple[object, ...]) -> None:
    line = message % values if values else message
    if line not in _said:
        _said.add(line)
        _say(level, "%s", (line,))


def _say(level: int, message: str, values: tuple[object, ...]) -> None:
    caught: Exception | None = None
    try:
        if _echo is not None:
            if level >= _WARNING:
                _echo(message % values if values else message)
            return
        import logging  # a run that goes well says nothing

        logger = logging.getLogger("cronguard")
        last = logging.lastResort
        if not logger.isEnabledFor(level):
            return
        if logger.hasHandlers():
            _emit(lambda: logger.log(level, message, *values))
        elif last is not None and level >= last.level:
            from cronguard.process import (
                stderr,  # where `logging` would write, but would leave a rest
            )

            _emit(lambda: stderr.write(f"{message % values if values else message}\n"))
    except Exception as error:  # noqa: BLE001  # somebody else's handler or filter
        caught = error
    if caught is not None:
        try:
            from cronguard.process.signals import raised_by_handler  # rare path
        except ImportError:  # the interpreter is being taken down
            return
        if interruption := raised_by_handler(caught):
            raise interruption


def _emit(work: Callable[[], None]) -> None:
    """A handler may wait for a network or a full disk for ever: the job does not wait with it."""
    from cronguard.process.workers import NoThread, TimeoutPool  # a run that goes well says nothing

    global _bound  # noqa: PLW0603  # made when there is something to say
    _bound = _bound or TimeoutPool(most_late=1)
    try:
        _bound.call(work, _PATIENCE)
    except NoThread:
        work()
