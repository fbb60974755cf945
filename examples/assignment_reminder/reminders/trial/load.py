"""The worst night: every assignment is due. Timed, with the memory it takes."""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from reminders.job import REMIND_AFTER
from reminders.repository import SetupError, open_repository
from reminders.sqlite import SQLiteRepository
from reminders.trial import people
from reminders.trial.commands import started
from reminders.trial.gateway import Gateway

EXAMPLE = Path(__file__).parents[2]
NIGHT = date(2026, 3, 2)
BYTES_OF_MAXRSS = 1 if sys.platform == "darwin" else 1024


class Measured(NamedTuple):
    """One night, measured from outside the job's process."""

    assignments: int
    seconds: float
    megabytes: float
    """The most memory that the process had at any time."""


def measure(count: int, store: str | None) -> Measured:
    """Run the job as cron would, with so many assignments that are all due.

    Args:
        store: ``supabase`` (to whose assignments they are added), or None for a new SQLite file.

    Raises:
        SetupError: Not every reminder was sent exactly once; the job has said why.
    """
    with tempfile.TemporaryDirectory(prefix="cronguard-load-") as folder:
        if store != "supabase":
            store = f"sqlite:///{folder}/mentors.db"
            SQLiteRepository.create(store).__exit__(None, None, None)
        with open_repository(store) as repository:
            repository.add_assignments(
                people.assignments(count, NIGHT - REMIND_AFTER, at_least=0, at_most=300)
            )
        environment = {"CRONGUARD_STORE": f"sqlite:///{folder}/cronguard.db"} | os.environ
        with Gateway() as gateway:
            command = [sys.executable, str(EXAMPLE), "run", "--quiet", "--store", store]
            command += ["--gateway", gateway.url, "--today", str(NIGHT + timedelta(days=1))]
            begun = time.monotonic()
            with started(command, environment) as process:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.monotonic() - begun
            if process.returncode or len(gateway.delivered) != count or gateway.repeated:
                raise SetupError(f"{len(gateway.delivered):,} of {count:,} reminders were sent")
    return Measured(count, seconds, usage.ru_maxrss * BYTES_OF_MAXRSS / 1e6)


def slope(measured: Sequence[Measured]) -> float:
    """Return the power of the number of assignments that time grows with: 1 is linear."""
    first, last = min(measured), max(measured)
    return math.log(last.seconds / first.seconds) / math.log(last.assignments / first.assignments)
