"""Known shapes of messages: which part of a text is a programmer's, and what its holes may hold.

The shapes are in ``data/templates.txt``, whose head explains the notation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias, cast

from cronguard.privacy.vocabulary import read_data

SpanKind: TypeAlias = Literal["text", "", "n", "name", "names", "type", "file", "?"]
Span: TypeAlias = tuple[int, int, SpanKind]

_HOLE = re.compile(r"\{(\?|n|names?|type|file|)\}")
_IN_WORD = re.compile(r"\w\w")
_IN_WORD_OR_NUMBER = re.compile(r"[^\W\d]{2}|\d\d")
_WORD = re.compile(r"[A-Za-z]{2,}")
_MOST_MATCHES = 8
_BEFORE = {
    "n": re.compile(r"[0-9]+\Z"),
    "name": re.compile(r"[A-Za-z0-9_.<>]+\Z"),
    "names": re.compile(r"[A-Za-z0-9_., ]+\Z"),
    "": re.compile(r"(?s:\A.*(?:: |\n)|\A)([^\n]*)\Z"),
    "?": re.compile(r"\Z"),
}
_AFTER = {
    "n": re.compile(r"[0-9]+"),
    "name": re.compile(r"[^\s,;:]+"),
    "names": re.compile(r"[^\s,;:]+(?:, [^\s,;:]+)*"),
    "": re.compile(r"(?s:.*)"),
    "?": re.compile(r"[^\n]*"),
}
_NAMED = {"type": "name", "file": "name"}  # of the same shape
_BREAKS = {
    **dict.fromkeys(("n", "names", "file"), re.compile(r"\n")),
    **dict.fromkeys(("name", "type"), re.compile(r"[\n'\"]")),
}


@dataclass(frozen=True, slots=True)
class Template:
    """Literal texts with a hole between each two; the first and the last text may be empty."""

    texts: tuple[str, ...]
    holes: tuple[SpanKind, ...]

    def find(self, text: str, start: int) -> list[Span]:
        """Return the spans of the first match at or after ``start``; empty if there is none."""
        first = 0 if self.texts[0] else 1
        while (at := text.find(self.texts[first], start)) >= 0:
            spans = self._spans_from(text, first, at, start)
            if spans and stands_alone(text, spans[0][0], spans[-1][1]):
                return spans
            start = at + 1
        return []

    def _spans_from(self, text: str, first: int, at: int, start: int) -> list[Span]:
        spans: list[Span] = []
        if first:
            before = _BEFORE[_NAMED.get(self.holes[0], self.holes[0])].search(text[start:at])
            if before is None:
                return []
            spans.append((start + before.start(before.lastindex or 0), at, self.holes[0]))
        end = at + len(self.texts[first])
        spans.append((at, end, "text"))
        for hole, literal in zip(self.holes[first:], self.texts[first + 1 :], strict=True):
            at = text.find(literal, end) if literal else _end_of(hole, text, end)
            if at < 0:
                return []
            if (breaks := _BREAKS.get(hole)) and breaks.search(text, end, at):
                return []
            spans.append((end, at, hole))
            end = at + len(literal)
            spans.append((at, end, "text"))
        return spans


def matches(text: str) -> Iterator[list[Span]]:
    """Return the spans of each known shape that the text contains, longest texts first."""
    index = _index()
    found = {at: each for word in set(_WORD.findall(text)) for at, each in index.get(word, ())}
    for _, template in sorted(found.items()):
        start = 0
        for _ in range(_MOST_MATCHES):
            spans = template.find(text, start)
            if not spans:
                break
            yield spans
            start = max(spans[-1][1], start + 1)


def _end_of(hole: SpanKind, text: str, start: int) -> int:
    match = _AFTER[_NAMED.get(hole, hole)].match(text, start)
    return match.end() if match else -1


def stands_alone(text: str, start: int, end: int, *, sentence: bool = False) -> bool:
    """Tell whether the span neither begins nor ends inside a word.

    A ``sentence`` may have a number at its ends, as in ``f"v{n} took {n}s"``.
    """
    inside = _IN_WORD_OR_NUMBER if sentence else _IN_WORD
    return not (start and inside.match(text, start - 1)) and not (
        end and inside.match(text, end - 1)
    )


@cache
def _index() -> dict[str, list[tuple[int, Template]]]:
    """Return the shapes by the rarest of their words, each with its rank."""
    templates = []
    for line in read_data("templates.txt").splitlines():
        if line and not line.startswith("#"):
            pieces = _HOLE.split(line.replace("\\n", "\n"))
            holes = cast("tuple[SpanKind, ...]", tuple(pieces[1::2]))
            templates.append(Template(tuple(pieces[::2]), holes))
    templates.sort(key=lambda each: -sum(map(len, each.texts)))
    words = [set(_WORD.findall(" ".join(each.texts))) for each in templates]
    count = Counter(word for each in words for word in each)
    index: dict[str, list[tuple[int, Template]]] = {}
    for rank, (template, each) in enumerate(zip(templates, words, strict=True)):
        rarest = min(each, key=lambda word: (count[word], -len(word), word))
        index.setdefault(rarest, []).append((rank, template))
    return index
