"""``log``: the program's own logging, for teams that collect it already."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import ClassVar

from cronguard.core import rendering
from cronguard.core.model import Message, Option


class LogChannel:
    """One record on the logger ``cronguard.alerts`` an alert.

    ``failing``, ``still_failing`` and ``missed`` are errors, ``overrun`` and ``test`` warnings,
    ``recovered`` is information. The payload's fields are the record's attribute
    ``cronguard_alert``, a dict, for handlers that write structured logs.
    """

    OPTIONS: ClassVar[Sequence[Option]] = ()

    def send(self, message: Message) -> None:
        """Log the title and the facts on one line."""
        alert = message.alert
        level = logging.ERROR
        if rendering.is_test(alert) or alert.kind == "overrun":
            level = logging.WARNING
        elif alert.kind == "recovered":
            level = logging.INFO
        line = "; ".join(f"{label.lower()}: {text}" for label, text in rendering.facts(alert))
        logging.getLogger("cronguard.alerts").log(
            level,
            "%s (%s)",
            rendering.title(alert),
            line,
            extra={"cronguard_alert": alert._asdict()},
        )
