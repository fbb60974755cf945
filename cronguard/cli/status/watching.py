"""``--watch``: the same screen over and over, without a flicker, and a clean terminal after it."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from shutil import get_terminal_size

from cronguard.cli.output.layout import cut
from cronguard.cli.output.lines import inert

SECONDS = 5.0
"""How often the screen is drawn."""
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
"""Switch to the alternate screen, hide the cursor, wrap no line."""
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _END_OF_LINE, _END_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_ENDS = ("SIGTERM", "SIGHUP", "SIGQUIT")
_WAKES = ("SIGWINCH", "SIGCONT", "SIGTSTP")
"""What ends a pause: another size, being in front again, Ctrl-Z."""


def watch(draw: Callable[[int, int], Sequence[str]], *, seconds: float = SECONDS) -> None:
    """Show what ``draw(columns, lines)`` returns, every few seconds, until Ctrl-C."""
    with _signal_pipe() as pipe, _alternate_screen(), suppress(KeyboardInterrupt):
        while True:
            columns, lines = get_terminal_size()
            _write(frame(draw(columns, lines), columns, lines))
            _pause(seconds, pipe)


def frame(shown: Sequence[str], columns: int, lines: int) -> str:
    """Return what redraws the screen with these lines; those that do not fit are counted."""
    if len(shown) > lines:
        left_out = len(shown) - lines + 1
        more = cut(f"… {left_out} more lines: make the window taller", columns)
        shown = [*shown[: lines - 1], more]
    # A line is cleared before it is written: after one as wide as the screen its end would go.
    body = "\r\n".join(f"{_END_OF_LINE}{inert(line)}" for line in shown)
    return f"{_HOME}{body}\r\n{_END_OF_SCREEN}" if len(shown) < lines else f"{_HOME}{body}"


@contextmanager
def _signal_pipe() -> Iterator[int | None]:
    """Yield a pipe that gets the numbers of signals that end a pause; None where there are none.

    Nothing is done in the handlers: one that writes may come in the middle of another write.
    """
    wakes = {getattr(signal, name) for name in _WAKES if hasattr(signal, name)}
    if not wakes:
        yield None
        return
    pipe, end = os.pipe()
    os.set_blocking(pipe, False)
    os.set_blocking(end, False)
    before = {number: signal.signal(number, _do_nothing) for number in wakes}
    former = signal.set_wakeup_fd(end, warn_on_full_buffer=False)
    try:
        yield pipe
    finally:
        signal.set_wakeup_fd(former)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(pipe)
        os.close(end)


def _do_nothing(_number: int, _frame: object) -> None:
    """Stand for the default, so that the signal reaches the pipe."""


@contextmanager
def _alternate_screen() -> Iterator[None]:
    """Draw on the terminal's alternate screen; restore the main one whatever ends this."""
    ends = {getattr(signal, name) for name in _ENDS if hasattr(signal, name)}
    before = {number: signal.signal(number, _exit) for number in ends}
    try:
        _write(_ENTER)
        yield
    finally:
        _write(_LEAVE)
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _pause(seconds: float, pipe: int | None) -> None:
    """Wait until a signal comes, at most so long, and suspend the process if it is Ctrl-Z."""
    if pipe is None:
        time.sleep(seconds)
        return
    if select.select([pipe], [], [], seconds)[0] and signal.SIGTSTP in os.read(pipe, 4096):
        _suspend()


def _suspend() -> None:
    """Give the shell its own screen while this waits in the background."""
    _write(_LEAVE)
    signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, _do_nothing)
    _write(_ENTER)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
