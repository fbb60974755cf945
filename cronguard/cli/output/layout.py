"""Text laid out for a terminal: how many columns it takes, cut, padded, wrapped, and in tables."""

from __future__ import annotations

from collections.abc import Sequence
from shutil import get_terminal_size
from unicodedata import category, east_asian_width

from cronguard.cli.output.lines import on_terminal, paint, say
from cronguard.core.rendering import plain
from cronguard.core.run_states import RUN_STATES, Role

_BY_ROLE: dict[Role, str] = {"good": "green", "busy": "cyan", "odd": "yellow", "bad": "red"}
COLOURS: dict[str, str] = {
    "ok": "green",
    "sent": "green",
    "failing": "red",
    "stuck": "red",
    "late": "red",
    "given up": "red",
    "warning": "yellow",
    "waiting": "yellow",
    "new": "cyan",
    **{status: _BY_ROLE[state.role] for status, state in RUN_STATES.items()},
}
"""Words that stand out when they are all that a cell says."""
_LAST = 36
"""Characters that a line of the last column has room for at least, or it goes below the others."""
_INDENT = "    "
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


def say_wrapped(text: str) -> None:
    """Say a text, on a terminal in lines that are broken at spaces."""
    for line in wrap(text, get_terminal_size().columns) if on_terminal() else [text]:
        say(line)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, least: int = _LAST) -> None:
    """Print rows under their column's names; a column that is empty everywhere is left out.

    On a terminal the last column wraps; where it has less room than ``least``, it goes below.
    """
    cells = [[plain(cell) for cell in row] for row in rows]
    shown = [index for index in range(len(columns)) if any(row[index] for row in cells)]
    heads = [columns[index] for index in shown]
    body = [[row[index] for index in shown] for row in cells]
    widths = [max(width(line[index]) for line in (heads, *body)) for index in range(len(heads))]
    if not on_terminal():
        _beside(heads, body, widths, widths[-1])
        return
    screen = get_terminal_size().columns
    room = screen - sum(widths[:-1]) - 2 * (len(heads) - 1)
    if room < min(widths[-1], least):
        _below(heads, body, widths, screen)
    else:
        _beside(heads, body, widths, room)


def _beside(
    heads: Sequence[str], body: Sequence[Sequence[str]], widths: Sequence[int], room: int
) -> None:
    """Print all columns side by side; the last one wraps if it has no more than ``room``."""
    for *firsts, last in (heads, *body):
        start = "".join(f"{cell}  " for cell in _padded(firsts, widths))
        beginning, *rest = wrap(last, room)
        say((start + paint(beginning, COLOURS.get(beginning, ""))).rstrip())
        for line in rest:
            say(" " * (sum(widths[:-1]) + 2 * len(firsts)) + line)


def _below(
    heads: Sequence[str], body: Sequence[Sequence[str]], widths: Sequence[int], screen: int
) -> None:
    """Print the last column on lines of its own, under those of its row."""
    *names, name = heads
    say("  ".join(_padded(names, widths)).rstrip())
    for *firsts, last in body:
        say("  ".join(_padded(firsts, widths)).rstrip())
        if last in ("", "-"):
            continue
        for line in wrap(f"{name}: {last}", screen - len(_INDENT)):
            say(_INDENT + line)


def _padded(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        paint(cell, COLOURS.get(cell, "")) + " " * (room - width(cell))
        for cell, room in zip(cells, widths, strict=False)
    ]
