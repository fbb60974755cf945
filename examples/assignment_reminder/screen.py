"""What a person sees. Coloured on a terminal only, and not with ``NO_COLOR`` set."""

# ruff: noqa: T201  # printing is what this is for

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

COLOURS = {"success": "32", "failure": "1;31", "quiet": "2", "loud": "1"}


def paint(text: str, kind: str) -> str:
    """The text in the colour of its kind, where colours are wanted (https://no-color.org)."""
    if kind not in COLOURS or os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\x1b[{COLOURS[kind]}m{text}\x1b[0m"


def opening(gateway: str, channels: Sequence[str]) -> None:
    """What is about to happen."""
    print(
        "Seven nights of a job that reminds peer mentors who have not been in touch.\n\n"
        "  mentors   10,000 assignments, about 2 % of them due a night\n"
        f"  gateway   {gateway}, which breaks on nights 3 to 5\n"
        f"  alerts    to {', '.join(channels)}, at two failures in a row\n"
    )
    print(
        paint("  night       due   sent    time  outcome  failures in a row", "loud"),
        flush=True,
    )


def night(number: int, today: date, *, counts: str, outcome: str, streak: int, note: str) -> None:
    """One night in one line."""
    line = f"  {number} {today:%a %d %b} {counts}  {paint(outcome, outcome)}  {streak}"
    print(line + (paint(f"  {note}", "quiet") if note else ""), flush=True)


def said(text: str) -> None:
    """What the job itself wrote to standard error; nothing on most nights."""
    if text:
        print(f"\n{text.rstrip()}", flush=True)


def aside(text: str) -> None:
    """Something to notice."""
    print(paint(f"\n  {text}\n", "quiet"), flush=True)


def closing(delivered: int, repeated: int) -> None:
    """What the gateway has seen in the end."""
    print(f"\n{delivered:,} reminders sent, {repeated or 'none'} of them twice.")


def command(line: str) -> None:
    """A command, which is about to say something itself."""
    print(paint(f"\n$ {line}", "loud"), flush=True)


def where(folder: Path, store: str, *, own: bool) -> None:
    """Where everything is, and how to look at it again."""
    if own:
        print(f"\nEverything is in {folder}, and nothing anywhere else.")
        print("To look at the log again:\n")
        print(f"  export CRONGUARD_STORE={shlex.quote(store)}")
        print("  cronguard status\n")
        print(f"Remove it with: rm -r {shlex.quote(str(folder))}")
    else:
        print(f"\nThe log is in the store that CRONGUARD_STORE names, all else in {folder}.")


def stopped() -> int:
    """The exit code after Ctrl-C."""
    print("\nStopped; nothing is left behind.", flush=True)
    return 130


def verdict(streaks: Sequence[int | None], expected: Sequence[int]) -> int:
    """The exit code: 0 if the nights went as they should."""
    if list(streaks) == list(expected):
        return 0
    print(f"Not as it should be: the streaks were {streaks}, not {expected}.", file=sys.stderr)
    return 1
