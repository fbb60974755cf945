"""``log``: the program's own logging, for teams that collect it already."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from cronguard.core import rendering
from cronguard.core.errors import ChannelError
from cronguard.core.model import Alert, Message, Option

NAME = "cronguard.alerts"


class LogChannel:
    """One record on the logger ``cronguard.alerts`` an alert.

    ``failing``, ``still_failing`` and ``missed`` are errors, ``overrun`` and ``test`` warnings,
    ``recovered`` is information, or a warning where information is not logged. The payload's
    fields are the record's attribute ``cronguard_alert``, a dict, for handlers that write
    structured logs.
    """

    OPTIONS: ClassVar[Sequence[Option]] = ()

    def send(self, message: Message) -> None:
        """Log the title and the facts on one line.

        Raises:
            ChannelError: No handler has taken the record: ``log_disabled``, ``log_level``,
                ``log_filtered``, ``log_no_handler``, or ``log_handler`` if those that there are
                failed. The alert stays pending.
        """
        alert = message.alert
        logger = logging.getLogger(NAME)
        line = "; ".join(f"{label.lower()}: {text}" for label, text in rendering.facts(alert))
        record = logger.makeRecord(
            logger.name,
            _level(logger, alert),
            __file__,
            0,
            "%s (%s)",
            (rendering.title(alert), line),
            None,
            extra={"cronguard_alert": alert._asdict()},
        )
        # By hand what Logger.log does: it does not say whether anybody has taken the record.
        kept: Any = logger.filter(record)  # from Python 3.12 on it may be another record
        if not kept:
            raise ChannelError("log_filtered")
        _hand_over(logger, kept if isinstance(kept, logging.LogRecord) else record)


def _level(logger: logging.Logger, alert: Alert) -> int:
    """Return the level of the alert's record, if the logger takes records of that level."""
    if logger.disabled:
        raise ChannelError("log_disabled")
    levels = [logging.ERROR]
    if rendering.is_test(alert) or alert.kind == "overrun":
        levels = [logging.WARNING]
    elif alert.kind == "recovered":
        levels = [logging.INFO, logging.WARNING]
    found = list(_reached(logger))
    if not found:
        raise ChannelError("log_no_handler")
    for level in levels:
        if logger.isEnabledFor(level) and any(level >= handler.level for handler in found):
            return level
    raise ChannelError("log_level")


def _reached(logger: logging.Logger) -> Iterator[logging.Handler]:
    """Yield the handlers that the logger's records reach, as `Logger.callHandlers` finds them."""
    current: logging.Logger | None = logger
    found = False
    while current is not None:
        found = found or bool(current.handlers)
        yield from (each for each in current.handlers if type(each) is not logging.NullHandler)
        current = current.parent if current.propagate else None
    if not found and logging.lastResort is not None:
        yield logging.lastResort


def _hand_over(logger: logging.Logger, record: logging.LogRecord) -> None:
    """Have the record handled; raise `ChannelError` if every handler refuses it or fails."""
    if getattr(type(logger).callHandlers, "__globals__", None) is not logging.__dict__:
        logger.callHandlers(record)  # an error tracker listens there, and has the record now
        return
    taken, failed = False, False
    for handler in _reached(logger):
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
