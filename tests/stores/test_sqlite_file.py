"""The SQLite store's file: private, never deleted, never somebody else's."""

import re
import shutil
import sqlite3
import stat
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.processes import Place

import cronguard.stores
from cronguard.core.alert_rule import alert_rules
from cronguard.core.clock import new_id
from cronguard.core.errors import StoreConfigError, StoreError
from cronguard.core.expectations import statements
from cronguard.core.model import AlertRule, ChannelRule, Expectations, Outcome, Owner, Run
from cronguard.process.signals import make_file
from cronguard.stores import SCHEMA_VERSIONS, sql
from cronguard.stores.spool.local import LocalStore
from cronguard.stores.sql import sql_files
from cronguard.stores.sqlite import connections
from cronguard.stores.sqlite.file import SQLiteFile
from cronguard.stores.sqlite.replaced import leftovers
from cronguard.stores.sqlite.store import SQLiteStore


def start(store):
    run = Run(new_id(), "nightly", datetime.now(UTC), Owner("host", 1))
    return store.start_run(run, is_dead=lambda _: False)


def test_the_file_is_its_owners_alone(tmp_path):
    """Mode 0600, its journal files included, and the folder made for it 0700."""
    store = SQLiteStore(tmp_path / "made" / "log.db")
    start(store)
    files = list((tmp_path / "made").iterdir())
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o700
    store.close()


def test_two_stores_of_a_process_make_it_together(tmp_path, monkeypatch):
    """Neither gives up the locks of the other, or a third would take the journal for a stranger's:
    whoever closes any descriptor of a file does."""
    path = tmp_path / "log.db"
    first, second = SQLiteStore(path), SQLiteStore(path)
    has_leftovers, looks = connections._has_leftovers, []

    def look_before_the_other_makes_it(path):
        looks.append(path)
        if len(looks) > 1:
            return has_leftovers(path)
        start(second)
        return False

    monkeypatch.setattr(connections, "_has_leftovers", look_before_the_other_makes_it)
    start(first)
    monkeypatch.undo()
    assert not leftovers._used_without(path)
    third = SQLiteStore(path)
    start(third)
    assert len(third.history("nightly")) == len(first.history("nightly")) == 3
    for store in (first, second, third):
        store.close()


def test_a_system_that_makes_no_file_without_opening_it(tmp_path, monkeypatch):
    """There it is opened; one that is there already is not."""
    monkeypatch.delattr("os.mknod")
    path = tmp_path / "log.db"
    make_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("kept")
    make_file(path)
    assert path.read_text() == "kept"


def test_a_table_of_somebody_elses_is_left_alone(tmp_path):
    """A log of the same name that cronguard did not make is refused in one clear line."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE cron_execution_logs (consecutive_failure_count INTEGER)")
    db.close()
    before = path.read_bytes()
    store = SQLiteStore(path)
    with pytest.raises(StoreConfigError, match=r"not cronguard's.*name another file"):
        start(store)
    store.close()
    assert path.read_bytes() == before


def test_a_newer_schema_says_which_side_to_upgrade(tmp_path):
    """An older client does not write into what it does not know."""
    path = tmp_path / "log.db"
    store = SQLiteStore(path)
    start(store)
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreConfigError, match="upgrade cronguard"):
        start(store)
    store.close()


def test_a_damaged_file_is_kept(tmp_path):
    """Rubbish in its place is an error, and stays as it is."""
    path = tmp_path / "log.db"
    path.write_bytes(b"not a database " * 1000)
    store = SQLiteStore(path)
    with pytest.raises(StoreError, match="left as it is"):
        start(store)
    store.close()
    assert path.read_bytes() == b"not a database " * 1000


def test_migrating_says_whether_there_was_anything_to_do(tmp_path):
    """Of a file that is open, that is as it should be, and that is new."""
    file = SQLiteFile(tmp_path / "runs.db", 1.0)
    assert [file.migrate(), file.migrate()] == [True, False]
    file.close()
    assert not file.migrate()
    file.close()


def test_closing_leaves_one_file(tmp_path):
    """After a cron process has ended, the log is whole in a single file that can be copied."""
    store = SQLiteStore(tmp_path / "log.db")
    start(store)
    store.close()
    store.close()
    assert [file.name for file in tmp_path.iterdir()] == ["log.db"]
    assert start(store).status == "skipped"
    store.close()


def test_no_statement_needs_more_than_sqlite_3_34():
    """Distributions that are supported for years to come have no newer one (RHEL 9)."""
    newer = re.compile(
        r"\bRETURNING\b|\bDROP COLUMN\b|->>?|\bSTRICT\b|\bunixepoch\(|\bMATERIALIZED\b"
    )
    here = Path(cronguard.stores.__file__).parent
    files = [*here.glob("sqlite/*.py"), *here.glob("spool/*.py")]
    files += [*here.glob("sql/sqlite/*.sql"), *here.glob("sql/spool/*.sql")]
    assert len(files) > 6
    for file in files:
        code = re.sub(r"\) -> ", "", file.read_text(encoding="utf-8"))
        assert not newer.search(code), file


def test_spool_has_the_same_tables(tmp_path):
    """The same code works on both files: what is changed in one is changed in the other."""
    store, spool = SQLiteStore(tmp_path / "log.db"), LocalStore(tmp_path / "spool.db")
    start(store)
    assert spool.alerts(None, None, 1) == []
    store.close()
    spool.close()
    found = []
    for path in (store.path, spool.path):
        with sqlite3.connect(path) as db:
            query = """
                SELECT replace(sql, '"', '') FROM sqlite_master WHERE tbl_name LIKE 'cron%'
                ORDER BY tbl_name, name"""
            found.append(db.execute(query).fetchall())
        db.close()
    assert found[0] == found[1]


def test_a_log_of_version_1_goes_on(tmp_path):
    """Each job by the rules of its last start, streak and schedule as they were, until the next."""
    path = tmp_path / "log.db"
    first, *_ = sql_files("sqlite")
    jobs = [
        ("plain", 1, None, None, None, 60.0, "told:3::0", None, None),
        ("both", 0, "0 6 * * *", "Europe/Oslo", 5.0, None, "told:2:4:1,pager:5::1", None, None),
        ("declared", 0, "0 7 * * *", "UTC", 300.0, None, None, None, "0 7 * * *|UTC|300"),
        ("overruled", 0, "0 7 * * 1", "UTC", 300.0, 60.0, "told:2::0", None, "0 6 * * *|UTC|300"),
    ]
    at = "2026-01-01T00:00:00.000000Z"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(first.read_text(encoding="utf-8"))
        db.executemany(
            "INSERT INTO cronguard_jobs (job, consecutive_failure_count, schedule, timezone, grace,"
            " max_runtime, rules, runbook, declared, registered_at, judged_until)"
            f" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '{at}', '{at}')",
            jobs,
        )
        db.execute("PRAGMA user_version = 1")
        db.commit()
    store = SQLiteStore(path)
    for name in ("declared", "overruled"):  # the same once more, by this version
        cron = {"declared": "0 7 * * *", "overruled": "0 6 * * *"}[name]
        again = statements("settings", schedule=cron, timezone="UTC", grace=300.0)
        store.declare(name, again, host="host")
    both, declared, overruled, plain = store.watches()
    assert overruled.expected.schedule == "0 7 * * 1"
    assert declared.expected.max_runtime == 1800.0
    assert both.expected == Expectations(
        "0 6 * * *", "Europe/Oslo", 5.0, None, notify_recovery=True
    )
    assert alert_rules(both.channels, both.expected) == (
        AlertRule("told", 2, 4, notify_recovery=True),
        AlertRule("pager", 5, None, notify_recovery=True),
    )
    assert (plain.expected, plain.consecutive_failure_count) == (Expectations(max_runtime=60.0), 1)
    assert alert_rules(plain.channels, plain.expected) == (AlertRule("told", 3),)
    assert declared.expected.schedule == "0 7 * * *"
    assert declared.sources["schedule"].origin == "settings"
    assert declared.judged_until == datetime.fromisoformat(at)
    code = statements(**Expectations()._asdict())
    for name in ("both", "declared"):
        run = Run(new_id(), name, datetime.now(UTC), Owner("host", 1), (), code)
        store.start_run(run, is_dead=lambda _: False)
    both, declared, *_ = store.watches()
    assert (both.expected, declared.expected.schedule) == (Expectations(), "0 7 * * *")
    store.close()


@pytest.mark.parametrize("folder", ["spool", "sqlite"])
def test_a_schemas_version_is_its_last_files(tmp_path, folder):
    """The number in the code, in the folder and in a file that was made; none is left out."""
    numbers = [int(file.name.split("_")[0]) for file in sql_files(folder)]
    assert numbers == list(range(1, SCHEMA_VERSIONS[folder] + 1))
    file = SQLiteFile(tmp_path / "made.db", 1.0, schema=folder)
    file.migrate()
    made = file.read(lambda db: db.execute("PRAGMA user_version").fetchone())
    file.close()
    assert made == (SCHEMA_VERSIONS[folder],)


def test_a_version_of_the_log_is_one_of_the_spools(tmp_path, monkeypatch):
    """From version 4 on: a column of the log is one file, applied to both."""
    shutil.copytree(Path(sql.__file__).parent, tmp_path / "sql", dirs_exist_ok=True)
    for name, column in (("sqlite/0004_note", "cron_execution_logs"), ("spool/0005_why", "queues")):
        text = f"ALTER TABLE {column} ADD COLUMN added TEXT;"
        (tmp_path / "sql" / f"{name}.sql").write_text(text, encoding="utf-8")
    monkeypatch.setattr(sql, "__file__", str(tmp_path / "sql" / "__init__.py"))
    names = {folder: [file.name for file in sql.sql_files(folder)] for folder in SCHEMA_VERSIONS}
    assert names["spool"][3:] == ["0004_note.sql", "0005_why.sql"]
    assert names["sqlite"][3:] == ["0004_note.sql"]
    monkeypatch.setattr(sql, "sql_texts", sql.sql_texts.__wrapped__)
    monkeypatch.setitem(SCHEMA_VERSIONS, "spool", 5)
    spool = SQLiteFile(tmp_path / "spool.db", 1.0, schema="spool")
    spool.migrate()
    for table in ("cron_execution_logs", "queues"):
        columns = spool.read(lambda db: db.execute(f"PRAGMA table_info({table})").fetchall())  # noqa: B023
        assert columns[-1][1] == "added"
    spool.close()


def test_an_opened_log_migrates_no_spool(tmp_path, monkeypatch):
    """What is new in one folder migrates no file of the other, at no opening."""
    spool = SQLiteFile(tmp_path / "spool.db", 1.0, schema="spool")
    spool.migrate()
    spool.close()
    monkeypatch.setitem(SCHEMA_VERSIONS, "sqlite", SCHEMA_VERSIONS["sqlite"] + 1)
    migrated = []
    monkeypatch.setattr(
        connections, "apply_schema", lambda _db, folder, _path: migrated.append(folder)
    )
    assert not spool.migrate()
    spool.close()
    assert migrated == []
    log = SQLiteFile(tmp_path / "log.db", 1.0, schema="sqlite")
    log.migrate()
    log.close()
    assert migrated == ["sqlite"]


def test_all_files_are_found_in_a_zip_archive(tmp_path):
    """Of a zipapp: the schemas' SQL, the vocabulary, the report's page."""
    root = Path(cronguard.__file__).parents[1]
    archive = shutil.make_archive(str(tmp_path / "app"), "zip", root, "cronguard")
    place = Place(tmp_path)
    place.environ["PYTHONPATH"] = archive
    done = place.run(
        """
        import cronguard, contextlib
        from cronguard.cli import main

        assert ".zip" in cronguard.__file__
        with contextlib.suppress(ValueError), guard(job="nightly"):
            raise ValueError("the database is locked")
        for command in (["init", "supabase", "--print"], ["report", "-o", "-"]):
            with contextlib.suppress(SystemExit):
                main(command)
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert place.rows("SELECT status, error_message FROM cron_execution_logs") == [
        ("failure", "the database is locked")
    ]
    assert "CREATE FUNCTION" in done.stdout.upper() or "CREATE OR REPLACE" in done.stdout.upper()
    assert "nightly" in done.stdout.partition("<html")[2]


def test_the_row_of_a_decorated_job_is_one_page(tmp_path):
    """What each start reads and each end writes takes no second page of the file."""
    store = SQLiteStore(tmp_path / "log.db")
    link = "https://example.org/runbooks/assignment_reminder"
    said = Expectations("0 6 * * *", "Europe/Oslo", runbook=link)
    stated = statements(**said._asdict())
    channels = (ChannelRule("slack"), ChannelRule("pager", 5))
    now = datetime.now(UTC)
    run = Run(new_id(), "assignment_reminder", now, Owner("host", 1), channels, stated)
    store.start_run(run, is_dead=lambda _: False)
    store.finish_run(run, Outcome("success", now), started=True)
    with closing(sqlite3.connect(tmp_path / "log.db")) as db:
        (row,) = db.execute("SELECT * FROM cronguard_jobs")
    longest = (4096 - 12) * 64 // 255 - 23  # of what SQLite keeps on the page of an index
    assert sum(len(str(each)) for each in row if each is not None) + 2 * len(row) < longest
