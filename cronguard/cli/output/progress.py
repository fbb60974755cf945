"""Progress of what takes long, on a terminal only, and gone when it is over."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_PATIENCE = 0.5
_BETWEEN = 0.1

Advance = Callable[[int, int], None]
"""``advance(done, total)``"""


@contextmanager
def progress(doing: str) -> Iterator[Advance]:
    """Yields a function to be told how far things are; shown once they take half a second."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    bar = _rich_bar(doing) or _Line(doing)
    begun = last = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - begun >= _PATIENCE and now - last >= _BETWEEN:
            last = now
            bar.show(done, total)

    try:
        yield advance
    finally:
        bar.close()


class _Line:
    """``pruning 45 %``, on one line that is written over."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._width = 0

    def show(self, done: int, total: int) -> None:
        text = f"{self._doing} {100 * done // max(total, 1)} %"
        self._width = max(self._width, len(text))
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()

    def close(self) -> None:
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()


class _RichBar:
    def __init__(self, doing: str) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._progress = Progress(console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(doing)

    def show(self, done: int, total: int) -> None:
        self._progress.start()
        self._progress.update(self._task, completed=done, total=total)

    def close(self) -> None:
        self._progress.stop()


def _rich_bar(doing: str) -> _RichBar | None:
    try:
        return _RichBar(doing)
    except ImportError:
        return None
