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
    """Return the text in the colour of its kind, where colours are wanted (no-color.org)."""
    if kind not in COLOURS or os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\x1b[{COLOURS[kind]}m{text}\x1b[0m"


def show_opening(where: str, gateway: str, channels: Sequence[str]) -> None:
    """Print what is about to happen."""
    print(
        "Seven nights of a job that reminds peer mentors who have not been in touch.\n\n"
        f"  mentors   10,000 assignments {where}, about 2 % of them due a night\n"
        f"  gateway   {gateway}, which breaks on nights 3 to 5\n"
        f"  alerts    to {', '.join(channels)}, at two failures in a row\n"
    )
    print(
        paint("  night       due   sent    time  outcome  failures in a row", "loud"),
        flush=True,
    )


def show_night(
    number: int, today: date, *, counts: str, outcome: str, streak: int, note: str
) -> None:
    """Print one night in one line."""
    line = f"  {number} {today:%a %d %b} {counts}  {paint(outcome, outcome)}  {streak}"
    print(line + (paint(f"  {note}", "quiet") if note else ""), flush=True)


def show_said(text: str) -> None:
    """Print what the job itself wrote to standard error; nothing on most nights."""
    if text:
        print(f"\n{text.rstrip()}", flush=True)


def show_remark(text: str) -> None:
    """Print something to notice."""
    print(paint(f"\n  {text}\n", "quiet"), flush=True)


def show_totals(delivered: int, repeated: int, disagreements: int) -> None:
    """Print what the gateway has seen in the end, and what an audit finds."""
    print(f"\n{delivered:,} reminders sent, {repeated or 'none'} of them twice.")
    print(f"{disagreements or 'No'} last contact dates that disagree with the activities.")


def show_command(line: str) -> None:
    """Print a command, which is about to say something itself."""
    print(paint(f"\n$ {line}", "loud"), flush=True)


def show_place(folder: Path, store: str, *, own: bool) -> None:
    """Print where everything is, and how to look at it again."""
    if own:
        print(f"\nEverything is in {folder}, and nothing anywhere else.")
        print("To look at the log again:\n")
        print(f"  CRONGUARD_STORE={shlex.quote(store)} cronguard status\n")
        print(f"Remove it with: rm -r {shlex.quote(str(folder))}")
    else:
        print(f"\nThe log is in the store that CRONGUARD_STORE names, all else in {folder}.")


def show_project() -> None:
    """Print what is left in a Supabase project."""
    print("\nLog, assignments and reminders are in the Supabase project. To be rid of them, run in")
    print(
        "its SQL editor: drop table reminders, activities, contact_corrections, assignments cascade"
    )
    print("and cronguard forget assignment_reminder")


def show_stop(left: str) -> None:
    """Print what is left after Ctrl-C."""
    print(f"\nStopped; {left}.", flush=True)


def show_verdict(streaks: Sequence[int | None], expected: Sequence[int]) -> int:
    """Return the exit code: 0 if the nights went as they should."""
    if list(streaks) == list(expected):
        return 0
    print(f"Not as it should be: the streaks were {streaks}, not {expected}.", file=sys.stderr)
    return 1
