"""``log``: the program's own logging, for teams that collect it already."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar

from cronguard.channels.transport import handlers
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
        handlers.hand_over(logger, kept if isinstance(kept, logging.LogRecord) else record)


def _level(logger: logging.Logger, alert: Alert) -> int:
    """Return the level of the alert's record, if the logger takes records of that level."""
    if logger.disabled:
        raise ChannelError("log_disabled")
    levels = [logging.ERROR]
    if rendering.is_test(alert) or alert.kind == "overrun":
        levels = [logging.WARNING]
    elif alert.kind == "recovered":
        levels = [logging.INFO, logging.WARNING]
    found = list(handlers.reached(logger))
    if not found:
        raise ChannelError("log_no_handler")
    for level in levels:
        if logger.isEnabledFor(level) and any(level >= handler.level for handler in found):
            return level
    raise ChannelError("log_level")


__all__ = ["LogChannel"]
