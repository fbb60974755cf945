"""``console``: a readable block on standard error, which cron mails to the job's owner."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import ClassVar

from cronguard.core import rendering
from cronguard.core.errors import ChannelError
from cronguard.core.model import Message, Option
from cronguard.process import stderr

RED, GREEN, YELLOW, RESET = "\x1b[1;31m", "\x1b[1;32m", "\x1b[1;33m", "\x1b[0m"


class ConsoleChannel:
    """Writes to standard error. Coloured on a terminal, unless ``NO_COLOR`` is set
    (https://no-color.org)."""

    OPTIONS: ClassVar[Sequence[Option]] = ()

    def send(self, message: Message) -> None:
        """Write the whole block at once, so that parallel processes do not interleave lines."""
        stream = sys.stderr
        if stream is None:
            raise ChannelError("no_stderr", detail="this process has no standard error")
        first, *rest = rendering.lines(message.alert)
        bar = "-" * min(len(first) + len("cronguard: "), 78)
        try:
            if stream.isatty() and not os.environ.get("NO_COLOR"):
                first = _colour(message) + first + RESET
            stderr.write("\n".join([bar, f"cronguard: {first}", *rest, bar, ""]))
        except (OSError, ValueError, LookupError):
            failed = True
        else:
            failed = False
        if failed:
            raise ChannelError("stderr_closed", detail="standard error cannot be written to")


def _colour(message: Message) -> str:
    if rendering.is_bad(message.alert):
        return RED
    return YELLOW if rendering.is_test(message.alert) else GREEN
