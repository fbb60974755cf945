"""Registering contacts, by everybody who may: each way makes the mentor's clock start anew."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import date


def register_own(db: sqlite3.Connection, assignment_id: int, on: date) -> None:
    """A mentor registers a contact of their own."""
    _register(db, [assignment_id], on, "mentor")


def register_as_proxy(db: sqlite3.Connection, assignment_id: int, on: date) -> None:
    """A fellow mentor registers it for somebody else."""
    _register(db, [assignment_id], on, "proxy")


def register_as_coordinator(db: sqlite3.Connection, assignment_id: int, on: date) -> None:
    """A coordinator registers it on a mentor's behalf."""
    _register(db, [assignment_id], on, "coordinator")


def register_in_bulk(db: sqlite3.Connection, assignment_ids: Iterable[int], on: date) -> None:
    """One form for a whole group, after an evening together."""
    _register(db, assignment_ids, on, "bulk")


def _register(
    db: sqlite3.Connection, assignment_ids: Iterable[int], on: date, registered_by: str
) -> None:
    with db:
        db.executemany(
            "insert into activities (assignment_id, contact_date, registered_by) values (?, ?, ?)",
            ((assignment_id, str(on), registered_by) for assignment_id in assignment_ids),
        )
