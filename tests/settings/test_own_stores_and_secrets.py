"""A store and a source of secrets of one's own: one small example each, found by entry point."""

import pytest
from support import distributions
from support.cli import Cli
from support.damage import damage_sqlite
from support.hostile import answers, serve

from cronguard.cli.opening import store_file
from cronguard.core.model import SecretRef
from cronguard.runtime.channel_factory import resolve_secret
from cronguard.runtime.store_factory import with_timeouts_and_spool
from cronguard.settings.loading import Settings
from cronguard.stores.spooled import SpooledStore
from cronguard.stores.sqlite.store import SQLiteStore
from cronguard.testing import MemoryStore, StoreContract

STORE = '''
"""A log in the attic: any path under one folder."""

import os
from pathlib import Path

from cronguard.stores.sqlite.store import SQLiteStore


class AtticStore(SQLiteStore):
    """``attic://name``: a file of that name in ``ATTIC``."""

    @classmethod
    def from_url(cls, url, *, timeout=2.0):
        return cls(Path(os.environ["ATTIC"]) / url.partition("://")[2], timeout=timeout)
'''
SECRETS = '''
"""Secrets as files, as Docker and systemd hand them over."""

import os
from pathlib import Path

from cronguard.core.errors import SecretError


class FileSecrets:
    """``file:NAME``: the text of a file of that name in ``SECRETS``."""

    def get(self, name):
        try:
            return (Path(os.environ["SECRETS"]) / name).read_text()
        except OSError:
            raise SecretError("secret_missing", detail=f"there is no secret {name}") from None
'''


@pytest.fixture
def cli(tmp_path):
    """A command line in whose path both are installed."""
    folder = tmp_path / "installed"
    groups = {
        "cronguard.stores": {"attic": "attic:AtticStore"},
        "cronguard.secrets": {"file": "filesecrets:FileSecrets"},
    }
    distributions.write(folder, "our-own", groups, attic=STORE, filesecrets=SECRETS)
    (tmp_path / "attic").mkdir()
    (tmp_path / "secrets").mkdir()
    cli = Cli(tmp_path)
    cli.environ |= {
        "PYTHONPATH": str(folder),
        "ATTIC": str(tmp_path / "attic"),
        "SECRETS": str(tmp_path / "secrets"),
        "CRONGUARD_STORE": "attic://log.db",
    }
    return cli


def test_a_store_of_ones_own(cli, tmp_path):
    """Its scheme leads to it: runs are recorded there and read from there."""
    assert cli("run", "nightly", "--", "false").returncode == 1
    assert "nightly" in cli("status").stdout
    store = SQLiteStore(tmp_path / "attic" / "log.db")
    assert [run.status for run in store.history("nightly")] == ["failure"]
    store.close()


def test_secrets_of_ones_own(cli, tmp_path):
    """A reference of its scheme is read when an alert is sent, and shown nowhere."""
    hook = answers()
    with serve(hook) as server:
        (tmp_path / "secrets" / "hook").write_text(f"{server.url}\n")
        cli.environ |= {"CRONGUARD_CHANNELS": "webhook", "CRONGUARD_WEBHOOK_URL": "file:hook"}
        done = cli("test-alert")
        assert done.returncode == 0, done.stdout + done.stderr
        assert server.url not in cli("doctor").stdout
    assert len(hook.received) == 1
    (tmp_path / "secrets" / "hook").unlink()
    done = cli("test-alert")
    assert done.returncode == 1
    assert "file:hook" in done.stdout


def test_what_a_store_has_besides_a_stores_duties(tmp_path):
    """Its vault and its file are found behind the local spool, too."""

    class Remote(MemoryStore):
        bounded = False

        def get_secret(self, name):
            return f"what {name} hides"

    remote = Remote()
    remote.path = tmp_path / "log.db"
    store = with_timeouts_and_spool(remote, Settings())
    assert isinstance(store, SpooledStore)
    hidden = resolve_secret(SecretRef("vault", "cronguard_hook"), lambda: store)
    assert hidden == "what cronguard_hook hides"
    assert store_file(store) == tmp_path / "log.db"


class TestAtticStore(StoreContract):
    """The shipped contract is what proves a store of one's own."""

    @pytest.fixture(autouse=True)
    def _made(self, tmp_path, monkeypatch):
        monkeypatch.setenv("ATTIC", str(tmp_path))
        space = {"__name__": "attic"}
        exec(compile(STORE, "attic.py", "exec"), space)  # the example above
        self.kind = space["AtticStore"]

    def make_store(self, clock):
        store = self.kind.from_url("attic://contract.db")
        store._clock = clock
        return store

    def damage(self, table, key):
        damage_sqlite(self.store, table, key)
