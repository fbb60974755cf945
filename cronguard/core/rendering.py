"""An alert in words: what channels for people have in common. Pure, no I/O.

Everything returned here is one line of plain text without control characters; escaping for HTML,
Slack and the like, and cutting to a length, is each channel's own business.
"""

from __future__ import annotations

import re

from cronguard.core.clock import moment, readable
from cronguard.core.model import Alert

ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: window titles, hyperlinks
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # DCS and its kin
    r"|\x1b[ -/]*[0-~]?"
)
"""What tells a terminal to do something rather than to show it."""
_BREAKS = re.compile(r"[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # controls
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # invisible
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # zero width, direction
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"  # not characters at all
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"  # tags and selectors that hide text
)

_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))
Fact = tuple[str, str]


def plain(text: object, limit: int | None = None) -> str:
    """``text`` as one harmless line.

    Line breaks and tabs become one space, terminal escape sequences go, and every other character
    that is invisible, changes the direction of writing or cannot be encoded becomes ``\\ufffd``.
    ``limit`` is a length in characters, its ``…`` included; None for no limit.
    """
    line = _UNSAFE.sub("\ufffd", _BREAKS.sub(" ", ESCAPES.sub("", str(text)))).strip()
    if limit is not None and len(line) > limit:
        line = line[: max(limit - 1, 0)].rstrip() + "…"
    return line


def title(alert: Alert) -> str:
    """One line that names the job, what happened and the streak; a test is marked as one."""
    job = _job(alert)
    streak = _streak(alert.consecutive_failure_count)
    sentence = {
        "failing": f"{job} is failing: {streak}",
        "still_failing": f"{job} is still failing: {streak}",
        "recovered": f"{job} has recovered: the last run succeeded",
        "overrun": f"{job} is running too long{_for(alert.duration_seconds)}",
        "missed": f"{job} did not run when it should have",
        "test": f"Test alert for {job}",
    }.get(alert.kind, f"{job}: {plain(alert.kind)}")
    return f"[TEST] {sentence}" if is_test(alert) else sentence


def is_test(alert: Alert) -> bool:
    """True if nobody needs to get up for it."""
    return alert.test or alert.kind == "test"


def is_bad(alert: Alert) -> bool:
    """True if the alert says that something is wrong: not for a recovery, not for a test."""
    return not is_test(alert) and alert.kind != "recovered"


def facts(alert: Alert) -> list[Fact]:
    """What is known, as ``(label, text)`` in the order in which people ask; unknown ones are left
    out, but for the streak and the last successful run, which are always there."""
    known: list[tuple[str, str | None]] = [
        ("Job", _job(alert)),
        ("Failures in a row", _count(alert)),
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


def notes(alert: Alert) -> list[str]:
    """What a reader must know to judge the alert: that it is a test, that it is degraded."""
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
    """``ValueError (23505)``: the type and, if there is one, the code; None without an error."""
    if not alert.error_type:
        return plain(alert.error_code) if alert.error_code else None
    code = f" ({plain(alert.error_code)})" if alert.error_code else ""
    return plain(alert.error_type) + code


def last_success(alert: Alert) -> str:
    """When the job last worked, readable; ``never`` when it never did, ``unknown`` when the alert
    had to be made without any memory of the job."""
    if alert.last_success_at is None and alert.degraded and alert.consecutive_failure_count is None:
        return "unknown"
    return when(alert.last_success_at) or "never"


def when(text: str | None) -> str | None:
    """``2026-11-23 06:00:05 UTC`` for an RFC 3339 time; None for None."""
    if text is None:
        return None
    try:
        known = moment(text)
    except ValueError:
        known = None
    return plain(text) if known is None else readable(known)


def duration(seconds: float | None) -> str | None:
    """``350 ms``, ``4.2 s``, ``3 min 5 s``, ``2 h 10 min``, ``3 d 4 h``; None for None."""
    if seconds is None:
        return None
    if seconds < 0.9995:  # noqa: PLR2004  # what rounds to a whole second is shown as one
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 59.95:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    whole = round(seconds)
    size, unit, smaller, small_unit = next(each for each in _UNITS if whole >= each[0])
    rest = whole % size // smaller
    return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")


def lines(alert: Alert) -> list[str]:
    """The title and every fact, one line each, labels aligned."""
    known = facts(alert)
    width = max(len(label) for label, _ in known) + 1
    return [title(alert), "", *(f"{label + ':':<{width}} {text}" for label, text in known)]


def text(alert: Alert) -> str:
    """`lines` as one text that ends in a line break."""
    return "\n".join(lines(alert)) + "\n"


def _job(alert: Alert) -> str:
    return plain(alert.job) or "a job without a name"


def _streak(count: int | None) -> str:
    if count is None:
        return "length of the streak unknown"
    return "1 failure" if count == 1 else f"{count} failures in a row"


def _count(alert: Alert) -> str:
    if alert.consecutive_failure_count is None:
        return "unknown"
    known = str(alert.consecutive_failure_count)
    return f"{known} (threshold {alert.threshold})" if alert.threshold else known


def _for(seconds: float | None) -> str:
    return f": {duration(seconds)} so far" if seconds else ""


__all__ = [
    "ESCAPES",
    "duration",
    "error",
    "facts",
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
