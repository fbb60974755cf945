"""The mentoring association's database: who mentors whom, and when they were last in touch.

A mentor falls due when the last contact is `REMIND_AFTER` old. Every way of registering a contact
writes an activity, and a trigger moves ``last_contact_date`` for all of them alike: a way that
forgets to do so cannot be written.
"""

from __future__ import annotations

import random
import sqlite3
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

REMIND_AFTER = timedelta(days=50)

SCHEMA = """
create table assignments (
    id integer primary key,
    mentor text not null,             -- personal data: must not get into alerts or logs
    phone text not null,              -- likewise
    last_contact_date text not null   -- YYYY-MM-DD
);
create index assignments_by_contact on assignments (last_contact_date);

create table activities (
    id integer primary key,
    assignment_id integer not null references assignments (id),
    contact_date text not null,
    registered_by text not null
        check (registered_by in ('mentor', 'proxy', 'bulk', 'coordinator'))
);
create trigger contact_moves_the_date after insert on activities begin
    update assignments set last_contact_date = max(last_contact_date, new.contact_date)
    where id = new.assignment_id;
end;

create table reminders (
    assignment_id integer not null references assignments (id),
    due_on text not null,
    sent_on text not null,
    primary key (assignment_id, due_on)  -- one reminder each time somebody falls due
) without rowid;
"""

FIRST_NAMES = ["Ingrid", "Amina", "Lars", "Olga", "Mateo", "Yusuf", "Solveig", "Priya", "Tomasz"]
LAST_NAMES = ["Solberg", "Haddad", "Nygaard", "Petrova", "Alvarez", "Demir", "Lindqvist", "Zhang"]


class Reminder(NamedTuple):
    """One message to be sent: to whom, and for which assignment and day."""

    assignment_id: int
    due_on: str
    mentor: str
    phone: str


def connect(path: Path) -> sqlite3.Connection:
    """Open the database; several processes may have it open at once."""
    db = sqlite3.connect(path, timeout=30)
    db.execute("pragma foreign_keys = on")
    db.execute("pragma synchronous = normal")
    return db


def create(path: Path, *, first_night: date, assignments: int = 10_000, seed: int = 7) -> None:
    """Make a database in which an equal part of the assignments falls due on every night."""
    chance = random.Random(seed)  # noqa: S311  # nobody has to be unable to guess it
    db = connect(path)
    db.execute("pragma journal_mode = wal")
    db.executescript(SCHEMA)
    with db:
        db.executemany(
            "insert into assignments (mentor, phone, last_contact_date) values (?, ?, ?)",
            (
                (
                    f"{chance.choice(FIRST_NAMES)} {chance.choice(LAST_NAMES)}",
                    f"+47 9{chance.randrange(10**7):07}",
                    str(first_night - timedelta(days=chance.randint(1, REMIND_AFTER.days))),
                )
                for _ in range(assignments)
            ),
        )
    db.close()


def due(db: sqlite3.Connection, today: date) -> list[Reminder]:
    """Who is to be reminded today: too long without contact, and not reminded of it before."""
    rows = db.execute(
        """
        select id, date(last_contact_date, :days) as due_on, mentor, phone from assignments
        where last_contact_date <= :latest and not exists (
            select 1 from reminders where assignment_id = id
            and reminders.due_on = date(last_contact_date, :days)
        )
        order by last_contact_date, id
        """,
        {"days": f"+{REMIND_AFTER.days} days", "latest": str(today - REMIND_AFTER)},
    )
    return [Reminder(*row) for row in rows]


def remember(db: sqlite3.Connection, reminder: Reminder, today: date) -> bool:
    """Note a reminder as sent; False if it was noted before. The caller commits."""
    noted = db.execute(
        "insert or ignore into reminders (assignment_id, due_on, sent_on) values (?, ?, ?)",
        (reminder.assignment_id, reminder.due_on, str(today)),
    )
    return noted.rowcount == 1
