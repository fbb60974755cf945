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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark the reminder's tests: those on Supabase take seconds, and none depends on the Python."""
    for item in items:
        if item.path.name.startswith("test_reminder_"):
            item.add_marker("one_python")
            on = getattr(getattr(item, "callspec", None), "params", {}).values()
            if "supabase" in on or {"stack", "on_supabase"} & set(item.fixturenames):
                item.add_marker("long")
