"""Every path that registers an activity moves the date, and nothing else can."""

import sqlite3
import threading
from contextlib import closing
from datetime import timedelta

import httpx
import psycopg
import pytest
from click.testing import CliRunner
from support import reminder
from support.reminder import LONG_AGO, NIGHT, add, dates

from reminders import activities
from reminders.cli import main
from reminders.repository import RepositoryError

DAY = str(NIGHT)
BEFORE = str(LONG_AGO)


@pytest.mark.parametrize("path", ["direct", "by_proxy", "by_coordinator", "in_bulk"])
def test_each_path_updates_the_date(place, path):
    """Direct, proxy, coordinator proxy and bulk registration, each by its own function."""
    add(place, 2)
    with place.open() as repository:
        getattr(activities, f"register_{path}")(repository, [1] if path == "in_bulk" else 1, NIGHT)
    assert dates(place) == {1: DAY, 2: BEFORE}
    (who,) = place.rows("select registered_by from activities")
    assert who[0] in {"direct", "proxy", "coordinator_proxy", "bulk"}


def test_a_bulk_of_a_thousand_updates_every_date(place):
    """One request, one transaction."""
    add(place, 1_001)
    with place.open() as repository:
        activities.register_in_bulk(repository, range(1, 1_001), NIGHT)
    found = dates(place)
    assert found.pop(1_001) == BEFORE
    assert set(found.values()) == {DAY}


def test_a_bulk_with_an_unknown_assignment_changes_nothing(place):
    """All or nothing; the error holds no value."""
    add(place, 3)
    with place.open() as repository, pytest.raises(RepositoryError):
        activities.register_in_bulk(repository, [1, 2, 999], NIGHT)
    assert set(dates(place).values()) == {BEFORE}
    assert place.rows("select count(*) from activities") == [(0,)]


def test_a_contact_registered_late_does_not_turn_back_the_date(place):
    """A contact of last year, entered today, leaves a newer one in force."""
    add(place, 1)
    with place.open() as repository:
        activities.register_direct(repository, 1, NIGHT)
        activities.register_direct(repository, 1, NIGHT - timedelta(days=365))
    assert dates(place) == {1: DAY}


def test_a_removed_or_changed_activity_counts_too(place):
    """The date is what the activities say, whatever happens to them."""
    add(place, 2)
    with place.open() as repository:
        activities.register_direct(repository, 1, NIGHT)
    place.rows("update activities set assignment_id = 2 where assignment_id = 1")
    assert dates(place) == {1: BEFORE, 2: DAY}
    place.rows("delete from activities where assignment_id = 2")
    assert set(dates(place).values()) == {BEFORE}


def test_many_register_at_once(place):
    """Contacts of one assignment that arrive together: the newest one counts."""
    add(place, 1)
    ready = threading.Barrier(4)

    def work(days):
        with place.open() as repository:
            ready.wait()
            for each in range(5):
                activities.register_direct(repository, 1, NIGHT - timedelta(days=days + each))

    crowd = [threading.Thread(target=work, args=(10 * number,)) for number in range(4)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(reminder.ENOUGH)
    assert dates(place) == {1: DAY}
    assert place.rows("select count(*) from activities") == [(20,)]


# --- around the one way -------------------------------------------------------------------------

BYPASSES = {
    "the date by hand": f"update assignments set last_contact_date = '{DAY}' where id = 1",
    "the beginning by hand": f"update assignments set assigned_on = '{DAY}' where id = 1",
    "an assignment with a date of its own": (
        "insert into assignments (mentor, phone, assigned_on, last_contact_date)"
        f" values ('x', 'y', '{BEFORE}', '{DAY}')"
    ),
    "a correction that changes": "update contact_corrections set reason = 'x' where id = 1",
    "a correction that goes": "delete from contact_corrections where id = 1",
}
SQLITE = {
    "an assignment replaced": (
        f"insert or replace into assignments values (1, 'x', 'y', '{DAY}', '{DAY}')"
    ),
    "an activity replaced": (
        f"insert or replace into activities values (1, 2, '{BEFORE}', 'direct', null)"
    ),
    "an activity in another's place": "update or replace activities set id = 1 where id = 2",
    "a correction replaced": (
        f"insert or replace into contact_corrections values (1, 2, '{DAY}', '{DAY}', 'x', 'y', 'z')"
    ),
    "a date that is none": (
        "insert into activities (assignment_id, contact_date, registered_by)"
        " values (1, '02/03/2026', 'direct')"
    ),
}
POSTGRES = {
    "activities emptied": "truncate activities",
    "corrections emptied": "truncate contact_corrections cascade",
    "an upsert": (
        "insert into assignments overriding system value values (1, 'x', 'y', '2025-12-12',"
        " '2025-12-12') on conflict (id) do update set last_contact_date = '2026-03-02'"
    ),
}


def prepared(place):
    """Two assignments, two activities of the second and a correction of the first."""
    add(place, 2)
    with place.open() as repository:
        activities.register_direct(repository, 2, LONG_AGO + timedelta(days=1))
        activities.register_direct(repository, 2, LONG_AGO + timedelta(days=2))
    place.rows(
        "insert into contact_corrections"
        " (assignment_id, last_contact_date, previous_date, reason, corrected_by)"
        f" values (1, '{BEFORE}', '{BEFORE}', 'a test', 'somebody')"
    )
    return dates(place)


@pytest.mark.parametrize("statement", BYPASSES.values(), ids=BYPASSES)
def test_going_around_fails_in_the_database(place, statement):
    """Even the owner of the database cannot set what does not follow from activities."""
    before = prepared(place)
    with pytest.raises((sqlite3.IntegrityError, psycopg.errors.CheckViolation)):
        place.rows(statement)
    assert dates(place) == before


@pytest.mark.parametrize("statement", SQLITE.values(), ids=SQLITE)
def test_going_around_sqlite(on_sqlite, statement):
    """What SQLite would do without a word to a trigger."""
    before = prepared(on_sqlite)
    with pytest.raises(sqlite3.IntegrityError):
        on_sqlite.rows(statement)
    assert dates(on_sqlite) == before


@pytest.mark.parametrize("statement", POSTGRES.values(), ids=POSTGRES)
def test_going_around_postgres(on_supabase, statement):
    """What PostgreSQL would do without a word to a row's trigger."""
    before = prepared(on_supabase)
    with pytest.raises(psycopg.errors.CheckViolation):
        on_supabase.rows(statement)
    assert dates(on_supabase) == before


def test_an_activity_cannot_skip_the_trigger(on_supabase):
    """Bulk copies, and a session that replays a replica, in which ordinary triggers are silent."""
    add(on_supabase, 2)
    columns = "activities (assignment_id, contact_date, registered_by)"
    with on_supabase.project.database.admin() as db:
        with db.cursor() as cursor, cursor.copy(f"copy {columns} from stdin") as copy:
            copy.write_row((1, DAY, "bulk"))
        db.execute("set session_replication_role = replica")
        db.execute(f"insert into {columns} values (2, '{DAY}', 'direct')")
        with pytest.raises(psycopg.errors.CheckViolation):
            db.execute("update assignments set last_contact_date = '2020-01-01' where id = 1")
    assert dates(on_supabase) == {1: DAY, 2: DAY}


FORBIDDEN = {
    "its trigger off": "alter table activities disable trigger activity_written",
    "a table emptied": "truncate reminders",
    "an assignment deleted": "delete from assignments where id = 1",
    "a correction of its own": (
        "insert into contact_corrections (assignment_id, last_contact_date, reason)"
        f" values (1, '{DAY}', 'x')"
    ),
}


@pytest.mark.parametrize("statement", FORBIDDEN.values(), ids=FORBIDDEN)
def test_the_jobs_key_cannot_switch_it_off(on_supabase, statement):
    """It may write activities, but not touch the rule, empty a table or correct."""
    add(on_supabase, 1)
    with on_supabase.project.database.connect() as db:
        db.execute("set role service_role")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(statement)


def test_plain_requests_to_the_tables_obey_too(on_supabase):
    """A path that nobody thought of: PostgREST's own, with the job's key."""
    add(on_supabase, 1)
    rest = f"{on_supabase.project.url}/rest/v1"
    headers = {"apikey": on_supabase.project.secret_key}
    body = {"assignment_id": 1, "contact_date": DAY, "registered_by": "direct"}
    assert httpx.post(f"{rest}/activities", headers=headers, json=body).status_code == 201
    assert dates(on_supabase) == {1: DAY}
    by_hand = {"last_contact_date": "2026-04-01"}
    refused = httpx.patch(f"{rest}/assignments?id=eq.1", headers=headers, json=by_hand)
    assert (refused.status_code, refused.json()["code"]) == (400, "23514")


# --- the audit ------------------------------------------------------------------------------------


def test_the_audit_lists_and_mends(place):
    """What disagrees all the same, since a rule was switched off, is listed and put right."""
    add(place, 4)
    with place.open() as repository:
        activities.register_direct(repository, 2, NIGHT)
    assert audit(place).stdout == "All dates agree with the activities.\n"
    place.break_date(2, "2025-01-01")
    place.break_date(3, "2026-05-05")
    done = audit(place)
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        f"assignment 2: last contact is 2025-01-01, activities say {DAY}",
        f"assignment 3: last contact is 2026-05-05, activities say {BEFORE}",
    ]
    assert "--mend" in done.stderr
    assert audit(place, "--mend").stdout.endswith("2 put right.\n")
    assert dates(place) == {1: BEFORE, 2: DAY, 3: BEFORE, 4: BEFORE}
    assert audit(place).exit_code == 0


def audit(place, *options):
    arguments = ["audit", "--store", place.store, *options]
    return CliRunner(env=place.environ).invoke(main, arguments)


def test_sqlite_file_is_its_owners_alone(on_sqlite):
    """It holds names and telephone numbers."""
    assert on_sqlite.path.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(on_sqlite.path)) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
