"""Secrets in Vault: by reference, by name, never in plaintext anywhere else.

The stand-in has supabase_vault's objects, signatures and grants, and its trap: create_secret writes
the plaintext into a row before it encrypts it.
"""

import subprocess
from datetime import UTC, datetime

import pytest

from cronguard.core.errors import SecretError, StoreConfigError, StoreError
from cronguard.settings.secret_sources.vault import VaultSecrets
from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.server.supabase import SupabaseStore
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
    assert logged.get_secret(NAME) == SECRET + "-changed"
    with logged.database.admin() as db:
        db.execute("checkpoint")
    assert "cronguard_secret_set" in stack.log()
    assert files_with(stack, "sentinel-5d0c1f") == []

    with logged.database.admin() as db:
        db.execute("select vault.create_secret('trap-e7b2', 'cronguard_trap')")
        db.execute("checkpoint")
    assert any("/data/" in file for file in files_with(stack, "trap-e7b2"))


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
    with pytest.raises(StoreError):
        store._ask("cronguard_secret_set", name=NAME, ticket=begun["ticket"], masked="000000")
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
