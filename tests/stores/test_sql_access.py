"""Nobody but service_role and the owner reads, writes or calls anything of cronguard's."""

import httpx
import pytest

from cronguard.stores.server.supabase import SupabaseStore

pytestmark = pytest.mark.one_python

OURS = """
    select c.oid::regclass::text from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind = %s
        and (c.relname like 'cronguard%%' or c.relname like 'cron_execution%%')
"""
FUNCTIONS = """
    select p.oid::regprocedure::text from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname like 'cronguard%'
"""
STRANGERS = ("anon", "authenticated")


@pytest.fixture
def filled(project_of_regime):
    """A project with a run, an alert and a secret to steal."""
    store = SupabaseStore(project_of_regime.url, project_of_regime.service_key)
    store.set_secret("cronguard_hook", "https://hooks.example/very-secret")
    store.close()
    with project_of_regime.database.connect() as db:
        db.execute('select cronguard_lock_job(\'{"job": "a"}\')')
    return project_of_regime


def listed(database, query, *values):
    with database.admin() as db:
        return [row[0] for row in db.execute(query, values or None).fetchall()]


def allowed(database, role, question, things, privileges):
    """Those of (thing, privilege) that the role has."""
    with database.admin() as db:
        return [
            (thing, privilege)
            for thing in things
            for privilege in privileges
            if db.execute(
                f"select has_{question}_privilege(%s, %s, %s)", (role, thing, privilege)
            ).fetchone()[0]
        ]


@pytest.mark.parametrize("role", STRANGERS)
def test_the_catalogue_grants_strangers_nothing(filled, role):
    """No privilege of any kind on any table, column, sequence or function."""
    database = filled.database
    tables = listed(database, OURS, "r")
    assert len(tables) == 3
    every = ["select", "insert", "update", "delete", "truncate", "references", "trigger"]
    assert allowed(database, role, "table", tables, every) == []
    assert allowed(database, role, "any_column", tables, every[:3]) == []
    sequences = listed(database, OURS, "S")
    assert sequences
    assert allowed(database, role, "sequence", sequences, ["usage", "select", "update"]) == []
    functions = listed(database, FUNCTIONS)
    assert len(functions) > 20
    assert allowed(database, role, "function", functions, ["execute"]) == []


def test_service_role_can_call_every_function(filled):
    """In the regime that grants nothing by default, too."""
    functions = listed(filled.database, FUNCTIONS)
    granted = allowed(filled.database, "service_role", "function", functions, ["execute"])
    assert len(granted) == len(functions)


def tokens(project):
    return {
        "anon": project.gateway.anon_token,
        "publishable": project.gateway.publishable_key,
        "authenticated": project.gateway.authenticated_token,
    }


@pytest.mark.parametrize("who", ["anon", "publishable", "authenticated"])
def test_over_rest_strangers_are_refused_everything(filled, who):
    """Real requests: every table, every function."""
    key = tokens(filled)[who]
    api = httpx.Client(
        base_url=f"{filled.url}/rest/v1",
        headers={"apikey": key, "Authorization": f"Bearer {key}"},
        timeout=10,
    )
    answers = {}
    with api:
        for table in ("cron_execution_logs", "cronguard_jobs", "cronguard_alerts"):
            answers[f"read {table}"] = api.get(f"/{table}")
            answers[f"write {table}"] = api.post(f"/{table}", json={"job": "mine"})
            answers[f"change {table}"] = api.patch(f"/{table}?job=eq.a", json={"job": "mine"})
            answers[f"delete {table}"] = api.delete(f"/{table}?job=eq.a")
        for function in listed(filled.database, FUNCTIONS):
            name = function.partition("(")[0].removeprefix("public.")
            answers[name] = api.post(f"/rpc/{name}", json={"request": {"name": "cronguard_hook"}})
    wrong = {what: answer.text for what, answer in answers.items() if answer.status_code < 400}
    assert wrong == {}
    assert not any("very-secret" in answer.text for answer in answers.values())
    assert answers["cronguard_secret_get"].json()["code"] == "42501"


@pytest.mark.parametrize("role", STRANGERS)
def test_row_level_security_stands_behind_the_grants(filled, role):
    """Even with the tables granted to them by mistake, strangers see no row."""
    with filled.database.admin() as db, db.transaction(force_rollback=True):
        db.execute(f"grant select on cronguard_jobs to {role}")
        db.execute(f"set local role {role}")
        assert db.execute("select count(*) from cronguard_jobs").fetchone() == (0,)
