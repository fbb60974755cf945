"""``--watch``: the same screen over and over, without a flicker, and a clean terminal after it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from shutil import get_terminal_size

from cronguard.cli.output.lines import inert
from cronguard.cli.output.width import cut

SECONDS = 5.0
"""How often the screen is drawn."""
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
"""The other screen, which leaves what was there alone; no cursor; no line runs into the next."""
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _END_OF_LINE, _END_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_ENDS = ("SIGTERM", "SIGHUP", "SIGQUIT")
_REDRAWS = frozenset(
    getattr(signal, name) for name in ("SIGWINCH", "SIGCONT") if hasattr(signal, name)
)


def watch(draw: Callable[[int, int], Sequence[str]], *, seconds: float = SECONDS) -> None:
    """Show what ``draw(columns, lines)`` returns, every few seconds, until Ctrl-C."""
    with _other_screen(), suppress(KeyboardInterrupt):
        while True:
            columns, lines = get_terminal_size()
            _write(frame(draw(columns, lines), columns, lines))
            _pause(seconds)


def frame(shown: Sequence[str], columns: int, lines: int) -> str:
    """Return what draws the lines over those that are there; what does not fit is counted."""
    if len(shown) > lines:
        left_out = len(shown) - lines + 1
        more = cut(f"… {left_out} more lines: make the window taller", columns)
        shown = [*shown[: lines - 1], more]
    # A line is cleared before it is written: after one as wide as the screen its end would go.
    body = "\r\n".join(f"{_END_OF_LINE}{inert(line)}" for line in shown)
    return f"{_HOME}{body}\r\n{_END_OF_SCREEN}" if len(shown) < lines else f"{_HOME}{body}"


@contextmanager
def _other_screen() -> Iterator[None]:
    """Draw on the terminal's other screen; the first one is back whatever ends this."""
    ends = {getattr(signal, name): _exit for name in _ENDS if hasattr(signal, name)}
    suspends = {signal.SIGTSTP: _suspend} if hasattr(signal, "SIGTSTP") else {}
    before = {number: signal.signal(number, do) for number, do in {**ends, **suspends}.items()}
    try:
        _write(_ENTER)
        yield
    finally:
        _write(_LEAVE)
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _suspend(number: int, _frame: object) -> None:
    """Give the shell its own screen while this waits in the background."""
    _write(_LEAVE)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.signal(number, _suspend)
    _write(_ENTER)


def _pause(seconds: float) -> None:
    """Wait, no longer than until the window gets another size or this is in front again."""
    if not hasattr(signal, "sigtimedwait"):
        time.sleep(seconds)
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, _REDRAWS)
    try:
        signal.sigtimedwait(_REDRAWS, seconds)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _REDRAWS)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
