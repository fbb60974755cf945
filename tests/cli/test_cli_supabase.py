"""``cronguard init postgres``, ``init supabase`` and ``vault``, on the real stack."""

import io
import json
import os
import pty
import subprocess
import sys

import pytest
from support.cli import Cli, Here, read_until
from support.stack.client import PASSWORD

from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.server.schema import SCHEMA_VERSION, migration_sql

pytestmark = pytest.mark.one_python

NAME = "cronguard_slack_webhook_url"
SECRET = "https://hooks.slack.com/services/T0/B0/sentinel-77aa"


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    return Here(tmp_path, monkeypatch, capsys)


@pytest.fixture
def on_supabase(here, project):
    """The command line with the project as its store."""
    here.setenv("CRONGUARD_STORE", "supabase")
    here.setenv("SUPABASE_URL", project.url)
    here.setenv("SUPABASE_SECRET_KEY", project.secret_key)
    return here


@pytest.fixture
def bare(stack):
    """A database without cronguard's schema."""
    database = stack.database("newer")
    yield database
    database.drop()


def type_in(monkeypatch, text):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


# --- init postgres --------------------------------------------------------------------------------


def test_init_postgres_makes_the_schema_once(here, bare):
    """It says where and what it did; the second time there is nothing to do."""
    here.setenv("CRONGUARD_STORE", bare.url)
    where = f"PostgreSQL at 127.0.0.1:{bare.stack.port}/{bare.name}"
    assert here("status").returncode == 1
    assert here("init", "postgres").stdout == f"{where}: tables and functions created.\n"
    assert here("init", "postgres").stdout == f"{where} is up to date.\n"
    assert here("status").returncode == 0


def test_a_run_before_the_schema_waits_and_is_no_fault_afterwards(bare, tmp_path):
    """It is recorded by the next run; until then nobody is sent to look for rules of the
    database's that refuse it."""
    cronguard = Cli(tmp_path)
    cronguard.environ |= {
        "CRONGUARD_STORE": "env:DATABASE_URL",
        "DATABASE_URL": bare.url,
        "CRONGUARD_STORE_TIMEOUT": "60",
    }
    assert cronguard("run", "nightly", "--", "true").returncode == 0
    assert cronguard("init", "postgres").returncode == 0
    said = cronguard("doctor").stdout
    assert "1 run waits in " in said
    assert "refuses outcomes" not in said
    runs = json.loads(cronguard("history", "nightly", "--json").stdout)["runs"]
    assert [run["status"] for run in runs] == ["success"], "kept here, and shown all the same"
    assert cronguard("run", "nightly", "--", "true").returncode == 0
    assert "runs wait" not in cronguard("doctor").stdout


def test_init_postgres_over_an_older_log(here, bare):
    """Rows without a job need --legacy-job; the line says so."""
    with bare.connect() as db:
        db.execute(
            "create table cron_execution_logs (started_at timestamptz,"
            " consecutive_failure_count integer)"
        )
        db.execute("insert into cron_execution_logs values (now(), 1)")
    here.setenv("CRONGUARD_STORE", bare.url)
    done = here("init", "postgres")
    assert done.returncode == 1
    assert "--legacy-job NAME" in done.stderr
    assert done.stderr.count("\n") == 1
    assert here("init", "postgres", "--legacy-job", "two words").returncode == 2
    assert here("init", "postgres", "--legacy-job", "reminder").returncode == 0
    assert here.json("status")["jobs"][0]["consecutive_failure_count"] == 1


@pytest.mark.parametrize("kind", ["postgres", "supabase"])
def test_print_prints_sql_alone(here, kind):
    """For a pipe into psql; no store is opened and nothing is written."""
    done = here("init", kind, "--print", "--legacy-job", "reminder")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == migration_sql("reminder")
    assert list(here.folder.iterdir()) == []


def test_init_postgres_on_another_store(here):
    """Exit 2, and what to set."""
    done = here("init", "postgres")
    assert done.returncode == 2
    assert "CRONGUARD_STORE" in done.stderr


# --- init supabase --------------------------------------------------------------------------------


def migrations(here):
    return sorted((here.folder / "supabase" / "migrations").glob("*"))


def test_init_supabase_writes_where_the_cli_looks(here, monkeypatch):
    """One file of the right name, and not a second one of the same text; found from below."""
    done = here("init", "supabase")
    (file,) = migrations(here)
    assert done.returncode == 0
    assert file.name.removesuffix("_cronguard.sql").isdigit()
    assert len(file.name.removesuffix("_cronguard.sql")) == 14
    assert file.read_text() == migration_sql()
    assert f"supabase/migrations/{file.name}" in done.stdout
    assert "supabase db push --remote" in done.stdout
    (here.folder / "deep").mkdir()
    monkeypatch.chdir(here.folder / "deep")
    assert "holds it already" in here("init", "supabase").stdout
    assert migrations(here) == [file]


def test_init_supabase_says_whether_the_project_is_up_to_date(on_supabase, monkeypatch):
    """Where it can look; where it cannot it says that too."""
    assert f"is up to date (schema {SCHEMA_VERSION})" in on_supabase("init", "supabase").stdout
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_wrong")
    done = on_supabase("init", "supabase")
    assert done.returncode == 1
    assert "is not known: Supabase at" in done.stderr


def test_init_supabase_apply(here, bare):
    """Into the database named, by an environment variable so that no password is on argv."""
    here.setenv("MY_DB", bare.url)
    done = here("init", "supabase", "--apply", "--db-url", "env:MY_DB")
    assert (done.returncode, done.stderr) == (0, "")
    assert PASSWORD not in done.stdout
    here.setenv("SUPABASE_DB_URL", bare.url)
    assert "is up to date" in here("init", "supabase", "--apply").stdout
    store = PostgresStore(bare.url)
    assert store.schema_version() == SCHEMA_VERSION
    store.close()
    here.delenv("SUPABASE_DB_URL")
    for wrong in (["--apply"], ["--apply", "--print"], ["--apply", "--db-url", "env:UNSET"]):
        done = here("init", "supabase", *wrong)
        assert done.returncode in (1, 2)
        assert done.stderr.count("\n") == 1


# --- vault ----------------------------------------------------------------------------------------


def test_a_secrets_life(on_supabase, monkeypatch):
    """set from standard input, list, check, unset; its value is never shown."""
    here, shown = on_supabase, ""
    assert "keeps 0 secrets" in here("vault", "setup").stdout
    assert "keeps no secret" in here("vault", "list").stdout
    type_in(monkeypatch, SECRET + "\n")
    done = here("vault", "set", NAME)
    assert done.returncode == 0
    assert f"vault:{NAME}" in done.stdout
    shown += done.stdout + done.stderr
    (listed,) = here.json("vault", "list")["secrets"]
    assert sorted(listed) == ["created_at", "name", "updated_at"]
    shown += here("vault", "list").stdout

    monkeypatch.setenv("CRONGUARD_SLACK_WEBHOOK_URL", f"vault:{NAME}")
    done = here("vault", "check")
    assert done.returncode == 0
    assert f"{NAME}  used by slack" in done.stdout
    shown += done.stdout
    assert here("vault", "unset", NAME).returncode == 0
    assert here("vault", "unset", NAME).returncode == 1
    done = here("vault", "check")
    assert done.returncode == 1
    assert f"cronguard vault set {NAME}" in done.stdout
    assert "sentinel" not in shown


def test_a_secret_nobody_uses_is_named(on_supabase, project):
    """By check, as a hint."""
    store = PostgresStore(project.database.url)
    store.set_secret("cronguard_old", "x")
    store.close()
    done = on_supabase("vault", "check")
    assert done.returncode == 0
    assert "cronguard_old  used by no channel here" in done.stdout


def test_check_goes_on_after_a_secret_that_cannot_be_decrypted(on_supabase, project, monkeypatch):
    """A line for each secret, used or not, with what to do; then set makes it good again."""
    here, database = on_supabase, project.database
    store = PostgresStore(database.url)
    for name in (NAME, "cronguard_hook", "cronguard_old", "cronguard_unused"):
        store.set_secret(name, SECRET)
    store.close()
    database.encrypt_under_another_root_key(NAME, "cronguard_old")
    monkeypatch.setenv("CRONGUARD_CHANNELS", "slack,webhook")
    monkeypatch.setenv("CRONGUARD_SLACK_WEBHOOK_URL", f"vault:{NAME}")
    monkeypatch.setenv("CRONGUARD_WEBHOOK_URL", "vault:cronguard_hook")
    monkeypatch.setenv("CRONGUARD_WEBHOOK_SECRET", "vault:signing_key")
    done = here("vault", "check")
    assert done.returncode == 1
    reach = "its name cannot be reached: rename it with cronguard vault adopt"
    again = "cannot be decrypted: set it again with cronguard vault set"
    assert done.stdout.splitlines() == [
        "✓ cronguard_hook  used by webhook",
        f"✗ {NAME}  used by slack, {again} {NAME}",
        f"✗ signing_key  used by webhook, {reach} signing_key",
        f"! cronguard_old  used by no channel here, {again} cronguard_old",
        "! cronguard_unused  used by no channel here",
    ]
    found = here.json("vault", "check", code=1)["secrets"]
    assert [each["state"] for each in found] == [
        "ok",
        "undecryptable",
        "unreachable",
        "undecryptable",
        "ok",
    ]
    assert found[1] == {
        "name": NAME,
        "channels": ["slack"],
        "state": "undecryptable",
        "error": None,
    }
    monkeypatch.delenv("CRONGUARD_WEBHOOK_SECRET")
    type_in(monkeypatch, SECRET)
    assert here("vault", "set", NAME).returncode == 0
    done = here("vault", "check")
    assert done.returncode == 0
    assert f"✓ {NAME}  used by slack" in done.stdout
    assert "sentinel" not in done.stdout + done.stderr


def test_adopt_renames_a_secret(here, project, monkeypatch):
    """As it is, in the database; settings and deliveries can name it then."""
    database = project.database
    with database.admin() as db:
        db.execute("select vault.create_secret(%s, 'slack_webhook_url', 'ours')", (SECRET,))
    here.setenv("CRONGUARD_STORE", database.url)
    done = here("vault", "adopt", "slack_webhook_url")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"vault:{NAME}" in done.stdout
    assert "sentinel" not in done.stdout
    store = PostgresStore(database.url)
    assert store.get_secret(NAME) == SECRET
    store.close()
    with database.admin() as db:
        assert db.execute("select name, description from vault.secrets").fetchall() == [
            (NAME, "ours")
        ]
    here.setenv("CRONGUARD_SLACK_WEBHOOK_URL", f"vault:{NAME}")
    assert here("vault", "check").returncode == 0


def test_adopt_copies_a_secret_that_others_read(stack, on_supabase, project):
    """Under both names then; its plaintext is in no file of the server's."""
    database, sentinel = project.database, "sentinel-c0b1e5"
    store = PostgresStore(database.url)
    store.set_secret("cronguard_x", sentinel)
    store.close()
    with database.admin() as db:
        db.execute(
            "select vault.update_secret(id, new_name => 'it''s \\ theirs')"
            " from vault.secrets where name = 'cronguard_x'"
        )
    argv = ("vault", "adopt", "it's \\ theirs", "--as", NAME, "--copy", "--db-url", database.url)
    done = on_supabase(*argv)
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout
    with database.admin() as db:
        db.execute("checkpoint")
        rows = db.execute("select name, decrypted_secret from vault.decrypted_secrets").fetchall()
        assert sorted(rows) == [(NAME, sentinel), ("it's \\ theirs", sentinel)]
        found = subprocess.run(
            ["grep", "-rlaF", sentinel, str(stack.folder)], capture_output=True, check=False
        )
        assert found.stdout == b""
        db.execute("delete from vault.secrets where name = %s", (NAME,))
        done = on_supabase(*argv[:-2], "--print")
        db.execute(done.stdout)
        assert sorted(rows) == sorted(
            db.execute("select name, decrypted_secret from vault.decrypted_secrets").fetchall()
        )


@pytest.mark.parametrize("copy", [(), ("--copy",)], ids=["rename", "copy"])
def test_adopt_refuses_with_a_sentence(here, project, copy):
    """What is not there (not repeated), is taken, or cannot be decrypted; nothing is changed."""
    database = project.database
    store = PostgresStore(database.url)
    store.set_secret("cronguard_taken", "x")
    store.close()
    with database.admin() as db:
        db.execute("select vault.create_secret('a', 'theirs'), vault.create_secret('b', 'lost')")
    database.encrypt_under_another_root_key("lost")
    here.setenv("CRONGUARD_STORE", database.url)
    for argv, code, word in (
        ([SECRET, "--as", NAME], 1, "has no secret of that name"),
        (["theirs", "--as", "cronguard_taken"], 1, "cronguard_taken already"),
        (["lost"], 1, "set it again with cronguard vault set cronguard_lost"),
        (["two words"], 2, "--as cronguard_NAME"),
        (["theirs", "--as", "theirs_too"], 2, "begin it with cronguard_"),
        (["cronguard_taken"], 2, "can be reached as it is"),
    ):
        done = here("vault", "adopt", *argv, *copy)
        assert (done.returncode, done.stdout) == (code, "")
        assert word in done.stderr
        assert "sentinel" not in done.stderr
    with database.admin() as db:
        names = db.execute("select name from vault.secrets order by name").fetchall()
    assert names == [("cronguard_taken",), ("lost",), ("theirs",)]


def test_adopt_is_not_within_reach_of_the_service_key(on_supabase, project):
    """It takes the database; the API has no function that would reach another name."""
    with project.database.admin() as db:
        db.execute("select vault.create_secret('x', 'theirs')")
        sources = db.execute(
            "select string_agg(prosrc, '') from pg_proc where proname like 'cronguard%'"
        ).fetchone()[0]
    assert "new_name" not in sources
    done = on_supabase("vault", "adopt", "theirs")
    assert done.returncode == 2
    assert "SUPABASE_DB_URL" in done.stderr
    assert on_supabase.json("vault", "list")["secrets"] == []


def test_adopt_where_there_is_no_vault(here, stack):
    """Says so."""
    database = stack.plain_database()
    here.setenv("CRONGUARD_STORE", database.url)
    done = here("vault", "adopt", "theirs")
    assert done.returncode == 1
    assert "has no Vault" in done.stderr
    database.drop()


@pytest.mark.parametrize("name", ["slack", SECRET, "cronguard_", "cronguard_a b"])
def test_a_name_that_cannot_be_is_refused_and_not_repeated(on_supabase, name):
    """Somebody may have typed the secret in its place."""
    done = on_supabase("vault", "set", name)
    assert done.returncode == 2
    assert "begin it with cronguard_" in done.stderr
    assert "sentinel" not in done.stderr


@pytest.mark.parametrize("text", ["", "\n", "a\0b", "x" * 70_000])
def test_what_is_no_secret_is_refused(on_supabase, monkeypatch, text):
    """Nothing is stored then."""
    type_in(monkeypatch, text)
    assert on_supabase("vault", "set", NAME).returncode == 1
    assert on_supabase.json("vault", "list")["secrets"] == []


def test_the_prompt_shows_nothing(tmp_path, project):
    """On a terminal the secret is asked for, and not echoed."""
    cli = Cli(tmp_path)
    cli.environ |= {
        "CRONGUARD_STORE": "supabase",
        "SUPABASE_URL": project.url,
        "SUPABASE_SERVICE_ROLE_KEY": project.service_key,
    }
    ours, theirs = pty.openpty()
    with cli.start("vault", "set", NAME, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        terminal = os.fdopen(ours, "r+b", buffering=0)
        seen = read_until(terminal, b"Secret for cronguard_slack_webhook_url: ")
        terminal.write(SECRET.encode() + b"\n")
        seen += read_until(terminal, b"vault:cronguard_slack_webhook_url\r\n")
        assert process.wait(30) == 0
        terminal.close()
    assert b"sentinel" not in seen
    store = PostgresStore(project.database.url)
    assert store.get_secret(NAME) == SECRET
    store.close()


def test_setup_says_what_is_missing(here, stack):
    """No functions: they are added where it can. No Vault: how to enable it."""
    database = stack.plain_database()
    here.setenv("CRONGUARD_STORE", database.url)
    done = here("vault", "setup")
    assert done.returncode == 1
    assert "functions added" in done.stdout
    assert "create extension supabase_vault" in done.stderr
    database.drop()


@pytest.mark.parametrize("command", ["status", "vault check"])
def test_a_command_waits_for_a_migration_that_the_api_has_not_seen_yet(
    on_supabase, project, command
):
    """PostgREST looks again some seconds after it; a line says for what the command waits."""
    unseen = json.dumps({"code": "PGRST202", "message": "", "details": None, "hint": None})
    project.gateway.requests.clear()
    before = on_supabase(*command.split())
    functions = {path.rpartition("/")[2] for _, path in project.gateway.requests}
    project.gateway.once += [(each, 404, "application/json", unseen) for each in functions]
    done = on_supabase(*command.split())
    assert (done.returncode, done.stdout) == (before.returncode, before.stdout)
    assert project.gateway.once == []
    (line,) = done.stderr.splitlines()
    assert "knows no cronguard schema; in case it was made just now, asking for 10 s more" in line


def test_setup_without_functions_on_supabase(here, stack, bare, monkeypatch):
    """The line names the command that makes them."""
    from support.stack.client import Project

    monkeypatch.setattr("cronguard.cli.opening.SCHEMA_WAIT_SECONDS", 0.0)
    project = Project(bare)
    here.setenv("CRONGUARD_STORE", "supabase")
    here.setenv("SUPABASE_URL", project.url)
    here.setenv("SUPABASE_SECRET_KEY", project.secret_key)
    done = here("vault", "setup")
    project.close()
    assert done.returncode == 1
    assert "cronguard init supabase" in done.stderr


def test_a_store_without_a_vault(here):
    """SQLite has none: exit 2, and what to set."""
    done = here("vault", "list")
    assert done.returncode == 2
    assert "CRONGUARD_STORE" in done.stderr


def test_a_vault_reference_is_tried_by_test_alert(on_supabase, project, monkeypatch):
    """test-alert reads the secret through the store that the settings name."""
    from support import hostile

    sink = hostile.answers()
    with hostile.serve(sink) as server:
        type_in(monkeypatch, server.url)
        assert on_supabase("vault", "set", "cronguard_hook").returncode == 0
        monkeypatch.setenv("CRONGUARD_WEBHOOK_URL", "vault:cronguard_hook")
        done = on_supabase("test-alert", "--channel", "webhook")
    assert done.returncode == 0, done.stderr
    assert [request.json["kind"] for request in sink.received] == ["test"]


def test_help_needs_no_extra(tmp_path):
    """Help and --print of the Supabase commands work where its client is not installed."""
    code = (
        "import sys; sys.modules['supabase'] = sys.modules['psycopg'] = None\n"
        "from cronguard.cli import main\n"
        "codes = [main(a.split()) for a in ('vault --help', 'init supabase --print',"
        " 'init postgres --help', 'vault set --help')]\n"
        "sys.exit(any(codes))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
