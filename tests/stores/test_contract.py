"""The store contract, on the stores that need nothing but Python."""

import pytest
from support.damage import damage_sqlite

from cronguard.stores.sqlite.store import SQLiteStore
from cronguard.testing import MemoryStore, StoreContract


class OnSQLite(StoreContract):
    def damage(self, table, key):
        damage_sqlite(self.store, table, key)


class TestMemoryStore(OnSQLite):
    """SQLite on ``:memory:``."""

    def make_store(self, clock):
        return MemoryStore(clock=clock)


class TestSQLiteStore(OnSQLite):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path

    def make_store(self, clock):
        return SQLiteStore(self.folder / "log.db", clock=clock)
