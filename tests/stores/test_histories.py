"""Random histories give what a plain reference gives: on every store, so the stores agree."""

import contextlib
import random
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.histories import History
from support.stack.client import Project

from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.server.schema import migration_sql
from cronguard.stores.server.supabase import SupabaseStore
from cronguard.stores.sqlite.store import SQLiteStore
from cronguard.testing import FrozenClock, MemoryStore

STEPS = 50
CLOCK = """
create table test_clock (moment timestamptz primary key);
insert into test_clock values (clock_timestamp());
create function test_now() returns timestamptz language sql stable
    as $$ select moment from public.test_clock $$;
"""


class JudgingAtOnce:
    """It judges runs at every start: that all were alive a moment ago saves no look."""

    def _time_to_sweep(self, _job):
        return True


class OnFile(JudgingAtOnce, SQLiteStore):
    pass


class InMemory(JudgingAtOnce, MemoryStore):
    pass


def play(store, clock, chance, *, look_every=1):
    with contextlib.closing(store):
        history = History(store, partial(setattr, clock, "now"), chance, look_every=look_every)
        history.play(STEPS)


@pytest.mark.one_python
@given(chance=st.randoms(use_true_random=False))
@settings(max_examples=15)
def test_a_history_that_can_be_shortened(chance):
    """A failure is told as the shortest history that shows it."""
    clock = FrozenClock()
    play(InMemory(clock=clock), clock, chance)


@pytest.mark.parametrize("seed", range(12))
def test_a_history_in_memory(seed):
    """Every answer, and all that is shown, after each step."""
    clock = FrozenClock()
    play(InMemory(clock=clock), clock, random.Random(seed))


@pytest.mark.parametrize("seed", [*range(100, 112), 1364, 1971])
def test_a_history_on_sqlite(tmp_path, seed):
    """The same."""
    clock = FrozenClock()
    play(OnFile(tmp_path / "log.db", clock=clock), clock, random.Random(seed))


class ServersClock:
    """The time of every function in a database: the test's, where it was the server's."""

    def __init__(self, db):
        self._db = db

    def __setattr__(self, name, value):
        if name == "now":
            self._db.execute("update test_clock set moment = %s", (value,))
        else:
            super().__setattr__(name, value)


@pytest.fixture(scope="module")
def own_clock(stack):
    """A Supabase project whose functions take the time from a table."""
    database = stack.database("newer")
    with database.connect() as db, db.transaction():
        db.execute(CLOCK)
        db.execute(migration_sql().replace("clock_timestamp()", "public.test_now()"))
        db.execute("grant select on test_clock to service_role")
        db.execute("grant execute on function test_now() to service_role")
    project = Project(database)
    with database.admin() as db:
        project.clock = ServersClock(db)
        yield project
    project.close()
    database.drop()


def open_store(kind, project):
    if kind == "supabase":
        return SupabaseStore(project.url, project.service_key, timeout=60.0)
    database = project.database
    return PostgresStore(database.url if kind == "postgres" else database.pooler_url, timeout=60.0)


def play_on_server(kind, project, seed, *, look_every=5):
    project.database.empty()
    store = open_store(kind, project)
    play(store, project.clock, random.Random(seed), look_every=look_every)


@pytest.mark.one_python
@pytest.mark.parametrize(
    ("kind", "seed"),
    [*(("postgres", seed) for seed in range(200, 210)), ("pooler", 210), ("supabase", 211)],
)
def test_a_history_on_a_server(own_clock, kind, seed):
    """The same; shown after every fifth step, since each look is a dozen requests."""
    play_on_server(kind, own_clock, seed)


@pytest.mark.one_python
@pytest.mark.long
@pytest.mark.parametrize("kind", ["postgres", "pooler", "supabase"])
@pytest.mark.parametrize("seed", range(300, 308))
def test_more_histories_on_a_server(own_clock, kind, seed):
    """The same, with other seeds."""
    play_on_server(kind, own_clock, seed)


@pytest.mark.one_python
@pytest.mark.soak
def test_a_thousand_histories(own_clock, tmp_path):
    """One thousand, each on every store; on servers all that is shown is compared at the end."""
    clock = FrozenClock()
    for seed in range(1_000, 2_000):
        play(InMemory(clock=clock), clock, random.Random(seed))
        path = tmp_path / f"{seed}.db"
        play(OnFile(path, clock=clock), clock, random.Random(seed))
        path.unlink()
        for kind in ("postgres", "pooler", "supabase"):
            play_on_server(kind, own_clock, seed, look_every=STEPS)
