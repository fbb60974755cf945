"""Alerts and tries to send them, as commands show them: what became of each, and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from cronguard.cli.output.layout import table
from cronguard.cli.output.lines import mark, plural
from cronguard.cli.output.times import Times, distance, short_distance
from cronguard.core.clock import rfc3339_or_none

if TYPE_CHECKING:
    from cronguard.core.model import AlertRecord, DeliveryState
    from cronguard.runtime.delivery import Attempt
    from cronguard.settings.types import Settings


STATES: dict[str, DeliveryState] = {"waiting": "pending", "sent": "sent", "given-up": "dead"}
"""What became of an alert, in the words of people → in the store's."""
_WITH_DATES = 110
"""A narrower terminal shows how long ago only."""
_MIN_STATE = 20
_WORDS = {state: word for word, state in STATES.items()}


def show_alerts(alerts: Sequence[AlertRecord], times: Times, *, with_job: bool) -> None:
    """Print a line an alert."""
    is_narrow = times.is_relative and get_terminal_size().columns < _WITH_DATES
    table(
        ("DECIDED" if is_narrow else f"DECIDED ({times.name})", "JOB", "KIND", "CHANNEL", "STATE"),
        [
            (
                short_distance(each.created_at, times.now)
                if is_narrow
                else times.briefly(each.created_at),
                each.job if with_job else "",
                each.kind,
                each.channel,
                became(each, times),
            )
            for each in alerts
        ],
        least=_MIN_STATE,
    )


def became(alert: AlertRecord, times: Times) -> str:
    """Return what became of an alert: ``given up after 3 tries: http_404``."""
    state, rest = state_word(alert.state), what_became(alert, times)
    return f"{state}{', ' if alert.state == 'pending' else ' '}{rest}" if rest else state


def state_word(state: DeliveryState) -> str:
    """Return ``sent``, ``waiting`` or ``given up``."""
    return _WORDS.get(state, state).replace("-", " ")


def what_became(alert: AlertRecord, times: Times) -> str:
    """Return the rest of what is to be said of an alert's delivery; often nothing."""
    code = alert.error_code
    tries = "after 1 try" if alert.attempts == 1 else f"after {alert.attempts:,} tries"
    if alert.state == "sent":
        several = tries if alert.attempts > 1 else ""
        return f"{several}, not to everybody: {code}".removeprefix(", ") if code else several
    if alert.state == "dead":
        return f"{tries}: {code or 'unknown'}"
    if alert.next_attempt_at and alert.next_attempt_at > times.now:
        again = f"next try {distance(alert.next_attempt_at, times.now)}"
        if not times.is_relative:
            again = f"next try {times.plainly(alert.next_attempt_at)}"
    else:
        again = "due now"
    return f"{again}, {tries}: {code}" if code else again


def advice(alerts: Sequence[AlertRecord], settings: Settings) -> Iterator[str]:
    """Yield what to do about alerts that have not arrived, in whole sentences."""
    waiting = [each for each in alerts if each.state == "pending"]
    known = {channel.name for channel in settings.channels}
    foreign = sorted({each.channel for each in waiting} - known)
    if ours := sum(each.channel in known for each in waiting):
        yield f"{_they_wait(ours)}: cronguard deliver sends {_them(ours)} now."
    if theirs := len(waiting) - ours:
        yield (
            f"{_they_wait(theirs)} for a channel that is not set up here ({', '.join(foreign)}):"
            f" cronguard deliver sends {_them(theirs)} where it is."
        )
    yield from _given_up([each for each in alerts if each.state == "dead"])


def _they_wait(count: int) -> str:
    return f"{plural(count, 'alert')} {'waits' if count == 1 else 'wait'}"


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def _given_up(dead: Sequence[AlertRecord]) -> Iterator[str]:
    from cronguard.runtime.delivery_codes import explain

    causes = Counter((each.channel, each.error_code or "unknown") for each in dead)
    for (channel, code), number in sorted(causes.items()):
        was = "was" if number == 1 else "were"
        why = f": {what}" if (what := explain(code)) else ""
        yield f"{plural(number, 'alert')} to {channel} {was} given up, {code}{why}."
    if dead:
        names = " ".join(f"--channel {name}" for name in sorted({each.channel for each in dead}))
        yield f"Once cronguard test-alert {names} arrives: cronguard deliver --given-up"


def alert_facts(alert: AlertRecord) -> dict[str, Any]:
    """Return an alert for JSON; every key is always there, null where nothing is known."""
    return {
        "alert_id": alert.alert_id,
        "job": alert.job,
        "kind": alert.kind,
        "channel": alert.channel,
        "state": _WORDS.get(alert.state, alert.state),
        "attempts": alert.attempts,
        "created_at": rfc3339_or_none(alert.created_at),
        "next_attempt_at": rfc3339_or_none(alert.next_attempt_at),
        "settled_at": rfc3339_or_none(alert.settled_at),
        "error_code": alert.error_code,
    }


def sent(attempt: Attempt) -> bool:
    """Tell whether the other side has taken the alert."""
    return attempt.settlement.state == "sent"


def is_partial(attempt: Attempt) -> bool:
    """Tell whether the other side has taken the alert, but not for everybody."""
    return sent(attempt) and attempt.settlement.error_code is not None


def attempt_line(attempt: Attempt, what: str, otherwise: str) -> str:
    """Return ``✓ slack  sent in 0.31 s``, or what is so ``otherwise``, and why."""
    code = attempt.settlement.error_code or "unknown"
    why = f"{code}: {attempt.detail}" if attempt.detail else code
    if not sent(attempt):
        return f"{mark('error')} {what}  {otherwise}{why}"
    line = f"{what}  sent in {attempt.seconds:.2f} s"
    if is_partial(attempt):
        return f"{mark('warning')} {line}, but not to everybody: {why}"
    return f"{mark('ok')} {line}"


def attempt_facts(attempt: Attempt) -> dict[str, Any]:
    """Return a try for JSON; every key is always there, null where nothing is known."""
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
