"""From every version that was released to today's: what a migration changes, and where it stops."""

import psycopg
import pytest
from support.schema import RELEASED, apply, catalog

from cronguard.core.errors import StoreConfigError
from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.server.schema import (
    SCHEMA_VERSION,
    functions_of,
    migration_sql,
    versions_of,
)
from cronguard.stores.server.supabase import SupabaseStore
from cronguard.stores.sql import sql_files

pytestmark = pytest.mark.one_python

EARLIER = sorted(version for version in RELEASED if version < SCHEMA_VERSION)
TEXTS = {
    "whole": migration_sql(),
    "taking over": migration_sql("reminder"),
    "upgrade": migration_sql(from_version=EARLIER[-1]),
}


@pytest.fixture
def empty(stack):
    """Make databases without cronguard's schema."""
    made = []

    def make(regime="newer"):
        made.append(stack.database(regime) if regime else stack.plain_database())
        return made[-1]

    yield make
    for database in made:
        database.drop()


def stops(database, text):
    """Return the SQLSTATE with which a migration stops, having changed nothing."""
    before = catalog(database)
    with pytest.raises(psycopg.Error) as caught:
        apply(database, text)
    assert catalog(database) == before
    assert "\n" not in caught.value.diag.message_primary
    return caught.value.sqlstate


# --- the files ------------------------------------------------------------------------------------


def test_the_version_is_the_last_files():
    """None is left out; every version before it is here as it was released."""
    numbers = [int(file.name.split("_")[0]) for file in sql_files("postgres/versions")]
    assert numbers == list(range(1, SCHEMA_VERSION + 1))
    assert list(range(1, SCHEMA_VERSION)) == EARLIER
    for version, text in RELEASED.items():
        assert versions_of(text) == (version, None)
    assert versions_of(migration_sql()) == (SCHEMA_VERSION, None)
    assert versions_of(migration_sql(from_version=2)) == (SCHEMA_VERSION, 2)
    assert versions_of("create table a (b integer);") is None


def statement(function):
    """A function's text without the comment above it."""
    return function.text[function.text.index("create or replace") :]


@pytest.mark.parametrize("version", RELEASED)
def test_a_changed_function_says_since_when(version):
    """One that is not as a release had it has `-- since version N` above it, N later than that."""
    released = {each.name: statement(each) for each in functions_of(RELEASED[version])}
    changed = {
        each.name: each.since
        for each in functions_of(migration_sql())
        if statement(each) != released.get(each.name) and each.name != "cronguard_schema_version"
    }
    assert {name: since for name, since in changed.items() if since <= version} == {}
    assert all(since <= SCHEMA_VERSION for since in changed.values())


@pytest.mark.parametrize("version", RELEASED)
def test_a_function_that_is_gone_is_dropped(version):
    """By a version's file, since no upgrade would do it otherwise."""
    now = {each.name for each in functions_of(migration_sql())}
    gone = {each.name for each in functions_of(RELEASED[version])} - now
    dropping = "".join(file.read_text() for file in sql_files("postgres/versions"))
    assert [
        name for name in gone if f"drop function if exists public.{name}(" not in dropping
    ] == []


def test_every_function_of_the_files_is_found():
    """What divides the text misses none, and nothing else stands between them."""
    for file in sql_files("postgres/functions"):
        text = file.read_text(encoding="utf-8")
        found = list(functions_of(text))
        assert len(found) == text.count("create or replace function")
        left = text
        for each in found:
            left = left.replace(each.text, "")
        assert [line for line in left.splitlines() if line and not line.startswith("--")] == []


def test_the_text_is_ascii():
    """A database in any encoding can read it, and so can say why it stops."""
    for text in TEXTS.values():
        assert text.isascii()


def test_an_upgrade_is_a_small_file():
    """What has not changed since is not in it."""
    whole, upgrade = TEXTS["whole"], TEXTS["upgrade"]
    unchanged = [each for each in functions_of(whole) if each.since <= EARLIER[-1]]
    assert len(unchanged) > 1
    names = {each.name for each in functions_of(upgrade)}
    assert not names & ({each.name for each in unchanged} - {"cronguard_schema_version"})
    assert "create table" not in upgrade


# --- where it goes on -----------------------------------------------------------------------------


@pytest.mark.parametrize("regime", ["legacy", "newer", None])
@pytest.mark.parametrize("version", EARLIER)
def test_an_upgraded_schema_equals_a_fresh_one(empty, version, regime):
    """By the upgrade and by the whole; again changes nothing."""
    fresh, upgraded, whole = empty(regime), empty(regime), empty(regime)
    apply(fresh)
    expected = catalog(fresh)
    for database in (upgraded, whole):
        apply(database, RELEASED[version])
    assert catalog(upgraded) != expected
    for _ in range(2):
        apply(upgraded, migration_sql(from_version=version))
        assert catalog(upgraded) == expected
    apply(whole)
    assert catalog(whole) == expected


@pytest.mark.parametrize("version", EARLIER)
def test_migrate_does_what_is_missing(empty, version):
    """Nothing there, an earlier version, today's; and by a store that can be asked."""
    database = empty()
    store = PostgresStore(database.url)
    apply(database, RELEASED[version])
    assert (store.schema_version(), store.migrate(), store.migrate()) == (version, True, False)
    assert store.schema_version() == SCHEMA_VERSION
    fresh = empty()
    apply(fresh)
    assert catalog(database) == catalog(fresh)
    store.close()


# --- where it stops -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TEXTS)
def test_a_newer_schema_is_left_alone(empty, kind):
    """By any file, with a sentence; the library says which side to upgrade."""
    database = empty()
    newer = SCHEMA_VERSION + 1
    apply(
        database, migration_sql().replace(f"$$ select {SCHEMA_VERSION} $$", f"$$ select {newer} $$")
    )
    assert stops(database, TEXTS[kind]) == "CG002"
    store = PostgresStore(database.url)
    with pytest.raises(StoreConfigError, match="upgrade cronguard here") as caught:
        store.migrate()
    assert caught.value.code == "schema_newer"
    assert store.schema_problem().code == "schema_newer"
    assert store.schema_version() == newer
    store.close()


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_another_encoding_is_refused(stack, kind, encoding):
    """By any file, before anything else is looked at."""
    database = stack.plain_database(encoding)
    assert stops(database, TEXTS[kind]) == "CG010"
    store = PostgresStore(database.url)
    with pytest.raises(StoreConfigError, match="encoding 'UTF8'") as caught:
        store.migrate()
    assert caught.value.code == store.schema_problem().code == "wrong_encoding"
    store.close()
    database.drop()


def test_an_upgrade_needs_what_it_upgrades(empty):
    """On nothing it stops, since half of a schema would be left out."""
    assert stops(empty(), TEXTS["upgrade"]) == "CG011"


def test_nothing_is_wrong_with_what_it_made(database, project):
    """Nor over REST."""
    store = PostgresStore(database.url)
    assert store.schema_problem() is None
    store.close()
    store = SupabaseStore(project.url, project.service_key)
    assert store.schema_problem() is None
    store.close()
