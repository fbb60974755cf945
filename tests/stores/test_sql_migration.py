"""The migration: made once or many times, over nothing or over a log from before cronguard."""

import os
import re
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from support.schema import RELEASED, apply, catalog
from support.stack.install import programs

from cronguard.core.clock import new_id
from cronguard.core.errors import ConfigError, StoreConfigError
from cronguard.core.model import ChannelRule, Failure, Outcome, Owner, Run
from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.server.schema import (
    SCHEMA_VERSION,
    migration_file_name,
    migration_sql,
    takes_over_log,
    with_legacy_job,
)

pytestmark = pytest.mark.one_python

LEGACY = {
    "card": """
        create table cron_execution_logs (
            id uuid primary key default gen_random_uuid(),
            started_at timestamptz not null default now(),
            finished_at timestamptz,
            status text not null check (status in ('running', 'success', 'failure')),
            error_message text,
            consecutive_failure_count integer not null default 0)""",
    "serial": """
        create table cron_execution_logs (
            id bigserial primary key,
            started_at timestamp not null default now(),
            finished_at timestamp,
            status varchar(20) not null default 'running'
                check (status in ('running', 'success', 'failed')),
            error_message varchar(500),
            consecutive_failure_count smallint not null default 0)""",
    "enum": """
        create type cron_status as enum ('running', 'success', 'error');
        create table cron_execution_logs (
            id integer primary key,
            edge_function text not null,
            started_at timestamptz not null,
            finished_at timestamptz,
            status cron_status not null,
            error_message text,
            consecutive_failure_count bigint not null)""",
}
FAILED = {"card": "failure", "serial": "failed", "enum": "error"}


@pytest.fixture(params=["legacy", "newer"])
def bare(request, stack):
    """A project database without cronguard's schema, in each privilege regime."""
    database = stack.database(request.param)
    database.regime = request.param
    yield database
    database.drop()


@pytest.fixture
def plain(stack):
    """A PostgreSQL database that knows nothing of Supabase."""
    database = stack.plain_database()
    yield database
    database.drop()


def old_rows(kind, *statuses):
    """Rows of the program before, a day apart; its own count on each."""
    count, rows = 0, []
    for day, status in enumerate(statuses):
        count = {"success": 0, "running": count}.get(status, count + 1)
        word = FAILED[kind] if status == "failure" else status
        at = datetime(2026, 1, 1, 6, tzinfo=UTC) + timedelta(days=day)
        ended = None if status == "running" else at + timedelta(minutes=1)
        rows.append((at, ended, word, None if status != "failure" else "oh", count))
    return rows


def install_old(database, kind, rows):
    with database.connect() as db:
        db.execute("set timezone = 'UTC'")
        db.execute(LEGACY[kind])
        extra = ", edge_function, id" if kind == "enum" else ""
        for number, row in enumerate(rows):
            values = (*row, *(("remind", number + 1) if extra else ()))
            db.execute(
                "insert into cron_execution_logs (started_at, finished_at, status, error_message,"
                f" consecutive_failure_count{extra}) values"
                f" (%s, %s, %s{'::cron_status' if extra else ''}, %s, %s"
                f"{', %s, %s' if extra else ''})",
                values,
            )


def fail(store, job, **changes):
    run = Run(new_id(), job, datetime.now(UTC), Owner("h", 1), channels=(ChannelRule("told"),))
    run = run._replace(**changes)
    store.start_run(run, is_dead=lambda _: False)
    outcome = Outcome("failure", datetime.now(UTC), 1.0, Failure("ValueError"))
    return store.finish_run(run, outcome, started=True).consecutive_failure_count


def test_applying_it_again_changes_nothing(bare):
    """Twice gives what once gives; its version is what the code says."""
    apply(bare)
    once = catalog(bare)
    apply(bare)
    assert catalog(bare) == once
    store = PostgresStore(bare.url)
    assert store.schema_version() == SCHEMA_VERSION
    store.close()


def test_many_migrators_at_once_do_no_harm(bare):
    """Eight processes that start together all succeed."""
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: apply(bare), range(8))) == [None] * 8


def test_applying_it_while_jobs_run(bare, monkeypatch):
    """Neither ever waits for the other for good, which PostgreSQL would end with an error."""
    monkeypatch.setattr("cronguard.stores.server.postgres._TRIES", 1)
    apply(bare)
    done = threading.Event()

    def work(job):
        store = PostgresStore(bare.url, timeout=60)
        count = 0
        while not done.is_set():
            count += 1
            assert fail(store, job) == count
            store.sweep(Owner("h", 1), is_dead=lambda _: False)
            store.claim_alerts(channels=["told"])
            assert len(store.jobs()) > 0
            store.prune(keep=timedelta(days=1))
        store.close()
        return count

    with ThreadPoolExecutor(3) as pool:
        working = [pool.submit(work, f"job{number}") for number in range(3)]
        try:
            for _ in range(15):
                apply(bare)
        finally:
            done.set()
        assert min(each.result() for each in working) > 0


def test_it_works_on_plain_postgresql(plain):
    """Without Supabase's roles, extensions and Vault; migrate says whether it did anything."""
    store = PostgresStore(plain.url)
    assert store.schema_version() == 0
    assert store.migrate()
    assert not store.migrate()
    assert [fail(store, "a"), fail(store, "a")] == [1, 2]
    with pytest.raises(StoreConfigError, match="supabase_vault") as caught:
        store.get_secret("cronguard_x")
    assert caught.value.code == "vault_missing"
    store.close()


@pytest.mark.parametrize("kind", LEGACY)
def test_an_older_log_keeps_its_rows_and_its_streak(stack, kind):
    """Rows are kept with their ids, named after the job given; the next failure counts on."""
    database = stack.database("newer")
    rows = old_rows(kind, "failure", "success", "failure", "failure", "running")
    install_old(database, kind, rows)
    with database.connect() as db:
        before = db.execute("select id from cron_execution_logs order by started_at").fetchall()

    apply(database, migration_sql("reminder"))
    apply(database, migration_sql())

    with database.connect() as db:
        db.execute("set timezone = 'UTC'")
        kept = db.execute(
            "select id, job, status, started_at, finished_at, consecutive_failure_count"
            " from cron_execution_logs order by seq"
        ).fetchall()
        columns = dict(
            db.execute(
                "select column_name, data_type from information_schema.columns"
                " where table_name = 'cron_execution_logs'"
            ).fetchall()
        )
    assert [row[:1] for row in kept] == before
    assert {row[1] for row in kept} == {"reminder"}
    assert [row[2] for row in kept] == ["failure", "success", "failure", "failure", "cancelled"]
    assert [row[3:5] for row in kept] == [row[:2] for row in rows]
    assert [row[5] for row in kept] == [1, 0, 1, 2, 2]
    fresh = {
        "status": "text",
        "started_at": "timestamp with time zone",
        "consecutive_failure_count": "integer",
        "run_id": "uuid",
        "error_message": "text",
    }
    assert {name: columns[name] for name in fresh} == fresh

    store = PostgresStore(database.url)
    (job,) = store.jobs()
    assert (job.job, job.consecutive_failure_count) == ("reminder", 2)
    assert job.last_success_at == rows[1][1]
    assert fail(store, "reminder") == 3
    assert [alert.kind for alert in store.alerts()] == ["failing"]
    assert [run.consecutive_failure_count for run in store.history("reminder")][:2] == [3, 2]
    store.close()
    database.drop()


@pytest.mark.parametrize("kind", LEGACY)
def test_a_log_that_version_1_took_over_becomes_the_same(stack, kind):
    """As one that is taken over today."""
    found = []
    for texts in (
        (with_legacy_job(RELEASED[1], "reminder"), migration_sql(from_version=1)),
        (migration_sql("reminder"),),
    ):
        database = stack.database("newer")
        install_old(database, kind, old_rows(kind, "failure"))
        for text in texts:
            apply(database, text)
        found.append(catalog(database))
        database.drop()
    assert found[0] == found[1]


def test_a_log_with_nothing_but_counts_is_understood(stack):
    """No status, no end, no id: the counts alone tell failures from successes."""
    database = stack.database()
    with database.connect() as db:
        db.execute(
            "create table cron_execution_logs (started_at timestamptz,"
            " consecutive_failure_count integer)"
        )
        db.execute("insert into cron_execution_logs values ('2026-01-01Z', 0), ('2026-01-02Z', 1)")
    apply(database, migration_sql("reminder"))
    store = PostgresStore(database.url)
    assert fail(store, "reminder") == 2
    assert store.jobs()[0].last_success_at == datetime(2026, 1, 1, tzinfo=UTC)
    store.close()
    database.drop()


@pytest.mark.parametrize("rows", [0, 1])
def test_a_log_of_somebody_elses_is_left_alone(bare, rows):
    """With rows or without: it says which option takes it over, and changes nothing."""
    install_old(bare, "card", old_rows("card", "success")[:rows])
    before = catalog(bare)
    store = PostgresStore(bare.url)
    with pytest.raises(StoreConfigError, match=r"not cronguard's: .* --legacy-job NAME") as caught:
        store.migrate()
    assert caught.value.code == "legacy_job_missing"
    assert catalog(bare) == before
    assert store.migrate("reminder")
    assert len(store.history("reminder")) == rows
    assert fail(store, "reminder") == 1
    store.close()


def test_taking_over_is_sql_that_only_the_option_writes(bare):
    """Otherwise no statement for it is there; with it, on nothing, the schema is the same."""
    assert not takes_over_log(migration_sql())
    apply(bare, migration_sql("reminder"))
    adopted = catalog(bare)
    database = bare.stack.database(bare.regime)
    apply(database)
    fresh = catalog(database)
    database.drop()
    assert adopted == fresh


@pytest.mark.parametrize("name", ["", "two words", "x'; drop table y; --", "ø", "a" * 101])
def test_a_legacy_name_that_is_no_job_name_is_refused(name):
    """It never reaches the SQL text."""
    with pytest.raises(ConfigError, match="--legacy-job"):
        migration_sql(name)


def test_a_client_that_needs_more_says_which_side_to_upgrade(database):
    """An older schema answers a newer client with a sentence; an older client is served."""
    store = PostgresStore(database.url)
    with pytest.raises(StoreConfigError, match="run cronguard init postgres") as caught:
        store._call("cronguard_status", {"schema": SCHEMA_VERSION + 1})
    assert caught.value.code == "schema_older"
    assert store._call("cronguard_status", {"schema": SCHEMA_VERSION - 1}) == []
    store.close()


def test_every_statement_that_changes_rows_has_a_where():
    """Supabase's API sessions run with safeupdate."""
    text = re.sub(r"--[^\n]*", "", migration_sql("old"))
    changing = [
        statement
        for statement in text.split(";")
        if re.search(r"^\s*(update|delete from)\s+\w+\.", statement, re.MULTILINE | re.IGNORECASE)
    ]
    assert len(changing) > 10
    assert [s for s in changing if not re.search(r"\bwhere\b", s, re.IGNORECASE)] == []


def test_every_function_is_pinned_and_none_is_a_definer(database):
    """search_path is empty in all of them, and they run with the caller's rights."""
    with database.connect() as db:
        loose = db.execute(
            "select proname from pg_proc where pronamespace = 'public'::regnamespace"
            " and (prosecdef or not 'search_path=\"\"' = any (proconfig))"
        ).fetchall()
    assert loose == []
    assert migration_sql().rstrip().endswith("notify pgrst, 'reload schema';")


def test_the_file_has_the_name_that_the_cli_expects():
    """<YYYYMMDDHHMMSS>_name.sql."""
    moment = datetime(2026, 11, 23, 4, 5, 6, tzinfo=UTC)
    assert migration_file_name(moment) == "20261123040506_cronguard.sql"


# --- with Supabase's own command line -------------------------------------------------------------


def supabase(*arguments, cwd):
    environ = {
        **os.environ,
        "SUPABASE_TELEMETRY_DISABLED": "1",
        "DO_NOT_TRACK": "1",
        "HOME": str(cwd),
    }
    return subprocess.run(
        [programs().supabase_cli, *arguments],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.long
def test_supabases_advisors_find_nothing(bare, tmp_path):
    """No WARN and no ERROR, in either regime."""
    apply(bare)
    found = supabase(
        "db", "advisors", f"--remote={bare.url}", "--level=warn", "--fail-on=warn", cwd=tmp_path
    )
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.long
def test_the_advisors_would_find_something(stack, tmp_path):
    """The same command fails where there is something to find."""
    database = stack.database("legacy")
    with database.connect() as db:
        db.execute("create table public.open_to_all (id integer primary key)")
    found = supabase("db", "advisors", f"--remote={database.url}", "--fail-on=warn", cwd=tmp_path)
    database.drop()
    assert found.returncode != 0
    assert "rls_disabled_in_public" in found.stdout


@pytest.mark.long
def test_db_push_applies_the_written_file(bare, tmp_path):
    """The real CLI takes it, over a log from before too; without a name it changes nothing."""
    install_old(bare, "serial", old_rows("serial", "failure"))
    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    file = folder / migration_file_name(datetime(2026, 11, 23, tzinfo=UTC))

    file.write_text(migration_sql())
    refused = supabase("db", "push", f"--remote={bare.url}", "--yes", cwd=tmp_path)
    assert refused.returncode != 0
    assert "CG003" in refused.stdout + refused.stderr
    with bare.connect() as db, pytest.raises(psycopg.errors.UndefinedColumn):
        db.execute("select job from cron_execution_logs")

    file.write_text(migration_sql("reminder"))
    pushed = supabase("db", "push", f"--remote={bare.url}", "--yes", cwd=tmp_path)
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    store = PostgresStore(bare.url)
    assert fail(store, "reminder") == 2
    store.close()


@pytest.mark.long
def test_db_push_applies_an_upgrade(bare, tmp_path):
    """After the file of version 1, which it finds applied."""
    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    for day, text in enumerate((RELEASED[1], migration_sql(from_version=1)), 1):
        (folder / migration_file_name(datetime(2026, 1, day, tzinfo=UTC))).write_text(text)
        pushed = supabase("db", "push", f"--remote={bare.url}", "--yes", cwd=tmp_path)
        assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    store = PostgresStore(bare.url)
    assert store.schema_version() == SCHEMA_VERSION
    store.close()
