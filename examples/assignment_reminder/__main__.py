"""Seven nights of the reminder job: two good ones, three with a broken gateway, two good ones.

    python -m pip install . && python examples/assignment_reminder

The job is `job.py`, and each night is a process of its own, as cron would start it. Nothing is
pretended but the calendar: the job is told which night it is.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import contacts
import database
import screen
from gateway import Gateway

JOB = "assignment_reminder"
HERE = Path(__file__).parent
FIRST_NIGHT = date(2026, 3, 2)
NIGHTS = 7
BROKEN = range(3, 6)
TAKEN_BEFORE_BREAKING = 60
"""How many messages the gateway still takes on the first broken night."""
CONTACTS_A_DAY = 12
STREAKS = [0, 0, 1, 2, 3, 0, 0]
NOTES = {
    3: "below the threshold: silence",
    4: "the threshold: one alert",
    5: "told already: silence",
    6: "well again: the rest goes out",
}


def main() -> int:
    """Tell the story in a folder of its own, which goes again if it is broken off."""
    folder = Path(tempfile.mkdtemp(prefix="cronguard-example-"))
    try:
        return story(folder)
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        return screen.stopped()


def story(folder: Path) -> int:
    """The seven nights, with everything in ``folder``; 0 if every night went as it should."""
    mentors = folder / "mentors.db"
    own = not os.environ.get("CRONGUARD_STORE")
    store = f"sqlite:///{folder / 'cronguard.db'}" if own else os.environ["CRONGUARD_STORE"]
    environment = os.environ | {"CRONGUARD_STORE": store}
    database.create(mentors, first_night=FIRST_NIGHT)
    with Gateway() as gateway:
        screen.opening(gateway.url, channels(environment))
        streaks = [night(number, mentors, gateway, environment) for number in range(1, NIGHTS + 1)]
        screen.closing(len(gateway.delivered), gateway.repeated)
    for command in ("status", f"history {JOB}"):
        screen.command(f"cronguard {command}")
        cronguard(environment, *command.split(), shown=True)
    screen.where(folder, store, own=own)
    return screen.verdict(streaks, STREAKS)


def night(number: int, mentors: Path, gateway: Gateway, environment: dict[str, str]) -> int | None:
    """A day on which some mentors register a contact, then the job; returns the job's streak."""
    today = FIRST_NIGHT + timedelta(days=number - 1)
    with closing(database.connect(mentors)) as db:
        register_contacts([r.assignment_id for r in database.due(db, today)], db, today)
        due = len(database.due(db, today))
    before = len(gateway.delivered)
    gateway.breaks_after = None
    if number in BROKEN:
        gateway.breaks_after = TAKEN_BEFORE_BREAKING if number == BROKEN[0] else 0

    command = [sys.executable, str(HERE / "job.py")]
    command += ["--database", str(mentors), "--gateway", gateway.url, "--today", str(today)]
    started = time.monotonic()
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603  # our own job
    seconds = time.monotonic() - started

    try:
        run = latest_run(environment)
    except subprocess.CalledProcessError:
        screen.said(done.stderr)  # nothing was recorded: the job itself will have said why
        raise
    streak = run["consecutive_failure_count"]
    sent = len(gateway.delivered) - before
    screen.night(
        number,
        today,
        counts=f"{due:6} {sent:6} {seconds:5.1f} s",
        outcome=run["status"],
        streak=streak,
        note=NOTES.get(number, ""),
    )
    screen.said(done.stderr)  # the console channel writes alerts there, so that cron mails them
    if number == BROKEN[1]:
        screen.aside("The job's error names a mentor and a phone number; alert and log do not.")
    return streak if done.returncode == (1 if number in BROKEN else 0) else None


def register_contacts(due: list[int], db: sqlite3.Connection, today: date) -> None:
    """Some of those who would be reminded tonight were in touch today, by every way there is."""
    early = iter(due[:CONTACTS_A_DAY])
    contacts.register_own(db, next(early), today)
    contacts.register_as_proxy(db, next(early), today)
    contacts.register_as_coordinator(db, next(early), today)
    contacts.register_in_bulk(db, early, today)


def cronguard(environment: dict[str, str], *arguments: str, shown: bool = False) -> str:
    """What the command line says; ``shown`` lets it say so to the person instead."""
    command = [sys.executable, "-m", "cronguard", *arguments]
    stdout = None if shown else subprocess.PIPE
    return subprocess.run(  # noqa: S603  # our own command
        command, env=environment, stdout=stdout, text=True, check=True
    ).stdout


def latest_run(environment: dict[str, str]) -> dict[str, Any]:
    """The newest row of the log, as every store shows it."""
    history = json.loads(cronguard(environment, "history", JOB, "--limit", "1", "--json"))
    newest: dict[str, Any] = history["runs"][0]
    return newest


def channels(environment: dict[str, str]) -> list[str]:
    """Where alerts will go, as the environment and the settings have it."""
    listed = json.loads(cronguard(environment, "channels", "--json"))
    return [channel["name"] for channel in listed["channels"] if channel["default"]]


if __name__ == "__main__":
    if find_spec("cronguard") is None:
        sys.exit("cronguard is not installed here: run python -m pip install . first")
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # the command has said on standard error what is wrong
    except BrokenPipeError:
        os._exit(1)  # nobody reads on
