"""Which file ``cronguard init supabase`` writes, beside which others, for which project."""

import pytest
from support.cli import Here
from support.schema import RELEASED, apply
from support.stack.client import Project

from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.server.schema import SCHEMA_VERSION, migration_sql, takes_over_log

pytestmark = pytest.mark.one_python

WHOLE, UPGRADE = migration_sql(), migration_sql(from_version=1)
FIRST = "20260101000000_cronguard.sql"


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    return Here(tmp_path, monkeypatch, capsys)


@pytest.fixture
def project(here, stack):
    """Make the environment's project, with a version of the schema; None for none."""
    made = []

    def make(text=None):
        database = stack.database("newer")
        if text:
            apply(database, text)
        made.append(Project(database))
        here.setenv("SUPABASE_URL", made[-1].url)
        here.setenv("SUPABASE_SECRET_KEY", made[-1].secret_key)

    yield make
    for each in made:
        each.close()
        each.database.drop()


def newer(text):
    """A migration as a later cronguard writes it."""
    return text.replace(f"version {SCHEMA_VERSION}", f"version {SCHEMA_VERSION + 1}").replace(
        f"$$ select {SCHEMA_VERSION} $$", f"$$ select {SCHEMA_VERSION + 1} $$"
    )


def put(here, text, name=FIRST):
    folder = here.folder / "supabase" / "migrations"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def texts(here):
    """The files' texts, in the order in which they are applied."""
    return [
        file.read_text() for file in sorted((here.folder / "supabase" / "migrations").glob("*"))
    ]


# --- an upgrade -----------------------------------------------------------------------------------


def test_beside_an_earlier_file_it_is_an_upgrade(here):
    """From that file's version; then this version is there."""
    put(here, RELEASED[1])
    put(here, "create table cronguard_of_ours (a integer);", "20260102000000_our_cronguard.sql")
    done = here("init", "supabase")
    assert "an upgrade from schema 1. Apply it with:" in done.stdout
    assert texts(here)[0] == RELEASED[1]
    assert texts(here)[2:] == [UPGRADE]
    assert "holds it already" in here("init", "supabase").stdout
    assert len(texts(here)) == 3


@pytest.mark.parametrize(
    ("there", "beside", "written"),
    [
        (None, [], WHOLE),
        (None, [RELEASED[1]], WHOLE),
        (RELEASED[1], [], WHOLE),
        (RELEASED[1], [RELEASED[1]], UPGRADE),
        (WHOLE, [RELEASED[1]], UPGRADE),
        (RELEASED[1], [WHOLE], None),
        (WHOLE, [WHOLE], None),
    ],
)
def test_it_starts_from_the_lower_of_folder_and_project(here, project, there, beside, written):
    """A folder must make all of it anew, and what a project has not got cannot be upgraded."""
    project(there)
    for text in beside:
        put(here, text)
    done = here("init", "supabase")
    assert done.returncode == 0
    assert texts(here) == [*beside, *([written] if written else [])]


def test_a_new_file_comes_after_the_others(here):
    """Be its time in the future: files are applied in the order of their names."""
    put(here, RELEASED[1], "29991231235959_cronguard.sql")
    here("init", "supabase")
    assert texts(here) == [RELEASED[1], UPGRADE]


def test_init_postgres_applies_what_is_missing(here, stack):
    """And says from where."""
    database = stack.plain_database()
    apply(database, RELEASED[1])
    here.setenv("CRONGUARD_STORE", database.url)
    assert "brought up to date from schema 1." in here("init", "postgres").stdout
    assert "is up to date." in here("init", "postgres").stdout
    database.drop()


# --- what is newer --------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("--legacy-job", "reminder")])
def test_beside_a_newer_file_nothing_is_written(here, arguments):
    """One line says which side to upgrade."""
    put(here, RELEASED[1])
    put(here, newer(WHOLE), "20260102000000_cronguard.sql")
    done = here("init", "supabase", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "20260102000000_cronguard.sql makes version" in done.stderr
    assert "upgrade cronguard here" in done.stderr
    assert texts(here) == [RELEASED[1], newer(WHOLE)]


def test_for_a_newer_project_nothing_is_written(here, project):
    """Likewise, where it can be asked."""
    project(newer(WHOLE))
    done = here("init", "supabase")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "newer schema than this cronguard knows: upgrade cronguard here" in done.stderr
    assert not (here.folder / "supabase").exists()


def test_doctor_says_that_a_schema_is_newer(here, stack):
    """It is served as before, so it is no more than a warning; init postgres refuses."""
    database = stack.plain_database()
    apply(database, newer(WHOLE))
    here.setenv("CRONGUARD_STORE", database.url)
    found = {check["check"]: check for check in here.json("doctor")["checks"]}
    assert found["schema"]["status"] == "warning"
    assert "upgrade cronguard here" in found["schema"]["message"]
    assert found["store"]["status"] == "ok"
    done = here("init", "postgres")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    database.drop()


def test_doctor_says_that_an_encoding_is_another(here, stack):
    """As the migration does."""
    database = stack.plain_database("LATIN1")
    here.setenv("CRONGUARD_STORE", database.url)
    checks = here.json("doctor", code=1)["checks"]
    found = [check for check in checks if check["status"] == "error"]
    assert [check["check"] for check in found] == ["schema"]
    assert "another encoding than UTF-8" in found[0]["message"]
    done = here("init", "postgres")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "another encoding than UTF-8" in done.stderr
    database.drop()


# --- taking over a log ----------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [True, False])
def test_the_option_replaces_the_file_that_stopped(here, project, asked):
    """The same name: it may stand in a list of what was applied, where it changes nothing."""
    if asked:
        project(None)
    assert here("init", "supabase").returncode == 0
    assert texts(here) == [WHOLE]
    done = here("init", "supabase", "--legacy-job", "reminder")
    assert done.stdout.startswith("Replaced supabase/migrations/")
    assert ("where it has been applied already" in done.stdout) is not asked
    assert texts(here) == [migration_sql("reminder")]
    done = here("init", "supabase", "--legacy-job", "reminder")
    assert "Replaced" not in done.stdout
    assert "holds it already" in done.stdout
    here("init", "supabase", "--legacy-job", "other")
    assert texts(here) == [migration_sql("other")]


@pytest.mark.parametrize("asked", [True, False])
def test_a_released_file_gets_the_name_it_asks_for(here, project, asked):
    """Version 1's had the SQL already; the upgrade is a file of its own."""
    if asked:
        project(None)
    put(here, RELEASED[1])
    here("init", "supabase", "--legacy-job", "reminder")
    first, second = texts(here)
    assert first == RELEASED[1].replace("/*legacy job*/ null", "'reminder'")
    assert second == (migration_sql("reminder") if asked else UPGRADE)


def test_what_a_project_has_is_not_replaced(here, project):
    """There the log is cronguard's, whatever it was."""
    project(WHOLE)
    put(here, WHOLE)
    done = here("init", "supabase", "--legacy-job", "reminder")
    assert "--legacy-job is not needed" in done.stdout
    assert texts(here) == [WHOLE]


def test_a_file_that_somebody_changed_is_not_replaced(here):
    """Nobody's work is lost; one line says what to do."""
    put(here, WHOLE + "grant select on cron_execution_logs to reporting;\n")
    before = texts(here)
    done = here("init", "supabase", "--legacy-job", "reminder")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "delete it and do this again" in done.stderr
    assert texts(here) == before


def test_what_is_no_jobs_name_replaces_nothing(here):
    """Whatever lies in the folder."""
    put(here, WHOLE)
    assert here("init", "supabase", "--legacy-job", "two words").returncode == 2
    assert texts(here) == [WHOLE]


def test_the_files_in_a_folder_make_what_is_wanted(here, stack):
    """From an old log: version 1, stopped; its name given; and the upgrade after it."""
    database = stack.database("legacy")
    with database.connect() as db:
        db.execute(
            "create table cron_execution_logs (started_at timestamptz,"
            " consecutive_failure_count integer)"
        )
        db.execute("insert into cron_execution_logs values (now(), 3)")
    put(here, RELEASED[1])
    here("init", "supabase", "--legacy-job", "reminder")
    for text in texts(here):
        apply(database, text)
    store = PostgresStore(database.url)
    assert store.schema_version() == SCHEMA_VERSION
    assert [job.consecutive_failure_count for job in store.jobs()] == [3]
    store.close()
    database.drop()
    assert [takes_over_log(text) for text in texts(here)] == [True, False]
