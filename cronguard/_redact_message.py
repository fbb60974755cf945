"""One text: what the code wrote, what known shapes and words explain, and masks for the rest."""

from __future__ import annotations

import re

from cronguard._redact_canvas import Canvas
from cronguard._redact_patterns import always_masked
from cronguard._redact_templates import SpanKind, matches
from cronguard._redact_words import Known, Words

_MOST_DIGITS = 9
_LISTED = re.compile(r"[^\s,]+(?: [^\s,]+)*")
_FOLDERS = re.compile(r".*[/\\]", re.DOTALL)
_TYPE_PARTS = re.compile(r"[\[\], |.()-]+")


def redact_message(text: str, known: Known) -> str:
    """The text with everything masked that nothing vouches for."""
    return _Message(text, known).redacted()


class _Message:
    def __init__(self, text: str, known: Known) -> None:
        self._text = text
        self._known = known
        self._code = known.code
        self._vocabulary = known.vocabulary
        self._canvas = Canvas(text)

    def redacted(self) -> str:
        self._fit_templates()
        written = self._fit_literals()
        for start, end in always_masked(self._text, self._vocabulary):
            self._canvas.mask(start, end)
        for start, end in self._known.keep.spans(self._text):
            self._canvas.keep(start, end)
        for start, end in list(self._canvas.gaps()):
            self._judge(start, end, written=written)
        return self._canvas.shown()

    def _fit_templates(self) -> None:
        for spans in matches(self._text):
            texts = [(start, end) for start, end, kind in spans if kind == "text"]
            if all(self._canvas.is_open(start, end) for start, end in texts):
                for start, end, kind in spans:
                    self._fill(start, end, kind)

    def _fill(self, start: int, end: int, kind: SpanKind) -> None:
        hole = self._text[start:end]
        if kind == "names":
            for match in _LISTED.finditer(hole):
                known = self._known.is_name(match.group().strip("'\""))
                self._decide(start + match.start(), start + match.end(), known=known)
        elif kind == "file":
            name = _FOLDERS.sub("", hole)
            known = self._known.is_name(name.removesuffix(".py"))
            self._decide(start, end - len(name), known=False)
            self._decide(end - len(name), end, known=known)
        elif kind != "?":
            self._decide(start, end, known=self._is_known(hole, kind))

    def _decide(self, start: int, end: int, *, known: bool) -> None:
        if known:
            self._canvas.keep(start, end)
        else:
            self._canvas.mask(start, end)

    def _is_known(self, hole: str, kind: SpanKind) -> bool:
        if kind == "n":
            return hole.removeprefix("-").isdecimal() and len(hole) <= _MOST_DIGITS
        if kind == "name":
            return self._known.is_name(hole)
        if kind == "type":
            return self._is_type(hole)
        return kind == "text" or hole.strip("'\"") in self._code.constants

    def _is_type(self, name: str) -> bool:
        """As `Known.is_name` for a class, which may have a capital: ``Settings``, ``list[int]``."""
        return all(
            self._code.knows(part)
            or self._vocabulary.knows_name(part)
            or self._vocabulary.kind(part.lower()) == "known"
            for part in _TYPE_PARTS.split(name)
            if part
        )

    def _fit_literals(self) -> bool:
        """Mark the literals of the code; whether they show that the sentence was written there."""
        text, written = self._text, False
        for segment in (*self._known.keep.sentences, *self._code.segments):
            start = text.find(segment)
            while start >= 0:
                end = start + len(segment)
                if self._stands_alone(start, end) and self._canvas.is_open(start, end):
                    self._canvas.keep(start, end)
                    written = written or start == 0 or len(segment.split()) > 1
                start = text.find(segment, end)
        return written

    def _stands_alone(self, start: int, end: int) -> bool:
        text = self._text
        if start > 0 and text[start - 1].isalnum() and text[start].isalnum():
            return False
        return not (end < len(text) and text[end].isalnum() and text[end - 1].isalnum())

    def _judge(self, start: int, end: int, *, written: bool) -> None:
        words = Words(self._text, start, end, self._known)
        if written and not words.is_technical():
            value = self._text[start:end].strip(" '\"`")
            words.judge_as_value(constant=value in self._code.constants)
        else:
            words.judge_as_message(whole=self._canvas.is_open(0, len(self._text)))
        for word in words.all:
            self._decide(word.start, word.end, known=bool(word.kind))
