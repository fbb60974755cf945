"""What a hand or an ORM writes into a job's row is held to the rules of a request."""

import http.client
import json
from datetime import UTC, datetime
from urllib.parse import urlsplit

import psycopg
import pytest
from support.schema import RELEASED, apply

from cronguard.core.clock import new_id
from cronguard.core.expectations import statements
from cronguard.core.model import ChannelRule, Outcome, Owner, Run
from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.server.schema import SCHEMA_VERSION, migration_sql

pytestmark = pytest.mark.one_python

WRONG = {
    "job": ["'no name'", "''", "repeat('a', 101)"],
    "schedule": ["'nonsense'", "''", "'0 6 * * *; drop'", "repeat('1', 101)"],
    "timezone": ["''", "'no zone'", "repeat('a', 101)"],
    "grace": ["-1", "'NaN'", "'Infinity'", "1e12"],
    "max_runtime": ["0", "-5", "'NaN'", "'Infinity'"],
    "threshold": ["0", "-1", "1000001"],
    "realert_every": ["0", "-1"],
    "runbook": ["'http://example.org'", "'https://u:p@example.org'", "'https://e.org/?token=x'"],
    "channels": ["'5'", "'{}'", "'[7]'", '\'[{"channel": "no name"}]\''],
    "sources": ["'[]'", "'5'"],
    "declared": ["'{}'", "'7'"],
    "snoozed_until": ["'infinity'", "'-infinity'"],
}
RIGHT = {
    "schedule": ["null", "'0 6 * * *'"],
    "grace": ["0", "12.5"],
    "max_runtime": ["null", "60"],
    "threshold": ["1"],
    "realert_every": ["null", "3"],
    "runbook": ["null", "'https://example.org/r'"],
    "channels": ["null", "'[]'", '\'[{"channel": "slack", "threshold": 5}]\''],
    "snoozed_until": ["null", "'2027-01-01'"],
}


def values(table):
    return [(column, value) for column, found in table.items() for value in found]


@pytest.fixture
def store(database):
    """A store with one job, which has failed once."""
    made = PostgresStore(database.url)
    assert run(made) == 1
    yield made
    made.close()


def run(store, stated=()):
    """Let the job fail; its count."""
    begun = Run(
        new_id(), "nightly", datetime.now(UTC), Owner("h", 1), (ChannelRule("slack"),), stated
    )
    store.start_run(begun, is_dead=lambda _: False)
    ended = store.finish_run(begun, Outcome("failure", datetime.now(UTC)), started=True)
    return ended.consecutive_failure_count


@pytest.mark.parametrize(("column", "value"), values(WRONG))
def test_a_wrong_value_is_refused(database, store, column, value):
    """As that of a request, by an update and by an insert; the message names the column."""
    before = store.watches()
    with database.connect() as db:
        for change in (
            f"update cronguard_jobs set {column} = {value} where job = 'nightly'",
            f"insert into cronguard_jobs (job, {column}) values ('other', {value})"
            if column != "job"
            else f"insert into cronguard_jobs (job) values ({value})",
        ):
            with pytest.raises(psycopg.Error) as caught:
                db.execute(change)
            assert caught.value.sqlstate == "CG020"
            assert f"{column.split('.')[0]}" in caught.value.diag.message_primary
    assert (store.watches(), store.damaged()) == (before, [])


@pytest.mark.parametrize(("column", "value"), values(RIGHT))
def test_a_right_value_is_taken(database, store, column, value):
    """And the job goes on."""
    with database.connect() as db:
        db.execute(f"update cronguard_jobs set {column} = {value} where job = 'nightly'")
    assert store.damaged() == []
    assert run(store) == 2


def test_an_api_refuses_it_too(project):
    """Supabase's table editor and its clients write to the table over PostgREST."""
    sent = {
        "apikey": project.service_key,
        "Content-Type": "application/json",
        "Prefer": "return=minimal",
    }
    connection = http.client.HTTPConnection(urlsplit(project.url).netloc, timeout=60)
    for threshold, status in ((3, 201), (-1, 400)):
        body = json.dumps({"job": f"by.hand{threshold}", "threshold": threshold})
        connection.request("POST", "/rest/v1/cronguard_jobs", body, sent)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status == status, said
    assert json.loads(said)["code"] == "CG020"
    connection.close()


@pytest.mark.parametrize(
    "change",
    [
        "threshold = -1",
        "grace = 'NaN'",
        "schedule = 'nonsense'",
        "channels = '5'",
        "job = 'no one'",
    ],
)
def test_a_row_that_is_bad_already_hinders_nobody(stack, change):
    """The migration goes on over it; so does its job; what is put right stays right."""
    database = stack.database("newer")
    apply(database, RELEASED[SCHEMA_VERSION - 1])
    store = PostgresStore(database.url)
    with database.connect() as db:
        db.execute("insert into cronguard_jobs (job) values ('nightly')")
        db.execute(f"update cronguard_jobs set {change}")
        apply(database, migration_sql(from_version=SCHEMA_VERSION - 1))
        assert [run(store) for _ in range(2)] == [1, 2]
        assert run(store, statements(threshold=2, grace=5.0, schedule=None)) == 3
        db.execute("update cronguard_jobs set notify_recovery = true")
        db.execute("delete from cronguard_jobs where job <> 'nightly'")
    assert store.damaged() == []
    store.close()
    database.drop()


def test_what_a_run_writes_is_not_looked_at(stack):
    """Whatever guards the row costs a run nothing: it is not called."""
    database = stack.database("newer")
    apply(database)
    store = PostgresStore(database.url)
    assert run(store) == 1
    with database.connect() as db:
        db.execute("drop function cronguard_guard_job() cascade")
        db.execute(
            "create function cronguard_guard_job() returns trigger language plpgsql"
            " as $$ begin raise exception 'looked at'; end $$"
        )
        db.execute(guard_trigger())
        assert run(store) == 2
        with pytest.raises(psycopg.Error, match="looked at"):
            db.execute("update cronguard_jobs set threshold = 5")
    store.close()
    database.drop()


def guard_trigger():
    """The statement that makes the trigger."""
    text = migration_sql()
    begin = text.index("create trigger cronguard_guard")
    return text[begin : text.index(";", begin)]
