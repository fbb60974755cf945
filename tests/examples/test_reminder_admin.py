"""Manual correction: who may, what is refused, what is kept, and that no log names anybody."""

import asyncio
import json
import logging
import re
import subprocess
import sys
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest
from support import reminder
from support.reminder import LONG_AGO, NAME, PHONE, add, admin_token, dates, user_token

from reminders.admin import create_app, read_tokens
from reminders.repository import RepositoryError, SetupError

ADMIN, USER = "admin-token-0123456789abcdef", "user-token-0123456789abcdef"
ON = "2026-02-14"
REASON = f"the bulk form lost it; {NAME} called {PHONE}"
TODAY = datetime.now(ZoneInfo("Europe/Oslo")).date()


class AppClient:
    """Requests to the web app without a socket."""

    def __init__(self, app):
        self._transport = httpx.ASGITransport(app=app)

    def __call__(self, method, path, **options):
        async def ask():
            async with httpx.AsyncClient(transport=self._transport, base_url="http://app") as it:
                return await it.request(method, path, **options)

        return asyncio.run(ask())


class OverSQLite:
    """The example's web app in this process."""

    def __init__(self, place, monkeypatch):
        self.place = place
        monkeypatch.setenv("REMINDER_ADMIN_TOKEN", ADMIN)
        monkeypatch.setenv("REMINDER_USER_TOKEN", USER)
        tokens = read_tokens(["env:REMINDER_ADMIN_TOKEN"], ["env:REMINDER_USER_TOKEN"])
        self.client = AppClient(create_app(place.store, tokens))
        self.admin, self.user, self.by = ADMIN, USER, "REMINDER_ADMIN_TOKEN"

    def correct(self, token, assignment_id, **body):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        path = f"/assignments/{assignment_id}/last-contact-date"
        return self.client("PUT", path, json=body, headers=headers)


class OverSupabase:
    """The project's own RPC, through PostgREST."""

    def __init__(self, place):
        self.place = place
        self.admin, self.user = admin_token(), user_token()
        self.by = "6f1d1a52-0000-4000-8000-000000000001"

    def correct(self, token, assignment_id, **body):
        body["assignment_id"] = assignment_id
        return self.place.call(token, "rpc/correct_last_contact", **body)


@pytest.fixture(params=["sqlite", "supabase"])
def endpoint(request, monkeypatch):
    """The endpoint of each, with two assignments."""
    place = request.getfixturevalue(f"on_{request.param}")
    add(place, 2)
    return OverSQLite(place, monkeypatch) if request.param == "sqlite" else OverSupabase(place)


def corrections(place):
    rows = place.rows(
        "select assignment_id, last_contact_date, previous_date, reason, corrected_by"
        " from contact_corrections order by id"
    )
    return [tuple(str(value) for value in row) for row in rows]


def test_an_admin_corrects_one_date(endpoint):
    """The date is set, and a row says from what, to what, why and by whom."""
    answer = endpoint.correct(endpoint.admin, 1, last_contact_date=ON, reason=REASON)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "id": 1,
        "assignment_id": 1,
        "last_contact_date": ON,
        "previous_date": str(LONG_AGO),
    }
    assert dates(endpoint.place) == {1: ON, 2: str(LONG_AGO)}
    assert corrections(endpoint.place) == [("1", ON, str(LONG_AGO), REASON, endpoint.by)]


def test_a_correction_stands_until_the_next_contact(endpoint):
    """Also backwards, over activities that were wrong; the audit finds nothing to mend."""
    with endpoint.place.open() as repository:
        repository.register([1], TODAY, "bulk")
        endpoint.correct(endpoint.admin, 1, last_contact_date=ON, reason="never happened")
        assert dates(endpoint.place)[1] == ON
        assert repository.disagreements() == []
        repository.register([1], TODAY - timedelta(days=1), "direct")
    assert dates(endpoint.place)[1] == str(TODAY - timedelta(days=1))


TOMORROW = str(TODAY + timedelta(days=1))
REFUSED = {
    "without a token": (None, 1, ON, REASON, 401),
    "with a user's token": ("user", 1, ON, REASON, 403),
    "for an unknown assignment": ("admin", 999, ON, REASON, 404),
    "for a date in the future": ("admin", 1, TOMORROW, REASON, 422),
    "for a missing reason": ("admin", 1, ON, None, 422),
    "for an empty reason": ("admin", 1, ON, "  ", 422),
    "for a reason without end": ("admin", 1, ON, "x" * 501, 422),
    "for a missing date": ("admin", 1, None, REASON, 422),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused(endpoint, case):
    """Nothing is changed and nothing is noted."""
    who, which, on, reason, status = case
    body = {"last_contact_date": on, "reason": reason}
    given = {name: value for name, value in body.items() if value is not None}
    answer = endpoint.correct(who and getattr(endpoint, who), which, **given)
    assert answer.status_code == status, answer.text
    assert set(dates(endpoint.place).values()) == {str(LONG_AGO)}
    assert corrections(endpoint.place) == []


# --- SQLite alone ---------------------------------------------------------------------------------


@pytest.fixture
def over_sqlite(on_sqlite, monkeypatch):
    add(on_sqlite, 1)
    return OverSQLite(on_sqlite, monkeypatch)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b'"x"',
        b'{"last_contact_date": 5}',
        b'{"last_contact_date": "14.02.2026", "reason": "x"}',
        b'{"last_contact_date": "2026-02-14", "reason": 7}',
        b'{"last_contact_date": "2026-02-14", "reason": "x", "mentor": "y"}',
        b'{"last_contact_date": "2026-02-14", "reason": "\\ud800"}',
        b"[" * 4_000,
    ],
)
def test_bodies_that_are_none(over_sqlite, body):
    """422 and a sentence, whatever comes."""
    answer = over_sqlite.client(
        "PUT",
        "/assignments/1/last-contact-date",
        content=body,
        headers={"Authorization": f"Bearer {ADMIN}"},
    )
    assert answer.status_code == 422, answer.text
    assert corrections(over_sqlite.place) == []


def test_a_body_without_end_is_cut_off(over_sqlite):
    """413 as soon as it is too long."""
    headers = {"Authorization": f"Bearer {ADMIN}"}
    answer = over_sqlite.client(
        "PUT", "/assignments/1/last-contact-date", content=b"x" * 5_000, headers=headers
    )
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", f"Basic {ADMIN}", ADMIN, f"Bearer {ADMIN}x", f"Bearer {ADMIN[:-1]}"],
)
def test_tokens_that_are_none(over_sqlite, header):
    """401, with the way to ask."""
    answer = over_sqlite.client(
        "GET", "/assignments/1/last-contact-date", headers={"Authorization": header}
    )
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_user_may_look(over_sqlite):
    """A user's token reads the date of an assignment, and no name."""
    client, headers = over_sqlite.client, {"Authorization": f"Bearer {USER}"}
    answer = client("GET", "/assignments/1/last-contact-date", headers=headers)
    assert answer.json() == {"assignment_id": 1, "last_contact_date": str(LONG_AGO)}
    for unknown in (9, 10**30):
        answer = client("GET", f"/assignments/{unknown}/last-contact-date", headers=headers)
        assert answer.status_code == 404


@pytest.mark.parametrize(
    ("references", "says"),
    [
        ([ADMIN], "env:REMINDER_ADMIN_TOKEN"),
        ([f"env:{ADMIN}"], "env:REMINDER_ADMIN_TOKEN"),
        (["env:NOT_SET"], "NOT_SET"),
        (["env:SHORT"], "SHORT"),
        (["env:ONE", "env:TWO"], "another"),
    ],
)
def test_tokens_are_named_and_not_given(monkeypatch, references, says):
    """A token that is pasted, missing, short or doubled is refused, and none is repeated."""
    for name, value in (("SHORT", "abc"), ("ONE", ADMIN), ("TWO", ADMIN)):
        monkeypatch.setenv(name, value)
    with pytest.raises(SetupError, match=says) as caught:
        read_tokens(references, [])
    assert ADMIN not in str(caught.value)


# --- nothing of a person in any log ---------------------------------------------------------------


def test_no_log_of_the_web_app_names_anybody(over_sqlite, caplog, monkeypatch):
    """Everything down to DEBUG, for what is done and for what is refused."""
    caplog.set_level(logging.DEBUG)
    over_sqlite.correct(ADMIN, 1, last_contact_date=ON, reason=REASON)
    over_sqlite.correct(USER, 1, last_contact_date=ON, reason=REASON)
    over_sqlite.correct(ADMIN, 1, last_contact_date=TOMORROW, reason=REASON)
    over_sqlite.place.rows("drop table contact_corrections")
    assert over_sqlite.correct(ADMIN, 1, last_contact_date=ON, reason=REASON).status_code == 503
    assert "correction 1 of assignment 1" in caplog.text
    assert "the database refused" in caplog.text
    seen = [word for word in (*reminder.PRIVATE, ADMIN, USER, ON) if word in caplog.text]
    assert seen == []


@pytest.mark.long
def test_the_real_server(on_sqlite, tmp_path):
    """The command, its token by reference, a correction over a socket, and what it printed."""
    add(on_sqlite, 1)
    command = ["admin", "--store", on_sqlite.store, "--admin-token", "env:TOKEN", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, str(reminder.EXAMPLE), *command],
        env=reminder.environment(tmp_path, TOKEN=ADMIN),
        stderr=subprocess.PIPE,
        text=True,
    )
    said = ""
    while not (address := re.search(r"http://127\.0\.0\.1:\d+", said)):
        line = process.stderr.readline()
        assert line, said
        said += line
    url = f"{address[0]}/assignments/1/last-contact-date?mentor=Wilhelmina"
    body = {"last_contact_date": ON, "reason": REASON}
    headers = {"Authorization": f"Bearer {ADMIN}"}
    assert httpx.put(url, json=body, headers=headers).status_code == 200
    assert httpx.put(url, json=body).status_code == 401
    process.terminate()
    said += process.communicate(timeout=reminder.ENOUGH)[1]
    assert dates(on_sqlite) == {1: ON}
    assert [word for word in (*reminder.PRIVATE, ADMIN, ON) if word in said] == []


def test_no_log_of_the_database_names_anybody(on_supabase, stack):
    """PostgreSQL's own log, after a correction, refusals and a broken rule."""
    add(on_supabase, 1)
    for token, which, on in (
        (admin_token(), 1, ON),
        (admin_token(), 999, ON),
        (admin_token(), 1, TOMORROW),
        (user_token(), 1, ON),
    ):
        body = {"assignment_id": which, "last_contact_date": on, "reason": REASON}
        on_supabase.call(token, "rpc/correct_last_contact", **body)
        on_supabase.call(token, "contact_corrections", **body)
    with on_supabase.open() as repository, pytest.raises(RepositoryError):
        repository.register([1], TODAY, "somebody else")
    log = stack.log()
    assert "there is no such assignment" in log
    assert [word for word in reminder.PRIVATE if word in log] == []


# --- Supabase alone -------------------------------------------------------------------------------


def test_writing_to_the_table_is_no_way_around(on_supabase):
    """The same refusals without the RPC; only an admin reads corrections."""
    add(on_supabase, 1)
    body = {"assignment_id": 1, "last_contact_date": ON, "reason": REASON}
    table = "contact_corrections"
    statuses = {
        "anon": on_supabase.call(None, table, **body),
        "user": on_supabase.call(user_token(), table, **body),
        "future": on_supabase.call(admin_token(), table, **body | {"last_contact_date": TOMORROW}),
        "reason": on_supabase.call(admin_token(), table, **body | {"reason": ""}),
        "forged": on_supabase.call(admin_token(), table, **body, corrected_by="somebody"),
    }
    assert {who: answer.status_code for who, answer in statuses.items()} == {
        "anon": 401,
        "user": 403,
        "future": 422,
        "reason": 422,
        "forged": 403,
    }
    assert on_supabase.call(admin_token(), table, **body).status_code == 201
    seen = {
        who: httpx.get(
            f"{on_supabase.project.url}/rest/v1/{table}",
            headers={
                "apikey": on_supabase.project.gateway.publishable_key,
                "Authorization": f"Bearer {token}",
            },
        ).json()
        for who, token in (("admin", admin_token()), ("user", user_token()))
    }
    assert len(seen["admin"]) == 1
    assert seen["user"] == []


@pytest.mark.parametrize(
    "claims",
    [
        {"user_metadata": {"reminder_role": "admin"}},
        {"app_metadata": {"reminder_role": "user"}},
        {"app_metadata": ["admin"]},
        {"app_metadata": {"reminder_role": "admin"}, "sub": None},
        {"app_metadata": {"reminder_role": "admin"}, "role": "anon"},
        {"app_metadata": {"reminder_role": "admin"}, "exp": 1},
    ],
    ids=json.dumps,
)
def test_claims_that_make_no_admin(on_supabase, claims):
    """What users can set themselves, other roles, nobody, an expired token."""
    add(on_supabase, 1)
    body = {"assignment_id": 1, "last_contact_date": ON, "reason": REASON}
    answer = on_supabase.call(user_token(**claims), "rpc/correct_last_contact", **body)
    assert answer.status_code in (401, 403), answer.text
    assert dates(on_supabase) == {1: str(LONG_AGO)}


def test_nobody_else_reads_or_writes(on_supabase):
    """Neither strangers nor users, not even admins, reach any other table or function."""
    add(on_supabase, 1)
    with on_supabase.project.database.admin() as db:
        functions = [
            row[0]
            for row in db.execute(
                "select p.oid::regprocedure::text from pg_proc p where proname like 'reminder%'"
            )
        ]
        assert len(functions) > 12
        for role in ("anon", "authenticated"):
            open_to = [
                function
                for function in functions
                if db.execute(
                    "select has_function_privilege(%s, %s, 'execute')", (role, function)
                ).fetchone()[0]
            ]
            assert open_to == (["reminder_is_admin()"] if role == "authenticated" else [])
            for table in ("assignments", "activities", "reminders", "expected_dates"):
                for privilege in ("select", "insert", "update", "delete", "truncate"):
                    asked = (role, table, privilege)
                    allowed = db.execute("select has_table_privilege(%s, %s, %s)", asked)
                    assert not allowed.fetchone()[0], asked
        unsafe = db.execute(
            "select proname from pg_proc where pronamespace = 'public'::regnamespace"
            " and (proname like 'reminder%' or proname = 'correct_last_contact')"
            " and not coalesce(proconfig @> array['search_path=\"\"'], false)"
        ).fetchall()
        assert unsafe == []
        bare = db.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace"
            " and relkind = 'r' and not relrowsecurity"
        ).fetchall()
        assert bare == []


def test_the_migration_may_run_again(stack):
    """In each regime of default privileges, twice, with rows in between."""
    for regime in ("legacy", "newer"):
        database = stack.database(regime)
        for _ in range(2):
            with database.connect() as db, db.transaction():
                db.execute(reminder.MIGRATION.read_text())
                db.execute(
                    "insert into assignments (mentor, phone, assigned_on, last_contact_date)"
                    " values ('x', 'y', '2026-01-01', '2026-01-01')"
                )
                db.execute("set local role service_role")
                db.execute("select reminder_disagreements()")
        with database.admin() as db:
            allowed = "select has_table_privilege(%s, 'assignments', %s)"
            asked = [("service_role", "truncate"), ("anon", "select")]
            assert [db.execute(allowed, each).fetchone()[0] for each in asked] == [False, False]
        database.drop()


def test_plpgsql_check_finds_nothing(stack):
    """Every function of the migration, with every warning on; `supabase db lint` asks it too."""
    database = stack.database("newer")
    with database.connect() as db, db.transaction():
        db.execute(reminder.MIGRATION.read_text())
    with database.admin() as db:
        reminder.load_plpgsql_check(db)
        findings = db.execute(
            """
            select p.oid::regprocedure::text, found.message
            from pg_proc p
            join pg_language l on l.oid = p.prolang and l.lanname = 'plpgsql'
            left join pg_trigger t on t.tgfoid = p.oid
            left join lateral plpgsql_check_function_tb(
                p.oid, coalesce(t.tgrelid, 0), fatal_errors => false, all_warnings => true
            ) found on true
            where p.pronamespace = 'public'::regnamespace
                and (p.proname like 'reminder%' or p.proname = 'correct_last_contact')
            """
        ).fetchall()
    database.drop()
    assert len({name for name, _ in findings}) > 12
    assert [f"{name}: {what}" for name, what in findings if what] == []
