"""`hand_over`: a log record to the handlers of a logger, and whether any of them has taken it.

`logging` itself does not say: a filter refuses a record in silence, and a handler that fails keeps
that to itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from cronguard.core.errors import ChannelError


def reached(logger: logging.Logger) -> Iterator[logging.Handler]:
    """Yield the handlers that the logger's records reach, as `Logger.callHandlers` finds them."""
    current: logging.Logger | None = logger
    found = False
    while current is not None:
        found = found or bool(current.handlers)
        yield from (each for each in current.handlers if type(each) is not logging.NullHandler)
        current = current.parent if current.propagate else None
    if not found and logging.lastResort is not None:
        yield logging.lastResort


def hand_over(logger: logging.Logger, record: logging.LogRecord) -> None:
    """Have the record handled; raise `ChannelError` if every handler refuses it or fails."""
    if getattr(type(logger).callHandlers, "__globals__", None) is not logging.__dict__:
        logger.callHandlers(record)  # an error tracker listens there, and has the record now
        return
    taken, failed = False, False
    for handler in reached(logger):
        if record.levelno >= handler.level:
            with _failures(handler) as failures:
                passed = bool(handler.handle(record))
            failed = failed or bool(failures)
            taken = taken or (passed and not failures)
    if not taken:
        raise ChannelError("log_handler" if failed else "log_filtered")


@contextmanager
def _failures(handler: logging.Handler) -> Iterator[list[logging.LogRecord]]:
    """Collect the records that the handler fails to write, which it keeps to itself.

    Its lock is held meanwhile, so no other thread's record comes between.
    """
    failures: list[logging.LogRecord] = []
    usual, own = handler.handleError, "handleError" in vars(handler)

    def note(record: logging.LogRecord) -> None:
        failures.append(record)
        usual(record)

    handler.acquire()
    try:
        handler.handleError = note  # type: ignore[method-assign]
        try:
            yield failures
        finally:
            if own:
                handler.handleError = usual  # type: ignore[method-assign]
            else:
                del handler.handleError
    finally:
        handler.release()


__all__ = ["hand_over", "reached"]
