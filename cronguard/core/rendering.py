"""An alert in words: what the channels for people share. Pure, no I/O.

All text returned here is plain and without control characters, and one line unless stated
otherwise. Escaping it for HTML, Slack and the like, and cutting it to a length, is up to each
channel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from cronguard.core.clock import moment, readable
from cronguard.core.model import Alert

ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: window titles, hyperlinks
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # DCS and its kin
    r"|\x1b[ -/]*[0-~]?"
)
"""Escape sequences: they make a terminal do something rather than show text."""
_BREAKS = re.compile(r"[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # controls
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # invisible
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # zero width, direction
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"  # not characters at all
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"  # tags and selectors that hide text
)

_FIRST_TO_GO = (
    *("Run", "Finished", "Started", "Duration", "Runbook", "Host", "Job", "Failures in a row"),
    *("Note", "Where", "Message", "Last successful run"),
)
"""The labels of facts that a short text does without, in this order."""
_SHORTEST_MESSAGE = 40
_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))
Fact = tuple[str, str]


def harmless(text: str) -> str:
    """Return ``text`` as `plain` does, the spaces around it kept."""
    line = _UNSAFE.sub("\ufffd", _BREAKS.sub(" ", ESCAPES.sub("", text)))
    if line.isprintable():
        return line
    # other spaces, and what this Python's Unicode does not know
    return "".join(
        each if each.isprintable() else " " if each.isspace() else "\ufffd" for each in line
    )


def plain(text: object, limit: int | None = None) -> str:
    """Return ``text`` as one harmless line.

    Line breaks and tabs become one space and terminal escape sequences are removed. Every other
    character that is invisible, changes the direction of writing or cannot be encoded becomes
    ``\\ufffd``.

    Args:
        text: Anything that `str` takes.
        limit: The longest result in characters, the ``…`` at its end included; None for no limit.
    """
    line = harmless(str(text)).strip()
    if limit is not None and len(line) > limit:
        line = line[: max(limit - 1, 0)].rstrip() + "…"
    return line


def title(alert: Alert) -> str:
    """Return one line with the job, what happened and the streak; a test is marked ``[TEST]``."""
    job = _job_name(alert)
    streak = _streak(alert.consecutive_failure_count)
    sentence = {
        "failing": f"{job} is failing: {streak}",
        "still_failing": f"{job} is still failing: {streak}",
        "recovered": f"{job} has recovered: the last run succeeded",
        "overrun": f"{job} is running too long{_so_far(alert.duration_seconds)}",
        "missed": f"{job} did not run when it should have",
        "test": f"Test alert for {job}",
    }.get(alert.kind, f"{job}: {plain(alert.kind)}")
    return f"[TEST] {sentence}" if is_test(alert) else sentence


def is_test(alert: Alert) -> bool:
    """Tell whether the alert is only a test, on which nobody needs to act."""
    return alert.test or alert.kind == "test"


def is_bad(alert: Alert) -> bool:
    """Tell whether the alert reports something wrong; a recovery or a test does not."""
    return not is_test(alert) and alert.kind != "recovered"


def facts(alert: Alert) -> list[Fact]:
    """Return the known facts as ``(label, text)``, those that people ask for first at the top.

    Unknown ones are left out, except for the streak and the last successful run.
    """
    known: list[tuple[str, str | None]] = [
        ("Job", _job_name(alert)),
        ("Failures in a row", _count_and_threshold(alert)),
        ("Error", error(alert)),
        ("Message", alert.error_message),
        ("Where", alert.error_location),
        ("Last successful run", last_success(alert)),
        ("Started", when(alert.started_at)),
        ("Finished", when(alert.finished_at)),
        ("Duration", duration(alert.duration_seconds)),
        ("Host", alert.host),
        ("Runbook", alert.runbook),
        ("Run", alert.run_id),
        *(("Note", note) for note in notes(alert)),
    ]
    shown = [(label, plain(text or "")) for label, text in known]
    return [(label, text) for label, text in shown if text]


def fit(known: Sequence[Fact], limit: int, size: Callable[[str], int] = len) -> str:
    """Return the facts one a line, cut so that the text is at most ``limit`` long.

    A long message is cut first, then the facts go that people can do without, then the end.

    Args:
        known: The facts, as `facts` returns them.
        limit: The greatest size.
        size: Measures a text, for services that count what an escaped text takes.
    """
    kept = list(known)
    for label in ("", *_FIRST_TO_GO):
        kept = [fact for fact in kept if fact[0] != label]
        over = size(_joined(kept)) - limit
        cut = [
            (name, plain(text, max(_SHORTEST_MESSAGE, len(text) - over)))
            if over > 0 and name == "Message"
            else (name, text)
            for name, text in kept
        ]
        if size(_joined(cut)) <= limit:
            return _joined(cut)
    text = _joined(kept)
    while text and (over := size(text) - limit) > 0:
        text = text[: max(0, len(text) - over - 1)].rstrip()
        text = f"{text}…" if text else ""
    return text


def _joined(known: Sequence[Fact]) -> str:
    return "\n".join(f"{label}: {text}" for label, text in known)


def notes(alert: Alert) -> list[str]:
    """Return sentences that qualify the alert: that it is a test, that it is degraded."""
    found = []
    if is_test(alert):
        found.append("This is a test alert, sent to try the channel.")
    if alert.degraded:
        unknown = alert.consecutive_failure_count is None
        found.append(
            "Degraded: the log store could not be reached, so the streak and the last successful "
            f"run are {'unknown' if unknown else 'what this host last knew'}."
        )
    return found


def error(alert: Alert) -> str | None:
    """Return the error's type and code, as ``ValueError (23505)``; None without an error."""
    if not alert.error_type:
        return plain(alert.error_code) if alert.error_code else None
    code = f" ({plain(alert.error_code)})" if alert.error_code else ""
    return plain(alert.error_type) + code


def last_success(alert: Alert) -> str:
    """Return when the job last succeeded: a readable time, ``never`` or ``unknown``.

    It is ``unknown`` if the alert was made without the job's state.
    """
    if alert.last_success_at is None and alert.degraded and alert.consecutive_failure_count is None:
        return "unknown"
    return when(alert.last_success_at) or "never"


def when(text: str | None) -> str | None:
    """Return an RFC 3339 time as ``2026-11-23 06:00:05 UTC``, or None for None.

    A text that is no such time is returned as it is, made `plain`.
    """
    if text is None:
        return None
    try:
        known = moment(text)
    except ValueError:
        known = None
    return plain(text) if known is None else readable(known)


def duration(seconds: float | None) -> str | None:
    """Return seconds in the form that fits their size, or None for None.

    The forms are ``350 ms``, ``4.2 s``, ``3 min 5 s``, ``2 h 10 min`` and ``3 d 4 h``.
    """
    if seconds is None:
        return None
    if seconds < 0.9995:  # noqa: PLR2004  # 0.9995 rounds to one second
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 59.95:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    whole = round(seconds)
    size, unit, smaller, small_unit = next(each for each in _UNITS if whole >= each[0])
    rest = whole % size // smaller
    return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")


def lines(alert: Alert) -> list[str]:
    """Return the title, an empty line and the facts, one line each, with labels aligned."""
    known = facts(alert)
    width = max(len(label) for label, _ in known) + 1
    return [title(alert), "", *(f"{label + ':':<{width}} {text}" for label, text in known)]


def text(alert: Alert) -> str:
    """Return `lines` as one text that ends in a line break."""
    return "\n".join(lines(alert)) + "\n"


def _job_name(alert: Alert) -> str:
    return plain(alert.job) or "a job without a name"


def _streak(count: int | None) -> str:
    if count is None:
        return "length of the streak unknown"
    return "1 failure" if count == 1 else f"{count} failures in a row"


def _count_and_threshold(alert: Alert) -> str:
    if alert.consecutive_failure_count is None:
        return "unknown"
    known = str(alert.consecutive_failure_count)
    return f"{known} (threshold {alert.threshold})" if alert.threshold else known


def _so_far(seconds: float | None) -> str:
    return f": {duration(seconds)} so far" if seconds else ""


__all__ = [
    "ESCAPES",
    "duration",
    "error",
    "facts",
    "fit",
    "harmless",
    "is_bad",
    "is_test",
    "last_success",
    "lines",
    "notes",
    "plain",
    "text",
    "title",
    "when",
]
