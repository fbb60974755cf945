"""Tables: by rich where it is installed and a person reads, else as aligned plain text."""

from __future__ import annotations

from collections.abc import Sequence

from cronguard.cli._say import on_terminal, say
from cronguard.render import plain

COLOURS = {
    "ok": "green",
    "success": "green",
    "failing": "red",
    "failure": "red",
    "crashed": "red",
    "overrun": "red",
    "missed": "red",
    "undelivered": "yellow",
    "running": "cyan",
    "skipped": "yellow",
    "cancelled": "yellow",
    "never": "bright_black",
}
"""Words that stand out when they are all that a cell says."""
_LAST = 16
"""Characters that a line of the last column has room for at least."""


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their column's names; a column that is empty everywhere is left out."""
    cells = [[plain(cell) for cell in row] for row in rows]
    shown = [index for index in range(len(columns)) if any(row[index] for row in cells)]
    heads = [columns[index] for index in shown]
    body = [[row[index] for index in shown] for row in cells]
    if not (on_terminal() and _with_rich(heads, body)):
        _without(heads, body)


def _with_rich(heads: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    try:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    grid = Table(
        box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), header_style="bold"
    )
    console = Console(highlight=False)
    widths = _widths(heads, body)
    # The last column wraps, and the others only where that is not enough.
    fits = sum(widths[:-1]) + 2 * len(heads) + min(widths[-1], _LAST) <= console.width
    for index, head in enumerate(heads):
        grid.add_column(head, overflow="fold", no_wrap=fits and index < len(heads) - 1)
    for row in body:
        grid.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    console.print(grid)
    return True


def _without(heads: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    widths = _widths(heads, body)
    for line in (heads, *body):
        pairs = zip(line, widths, strict=True)
        say("  ".join(f"{cell:<{width}}" for cell, width in pairs).rstrip())


def _widths(heads: Sequence[str], body: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(line[index]) for line in (heads, *body)) for index in range(len(heads))]
