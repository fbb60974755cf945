"""Seven nights of the job: two good ones, three with a broken gateway, two good ones.

Each night is a process of its own, as cron would start it. Nothing is pretended but the calendar:
the job is told which night it is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from reminders import activities
from reminders.job import JOB, REMIND_AFTER
from reminders.repository import DueRule, Repository, SetupError, open_repository
from reminders.sqlite import SQLiteRepository
from reminders.trial import people, screen
from reminders.trial.commands import started
from reminders.trial.gateway import Gateway

EXAMPLE = Path(__file__).parents[2]
FIRST_NIGHT = date(2026, 3, 2)
NIGHTS = 7
ASSIGNMENTS = 10_000
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


def tell(store: str | None) -> int:
    """Tell the story; everything is in a folder of its own, which goes again if it is broken off.

    Args:
        store: ``supabase``, or None for SQLite in that folder.
    """
    folder = Path(tempfile.mkdtemp(prefix="cronguard-example-"))
    try:
        if store == "supabase":
            return _on_supabase()
        return _on_sqlite(folder)
    except KeyboardInterrupt:
        screen.show_stop(
            "what was written stays in the project" if store else "nothing is left behind"
        )
        shutil.rmtree(folder, ignore_errors=True)
        return 130
    finally:
        if store == "supabase":
            shutil.rmtree(folder, ignore_errors=True)


def _on_sqlite(folder: Path) -> int:
    own = not os.environ.get("CRONGUARD_STORE")
    log = f"sqlite:///{folder / 'cronguard.db'}" if own else os.environ["CRONGUARD_STORE"]
    store = f"sqlite:///{folder / 'mentors.db'}"
    with SQLiteRepository.create(store) as repository:
        streaks = _story(store, repository, os.environ | {"CRONGUARD_STORE": log}, "in SQLite")
    screen.show_place(folder, log, own=own)
    return screen.show_verdict(streaks, STREAKS)


def _on_supabase() -> int:
    environment = {"CRONGUARD_STORE": "supabase"} | os.environ
    with open_repository("supabase") as repository:
        if repository.count_assignments():
            raise SetupError(
                "this project has assignments already: the seven nights need a new one"
            )
        streaks = _story("supabase", repository, environment, "in Supabase")
    screen.show_project()
    return screen.show_verdict(streaks, STREAKS)


def _story(
    store: str, repository: Repository, environment: Mapping[str, str], where: str
) -> list[int | None]:
    """Return the job's streak after each night."""
    to = _channels(environment)
    repository.add_assignments(
        people.assignments(ASSIGNMENTS, FIRST_NIGHT, at_most=REMIND_AFTER.days)
    )
    with Gateway() as gateway:
        screen.show_opening(where, gateway.url, to)
        streaks = [
            _night(number, store, repository, gateway, environment)
            for number in range(1, NIGHTS + 1)
        ]
        screen.show_totals(
            len(gateway.delivered), gateway.repeated, len(repository.disagreements())
        )
    for command in ("status", f"history {JOB}"):
        screen.show_command(f"cronguard {command}")
        _cronguard(environment, *command.split(), shown=True)
    return streaks


def _night(
    number: int,
    store: str,
    repository: Repository,
    gateway: Gateway,
    environment: Mapping[str, str],
) -> int | None:
    """Let some mentors register a contact, then run the job; returns its streak."""
    rule = DueRule(FIRST_NIGHT + timedelta(days=number - 1), REMIND_AFTER)
    _register_contacts(repository, rule)
    due = repository.count_due(rule)
    before = len(gateway.delivered)
    gateway.breaks_after = None
    if number in BROKEN:
        gateway.breaks_after = TAKEN_BEFORE_BREAKING if number == BROKEN[0] else 0

    command = [sys.executable, str(EXAMPLE), "run", "--quiet", "--store", store]
    command += ["--gateway", gateway.url, "--today", str(rule.today)]
    begun = time.monotonic()
    done = _run(command, environment, stderr=subprocess.PIPE)
    seconds = time.monotonic() - begun

    try:
        run = _latest_run(environment)
    except subprocess.CalledProcessError:
        screen.show_said(done.stderr)  # nothing was recorded: the job itself will have said why
        raise
    streak: int = run["consecutive_failure_count"]
    sent = len(gateway.delivered) - before
    screen.show_night(
        number,
        rule.today,
        counts=f"{due:6} {sent:6} {seconds:5.1f} s",
        outcome=run["status"],
        streak=streak,
        note=NOTES.get(number, ""),
    )
    screen.show_said(
        done.stderr
    )  # the console channel writes alerts there, so that cron mails them
    if number == BROKEN[1]:
        screen.show_remark(
            "The job's error names a mentor and a phone number; alert and log do not."
        )
    return streak if done.returncode == (1 if number in BROKEN else 0) else None


def _register_contacts(repository: Repository, rule: DueRule) -> None:
    """Register that some who would be reminded were in touch, by every way there is."""
    first, second, third, *others = repository.assignments_due(rule, CONTACTS_A_DAY)
    activities.register_direct(repository, first, rule.today)
    activities.register_by_proxy(repository, second, rule.today)
    activities.register_by_coordinator(repository, third, rule.today)
    activities.register_in_bulk(repository, others, rule.today)


def _cronguard(environment: Mapping[str, str], *arguments: str, shown: bool = False) -> str:
    """Return what the command line says; ``shown`` lets it say so to the person instead."""
    command = [sys.executable, "-m", "cronguard", *arguments]
    stdout = None if shown else subprocess.PIPE
    done = _run(command, environment, stdout=stdout)
    done.check_returncode()
    return done.stdout


def _run(
    command: list[str], environment: Mapping[str, str], **streams: int | None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    with started(command, environment, **streams) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _latest_run(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the newest row of the log, as every store shows it."""
    history = json.loads(_cronguard(environment, "history", JOB, "--limit", "1", "--json"))
    newest: dict[str, Any] = history["runs"][0]
    return newest


def _channels(environment: Mapping[str, str]) -> list[str]:
    """Return where alerts will go, as the environment and the settings have it."""
    listed = json.loads(_cronguard(environment, "channels", "--json"))
    return [channel["name"] for channel in listed["channels"] if channel["default"]]
