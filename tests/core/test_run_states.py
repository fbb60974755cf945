"""What the states of a run mean is said in one table, and nobody else knows another state."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import get_args

import pytest

from cronguard.core.model import STREAK, EndStatus, RunStatus
from cronguard.core.run_states import FAILURES, RUN_STATES
from cronguard.stores.sql import sql_files

README = Path(__file__).parents[2] / "README.md"
EFFECTS = {"goes back to 0": "reset", "grows by 1": "grow", "stays": "keep"}


def test_every_state_is_in_the_tables():
    """What it does to the streak, and how it is shown."""
    assert STREAK.keys() == set(get_args(EndStatus))
    assert RUN_STATES.keys() == set(get_args(RunStatus)) == {"running", *STREAK}


def test_failures_look_bad_and_nothing_else_does():
    """Colours say the same as the streak; another mark says it to those who see no colour."""
    assert set(FAILURES) == {name for name, state in RUN_STATES.items() if state.role == "bad"}
    for marks in zip(
        *((state.mark, state.ascii_mark) for state in RUN_STATES.values()), strict=True
    ):
        assert len(set(marks)) == len(RUN_STATES)
    assert "".join(state.ascii_mark for state in RUN_STATES.values()).isascii()


def test_the_readme_lists_the_ends():
    """Each with what it does to the streak."""
    rows = re.findall(
        r"^\| .+ \| `(\w+)`.* \| (.+) \|$", README.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {end: EFFECTS[effect] for end, effect in rows if effect in EFFECTS} == STREAK


@pytest.mark.parametrize("schema", ["sqlite", "spool"])
def test_sqlite_knows_every_state(schema):
    """The log's own check in the store's file and in the spool's: these states and no other."""
    with closing(sqlite3.connect(":memory:")) as db:
        for file in sql_files(schema):
            db.executescript(file.read_text(encoding="utf-8"))
        add = "INSERT INTO cron_execution_logs (id, job, status, started_at) VALUES (?, 'a', ?, '')"
        for status in RUN_STATES:
            db.execute(add, (status, status))
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            db.execute(add, ("another", "another"))


def test_postgres_knows_every_state(database):
    """The log's own check, and that of a request."""
    with database.connect() as db:
        (check,) = db.execute(
            "select pg_get_constraintdef(oid) from pg_constraint"
            " where conname = 'cron_execution_logs_known_status'"
        ).fetchone()
    assert set(re.findall(r"'(\w+)'", check)) == RUN_STATES.keys()
    checks = next(file for file in sql_files("postgres/functions") if file.name == "checks.sql")
    (ends,) = re.findall(r'"end": \["string", "\^\((\S+)\)\$"', checks.read_text(encoding="utf-8"))
    assert set(ends.split("|")) == STREAK.keys()
