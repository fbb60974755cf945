"""What commands print: lines to read, or one JSON object, and how far long work is."""

from __future__ import annotations

import errno
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NoReturn

import click

from cronguard.core.errors import ConfigError, CronguardError

_MARKS = {"ok": ("✓", "ok", "green"), "error": ("✗", "x", "red"), "warning": ("!", "!", "yellow")}
"""Each mark, what stands for it where there is no Unicode, and its colour."""
_PATIENCE_SECONDS = 0.5
"""How long work takes before its progress is shown."""
Advance = Callable[[int, int], None]
"""``advance(done, total)``"""


class CommandError(CronguardError):
    """Something is wrong or was not found: one line, exit code 1."""


class SettingsError(ConfigError):
    """The settings have faults: one line each, exit code 2."""


def print_error(line: str, *, code: int = 1) -> int:
    """Print a line on standard error; return ``code``, the exit code it should lead to."""
    from cronguard.core.rendering import plain

    with suppress(OSError, ValueError):  # closed: there is nobody to tell
        click.echo(f"cronguard: {plain(line).removeprefix('cronguard ')}", err=True)
    return code


def leave_interrupted(code: int) -> NoReturn:
    """End this process at once with ``code``, while alerts are being sent; they go on waiting."""
    from cronguard.runtime.composition import reset

    print_error("stopped; alerts that were being sent wait, and go out with the next run")
    try:
        reset()  # writes what the store has not taken yet
    finally:
        os._exit(code)


def say(line: str = "", *, nl: bool = True) -> None:
    """Print a line on standard output, without anything of a row's that could harm a terminal.

    Raises CommandError if it takes nothing, as on a full disk.
    """
    try:
        click.echo(inert(line), nl=nl)
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader has seen enough, which click knows to handle
            raise
        raise CommandError(unwritable(error)) from None


def inert(text: str) -> str:
    """Return the text with `paint`'s colours, and no other character that does something."""
    if text.isprintable():
        return text
    from cronguard.core.rendering import harmless

    return "\n".join(
        "".join(
            piece if index % 2 else harmless(piece)
            for index, piece in enumerate(re.split("(\x1b\\[(?:0|[39][0-9])m)", line))
        )
        for line in text.split("\n")
    )


def unwritable(error: OSError) -> str:
    """Return a line for a standard output that takes nothing; drop what is left in it."""
    _drop_stdout()
    reason = os.strerror(error.errno).lower() if error.errno else "unknown"
    return f"the output cannot be written ({reason}): see where standard output goes"


def _drop_stdout() -> None:
    """Drop what could not be written, or Python would try it again when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def emit(schema: str, **facts: Any) -> None:
    """Print the object of ``--json``, ``schema`` first, in ASCII: that harms no terminal."""
    import json

    say(json.dumps({"schema": f"cronguard.{schema}", **facts}, indent=2))


def on_terminal() -> bool:
    """Tell whether a person reads along."""
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def mark(state: str) -> str:
    """Return ``✓``, ``✗`` or ``!`` for ``ok``, ``error``, ``warning``; on a terminal in colour."""
    sign, plain, colour = _MARKS[state]
    return paint(writable(sign, plain), colour)


def writable(sign: str, plain: str) -> str:
    """Return the sign, or ``plain`` where standard output cannot write it."""
    try:
        sign.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeError, LookupError):
        return plain
    return sign


def paint(text: str, colour: str) -> str:
    """Return the text in a colour, if any, where colours are wanted (https://no-color.org)."""
    plainly = not colour or not on_terminal() or bool(os.environ.get("NO_COLOR"))
    return text if plainly else click.style(text, fg=colour)


def plural(count: int, noun: str) -> str:
    """Return ``1 run``, ``3 runs``, ``1,200 runs``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


@contextmanager
def progress(doing: str) -> Iterator[Advance]:
    """Yield a function to call with how far the work is; shown after half a second."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    begun = time.monotonic()
    with ExitStack() as stack:
        bar: Any = None

        def advance(done: int, total: int) -> None:
            nonlocal bar
            if time.monotonic() - begun < _PATIENCE_SECONDS:
                return
            if bar is None:
                shown = click.progressbar(
                    length=total, label=doing, show_eta=False, file=sys.stderr
                )
                bar = stack.enter_context(shown)
            bar.length = total
            bar.update(done - bar.pos)

        yield advance
