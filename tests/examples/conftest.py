"""Places to run the assignment reminder in."""

import pytest
from support.reminder import Gateway, OnSQLite, OnSupabase, new_project


@pytest.fixture
def on_sqlite(tmp_path):
    """A new database file."""
    return OnSQLite(tmp_path)


@pytest.fixture
def on_supabase(_reminder_project):
    """An empty project with cronguard's migration and the reminder's."""
    return OnSupabase(_reminder_project)


@pytest.fixture(scope="session")
def _reminder_project(stack):
    return new_project(stack)


@pytest.fixture(params=["sqlite", "supabase"])
def place(request):
    """Each of the two."""
    return request.getfixturevalue(f"on_{request.param}")


@pytest.fixture
def gateway():
    """A notification gateway on loopback."""
    with Gateway() as gateway:
        yield gateway
