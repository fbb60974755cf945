"""One text: what the code wrote, what known shapes and words explain, and masks for the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cronguard.privacy.error_code import KNOWN_SQLSTATE
from cronguard.privacy.mask import MASK
from cronguard.privacy.patterns import always_masked, manual_pages
from cronguard.privacy.templates import SpanKind, matches, stands_alone
from cronguard.privacy.words import Known, Words

_KEPT, _MASKED = 1, 2

_OPEN_RUN = re.compile(rb"\x00+")
_MASKED_RUN = re.compile(rb"\x02+")

_ABSORBED = frozenset(" \t,.-/@&+_#%*~$\\\u2013—")
_LISTED = re.compile(r"[^\s,]+(?: [^\s,]+)*")
_QUOTES = frozenset("'\"")
_PORT = re.compile(r":[0-9]{1,5}(?![\w.])")
_FOLDERS = re.compile(r".*[/\\]", re.DOTALL)
_NUMBER = re.compile(r"-?[0-9]{1,9}(?:\.[0-9]{1,20})?")
_KEY = re.compile(r"[{,]\s{0,20}[\"']([A-Za-z_]{1,40})[\"'](?=:)")
_HOLD_CODES = ('":', "':", "SQLSTATE", "ERROR ", ", '[", ', "[')
_CODE = re.compile(
    r"(?:[\"']code[\"']: ?[\"']|SQLSTATE[ :=\[(]+"
    r"|\bERROR [0-9]{4} \(|\([\"'](?=.{5}[\"'], [\"']\[))"  # of MySQL's and of ODBC's programs
    rf"(?P<code>{KNOWN_SQLSTATE})(?!\w)"
    r"|[\"'](?:error|err|code|type|reason|status)(?:_?[Cc]ode|_type)?[\"']: ?[\"']?"
    r"(?:(?P<words>[a-z]+(?:_[a-z0-9]+){1,6}|[A-Z]+(?:_[A-Z0-9]+){1,6})[\"']|([1-5][0-9]{2})(?![\w.-]))"
    r"|[\"']: ?(true|false|null|True|False|None)(?=[,}])"
)
_TYPE_PARTS = re.compile(r"[\[\], |.()-]+")


def redact_message(text: str, known: Known) -> str:
    """Return the text with everything masked that nothing vouches for."""
    return _Message(text, known).redacted()


class _Message:
    def __init__(self, text: str, known: Known) -> None:
        self._text = text
        self._known = known
        self._canvas = _Canvas(text)
        self._worded: list[tuple[int, int]] = []
        """Holes of templates that are to be judged word by word, whoever wrote the rest."""

    def redacted(self) -> str:
        self._fit_templates()
        written = self._fit_literals()
        self._find_machine_words()
        for start, end in always_masked(self._text):
            self._canvas.mask(start, end)
        for start, end in manual_pages(self._text):
            self._canvas.keep(start, end)
        self._find_places()
        for start, end in self._known.keep.spans(self._text):
            self._canvas.keep(start, end)
        for start, end in self._canvas.gaps():
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
        elif kind == "?":
            self._worded.append((start, end))
        else:
            self._decide(start, end, known=self._is_known(hole, kind))

    def _decide(self, start: int, end: int, *, known: bool) -> None:
        mark = self._canvas.keep if known else self._canvas.mask
        mark(start, end)

    def _is_known(self, hole: str, kind: SpanKind) -> bool:
        if kind == "n":
            return _NUMBER.fullmatch(hole) is not None
        if kind == "name":
            return self._known.is_name(hole)
        if kind == "type":
            return all(map(self._known.is_type, filter(None, _TYPE_PARTS.split(hole))))
        code, value = self._known.code, hole.strip("'\"")
        return kind == "text" or value in code.constants or value in code.segments

    def _fit_literals(self) -> bool:
        """Mark the literals of the code; whether they show that the sentence was written there."""
        text, written = self._text, False
        fragments = (piece for piece, rest in self._known.code.fragments if rest and rest in text)
        pieces = (*self._known.keep.sentences, *self._known.code.segments, *fragments)
        for piece in filter(text.__contains__, pieces):
            several = len(piece.split()) > 1
            for start, end in self._found(piece, sentence=several):
                if not self._canvas.is_masked(start, end):
                    self._canvas.keep(start, end)
                    written = written or start == 0 or several
        return written

    def _find_places(self) -> None:
        """Mark the hosts and paths that stand in the code, whatever the rest of the address is."""
        for place in filter(self._text.__contains__, self._known.code.places):
            for start, end in self._found(place):
                before, after = self._text[start - 1 : start], self._text[end : end + 1]
                if before != "@":
                    port = _PORT.match(self._text, end)
                    until = port.end() if port else end + (after in _QUOTES)
                    self._canvas.keep(start - (before in _QUOTES), until)

    def _found(self, piece: str, *, sentence: bool = False) -> Iterator[tuple[int, int]]:
        start = self._text.find(piece)
        while start >= 0:
            end = start + len(piece)
            if stands_alone(self._text, start, end, sentence=sentence):
                yield start, end
            start = self._text.find(piece, end)

    def _find_machine_words(self) -> None:
        """Mark what the documents of an API call by name: its keys, and the codes of its errors."""
        if not any(map(self._text.__contains__, _HOLD_CODES)):
            return
        spans = [m.span(1) for m in _KEY.finditer(self._text) if self._known.is_key(m.group(1))]
        for match in _CODE.finditer(self._text):
            # somebody's user name has the shape of a code as well
            words = match.group("words")
            if words is None or self._known.vocabulary.knows_name(words.lower()):
                spans.append(match.span(match.lastindex or 0))
        for start, end in spans:
            if self._canvas.is_open(start, end):
                self._canvas.keep(start, end)

    def _judge(self, start: int, end: int, *, written: bool) -> None:
        written = written and not any(a <= start and end <= b for a, b in self._worded)
        if written and (colon := self._text.find(": ", start, end)) >= 0:
            self._judge(colon + 1, end, written=True)  # two values, side by side
            end = colon
        words = Words(self._text, start, end, self._known)
        if written:
            words.judge_as_value()
        else:
            words.judge_as_message(whole=self._canvas.is_open(0, len(self._text)))
        for word in words.all:
            self._decide(word.start, word.end, known=bool(word.kind))


class _Canvas:
    """Where the parts of the engine write down which characters to keep and which to mask."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._state = bytearray(len(text))

    def keep(self, start: int, end: int) -> None:
        """Show these characters."""
        self._state[start:end] = bytes((_KEPT,)) * (end - start)

    def mask(self, start: int, end: int) -> None:
        """Do not show these characters."""
        self._state[start:end] = bytes((_MASKED,)) * (end - start)

    def is_open(self, start: int, end: int) -> bool:
        """Tell whether nothing has been decided about any of these characters."""
        return not any(self._state[start:end])

    def is_masked(self, start: int, end: int) -> bool:
        """Tell whether any of these characters is not to be shown."""
        return _MASKED in self._state[start:end]

    def gaps(self) -> list[tuple[int, int]]:
        """Yield the stretches about which nothing has been decided yet."""
        return [run.span() for run in _OPEN_RUN.finditer(self._state)]

    def shown(self) -> str:
        """Return the text with one mask for each masked stretch. Signs left undecided are shown."""
        text = self.text
        pieces: list[str] = []
        at = 0
        for run in _MASKED_RUN.finditer(self._state):
            start, end = run.span()
            between = text[at:start] if at < start else ""
            if not (pieces and self._is_absorbed(at, start)):
                pieces += [between, MASK]
            at = max(at, end)
        pieces.append(text[at:])
        return "".join(pieces)

    def _is_absorbed(self, start: int, end: int) -> bool:
        """Tell whether what stands between two masks says no more than that they are two."""
        if start >= end:
            return True
        between = self.text[start:end]
        return self.is_open(start, end) and (between == ":" or _ABSORBED.issuperset(between))
