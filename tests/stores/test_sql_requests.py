"""What the SQL functions refuse: requests that cannot be, with a documented SQLSTATE each."""

import json
import random
import re
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.types.json import Jsonb
from support.sql_requests import DOCUMENTED, END, ID, RUN, VALID, drawn, mutated, works

from cronguard.core.clock import new_id
from cronguard.core.model import Expectations
from cronguard.stores.server import errors
from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.server.schema import SCHEMA_VERSION, migration_sql
from cronguard.stores.sql import sql_files

pytestmark = pytest.mark.one_python


def ask(db, name, request):
    """Return the answer of a function, its transaction undone or not as it would be."""
    text = None if request is None else json.dumps(request)
    return db.execute(f"select public.cronguard_{name}(%s::jsonb)", (text,)).fetchone()[0]


def refusal(db, name, request):
    """Return (SQLSTATE, message) of a refused request; None if it is answered."""
    try:
        ask(db, name, request)
    except psycopg.Error as error:
        return error.sqlstate, error.diag.message_primary
    return None


# --- the contract ---------------------------------------------------------------------------------


def sql_text():
    return "".join(
        file.read_text() for folder in ("", "/functions") for file in sql_files(f"postgres{folder}")
    )


def test_every_sqlstate_is_documented():
    """In the comment at the top of checks.sql, and with a sentence in Python."""
    raised = set(re.findall(r"errcode = '(\w+)'", sql_text()))
    (file,) = (each for each in sql_files("postgres/functions") if each.name == "checks.sql")
    contract = file.read_text().split("create or replace")[0]
    assert raised == set(re.findall(r"\bCG\d{3}\b", contract))
    assert raised <= {*errors._LASTING, *errors._PASSING}
    assert {code for code in raised if f"--   {code}  " in contract} == DOCUMENTED


def test_every_function_for_clients_is_fuzzed():
    """None that takes a request alone is left out, but for those that are parts of others."""
    parts = {
        "current",
        "expect",
        "checked_run",
        "checked_declaration",
        "insert_running",
        "is_usual_run",
        "lock_job",
    }
    parts |= {"secret_name"}
    alone = re.findall(r"function public\.cronguard_(\w+)\(request jsonb\)", migration_sql())
    assert set(alone) - parts == set(VALID)


@pytest.mark.parametrize("name", VALID)
def test_what_is_no_object_is_refused(database, name):
    """Whatever else it is."""
    with database.connect() as db:
        for request in (None, 5, "x", [], [{}], True):
            assert refusal(db, name, request)[0] == "CG020"


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("start_run", "job", "no name"),
        ("start_run", "run_id", "x"),
        ("start_run", "lease", 0),
        ("start_run", "lease", 3601),
        ("start_run", "overlap", "raise"),
        ("start_run", "started_at", "2026-02-31T00:00:00Z"),
        ("start_run", "host", "h" * 256),
        ("start_run", "channels", [{"channel": "no name"}]),
        ("start_run", "channels", [{"channel": "slack", "threshold": 0}]),
        ("start_run", "channels", [{"channel": "slack", "realert_every": -1}]),
        ("start_run", "ended", ["x"]),
        ("heartbeat", "ended", 5),
        ("sweep", "ended", {"a": ID}),
        ("sweep", "lease", 0),
        ("finish_run", "outcome", END | {"status": "running"}),
        ("finish_run", "outcome", END | {"error_message": "secret " * 2000}),
        ("history", "limit", -1),
        ("history", "statuses", "failure"),
        ("history", "since", "yesterday"),
        ("recent", "limit", "5"),
        ("activity", "since", "yesterday"),
        ("activity", "step", 0),
        ("prune", "keep", -1),
        ("settle_alert", "state", "lost"),
    ],
)
def test_a_wrong_field_is_named(database, name, field, value):
    """The message says which, and what it must be; its value is not repeated; nothing changes."""
    with database.connect() as db:
        code, message = refusal(db, name, VALID[name] | {field: value})
        assert code == "CG020"
        assert message.startswith(f"invalid request: {field}")
        assert " must be " in message
        assert "secret" not in message
        assert db.execute("select count(*) from cronguard_jobs").fetchone() == (0,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 0),
        ("threshold", None),
        ("realert_every", 0),
        ("grace", -1),
        ("max_runtime", 0),
        ("schedule", "nonsense"),
        ("schedule", "0 6 * * *; drop"),
        ("timezone", "no zone"),
        ("notify_recovery", "yes"),
        ("runbook", "http://example.org"),
        ("runbook", "https://user:password@example.org"),
        ("runbook", "https://example.org/?access-token=x"),
        ("runbook", "https://example.org/" + "x" * 2000),
    ],
)
def test_a_wrong_statement_is_named(database, name, value):
    """Of a start and of a declaration."""
    stated = {name: {"value": value, "origin": "code"}}
    with database.connect() as db:
        for function in ("start_run", "declare"):
            code, message = refusal(db, function, VALID[function] | {"stated": stated})
            assert (code, f"stated.{name} must be" in message) == ("CG020", True)


def test_what_is_left_out_has_pythons_defaults(database):
    """Of a start that says no more than it must."""
    least = {"run_id": ID, "job": "a", "started_at": "2026-01-01T01:00:00+01:00"}
    with database.connect() as db:
        assert ask(db, "start_run", least)["status"] == "running"
        run = db.execute(
            "select started_at, extract(epoch from lease_expires_at - clock_timestamp())"
            " from cron_execution_logs"
        ).fetchone()
        assert run[0] == datetime(2026, 1, 1, tzinfo=UTC)
        assert 80 < run[1] <= 90
        assert ask(db, "start_run", least | {"run_id": new_id()})["status"] == "skipped"
    store = PostgresStore(database.url)
    (watch,) = store.watches()
    assert (watch.expected, watch.channels) == (Expectations(), ())
    store.close()


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("start_run", RUN | {"run_id": new_id()}),
        ("heartbeat", {"run_ids": []}),
        ("sweep", {"space": "space"}),
    ],
)
def test_a_run_that_has_ended_may_be_named_in_capitals(database, name, request_):
    """As any UUID; a sweep and a heartbeat that say no lease have Python's."""
    with database.connect() as db:
        ask(db, "start_run", RUN)
        db.execute("update cron_execution_logs set lease_expires_at = clock_timestamp()")
        ask(db, name, request_ | {"ended": [ID.upper()]})
        (found,) = db.execute(
            "select status, holds_lease, lease_expires_at - clock_timestamp() > '80s'"
            " from cron_execution_logs where run_id = %s",
            (ID,),
        ).fetchall()
    assert found == ("running", False, True)


def test_a_job_that_never_ran_costs_no_history(database):
    """Pruning keeps each job's newest run although another has none."""
    with database.connect() as db:
        ask(db, "declare", VALID["declare"] | {"job": "never"})
        ask(db, "start_run", VALID["start_run"])
        assert ask(db, "prune_plan", {})["kept"] == [ID]


# --- the fuzzer -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "requests"),
    [
        (1, 400),
        pytest.param(2, 5_000, marks=pytest.mark.long),
        pytest.param(3, 10_000, marks=pytest.mark.soak),
    ],
    ids=["few", "many", "all"],
)
def test_whatever_is_asked(database, seed, requests):
    """Is answered or refused as documented; then everything works for the others, and this job."""
    chance = random.Random(seed)
    with database.connect() as db:
        for _ in range(requests):
            name, request = drawn(chance)
            found = refusal(db, name, request)
            assert found is None or found[0] in DOCUMENTED, (name, request, found)
    store = PostgresStore(database.url)
    works(store, "a")
    works(store, "other")
    store.close()


@pytest.mark.parametrize(
    ("seed", "requests"),
    [(1, 400), pytest.param(2, 2_000, marks=pytest.mark.long)],
    ids=["few", "many"],
)
def test_what_is_usual_is_what_the_rules_accept(database, seed, requests):
    """As it stands: nothing would be refused, and nothing filled in or written otherwise."""
    chance = random.Random(seed)
    usual = {"run": 0, "outcome": 0}
    started = {"schema": SCHEMA_VERSION} | RUN | {"started": True}
    with database.connect() as db:
        for _ in range(requests):
            run, end = mutated(chance, started), mutated(chance, END)
            if isinstance(run, dict):
                run["schema"] = SCHEMA_VERSION  # which is looked at before
            for kind, request, unusual in (("run", run, "dead"), ("outcome", end, "error_type")):
                if says(db, f"cronguard_is_usual_{kind}(%(request)s)", request):
                    usual[kind] += 1
                    made_unusual = f"""%(request)s || '{{"{unusual}": null}}'"""
                    checked = f"cronguard_checked_{kind}({made_unusual}) @> %(request)s"
                    assert says(db, checked, request), request
        for request in (RUN, started):
            assert says(db, "cronguard_is_usual_run(%(request)s)", request)
        assert says(db, "cronguard_is_usual_outcome(%(request)s)", END)
    assert all(usual.values())


def says(db, condition, request):
    query = f"select public.{condition}"
    return db.execute(query, {"request": Jsonb(request)}).fetchone()[0]
