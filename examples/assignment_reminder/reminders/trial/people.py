"""Mentors who do not exist."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta

from reminders.repository import Assignment

FIRST_NAMES = ["Ingrid", "Amina", "Lars", "Olga", "Mateo", "Yusuf", "Solveig", "Priya", "Tomasz"]
LAST_NAMES = ["Solberg", "Haddad", "Nygaard", "Petrova", "Alvarez", "Demir", "Lindqvist", "Zhang"]


def assignments(
    count: int, before: date, *, at_least: int = 1, at_most: int = 50, seed: int = 7
) -> Iterator[Assignment]:
    """Yield assignments that began between ``at_least`` and ``at_most`` days before a day."""
    chance = random.Random(seed)  # noqa: S311  # nobody has to be unable to guess it
    for _ in range(count):
        yield Assignment(
            f"{chance.choice(FIRST_NAMES)} {chance.choice(LAST_NAMES)}",
            f"+47 9{chance.randrange(10**7):07}",
            before - timedelta(days=chance.randint(at_least, at_most)),
        )
