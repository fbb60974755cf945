"""The store contract, on the stores that need nothing but Python."""

import pytest

from cronguard.stores.sqlite.store import SQLiteStore
from cronguard.testing import MemoryStore, StoreContract


class TestMemoryStore(StoreContract):
    """SQLite on ``:memory:``."""

    def make_store(self, clock):
        return MemoryStore(clock=clock)


class TestSQLiteStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path

    def make_store(self, clock):
        return SQLiteStore(self.folder / "log.db", clock=clock)
