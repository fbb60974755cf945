"""``redact_keep`` of the settings: what an operator vouches for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

_PATTERN = "re:"


class Keep:
    """Words, in any case; whole sentences; and with ``re:`` before them, regular expressions."""

    def __init__(self, entries: tuple[str, ...]) -> None:
        plain = [entry for entry in entries if not entry.startswith(_PATTERN)]
        self._words = frozenset(entry.lower() for entry in plain)
        self.sentences = tuple(entry for entry in plain if " " in entry)
        self._patterns = [
            pattern
            for entry in entries
            if entry.startswith(_PATTERN) and (pattern := _compiled(entry.removeprefix(_PATTERN)))
        ]

    def knows(self, run: str) -> bool:
        """Whether the run of characters is one of the words."""
        return bool(self._words) and run.lower() in self._words

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the text matches one of the expressions."""
        for pattern in self._patterns:
            for match in pattern.finditer(text):
                yield match.span()


def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return None  # it keeps nothing, which is the safe side


@lru_cache(maxsize=16)
def keep_of(entries: tuple[str, ...]) -> Keep:
    """The settings' list, made ready once. An expression that is none keeps nothing."""
    return Keep(entries)
