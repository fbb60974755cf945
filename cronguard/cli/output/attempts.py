"""Tries to send an alert as commands report them."""

from __future__ import annotations

from typing import Any

from cronguard.runtime.delivery import Attempt


def sent(attempt: Attempt) -> bool:
    """Whether the other side has taken the alert."""
    return attempt.settlement.state == "sent"


def reservation(attempt: Attempt) -> str:
    """Return what is to be added of an alert that was sent, but not to everybody; else nothing."""
    return f", but not to everybody: {why(attempt)}" if attempt.settlement.error_code else ""


def why(attempt: Attempt) -> str:
    """The code, and the channel's own sentence if it has one."""
    code = attempt.settlement.error_code or "unknown"
    return f"{code}: {attempt.detail}" if attempt.detail else code


def attempt_facts(attempt: Attempt) -> dict[str, Any]:
    """A try: every key is always there, null where nothing is known."""
    return {
        "channel": attempt.delivery.channel,
        "alert_id": attempt.delivery.alert_id,
        "job": attempt.delivery.job,
        "kind": attempt.delivery.kind,
        "ok": sent(attempt),
        "seconds": round(attempt.seconds, 3),
        "error_code": attempt.settlement.error_code,
        "detail": attempt.detail,
    }
