"""What becomes of an alert whose attempt has failed: when it is tried again, and what is said.

There is no last attempt: it is tried until it is sent, or the other side refuses it for good.
"""

from __future__ import annotations

import random

from cronguard.core.errors import ChannelError, CronguardError, PartialDelivery, PluginError
from cronguard.core.model import DeliveryState, Settlement
from cronguard.process import log
from cronguard.runtime.channel_threads import Attempt

_MAX_BACKOFF_SECONDS = 3600.0
_MAX_RETRY_AFTER_SECONDS = 24 * 3600.0
_MAX_CODE_CHARS = 100


def backoff(attempt: int) -> float:
    """Return the seconds after attempt number ``attempt`` until the next; the first is number 1.

    The second attempt has no pause, so that the next run always tries to send the alert. From then
    on the pause doubles from 5 s to an hour, with jitter, so that hosts do not retry in step.
    """
    if attempt <= 1:
        return 0.0
    longest = min(_MAX_BACKOFF_SECONDS, 5 * 2 ** min(attempt - 2, 20))
    return float(longest * random.uniform(0.5, 1.0))  # noqa: S311  # jitter


def settlement_for(error: BaseException, attempt: int) -> Settlement:
    """Return the settlement for an attempt that raised ``error``.

    A plugin may put values of any type into its error; invalid ones are ignored.
    """
    pause = backoff(attempt)
    if not isinstance(error, ChannelError):
        code = "plugin_error" if isinstance(error, PluginError) else "channel_error"
        return Settlement("pending", code, pause)
    code = _error_code(getattr(error, "code", None))
    if isinstance(error, PartialDelivery):
        return Settlement("sent", code)
    if getattr(error, "permanent", False) is True:
        return Settlement("dead", code)
    wait = getattr(error, "retry_after", None)
    if isinstance(wait, int | float) and wait > pause:  # False for NaN
        pause = min(float(wait), _MAX_RETRY_AFTER_SECONDS)
    return Settlement("pending", code, pause)


def _error_code(code: object) -> str:
    known = isinstance(code, str) and code.isprintable() and 0 < len(code) <= _MAX_CODE_CHARS
    return str(code) if known else "channel_error"


_FATES: dict[DeliveryState, str] = {
    "sent": "reached channel {}, but not everybody there, and is not sent again",
    "pending": "did not reach channel {} and stays pending",
    "dead": "did not reach channel {} and will not be tried again by itself; see cronguard doctor",
}


def log_failure(attempt: Attempt) -> None:
    """Log that an attempt did not reach everybody, and whether there will be another."""
    delivery, settlement = attempt.delivery, attempt.settlement
    if settlement.error_code is None:
        return
    log.warning(
        "the %s alert of %s %s (%s%s)",
        delivery.kind,
        delivery.job,
        _FATES[settlement.state].format(delivery.channel),
        settlement.error_code,
        f": {attempt.detail}" if attempt.detail else "",
    )


def detail_of(error: BaseException) -> str | None:
    """Return a text of cronguard's or the channel's own, never one of a third party."""
    if isinstance(error, ChannelError):
        detail = getattr(error, "detail", None)
        return detail if isinstance(detail, str) else None
    return str(error) if isinstance(error, CronguardError) else type(error).__name__


__all__ = ["backoff", "detail_of", "log_failure", "settlement_for"]
