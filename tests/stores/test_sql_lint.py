"""What ``supabase db lint`` looks at: plpgsql_check, on each of our functions."""

import re

import pytest
from support.stack.install import plpgsql_check

pytestmark = pytest.mark.one_python

LINT = """
    select c.functionid::text, c.level, c.message
    from pg_proc p join pg_language l on l.oid = p.prolang
    left join pg_trigger t on t.tgfoid = p.oid
    cross join lateral lint.plpgsql_check_function_tb(
        p.oid, coalesce(t.tgrelid, 0), security_warnings := true
    ) c
    where l.lanname = 'plpgsql' and p.pronamespace = 'public'::regnamespace
    order by 1, 2, 3
"""


@pytest.fixture
def lint(database):
    """A connection whose findings `LINT` selects; nothing of it stays in the database."""
    library, script = plpgsql_check()
    text = re.sub(r"(?m)^\\echo.*$", "", script.read_text())
    text = text.replace("MODULE_PATHNAME", str(library)).replace("@extschema@", "lint")
    with database.admin() as db, db.transaction(force_rollback=True):
        db.execute("create schema lint")
        db.execute("set local search_path = lint, public")
        db.execute(text)
        yield db


def test_the_linter_finds_nothing(lint):
    """No error and no warning, those about security and unused names among them."""
    assert lint.execute(LINT).fetchall() == []


def test_the_linter_would_find_something(lint):
    """A column that is not there, which creating the function does not notice."""
    lint.execute(
        "create function public.broken() returns void language plpgsql as"
        " $$ begin perform nothing from public.cronguard_jobs; end $$"
    )
    assert ("broken", "error") in [row[:2] for row in lint.execute(LINT).fetchall()]
