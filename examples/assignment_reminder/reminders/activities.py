"""Registering contacts, by everybody who may.

Each way writes activities and nothing else. The database moves ``last_contact_date``, so a way that
forgets to do so cannot be written.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from reminders.repository import Repository


def register_direct(repository: Repository, assignment_id: int, on: date) -> None:
    """Register a mentor's own contact."""
    repository.register([assignment_id], on, "direct")


def register_by_proxy(repository: Repository, assignment_id: int, on: date) -> None:
    """Register a contact that a fellow mentor reports for somebody else."""
    repository.register([assignment_id], on, "proxy")


def register_by_coordinator(repository: Repository, assignment_id: int, on: date) -> None:
    """Register a contact that a coordinator reports on a mentor's behalf."""
    repository.register([assignment_id], on, "coordinator_proxy")


def register_in_bulk(repository: Repository, assignment_ids: Sequence[int], on: date) -> None:
    """Register one contact for a whole group, after an evening together."""
    repository.register(assignment_ids, on, "bulk")
