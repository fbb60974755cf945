"""The store contract on PostgreSQL, on PostgreSQL behind a transaction pooler, and on Supabase."""

from datetime import UTC, datetime

import pytest
from support.damage import damage_postgres

from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.server.supabase import SupabaseStore
from cronguard.testing import StoreContract

pytestmark = pytest.mark.one_python


class ServersOwnClock(StoreContract):
    """Time passes on the server: what it wrote is put back."""

    def let_pass(self, seconds):
        self.server.let_pass(seconds)

    def damage(self, table, key):
        damage_postgres(self.database, table, key)


class TestPostgresStore(ServersOwnClock):
    @pytest.fixture(autouse=True)
    def _lent(self, database):
        self.server = self.database = database

    def make_store(self, clock):
        clock.now = datetime.now(UTC)
        return PostgresStore(self.server.url)


class TestPostgresStoreThroughPooler(TestPostgresStore):
    def make_store(self, clock):
        clock.now = datetime.now(UTC)
        return PostgresStore(self.server.pooler_url)


class TestSupabaseStore(ServersOwnClock):
    """Under the newer privileges; the two above, and most tests with a project, have the older."""

    @pytest.fixture(autouse=True)
    def _lent(self, newer_project):
        self.server, self.database = newer_project, newer_project.database

    def make_store(self, clock):
        clock.now = datetime.now(UTC)
        return SupabaseStore(self.server.url, self.server.service_key)
