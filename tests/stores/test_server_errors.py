"""What the remote stores say when something is wrong: one clear line, and never the driver's."""

import json
import threading
import traceback
from datetime import UTC, datetime

import httpx
import psycopg
import pytest
import supabase
from support import hostile
from support.stack.client import PASSWORD, Project
from support.stack.gateway import token

from cronguard.core.clock import new_id
from cronguard.core.errors import ConfigError, StoreConfigError, StoreError
from cronguard.core.model import Outcome, Owner, Run
from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.server.supabase import SupabaseStore

pytestmark = pytest.mark.one_python

SECRETS = (PASSWORD, "hunter2", "sb_secret", "eyJ")


def said(store):
    """The error of a call, checked to be one clean line without a trace of what caused it."""
    with pytest.raises(StoreError) as caught:
        store.jobs()
    store.close()
    error = caught.value
    text = str(error)
    assert "\n" not in text
    assert 10 < len(text) < 250
    assert text[0] != "{"
    shown = "".join(traceback.format_exception(error))
    for secret in SECRETS:
        assert secret not in text + repr(store) + shown
    assert error.__cause__ is None
    assert error.__context__ is None
    return error


def run_of(job="a"):
    return Run(new_id(), job, datetime.now(UTC), Owner("h", 1))


# --- PostgreSQL -----------------------------------------------------------------------------------


def postgres(database, **changes):
    port = changes.pop("port", database.stack.port)
    user, password = changes.pop("user", "postgres"), changes.pop("password", PASSWORD)
    name, host = changes.pop("name", database.name), changes.pop("host", "127.0.0.1")
    more = "".join(f"&{key}={value}" for key, value in changes.items())
    return PostgresStore(
        f"postgresql://{user}:{password}@{host}:{port}/{name}?connect_timeout=2{more}", timeout=2
    )


def test_wrong_password(database):
    """A configuration error: waiting does not mend it."""
    error = said(postgres(database, password="hunter2"))
    assert (type(error), error.code) == (StoreConfigError, "password_refused")


def test_unknown_database(database):
    """Says which one, by name."""
    error = said(postgres(database, name="nowhere"))
    assert (type(error), error.code) == (StoreConfigError, "no_database")
    assert "nowhere" in str(error)


def test_nobody_listens(database):
    """Says so; it may be there later, so it is no configuration error."""
    error = said(postgres(database, port=hostile.refusing_port()))
    assert (type(error), error.code) == (StoreError, "connection_refused")


def test_unknown_host(database):
    """A name that cannot exist (RFC 6761)."""
    assert said(postgres(database, host="db.invalid")).code in ("unknown_host", "unreachable")


def test_a_server_that_never_answers(database):
    """The driver's own time limit ends it; cronguard's ends it sooner."""
    with hostile.serve(hostile.never_answers) as server:
        assert said(postgres(database, port=server.port)).code == "timeout"


@pytest.mark.parametrize(
    "url", ["postgresql://u:hunter2@[::1/x", "postgresql://u:hunter2@h:port:1/x?nope=1", "nonsense"]
)
def test_an_address_that_cannot_be_read_is_not_quoted(url):
    """libpq's own message would show the password."""
    with pytest.raises(ConfigError) as caught:
        PostgresStore(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "query",
    [
        "pgbouncer=true",
        "pgbouncer=true&connection_limit=1&connect_timeout=2",
        "connect_timeout=2&supa=base-pooler.x&schema=public",
    ],
)
def test_an_address_that_is_shared_with_another_driver(database, query):
    """As a pooler's is written for Prisma and others: what is theirs means nothing here."""
    store = PostgresStore(f"{database.url.partition('?')[0]}?{query}")
    assert store.jobs() == []
    store.close()


def test_a_parameter_that_nobody_knows():
    """It is not the password that is wrong; what it is called may be part of one."""
    with pytest.raises(ConfigError, match="a parameter behind its \\?") as caught:
        PostgresStore("postgresql://u:hunter2@h/x?sslmod=require")
    assert "sslmod" not in str(caught.value)


def test_no_schema(stack):
    """Says which command makes it."""
    database = stack.plain_database()
    error = said(PostgresStore(database.url))
    assert (type(error), error.code) == (StoreConfigError, "schema_missing")
    assert "cronguard init postgres" in str(error)
    database.drop()


def test_a_role_that_may_not(database):
    """Another role than the one that made the schema, without grants."""
    with database.admin() as db, db.transaction():
        if not db.execute("select 1 from pg_roles where rolname = 'stranger'").fetchone():
            db.execute("create role stranger login password 'hunter2'")
    error = said(postgres(database, user="stranger", password="hunter2"))
    assert (type(error), error.code) == (StoreConfigError, "permission_denied")


def test_statement_timeout_on_postgres(database):
    """57014 is a passing trouble."""
    run = run_of()
    unhurried = PostgresStore(database.url)
    unhurried.start_run(run, is_dead=lambda _: False)
    unhurried.close()
    store = postgres(database, options="-c%20statement_timeout%3D150")
    with database.connect() as db, db.transaction():
        db.execute("select 1 from cronguard_jobs where job = 'a' for update")
        with pytest.raises(StoreError, match="statement_timeout") as caught:
            store.finish_run(run, Outcome("success", datetime.now(UTC)), started=True)
    assert caught.value.code == "57014"
    store.close()


def test_a_kept_connection_that_died_is_replaced(database):
    """A server restart or a pooler's idle limit costs no call."""
    store = PostgresStore(database.url)
    assert store.jobs() == []
    with database.admin() as db:
        db.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = %s and application_name = 'cronguard'",
            (database.name,),
        )
    assert store.jobs() == []
    store.close()


def test_collisions_are_tried_again(database, monkeypatch):
    """Where the database's default isolation makes writers fail, the writes are repeated."""
    with database.admin() as db:
        db.execute(
            f"alter database {database.name} set default_transaction_isolation = 'serializable'"
        )
    try:
        stores = [PostgresStore(database.url) for _ in range(2)]
        done, refused = [], []

        def work(store):
            for _ in range(30):
                run = run_of()._replace(overlap="allow")
                outcome = Outcome("failure", datetime.now(UTC), 1.0)
                try:
                    store.start_run(run, is_dead=lambda _: False)
                    finished = store.finish_run(run, outcome, started=False)
                except StoreError as error:
                    refused.append(error.code)
                else:
                    done.append(finished.consecutive_failure_count)
            store.close()

        threads = [threading.Thread(target=work, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(done) == list(range(1, len(done) + 1))
        assert set(refused) <= {"busy"}
        assert len(done) > 30
    finally:
        with database.admin() as db:
            db.execute(f"alter database {database.name} reset default_transaction_isolation")


# --- Supabase -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "word"),
    [
        ("", "no key"),
        ("sb_publishable_abc", "publishable"),
        (token("anon"), "anon"),
        (token("authenticated"), "authenticated"),
        ("hunter2", "form"),
        ("sb_secret_abc\ndef", "characters"),
    ],
    ids=["none", "publishable", "anon", "authenticated", "garbage", "newline"],
)
def test_a_key_that_cannot_be_right_is_refused_at_once(key, word, monkeypatch):
    """Before any request, with what to use instead; the key is not quoted."""
    monkeypatch.delenv("SUPABASE_SERVICE_ROLE_KEY", raising=False)
    monkeypatch.delenv("SUPABASE_SECRET_KEY", raising=False)
    with pytest.raises(ConfigError, match=word) as caught:
        SupabaseStore("https://x.supabase.co", key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("url", ["", "x.supabase.co", "ftp://x", "https://", "https://x.co\n/y"])
def test_an_address_that_cannot_be_right_is_refused_at_once(url, monkeypatch):
    """Likewise."""
    monkeypatch.delenv("SUPABASE_URL", raising=False)
    with pytest.raises(ConfigError, match="SUPABASE_URL"):
        SupabaseStore(url, token("service_role"))


def test_supabase_out_of_the_environment(project, monkeypatch):
    """SUPABASE_URL with either key; the older one is asked first."""
    monkeypatch.setenv("SUPABASE_URL", project.url)
    for name, key in (
        ("SUPABASE_SECRET_KEY", project.secret_key),
        ("SUPABASE_SERVICE_ROLE_KEY", project.service_key),
    ):
        monkeypatch.setenv(name, key)
        store = SupabaseStore.from_url("")
        assert store.jobs() == []
        assert "127.0.0.1" in repr(store)
        assert key not in repr(vars(store) and store)
        store.close()


def test_a_key_signed_for_another_project(project):
    """PGRST301: the key is not this project's."""
    other = token("service_role", secret="another secret of more than thirty-two characters")
    error = said(SupabaseStore(project.url, other))
    assert (type(error), error.code) == (StoreConfigError, "key_refused")


def test_an_expired_key(project):
    """Said as what it is."""
    error = said(SupabaseStore(project.url, token("service_role", expires_in=-60)))
    assert (type(error), error.code) == (StoreConfigError, "key_expired")


def test_an_unknown_secret_key(project):
    """The gateway's own refusal has no code."""
    error = said(SupabaseStore(project.url, "sb_secret_hunter2"))
    assert (type(error), error.code) == (StoreConfigError, "key_refused")


def test_a_key_whose_role_may_not(project):
    """A custom role without grants: PostgREST or PostgreSQL refuses it."""
    error = said(SupabaseStore(project.url, token("stranger_role")))
    assert isinstance(error, StoreConfigError)


def test_not_a_supabase_project():
    """A web server that knows no such path, one that answers everything, one that breaks."""
    key = token("service_role")
    with hostile.serve(hostile.answers(404, b"<html>no such page</html>")) as server:
        error = said(SupabaseStore(server.url.removesuffix("/hook"), key))
        assert (type(error), error.code) == (StoreConfigError, "wrong_address")
    with hostile.serve(hostile.answers(200, b"<html>welcome</html>")) as server:
        store = SupabaseStore(server.url.removesuffix("/hook"), key)
        with pytest.raises(StoreConfigError, match="check SUPABASE_URL"):
            store.start_run(run_of(), is_dead=lambda _: False)
        assert said(store).code == "wrong_address"
    with hostile.serve(hostile.answers(502, b"bad gateway")) as server:
        assert said(SupabaseStore(server.url.removesuffix("/hook"), key)).code == "gateway"
    for behave in (hostile.redirects, hostile.is_not_http, hostile.answers(200, b"<html>")):
        with hostile.serve(behave) as server:
            error = said(SupabaseStore(server.url.removesuffix("/hook"), key))
            assert error.code == "wrong_address"


BEFORE_A_PROJECT = [
    (540, b"<html>paused</html>", "gateway", "paused"),
    (401, b'{"message": "Invalid API key"}', "key_refused", "refuses the key"),
    (404, b"<html>", "wrong_address", "SUPABASE_URL"),
    (429, b"<html>1015</html>", "too_many_requests", "too many"),
    (500, b'{"code": "57014", "message": ""}', "57014", "statement_timeout"),
    # The supabase client tells no more of these than that they are errors:
    (402, b'{"message": "Service for this project is restricted"}', "over_quota", "billing"),
    (429, b'{"message": "slow down"}', "too_many_requests", "too many"),
    (200, b"", "empty_answer", "what stands between"),
]


@pytest.mark.parametrize(("status", "body", "code", "says"), BEFORE_A_PROJECT)
def test_answers_of_what_stands_before_a_project(status, body, code, says):
    """Each by its cause."""
    with hostile.serve(hostile.answers(status, body)) as server:
        error = said(SupabaseStore(server.url.removesuffix("/hook"), token("service_role")))
    assert error.code == code
    assert says in str(error)


@pytest.mark.parametrize(("status", "body", "code", "says"), BEFORE_A_PROJECT[:5])
def test_the_same_answers_to_somebodys_own_client(status, body, code, says):
    """What it tells is said as well."""
    with hostile.serve(hostile.answers(status, body)) as server, httpx.Client() as http:
        url, key = server.url.removesuffix("/hook"), token("service_role")
        client = supabase.create_client(url, key, supabase.ClientOptions(httpx_client=http))
        error = said(SupabaseStore(client=client))
    assert error.code == code
    assert says in str(error)


@pytest.mark.parametrize("end", ["", "/", "/rest/v1", "/rest/v1/"])
def test_an_address_of_the_rest_api(end):
    """As the project's settings used to show it."""
    behave = hostile.answers(200, b"[]")
    with hostile.serve(behave) as server:
        store = SupabaseStore(server.url.removesuffix("/hook") + end, token("service_role"))
        assert store.jobs() == []
        assert store.where == f"Supabase at 127.0.0.1:{server.port}"
        store.close()
    assert behave.received[0].target == "/rest/v1/rpc/cronguard_status"


@pytest.mark.parametrize(
    "url",
    [
        "https://supabase.com/dashboard/project/abcdefgh",
        "https://abcdefgh.supabase.co/auth/v1",
        "postgresql://postgres:hunter2@db.abcdefgh.supabase.co/postgres",
        "https://postgres:hunter2@abcdefgh.supabase.co",
    ],
)
def test_an_address_of_something_else(url):
    """Pages of the dashboard, other services, the database itself."""
    with pytest.raises(ConfigError, match=r"set it to https://PROJECT.supabase.co") as caught:
        SupabaseStore(url, token("service_role"))
    assert "hunter2" not in str(caught.value)


def test_an_authority_of_ones_own(monkeypatch):
    """`SSL_CERT_FILE` is honoured, as by the supabase client; without it nobody vouches."""
    with hostile.serve(hostile.answers(200, b"[]"), tls=True) as server:
        url = server.url.removesuffix("/hook")
        assert said(SupabaseStore(url, token("service_role"))).code == "tls"
        monkeypatch.setenv("SSL_CERT_FILE", str(hostile.AUTHORITY))
        store = SupabaseStore(url, token("service_role"))
        assert store.jobs() == []
        store.close()


@pytest.mark.parametrize(
    ("behave", "code"),
    [
        (hostile.never_answers, "timeout"),
        (hostile.resets, "connection_closed"),
        (hostile.hangs_up, "connection_closed"),
    ],
)
def test_a_server_that_misbehaves(behave, code):
    """Passing troubles, each by its own word."""
    with hostile.serve(behave) as server:
        store = SupabaseStore(server.url.removesuffix("/hook"), token("service_role"), timeout=0.3)
        error = said(store)
        assert (type(error), error.code) == (StoreError, code)


def test_supabase_nobody_listens_and_unknown_host():
    """Passing troubles too."""
    key = token("service_role")
    error = said(SupabaseStore(f"http://127.0.0.1:{hostile.refusing_port()}", key))
    assert (type(error), error.code) == (StoreError, "connection_refused")
    error = said(SupabaseStore("https://x.invalid", key))
    assert (type(error), error.code) == (StoreError, "unknown_host")


@pytest.fixture
def own_project(stack):
    """A project that the test may break."""
    database = stack.database("newer")
    project = Project(database)
    yield project
    project.close()
    database.drop()


def test_supabase_without_the_schema(own_project):
    """PGRST202: says which command makes it; schema_version is 0."""
    error = said(SupabaseStore(own_project.url, own_project.service_key))
    assert (type(error), error.code) == (StoreConfigError, "schema_missing")
    assert "cronguard init supabase" in str(error)
    store = SupabaseStore(own_project.url, own_project.secret_key)
    assert store.schema_version() == 0
    store.close()


def test_postgrest_down(own_project):
    """The gateway answers 503: a passing trouble."""
    own_project.stop()
    error = said(SupabaseStore(own_project.url, own_project.service_key))
    assert (type(error), error.code) == (StoreError, "gateway")


def test_statement_timeout_on_supabase(own_project):
    """service_role's calls end after the authenticator's statement_timeout: 57014."""
    enough = "1500ms"  # for PostgREST itself, which asks for the schema within it
    database = own_project.database
    owner = PostgresStore(database.url)
    owner.migrate()
    run = run_of()
    owner.start_run(run, is_dead=lambda _: False)
    owner.close()
    with database.admin() as db:
        db.execute(
            f"alter role authenticator in database {database.name}"
            f" set statement_timeout = '{enough}'"
        )
    own_project.restart()
    store = SupabaseStore(own_project.url, own_project.service_key, timeout=30)
    with database.connect() as db, db.transaction():
        db.execute("select 1 from cronguard_jobs where job = 'a' for update")
        with pytest.raises(StoreError, match="statement_timeout") as caught:
            store.finish_run(run, Outcome("success", datetime.now(UTC)), started=True)
    assert caught.value.code == "57014"
    store.close()


def test_codes_of_later_postgrest_versions(project):
    """A missing table is 42P01 to version 12 and PGRST205 from 13; both mean: no schema."""
    for code, word in (
        ("42P01", "schema_missing"),
        ("PGRST205", "schema_missing"),
        ("PGRST202", "schema_missing"),
        ("PGRST303", "key_refused"),
        ("PGRST106", "schema_hidden"),
        ("CG002", "schema_newer"),  # what a later migration would answer an older client
    ):
        body = {"code": code, "message": "hunter2", "hint": None, "details": None}
        project.gateway.answer = (400, json.dumps(body))
        assert said(SupabaseStore(project.url, project.service_key)).code == word


def test_a_refused_value_is_no_refused_key(project):
    """22023 is the answer to an unknown role, which a key names, and to many another thing."""
    store = SupabaseStore(project.url, token("nobody_there"))
    assert said(store).code == "key_refused"
    for code in ("22023", "22P02", "22021"):
        body = {"code": code, "message": "hunter2", "hint": None, "details": None}
        project.gateway.answer = (400, json.dumps(body))
        error = said(SupabaseStore(project.url, project.service_key))
        assert (type(error), error.code) == (StoreError, code)
        assert "refuses a value" in str(error)


def test_text_that_postgresql_cannot_hold(database):
    """NUL and half surrogates in an error's text do not lose the run."""
    from cronguard.core.model import Failure

    store = PostgresStore(database.url)
    run = run_of()
    store.start_run(run, is_dead=lambda _: False)
    failure = Failure("ValueError", None, "a\0b\ud800c", "x.py:1 in f")
    store.finish_run(run, Outcome("failure", datetime.now(UTC), 1.0, failure), started=True)
    assert store.history("a")[0].failure.error_message == "a\ufffdb?c"
    store.close()


def test_the_password_is_in_no_repr(database):
    """Neither of the store nor of what it holds."""
    store = PostgresStore(database.url)
    store.jobs()
    assert PASSWORD not in repr(store) + repr([*store._idle])
    assert isinstance(store._idle[0], psycopg.Connection)
    store.close()
