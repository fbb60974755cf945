"""What is expected of a job, as people write it, and who said so."""

from __future__ import annotations

from typing import Any

from cronguard.core.rendering import duration

_STATED_BY = {"code": "code", "command": "cronguard run", "settings": "settings"}


def stated_by(origin: str) -> str:
    """Return who states an expectation, in the words of people."""
    return _STATED_BY.get(origin, origin)


def option_text(key: str, given: Any) -> str:
    """Return a job's option as people write it."""
    if isinstance(given, bool):
        return "on" if given else "off"
    if given is None:
        return "off" if key == "max_runtime" else "none"
    if key in ("max_runtime", "grace") and isinstance(given, int | float):
        return duration(given) or "off"
    return ", ".join(map(str, given)) if key == "channels" else str(given)
