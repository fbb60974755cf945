"""Secrets in Vault: by reference, by name, never in plaintext anywhere else.

The stand-in has supabase_vault's objects, signatures, errors and grants, and its traps:
create_secret writes the plaintext into a row before it encrypts it, and update_secret decrypts the
old value first.
"""

import json
import re
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest

from cronguard.core.errors import SecretError, StoreConfigError, StoreError
from cronguard.settings.secret_sources.vault import VaultSecrets
from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.server.schema import SCHEMA_VERSION, migration_sql
from cronguard.stores.server.supabase import SupabaseStore
from cronguard.stores.server.vault import NAME_PATTERN, PREFIX
from cronguard.testing import MemoryStore

pytestmark = pytest.mark.one_python

NAME = "cronguard_slack_webhook_url"
SECRET = "https://hooks.example/services/T0/B0/sentinel-5d0c1f"


@pytest.fixture(params=["postgres", "supabase"])
def store(request, _prepared, regime):
    """Both stores, under both privilege regimes."""
    project = _prepared.project(regime)
    if request.param == "supabase":
        store = SupabaseStore(project.url, project.service_key)
    else:
        store = PostgresStore(project.database.url)
    store.project, store.database = project, project.database
    yield store
    store.close()


def test_set_get_list_unset(store):
    """A secret's life; a second set replaces it; the list shows names and dates only."""
    assert store.get_secret(NAME) is None
    assert store.secrets() == []
    store.set_secret(NAME, "first")
    store.set_secret(NAME, SECRET)
    assert store.get_secret(NAME) == SECRET
    assert VaultSecrets(store).get(NAME) == SECRET
    (listed,) = store.secrets()
    assert listed.name == NAME
    assert abs((datetime.now(UTC) - listed.updated_at).total_seconds()) < 60
    assert listed.created_at <= listed.updated_at
    assert SECRET not in repr(listed)
    assert store.unset_secret(NAME)
    assert not store.unset_secret(NAME)
    assert store.get_secret(NAME) is None


@pytest.mark.parametrize(
    "name", ["service_role_key", "cronguard", "cronguard_", "cronguard_a b", "Cronguard_a", "", "%"]
)
def test_other_names_cannot_be_reached(store, name):
    """Whatever else the project keeps in its vault is out of reach, through every function."""
    with store.database.admin() as db:
        db.execute("select vault.create_secret('theirs', %s)", (name or "other",))
    for call in (
        lambda: store.get_secret(name),
        lambda: store.set_secret(name, "x"),
        lambda: store.unset_secret(name),
    ):
        with pytest.raises(StoreConfigError, match="begin with cronguard_") as caught:
            call()
        assert caught.value.code == "secret_name"
    assert all(listed.name.startswith("cronguard_") for listed in store.secrets())
    with store.database.admin() as db:
        kept = db.execute("select decrypted_secret from vault.decrypted_secrets").fetchall()
    assert kept == [("theirs",)]


def test_one_row_that_cannot_be_decrypted_breaks_no_other(store):
    """Secrets are read one by one, by name."""
    store.set_secret(NAME, SECRET)
    with store.database.admin() as db:
        db.execute(
            "insert into vault.secrets (name, secret) values ('old_root_key', 'bm9uc2Vuc2U=')"
        )
    assert store.get_secret(NAME) == SECRET
    assert [listed.name for listed in store.secrets()] == [NAME]


# --- encrypted under another root key -------------------------------------------------------------


def test_the_stand_in_fails_as_the_real_one_does(store):
    """22000 from the view and from update_secret, whatever it is to change; other rows are read."""
    store.set_secret(NAME, SECRET)
    store.set_secret("cronguard_other", "other")
    store.database.encrypt_under_another_root_key(NAME)
    with store.database.connect() as db:
        (ident,) = db.execute("select id from vault.secrets where name = %s", (NAME,)).fetchone()
        for statement in (
            "select decrypted_secret from vault.decrypted_secrets where id = %s",
            "select vault.update_secret(%s, 'new')",
            "select vault.update_secret(%s, new_name => 'new')",
        ):
            with pytest.raises(psycopg.errors.DataException, match="invalid ciphertext") as caught:
                db.execute(statement, (ident,))
            assert caught.value.sqlstate == "22000"
        db.execute("select vault.update_secret(gen_random_uuid(), 'nothing there')")
    assert store.get_secret("cronguard_other") == "other"


def test_a_secret_that_cannot_be_decrypted_says_what_to_do(store):
    """By a code of its own, with the command; it is listed all the same, others are read."""
    store.set_secret(NAME, SECRET)
    store.set_secret("cronguard_other", "other")
    store.database.encrypt_under_another_root_key(NAME)
    with pytest.raises(StoreConfigError, match="cronguard vault set NAME") as caught:
        store.get_secret(NAME)
    assert caught.value.code == "secret_undecryptable"
    with pytest.raises(SecretError, match=f"cannot decrypt .* cronguard vault set {NAME}$") as told:
        VaultSecrets(store).get(NAME)
    assert (told.value.code, told.value.permanent) == ("secret_unreadable", False)
    assert told.value.__context__ is None
    assert store.get_secret("cronguard_other") == "other"
    assert [listed.name for listed in store.secrets()] == ["cronguard_other", NAME]


def test_a_secret_that_cannot_be_decrypted_is_replaced(store):
    """Made anew with its description; read, replaced and deleted as ever afterwards."""
    store.set_secret(NAME, "first")
    with store.database.admin() as db:
        db.execute("update vault.secrets set description = 'of the team' where name = %s", (NAME,))
    store.database.encrypt_under_another_root_key(NAME)
    store.set_secret(NAME, SECRET)
    assert store.get_secret(NAME) == SECRET
    store.set_secret(NAME, SECRET + "-later")
    assert store.get_secret(NAME) == SECRET + "-later"
    with store.database.admin() as db:
        rows = db.execute("select name, description from vault.secrets").fetchall()
    assert rows == [(NAME, "of the team")]
    store.database.encrypt_under_another_root_key(NAME)
    assert store.unset_secret(NAME)


@pytest.mark.parametrize("secret", ["%", "bm9uc2Vuc2U="])
def test_a_damaged_row_is_replaced_too(store, secret):
    """What is no base64 and what is too short, which fail with other codes of the class."""
    store.set_secret(NAME, "first")
    with store.database.admin() as db:
        db.execute("update vault.secrets set secret = %s where name = %s", (secret, NAME))
    with pytest.raises(StoreConfigError) as caught:
        store.get_secret(NAME)
    assert caught.value.code == "secret_undecryptable"
    store.set_secret(NAME, SECRET)
    assert store.get_secret(NAME) == SECRET


def test_many_replace_and_delete_it_at_once(store):
    """Every one succeeds; a secret that is set last is there, whole, and no other row is left."""
    store.set_secret(NAME, "first")
    store.database.encrypt_under_another_root_key(NAME)
    other = PostgresStore(store.database.url)

    def work(number):
        mine = store if number % 2 else other
        mine.set_secret(NAME, f"{SECRET}-{number}")
        return number % 4 == 0 and mine.unset_secret(NAME)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))
    with store.database.admin() as db:
        assert db.execute("select count(*) from vault.secrets").fetchone()[0] <= 1
    store.set_secret(NAME, SECRET)
    assert other.get_secret(NAME) == SECRET
    other.close()


def test_unset_waits_for_who_sets_it(store):
    """Between its look at the row and its change; what is set would be lost, and no one told."""
    store.set_secret(NAME, SECRET)
    request = json.dumps({"schema": SCHEMA_VERSION, "name": NAME})
    with store.database.connect() as db, db.transaction():
        db.execute("select pg_advisory_xact_lock(hashtext('cronguard secret ' || %s))", (NAME,))
        with store.database.connect() as other:
            other.execute("set lock_timeout = 1")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("select public.cronguard_secret_unset(%s)", (request,))
    assert store.get_secret(NAME) == SECRET


def test_functions_of_before_say_what_to_do_too(store):
    """Vault's own 22000, from a function that does not know of it, is no riddle."""
    store.set_secret(NAME, SECRET)
    store.database.encrypt_under_another_root_key(NAME)
    with store.database.connect() as db, db.transaction():
        now = db.execute(
            "select pg_get_functiondef('public.cronguard_secret_get(jsonb)'::regprocedure)"
        ).fetchone()[0]
        before = re.sub(r"exception when data_exception.*?end ", "end ", now, flags=re.DOTALL)
        assert before != now
        db.execute(before)
    try:
        with pytest.raises(StoreConfigError, match=r"run cronguard init .* vault set") as caught:
            store.get_secret(NAME)
    finally:
        with store.database.connect() as db:
            db.execute(now)
    assert caught.value.code == "secret_undecryptable"


def test_one_pattern_of_names():
    """The SQL that guards them and the command that checks them agree."""
    patterns = re.findall(r"!~ '\^(.*)\$'", migration_sql())
    assert [each for each in patterns if each.startswith(PREFIX)] == [NAME_PATTERN]


@pytest.fixture
def without_a_root_key(store):
    """The store, whose server was given no root key."""
    with store.database.admin() as db:
        whole = db.execute(
            "select pg_get_functiondef('vault._stand_in_key(bigint, bytea)'::regprocedure)"
        ).fetchone()[0]
        db.execute(
            "create or replace function vault._stand_in_key(key_id bigint, context bytea)"
            " returns bytea language plpgsql stable set search_path = '' as $$ begin"
            " raise exception 'no server secret key defined' using errcode = '22000'; end $$"
        )
    yield store
    with store.database.admin() as db:
        db.execute(whole)


def test_a_vault_without_a_root_key_says_so(without_a_root_key):
    """Setting a secret again would not help; what is there stays."""
    with without_a_root_key.database.admin() as db:
        db.execute("insert into vault.secrets (name, secret) values (%s, 'as it was')", (NAME,))
    with pytest.raises(StoreConfigError, match="no root key") as caught:
        without_a_root_key.set_secret(NAME, SECRET)
    assert caught.value.code == "vault_keyless"
    with without_a_root_key.database.admin() as db:
        assert db.execute("select secret from vault.secrets").fetchall() == [("as it was",)]


def test_what_cannot_be_a_request_changes_nothing(store):
    """No name, a length that no secret has, a mask of another length: refused with a sentence."""
    store.set_secret(NAME, SECRET)
    for name in (None, 7, ["cronguard_a"]):
        with pytest.raises(StoreConfigError) as caught:
            store._ask("cronguard_secret_get", name=name)
        assert caught.value.code == "secret_name"
    for length in (-1, None, 10**6, "x", 10**12):
        with pytest.raises(StoreError, match="refuses a request") as caught:
            store._ask("cronguard_secret_pad", name=NAME, length=length)
        assert caught.value.code == "invalid_request"
    for masked in ("00", "00000000", "zz", None):
        begun = store._ask("cronguard_secret_pad", name=NAME, length=3)
        with pytest.raises(StoreError, match="refuses a request") as caught:
            store._ask("cronguard_secret_set", name=NAME, ticket=begun["ticket"], masked=masked)
        assert caught.value.code == "invalid_request"
    assert store.get_secret(NAME) == SECRET


@pytest.fixture
def logged(store):
    """The store, with every statement and its parameters in the server's log."""
    name = store.database.name
    with store.database.admin() as db:
        db.execute(f"alter database {name} set log_statement = 'all'")
    store.project.restart()
    yield store
    with store.database.admin() as db:
        db.execute(f"alter database {name} reset log_statement")
    store.project.restart()


def test_the_plaintext_reaches_no_file_of_the_server(stack, logged):
    """Not a table, not the write-ahead log, not a log of every statement; create_secret would."""
    logged.set_secret(NAME, SECRET)
    logged.set_secret(NAME, SECRET + "-changed")
    logged.database.encrypt_under_another_root_key(NAME)
    logged.set_secret(NAME, SECRET + "-again")
    assert logged.get_secret(NAME) == SECRET + "-again"
    with logged.database.admin() as db:
        db.execute("checkpoint")
    assert "cronguard_secret_set" in stack.log()
    assert files_with(stack, "sentinel-5d0c1f") == []

    with logged.database.admin() as db:
        db.execute("select vault.create_secret('trap-e7b2', 'cronguard_trap')")
        db.execute("checkpoint")
    assert any("/data/" in file for file in files_with(stack, "trap-e7b2"))


PLANS = ("log_min_duration = 0", "log_nested_statements = on", "log_verbose = on")


@pytest.mark.parametrize("plans", [PLANS, PLANS[:2], PLANS[::2]], ids=["all", "nested", "verbose"])
def test_a_server_that_logs_plans_of_nested_statements_verbosely(stack, database, plans):
    """Has the plaintext in its log, as the README warns; with one of the two it has not."""
    sentinel = f"sentinel-{uuid.uuid4()}"
    with database.admin() as db:
        db.execute(f"alter database {database.name} set session_preload_libraries = auto_explain")
        for each in plans:
            db.execute(f"alter database {database.name} set auto_explain.{each}")
    try:
        store = PostgresStore(database.url)
        store.set_secret(NAME, sentinel)
        assert store.get_secret(NAME) == sentinel
        store.close()
    finally:
        with database.admin() as db:
            db.execute(f"alter database {database.name} reset all")
    assert "cronguard_secret_set" in stack.log()
    assert (sentinel in stack.log()) == (plans == PLANS)


def test_nothing_is_left_over_of_setting_a_secret(store):
    """What it was masked with on its way is gone, and what a try left that was interrupted."""
    store._ask("cronguard_secret_pad", name=NAME, length=5)
    with store.database.admin() as db:
        db.execute("update vault.secrets set created_at = now() - interval '2 hours' where true")
    for value in (SECRET, "nøkkel ✓", "x" * 5000, ""):
        store.set_secret(NAME, value)
        assert store.get_secret(NAME) == value
    with store.database.admin() as db:
        assert db.execute("select name from vault.secrets").fetchall() == [(NAME,)]


def test_a_ticket_is_good_once(store):
    """A second use, or one that was never given, changes nothing."""
    store.set_secret(NAME, SECRET)
    begun = store._ask("cronguard_secret_pad", name=NAME, length=3)
    with store.database.admin() as db:
        db.execute("delete from vault.secrets where name like 'cronguard pad %'")
    with pytest.raises(StoreError, match="again") as caught:
        store._ask("cronguard_secret_set", name=NAME, ticket=begun["ticket"], masked="000000")
    assert caught.value.code == "secret_ticket"
    assert store.get_secret(NAME) == SECRET


def files_with(stack, text):
    """The server's files that hold the text."""
    found = subprocess.run(
        ["grep", "-rlaF", text, str(stack.folder)], capture_output=True, text=True, check=False
    )
    return found.stdout.split()


def test_an_error_while_setting_logs_no_value(stack, store):
    """The statement that fails is logged, its parameters are not."""
    with pytest.raises(StoreConfigError):
        store.set_secret("not_ours", "sentinel-a11ce")
    assert "sentinel-a11ce" not in stack.log()


def test_a_missing_secret_is_a_clear_error(store):
    """It names the reference and the command; the alert can wait for it."""
    with pytest.raises(SecretError, match=f"cronguard vault set {NAME}") as caught:
        VaultSecrets(store).get(NAME)
    assert (caught.value.code, caught.value.permanent) == ("secret_missing", False)
    with pytest.raises(SecretError, match="rename it"):
        VaultSecrets(store).get("slack")


def test_a_store_without_a_vault_says_so(monkeypatch):
    """And so does an environment that names no project."""
    monkeypatch.delenv("SUPABASE_URL", raising=False)
    for source in (VaultSecrets(MemoryStore()), VaultSecrets()):
        with pytest.raises(SecretError, match="need a store that is supabase") as caught:
            source.get(NAME)
        assert caught.value.code == "secret_unreadable"


def test_a_store_that_is_down_is_a_passing_trouble():
    """The code says why; the address is not in the message."""
    store = PostgresStore("postgresql://u:hunter2@127.0.0.1:1/x")
    with pytest.raises(SecretError, match="connection_refused") as caught:
        VaultSecrets(store).get(NAME)
    assert not caught.value.permanent
    assert caught.value.__context__ is None
