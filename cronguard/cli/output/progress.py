"""Progress of what takes long: click's bar, on a terminal only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click

_PATIENCE = 0.5

Advance = Callable[[int, int], None]
"""``advance(done, total)``"""


@contextmanager
def progress(doing: str) -> Iterator[Advance]:
    """Yield a function to be told how far things are; shown once they take half a second."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    begun = time.monotonic()
    with ExitStack() as stack:
        bar: Any = None

        def advance(done: int, total: int) -> None:
            nonlocal bar
            if time.monotonic() - begun < _PATIENCE:
                return
            if bar is None:
                shown = click.progressbar(
                    length=total, label=doing, show_eta=False, file=sys.stderr
                )
                bar = stack.enter_context(shown)
            bar.length = total
            bar.update(done - bar.pos)

        yield advance
