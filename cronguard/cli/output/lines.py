"""What commands print: lines to read, or one JSON object; nothing that could harm a terminal."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from typing import Any, NoReturn

import click

from cronguard.core.errors import ConfigError, CronguardError


class CommandError(CronguardError):
    """Something is wrong or was not found: one line, exit code 1."""


class SettingsError(ConfigError):
    """The settings have faults: one line each, exit code 2."""


def print_error(line: str, *, code: int = 1) -> int:
    """One line on standard error; returns ``code``, the exit code it should lead to."""
    from cronguard.core.rendering import plain

    with contextlib.suppress(OSError, ValueError):  # closed: there is nobody to tell
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
    """One line on standard output, without anything of a row's that could harm a terminal.

    Raises CommandError if it takes nothing, as on a full disk.
    """
    try:
        click.echo(inert(line), nl=nl)
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader has seen enough, which click knows to handle
            raise
        raise CommandError(unwritable(error)) from None


def say_wrapped(text: str) -> None:
    """Say a text, on a terminal in lines that are broken at spaces."""
    from shutil import get_terminal_size

    from cronguard.cli.output.width import wrap

    for line in wrap(text, get_terminal_size().columns) if on_terminal() else [text]:
        say(line)


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
    """One line for a standard output that takes nothing; what is left in it is let go."""
    _let_go_of_stdout()
    reason = os.strerror(error.errno).lower() if error.errno else "unknown"
    return f"the output cannot be written ({reason}): see where standard output goes"


def _let_go_of_stdout() -> None:
    """What could not be written is still buffered, and would be tried again when Python ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def emit(schema: str, **facts: Any) -> None:
    """The JSON object that ``--json`` asks for, ``schema`` first. ASCII: no terminal is harmed."""
    import json

    say(json.dumps({"schema": f"cronguard.{schema}", **facts}, indent=2))


def on_terminal() -> bool:
    """Whether a person reads along."""
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def mark(state: str) -> str:
    """``✓``, ``✗`` or ``!`` for ``ok``, ``error`` and ``warning``, coloured on a terminal."""
    sign, colour = _MARKS[state]
    try:
        sign.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeError, LookupError):
        sign = {"✓": "ok", "✗": "x"}[sign]
    return paint(sign, colour)


def paint(text: str, colour: str) -> str:
    """The text in a colour, if any, where colours are wanted (https://no-color.org)."""
    plainly = not colour or not on_terminal() or bool(os.environ.get("NO_COLOR"))
    return text if plainly else click.style(text, fg=colour)


_MARKS = {"ok": ("✓", "green"), "error": ("✗", "red"), "warning": ("!", "yellow")}


def plural(count: int, noun: str) -> str:
    """``1 run``, ``3 runs``, ``1,200 runs``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
