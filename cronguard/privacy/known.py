"""Who may vouch for a part of a text: the code, the vocabulary, and what an operator keeps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from cronguard.privacy.code_text import CodeText
from cronguard.privacy.vocabulary import Vocabulary

_PATTERN = "re:"


class Keep:
    """``redact_keep`` of the settings: words in any case, whole sentences, and expressions after
    ``re:``."""

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


class Known:
    """Everything that may vouch for a part of a text."""

    __slots__ = ("code", "keep", "vocabulary")

    def __init__(self, code: CodeText, vocabulary: Vocabulary, keep: Keep) -> None:
        self.code = code
        self.vocabulary = vocabulary
        self.keep = keep

    def is_name(self, name: str) -> bool:
        """Whether what stands for a variable, a table or the like is the name of one."""
        if name.isalpha() and not name.islower():
            return not name.istitle() and self.code.knows(name)
        return self.code.knows(name) or self.vocabulary.knows_name(name)
