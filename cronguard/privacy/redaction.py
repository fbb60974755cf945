"""Error messages without what is private.

A message is a mix of what a programmer wrote and of values. What is known to have been written
(literals of the code along the traceback, known shapes, technical words) is kept; the rest becomes
a mask. Work is bounded by looking at the first few thousand characters only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cronguard.core.rendering import ESCAPES
from cronguard.privacy.code_text import code_text
from cronguard.privacy.error_code import Role, read, related, text_of
from cronguard.privacy.error_type import error_type
from cronguard.privacy.mask import MOST_CHARACTERS, clean
from cronguard.privacy.message import redact_message
from cronguard.privacy.schema_names import ATTRIBUTES, names_in
from cronguard.privacy.vocabulary import read_data, vocabulary
from cronguard.privacy.words import Known, keep_of

_MOST_RELATED = 6
_MOST_NOTES = 5
_SHORTEST_QUOTE = 16
_LINE_BREAK = " | "
_JOINTS: dict[Role, str] = {"cause": "caused by", "context": "after", "member": "with"}


def redact_error(error: BaseException, *, keep: Sequence[str] = ()) -> str | None:
    """Return what may be shown of the error's message, notes, causes, members; None for nothing."""
    chain = list(related(error, limit=_MOST_RELATED))
    redactor = _redactor([each for _, each in chain], keep)
    # from the innermost cause outwards, since messages like to quote the one before
    texts = [(role, each, redactor.message(each)) for role, each in reversed(chain)][::-1]
    parts = []
    for role, each, (raw, shown) in texts:
        if role == "error":
            parts += [shown, redactor.schema_names(each, shown)]
        elif role == "member" or raw not in redactor.quoted:
            parts.append(f"{_JOINTS[role]} {error_type(each)}" + (f": {shown}" if shown else ""))
        parts += redactor.notes(each)
    return clean("; ".join(part for part in parts if part)) or None


def redact_output(tail: str, *, keep: Sequence[str] = ()) -> str | None:
    """Return what may be shown of the end of a command's output; None for nothing."""
    text = str.__getitem__(tail, slice(-MOST_CHARACTERS, None))
    if len(tail) > MOST_CHARACTERS:
        text = text.partition("\n")[2] or text.partition(" ")[2]
    return clean(_redactor((), keep).text(text), end=True) or None


def redact_text(text: str, *, keep: Sequence[str] = ()) -> str:
    """Return what would be shown of a message of which nothing but its text is known."""
    return clean(_redactor((), keep).text(text))


def _redactor(errors: Sequence[BaseException], keep: Sequence[str]) -> _Redactor:
    return _Redactor(Known(code_text(errors), vocabulary(), keep_of(tuple(keep))))


class _Redactor:
    def __init__(self, known: Known) -> None:
        self._known = known
        self._done: dict[str, str] = {}
        self.quoted: set[str] = set()
        """Texts of causes that were met inside another text."""

    def message(self, error: BaseException) -> tuple[str, str]:
        raw = text_of(error)
        shown = self.text(raw)
        if len(raw) >= _SHORTEST_QUOTE:
            self._done[raw] = shown
        return raw, shown

    def schema_names(self, error: BaseException, shown: str) -> str:
        """Return what a database says the error is about and the text does not say itself."""
        said = []
        for attribute in ATTRIBUTES[:3]:
            name = read(read(error, "diag") or error, attribute)
            if isinstance(name, str) and name not in shown and self._known.is_name(name):
                said.append(f"{attribute.removesuffix('_name')} {name}")
        return ", ".join(said)

    def notes(self, error: BaseException) -> list[str]:
        """Return the error's notes, each redacted."""
        found: Any = read(error, "__notes__")
        if not issubclass(type(found), list):
            return []  # most errors have none, and some have something else
        notes: list[object] = list.__getitem__(found, slice(_MOST_NOTES))
        return [f"note: {self.text(note)}" for note in notes if isinstance(note, str)]

    def text(self, raw: str) -> str:
        text = str.__getitem__(raw, slice(MOST_CHARACTERS + 1))
        if len(text) > MOST_CHARACTERS:
            # whatever was cut in two must not pass for a word
            text = text[:MOST_CHARACTERS].rpartition(" ")[0]
        text = ESCAPES.sub("", text).replace("\r", "\n")
        text = text.encode("utf-8", "replace").decode("utf-8")
        known = self._known
        if names := frozenset(names_in(text)):
            known = replace(known, code=replace(known.code, constants=known.code.constants | names))
        shown = "".join(
            self._done[part] if part in self._done else part and redact_message(part, known)
            for part in self._parts(text)
        )
        return _LINE_BREAK.join(line for each in shown.splitlines() if (line := each.strip()))

    def _parts(self, text: str) -> list[str]:
        """Return the text, split where it quotes another error of the chain."""
        parts = [text]
        for quoted in sorted(self._done, key=len, reverse=True):
            if quoted in text:
                parts = [
                    piece
                    for part in parts
                    for piece in ([part] if part in self._done else _split(part, quoted))
                ]
                if quoted in parts:
                    self.quoted.add(quoted)
        return parts


def _split(text: str, quoted: str) -> list[str]:
    pieces, start, at = [], 0, text.find(quoted)
    while at >= 0:
        end = at + len(quoted)
        # glued to a letter it is a part of something else
        if not (text[at - 1 : at].isalnum() or text[end : end + 1].isalnum()):
            pieces += [text[start:at], quoted]
            start = end
        at = text.find(quoted, end)
    return [*pieces, text[start:]]


def load_data() -> None:
    """Read the files that a message is compared with; otherwise the first message does."""
    for name in "templates.txt", "vocabulary.txt":
        read_data(name)
