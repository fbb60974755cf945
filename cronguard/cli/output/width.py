"""Text on a terminal: how many columns it takes, cut, padded and wrapped by that."""

from __future__ import annotations

from unicodedata import category, east_asian_width

_NO_COLUMN = frozenset({"Mn", "Me", "Cf"})


def width(text: str) -> int:
    """Return how many columns a terminal shows the text in; wide characters take two."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def _width(letter: str) -> int:
    if category(letter) in _NO_COLUMN:
        return 0
    return 2 if east_asian_width(letter) in "WF" else 1


def pad(text: str, room: int) -> str:
    """Return the text with spaces after it, ``room`` columns wide at least."""
    return text + " " * (room - width(text))


def cut(text: str, room: int) -> str:
    """Return the text in at most ``room`` columns, with ``…`` where something was left out."""
    if width(text) <= room:
        return text
    kept, left = [], room - 1
    for letter in text:
        left -= _width(letter)
        if left < 0:
            break
        kept.append(letter)
    return "".join(kept).rstrip() + "…" * (room > 0)


def wrap(text: str, room: int) -> list[str]:
    """Return the text in lines of at most ``room`` columns, broken at spaces where it can be."""
    if width(text) <= room:
        return [text]
    lines, line = [], ""
    for word in text.split(" "):
        fits = f"{line} {word}" if line else word
        if width(fits) <= room:
            line = fits
            continue
        if line:
            lines.append(line)
        *whole, line = _pieces(word, room)
        lines += whole
    return [*lines, line]


def _pieces(word: str, room: int) -> list[str]:
    pieces = [""]
    for letter in word:
        if pieces[-1] and width(pieces[-1] + letter) > room:
            pieces.append("")
        pieces[-1] += letter
    return pieces
