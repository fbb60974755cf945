"""The association's database in an SQLite file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from reminders.repository import (
    Assignment,
    Batch,
    Cursor,
    Disagreement,
    DueRule,
    Reminder,
    RepositoryError,
    Reserved,
    SetupError,
)

BUSY_SECONDS = 30
LONGEST_REASON = 500
DUE = """
    from assignments where last_contact_date <= :latest
    and (last_contact_date, id) > (:after_date, :after_id) and not exists (
        select 1 from reminders where reminders.assignment_id = assignments.id
        and reminders.due_on = date(last_contact_date, :days)
    )
"""
ORDER = "order by last_contact_date, id limit :limit"
FIRST = Cursor(date.min, 0)
STILL_DUE = """
    exists (select 1 from assignments where id = reminders.assignment_id
    and date(last_contact_date, :days) = reminders.due_on)
"""


class CorrectionError(Exception):
    """A correction that is refused; ``status`` is HTTP's word for why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Correction(NamedTuple):
    """What a correction did, as its row has it."""

    id: int
    assignment_id: int
    last_contact_date: str
    previous_date: str


class SQLiteRepository:
    """See `repository.Repository`. One for each thread and process."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        self._db.execute("pragma foreign_keys = on")
        self._db.execute("pragma synchronous = normal")

    @classmethod
    def open(cls, store: str) -> Self:
        """Open ``sqlite:///FILE``, which has to be there.

        Raises:
            SetupError: There is no such file, or it is something else.
        """
        path = database_path(store)
        hint = f"run: assignment-reminder init --store {store}"
        if not path.exists():
            raise SetupError(f"there is no {path}; {hint}")
        try:
            repository = cls(path)
            repository.count_assignments()
        except sqlite3.Error:
            raise SetupError(f"{path} is no database of this job's; {hint} for a new one") from None
        return repository

    @classmethod
    def create(cls, store: str) -> Self:
        """Open ``sqlite:///FILE``; make what is not there yet."""
        from importlib.resources import files  # slow to import, and the job needs it not

        path = database_path(store)
        if not path.parent.is_dir():
            raise SetupError(f"there is no folder {path.parent}: create it first")
        if path.exists() and path.stat().st_size:
            return cls.open(store)
        path.touch(mode=0o600)
        repository = cls(path)
        repository._db.execute("pragma journal_mode = wal")
        schema = files("reminders").joinpath("sql/sqlite.sql").read_text("utf-8")
        repository._db.executescript(f"begin;\n{schema}\ncommit;")
        return repository

    def count_due(self, rule: DueRule) -> int:
        """Count what is neither sent nor reserved."""
        (count,) = self._db.execute(f"select count(*) {DUE}", _values(rule, FIRST)).fetchone()
        return int(count)

    def reserve(
        self,
        rule: DueRule,
        holder: str,
        lease: timedelta,
        limit: int,
        *,
        after: Cursor | None = None,
    ) -> Batch:
        """Reserve the next batch; the write lock keeps others out until it is committed."""
        days = rule.remind_after
        columns = "select id, last_contact_date, mentor, phone"
        values = _values(rule, after or FIRST) | {"limit": limit}
        with self._transaction():
            rows = self._db.execute(f"{columns} {DUE} {ORDER}", values).fetchall()
            found = [
                (Cursor(date.fromisoformat(contact), id_), mentor, phone)
                for id_, contact, mentor, phone in rows
            ]
            reminders = [
                Reminder(at.assignment_id, at.last_contact_date + days, mentor, phone)
                for at, mentor, phone in found
            ]
            self._db.executemany(
                "insert into reminders (assignment_id, due_on, holder, reserved_until)"
                " values (?, ?, ?, ?)",
                [(r.assignment_id, str(r.due_on), holder, _until(lease)) for r in reminders],
            )
        return Batch(reminders, found[-1][0] if found else None)

    def take_over(
        self, rule: DueRule, holder: str, lease: timedelta, limit: int
    ) -> Sequence[Reminder]:
        """Reserve anew what is ours or has expired."""
        values = _values(rule, FIRST) | {"holder": holder, "now": time.time(), "limit": limit}
        free = "state = 'reserved' and (reserved_until <= :now or holder = :holder)"
        with self._transaction():
            self._db.execute(f"delete from reminders where {free} and not {STILL_DUE}", values)  # noqa: S608  # constants
            rows = self._db.execute(
                "select assignment_id, due_on, mentor, phone from reminders"  # noqa: S608  # likewise
                " join assignments on assignments.id = assignment_id"
                f" where {free} order by due_on, assignment_id limit :limit",
                values,
            ).fetchall()
            self._db.executemany(
                "update reminders set holder = ?, reserved_until = ?"
                " where assignment_id = ? and due_on = ?",
                [(holder, _until(lease), id_, due_on) for id_, due_on, *_ in rows],
            )
        return [
            Reminder(id_, date.fromisoformat(due_on), mentor, phone)
            for id_, due_on, mentor, phone in rows
        ]

    def reserved(self) -> Reserved | None:
        """Count reservations, and look at the earliest."""
        count, until = self._db.execute(
            "select count(*), min(reserved_until) from reminders where state = 'reserved'"
        ).fetchone()
        return Reserved(count, max(0.0, until - time.time())) if count else None

    def mark_sent(self, reminders: Sequence[Reminder]) -> None:
        """Note them as sent, in one transaction."""
        with self._transaction():
            self._db.executemany(
                "update reminders set state = 'sent', sent_at = datetime('now')"
                " where assignment_id = ? and due_on = ?",
                [(r.assignment_id, str(r.due_on)) for r in reminders],
            )

    def release(self, holder: str) -> None:
        """Delete the holder's reservations."""
        with self._transaction():
            self._db.execute(
                "delete from reminders where state = 'reserved' and holder = ?", (holder,)
            )

    def add_assignments(self, assignments: Iterable[Assignment]) -> None:
        """Insert them in one transaction."""
        with self._transaction():
            self._db.executemany(
                "insert into assignments (mentor, phone, assigned_on, last_contact_date)"
                " values (?, ?, ?, ?)",
                ((a.mentor, a.phone, str(a.assigned_on), str(a.assigned_on)) for a in assignments),
            )

    def count_assignments(self) -> int:
        """Count them all."""
        (count,) = self._db.execute("select count(*) from assignments").fetchone()
        return int(count)

    def assignments_due(self, rule: DueRule, limit: int) -> Sequence[int]:
        """Look at dates alone."""
        rows = self._db.execute(
            f"select id from assignments where last_contact_date <= :latest {ORDER}",  # noqa: S608  # likewise
            {"latest": str(rule.latest_contact), "limit": limit},
        )
        return [id_ for (id_,) in rows]

    def register(self, assignment_ids: Sequence[int], on: date, registered_by: str) -> None:
        """Insert activities; a trigger moves the dates."""
        with self._transaction():
            self._db.executemany(
                "insert into activities (assignment_id, contact_date, registered_by)"
                " values (?, ?, ?)",
                ((id_, str(on), registered_by) for id_ in assignment_ids),
            )

    def disagreements(self) -> Sequence[Disagreement]:
        """Compare every assignment with the view of expected dates."""
        rows = self._db.execute(
            "select id, last_contact_date, expected_date from assignments"
            " join expected_dates on assignment_id = id"
            " where last_contact_date is not expected_date order by id"
        )
        return [
            Disagreement(id_, date.fromisoformat(found), date.fromisoformat(expected))
            for id_, found, expected in rows
        ]

    def mend(self) -> int:
        """Set what differs to what the view says."""
        with self._transaction():
            return self._db.execute(
                "update assignments set last_contact_date = expected_date from expected_dates"
                " where assignment_id = id and last_contact_date is not expected_date"
            ).rowcount

    def last_contact_date(self, assignment_id: int) -> str | None:
        """Return an assignment's date, None if there is no such assignment."""
        row = self._db.execute(
            "select last_contact_date from assignments where id = ?", (assignment_id,)
        ).fetchone()
        return None if row is None else str(row[0])

    def correct(
        self, assignment_id: int, on: date, reason: str, *, today: date, corrected_by: str
    ) -> Correction:
        """Set one assignment's date by hand, with an audit row.

        Raises:
            CorrectionError: There is no such assignment, the date is in the future, or the reason
                is missing or too long.
        """
        if on > today:
            raise CorrectionError(422, "last_contact_date is in the future")
        if not reason.strip() or len(reason) > LONGEST_REASON:
            raise CorrectionError(422, f"reason must have 1 to {LONGEST_REASON} characters")
        with self._transaction():
            previous = self.last_contact_date(assignment_id)
            if previous is None:
                raise CorrectionError(404, "there is no such assignment")
            added = self._db.execute(
                "insert into contact_corrections"
                " (assignment_id, last_contact_date, previous_date, reason, corrected_by)"
                " values (?, ?, ?, ?, ?)",
                (assignment_id, str(on), previous, reason.strip(), corrected_by),
            )
        return Correction(added.lastrowid or 0, assignment_id, str(on), previous)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("begin immediate")
            yield
            self._db.execute("commit")
        except BaseException as error:
            if self._db.in_transaction:
                self._db.execute("rollback")
            if isinstance(error, sqlite3.Error):
                raise RepositoryError("the database refused") from error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()


def database_path(store: str) -> Path:
    """Return the file that ``sqlite:///FILE`` names; a fourth slash makes it absolute."""
    name = store.removeprefix("sqlite:///")
    if name in {store, ""}:
        raise SetupError("the store must be sqlite:///FILE")
    return Path(name)


def _until(lease: timedelta) -> float:
    return time.time() + lease.total_seconds()


def _values(rule: DueRule, after: Cursor) -> dict[str, str | int | float]:
    return {
        "latest": str(rule.latest_contact),
        "days": f"+{rule.remind_after.days} days",
        "after_date": str(after.last_contact_date),
        "after_id": after.assignment_id,
    }
