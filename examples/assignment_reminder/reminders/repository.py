"""What the job asks of a database, whichever it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import date, timedelta
from typing import NamedTuple, Protocol


class RepositoryError(Exception):
    """The database refused, or could not be reached. Never holds a person's data."""


class SetupError(RepositoryError):
    """The database is not what it should be; the text says what to do."""


class Assignment(NamedTuple):
    """A mentor's assignment, as it begins."""

    mentor: str
    """Personal data: must not get into alerts or logs."""
    phone: str
    """Likewise."""
    assigned_on: date


class Reminder(NamedTuple):
    """One message to be sent: to whom, and for which assignment and day."""

    assignment_id: int
    due_on: date
    mentor: str
    phone: str


class DueRule(NamedTuple):
    """An assignment is due when its last contact is ``remind_after`` old."""

    today: date
    remind_after: timedelta

    @property
    def latest_contact(self) -> date:
        """The newest last contact that is due today."""
        return self.today - self.remind_after


class Cursor(NamedTuple):
    """Where a batch ended."""

    last_contact_date: date
    assignment_id: int


class Batch(NamedTuple):
    """Reminders reserved together; ``last`` is None once nothing more is due."""

    reminders: Sequence[Reminder]
    last: Cursor | None


class Reserved(NamedTuple):
    """What is reserved and not sent."""

    reminders: int
    seconds: float
    """Until the earliest reservation expires; 0 if one has."""


class Disagreement(NamedTuple):
    """An assignment whose date is not what its activities and corrections say."""

    assignment_id: int
    last_contact_date: date
    expected_date: date


class Repository(AbstractContextManager["Repository"], Protocol):
    """The association's database. Each method is one transaction."""

    def count_due(self, rule: DueRule) -> int:
        """Return how many reminders are due that were neither sent nor reserved."""

    def reserve(
        self,
        rule: DueRule,
        holder: str,
        lease: timedelta,
        limit: int,
        *,
        after: Cursor | None = None,
    ) -> Batch:
        """Reserve the next reminders that are due, in order of last contact.

        What others have reserved or sent is left out: the unique key of the table decides.
        """

    def take_over(
        self, rule: DueRule, holder: str, lease: timedelta, limit: int
    ) -> Sequence[Reminder]:
        """Reserve anew what is this holder's, or whose reservation has expired.

        Expired ones that are no longer due, since there was a contact, are given up.
        """

    def reserved(self) -> Reserved | None:
        """Return what is reserved, whoever holds it; None if nothing is."""

    def mark_sent(self, reminders: Sequence[Reminder]) -> None:
        """Note reminders as sent, whoever holds them."""

    def release(self, holder: str) -> None:
        """Give up what this holder has reserved and not sent."""

    def add_assignments(self, assignments: Iterable[Assignment]) -> None:
        """Add assignments; their first contact is the day on which they began."""

    def count_assignments(self) -> int:
        """Return how many assignments there are."""

    def assignments_due(self, rule: DueRule, limit: int) -> Sequence[int]:
        """Return the ids of assignments without contact, reminded or not, oldest first."""

    def register(self, assignment_ids: Sequence[int], on: date, registered_by: str) -> None:
        """Add an activity to each assignment; the database moves their dates by itself."""

    def disagreements(self) -> Sequence[Disagreement]:
        """Return the assignments whose date is not what it should be."""

    def mend(self) -> int:
        """Put all of them right; returns how many."""


def open_repository(store: str) -> Repository:
    """Open the database that a setting names.

    Args:
        store: ``sqlite:///FILE`` or ``supabase``, which takes its address and key from
            ``SUPABASE_URL`` and ``SUPABASE_SECRET_KEY`` or ``SUPABASE_SERVICE_ROLE_KEY``.

    Raises:
        SetupError: It names neither, or something is missing.
    """
    # Each is imported only where it is used: the job starts light.
    if store == "supabase":
        from reminders.supabase import SupabaseRepository

        return SupabaseRepository.from_environment()
    if store.startswith("sqlite:///"):
        from reminders.sqlite import SQLiteRepository

        return SQLiteRepository.open(store)
    raise SetupError("the store is neither supabase nor sqlite:///FILE: set --store")
