"""Words that are technical and nobody's name, and what may be read off them.

The words are in ``data/vocabulary.txt``, in sections:

- ``words``: lower-case, known by themselves;
- ``function``: the small words of English, some of which are names elsewhere;
- ``ambiguous``: words of error messages that are people's names too, trusted in company only;
- ``starters``: words that may begin a sentence with a capital letter;
- ``terms``: known exactly as they are written;
- ``labels`` and ``units``: words before and after a number that make it a technical one.
"""

from __future__ import annotations

import builtins
import errno
import os
import re
from functools import cache, lru_cache
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["known", "function", "ambiguous", "term", ""]

_MOST_REMEMBERED = 4_000
_LONGEST_NAME = 80
_MOST_DIGITS = 2
_SHORT_WORD = 2
_SENTENCE = 3
_NAMES = ("True", "Warning")
"""Built-in, and what people are called."""
_SUBWORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SEPARATORS = re.compile(r"[_-]")
_DOTS = re.compile(r"\.")


class Vocabulary:
    """The bundled words and what an operator added to them."""

    def __init__(self, sections: dict[str, frozenset[str]]) -> None:
        self._words = sections["words"]
        self._function = sections["function"]
        self._ambiguous = sections["ambiguous"]
        self.starters = sections["starters"]
        self._terms = sections["terms"] | {
            name
            for name in vars(builtins)
            if not name.startswith("_") and len(name) > 1 and name not in _NAMES
        }
        self._terms |= set(errno.errorcode.values())
        self.labels = sections["labels"]
        self.units = sections["units"]
        self._knows_parts = lru_cache(_MOST_REMEMBERED)(self._judge_parts)

    def kind(self, word: str) -> Kind:
        """Return what a single word is, exactly as written; empty for unknown."""
        if word in self._words:
            return "known"
        if word in self._function:
            return "function"
        if word in self._ambiguous:
            return "ambiguous"
        return "term" if word in self._terms else ""

    def knows_name(self, name: str) -> bool:
        """Tell whether an identifier is known: ``user_id``, ``HTTPStatusError``, ``public.orders``.

        All its words must be known, at least one of them in each dotted part beyond doubt, and at
        most two digits.
        """
        return len(name) <= _LONGEST_NAME and (name in self._terms or self._knows_parts(name))

    def _judge_parts(self, name: str) -> bool:
        digits = sum(character.isdigit() for character in name)
        return digits <= _MOST_DIGITS and all(map(self._knows_part, _DOTS.split(name)))

    def _knows_part(self, part: str) -> bool:
        if part.isalpha() and not part.islower() and len(_SUBWORDS.findall(part)) == 1:
            return part in self._terms  # a capital alone makes a name of it
        trusted = words = 0
        for chunk in filter(None, _SEPARATORS.split(part)):
            subwords = _SUBWORDS.findall(chunk)
            if "".join(subwords) != chunk:
                return False
            for word in subwords:
                kind = self.kind(word) or self.kind(word.lower())
                words += bool(kind)
                if kind in {"known", "term"}:
                    trusted += len(word) > _SHORT_WORD
                elif not kind and not word.isdigit() and not (len(word) == len(chunk) == 1):
                    return False
        # NoSuchKey: three words make a sentence, even if each may be a name
        return trusted > 0 or words >= _SENTENCE or part.isdigit()


@cache
def vocabulary() -> Vocabulary:
    """Return the bundled words, read on first use."""
    sections: dict[str, list[str]] = {}
    words: list[str] = []
    for line in read_data("vocabulary.txt").splitlines():
        if line.startswith("["):
            words = sections.setdefault(line[1:-1], [])
        elif not line.startswith("#"):
            words += line.split()
    return Vocabulary({name: frozenset(each) for name, each in sections.items()})


@cache
def read_data(name: str) -> str:
    """Return a bundled text file as it was at first, also out of a zip archive."""
    path = os.path.join(os.path.dirname(__file__), "data", name)  # noqa: PTH118, PTH120  # pathlib costs
    load = getattr(__spec__.loader, "get_data", None)
    if load is not None:
        content: bytes = load(path)
        return content.decode("utf-8")
    with open(path, encoding="utf-8") as file:  # noqa: PTH123  # pathlib costs
        return file.read()
