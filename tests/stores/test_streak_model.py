"""Any history of outcomes over several jobs gives the reference's counts and alerts."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from support.plain_store import PlainStore
from support.streak_model import StreakMachine

from cronguard.stores.sqlite.store import SQLiteStore
from cronguard.testing import MemoryStore


class MemoryMachine(StreakMachine):
    def make_store(self, clock):
        return MemoryStore(clock=clock)


class PlainMachine(StreakMachine):
    def make_store(self, clock):
        return PlainStore(clock=clock)


class SQLiteMachine(StreakMachine):
    def make_store(self, clock):
        self.folder = tempfile.TemporaryDirectory()
        return SQLiteStore(Path(self.folder.name) / "log.db", clock=clock)

    def teardown(self):
        super().teardown()
        if hasattr(self, "folder"):
            self.folder.cleanup()


class TestStreakInMemory(MemoryMachine.TestCase):
    settings = settings(max_examples=25, stateful_step_count=30)


class TestStreakInPlainStore(PlainMachine.TestCase):
    settings = settings(max_examples=15, stateful_step_count=25)


class TestStreakInSQLite(SQLiteMachine.TestCase):
    settings = settings(max_examples=15, stateful_step_count=25)


@pytest.mark.long
class TestLongStreakInMemory(MemoryMachine.TestCase):
    settings = settings(max_examples=150, stateful_step_count=40)


@pytest.mark.long
class TestLongStreakInSQLite(SQLiteMachine.TestCase):
    settings = settings(max_examples=40, stateful_step_count=30)
