"""Fixtures: the session's stack, and databases and projects that are empty at each test's start."""

import os

import pytest

from cronguard.stores.server.schema import migration_sql

from .client import Project, Stack, shared_folder
from .live import LiveProject

REGIMES = ("legacy", "newer")


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """The servers that the session's workers share."""
    stack = Stack(shared_folder(tmp_path_factory))
    yield stack
    stack.close()


@pytest.fixture(scope="session")
def _prepared(stack):
    """This worker's databases and projects, by regime; made when they are first asked for."""
    return Prepared(stack)


class Prepared:
    """Databases with cronguard's schema, each with a PostgREST once that is wanted."""

    def __init__(self, stack):
        self._stack = stack
        self._databases = {}
        self._projects = {}

    def database(self, regime):
        """The one of this regime, emptied."""
        if regime not in self._databases:
            made = self._stack.database(regime)
            with made.connect() as db, db.transaction():
                db.execute(migration_sql())
            self._databases[regime] = made
        found = self._databases[regime]
        found.empty()
        return found

    def project(self, regime):
        """The one of this regime, emptied, its gateway as new."""
        database = self.database(regime)
        if regime not in self._projects:
            self._projects[regime] = self._stack.closing(Project(database))
        found = self._projects[regime]
        found.gateway.answer = None
        found.gateway.once.clear()
        found.requests.clear()
        return found


@pytest.fixture
def database(_prepared):
    """An empty database with cronguard's schema, under the older default privileges."""
    return _prepared.database("legacy")


@pytest.fixture(params=REGIMES)
def regime(request):
    """Each of the two regimes of default privileges."""
    return request.param


@pytest.fixture
def project(_prepared):
    """An empty Supabase project with cronguard's schema."""
    return _prepared.project("legacy")


@pytest.fixture
def project_of_regime(_prepared, regime):
    """The same, under each regime."""
    return _prepared.project(regime)


def live_projects():
    """A live project to test against, where the environment names one."""
    url, key = (
        os.environ.get("CRONGUARD_TEST_SUPABASE_URL"),
        os.environ.get("CRONGUARD_TEST_SUPABASE_KEY"),
    )
    return [LiveProject(url, key)] if url and key else []


@pytest.fixture(params=[*REGIMES, *live_projects()], ids=str)
def any_project(request, _prepared):
    """An empty project with cronguard's schema: both regimes, and a live one if there is one."""
    yield from _lent(request.param, _prepared)


@pytest.fixture(params=["newer", *live_projects()], ids=str)
def newer_project(request, _prepared):
    """The same, under the newer regime alone, and a live one if there is one."""
    yield from _lent(request.param, _prepared)


def _lent(named, prepared):
    if isinstance(named, str):
        yield prepared.project(named)
        return
    with named.alone():
        named.empty()
        yield named
