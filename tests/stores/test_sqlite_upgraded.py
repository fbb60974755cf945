"""A SQLite file that a newer cronguard upgrades while a process with an older one goes on.

The newer one is today's with one more file of SQL in its schemas.
"""

import json
import shutil
import subprocess
from datetime import UTC, datetime

import pytest
from support.processes import Place

from cronguard.core.clock import new_id
from cronguard.core.errors import StoreConfigError
from cronguard.core.model import Outcome, Owner, Run
from cronguard.stores import sql
from cronguard.stores.sqlite import connections
from cronguard.stores.sqlite.store import SQLiteStore

RUN = """
import contextlib, sys

@cron_guarded(job="nightly", threshold=2, channels=["console"])
def job(how):
    if how == "wait":
        print("waits", flush=True)
        how = sys.stdin.readline().strip()
    if how == "failure":
        raise ValueError("no luck")

for line in sys.stdin:
    with contextlib.suppress(ValueError):
        job(line.strip())
    print("done", flush=True)
"""
NEWER = """
import sys
from cronguard.stores import sql
from cronguard.stores.sqlite import connections

TABLES = {"sqlite": "cronguard_jobs", "spool": "waiting"}
known, newer = sql.sql_texts, sys.argv.pop(1).split(",")

def texts(schema):
    added = f"ALTER TABLE {TABLES[schema]} ADD COLUMN of_a_later_version TEXT;"
    number = connections.SCHEMA_VERSIONS[schema]
    return (*known(schema), *([(f"{number:04}_later.sql", added)] if schema in newer else []))

sql.sql_texts = texts
for schema in newer:
    connections.SCHEMA_VERSIONS[schema] += 1
"""
COMMAND = """
from cronguard.cli import main
raise SystemExit(main(sys.argv[1:]))
"""
pytestmark = pytest.mark.one_python

UPGRADED = "was upgraded to schema"


class Hosts:
    """A process with an older cronguard that goes on, and processes with a newer one beside it."""

    def __init__(self, folder):
        self.place = Place(folder)
        self.process = self.place.start(RUN, stdin=subprocess.PIPE)

    def older(self, *lines):
        """Run the job in the older process, to such ends."""
        for line in lines:
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
            assert answer in ("done\n", "waits\n"), self.process.communicate()

    def end(self):
        """Return what the older process has said on standard error."""
        _, said = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        assert "Traceback" not in said
        return said

    def newer(self, *lines, schemas="sqlite"):
        """Run the job in a process with a newer cronguard; return what it says."""
        process = self.place.start(NEWER + RUN, schemas, stdin=subprocess.PIPE)
        _, said = process.communicate("".join(f"{line}\n" for line in lines), timeout=60)
        assert process.returncode == 0, said
        return said

    def command(self, *words, newer=False):
        """Run a command of either."""
        code = NEWER + COMMAND if newer else "import sys\n" + COMMAND
        return self.place.run(code, *(["sqlite"] if newer else []), *words)

    def recorded(self):
        """(status, count) of the runs in the order of their ends."""
        return self.place.rows(
            "SELECT status, consecutive_failure_count FROM cron_execution_logs ORDER BY finished_at"
        )


@pytest.fixture
def hosts(tmp_path):
    made = Hosts(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.communicate()


def test_an_upgrade_under_a_living_process(hosts):
    """It writes no more, says once what to do, and loses nothing: the newer one records it."""
    hosts.older("success", "wait")
    assert "was skipped: another run goes on" in hosts.newer("success")
    hosts.older("failure", "failure", "success", "failure")
    before = hosts.recorded()
    said = hosts.end()
    (told,) = [line for line in said.splitlines() if UPGRADED in line]
    assert "upgrade cronguard here" in told
    assert "and start the program anew" in told
    assert "runs are kept in" in told
    assert said.count("nightly is failing") == 1
    assert ("failure", 1) not in before
    hosts.newer("failure")
    assert hosts.recorded()[-5:] == [
        ("failure", 1),
        ("failure", 2),
        ("success", 0),
        ("failure", 1),
        ("failure", 2),
    ]


@pytest.mark.long
def test_no_face_of_an_older_one_is_green(hosts):
    """It cannot read what the newer one wrote, and says so; the newer one reads all."""
    hosts.older("success")
    hosts.newer("failure", "failure")
    for words in (["check"], ["check", "--json"], ["status"], ["doctor"]):
        done = hosts.command(*words)
        assert done.returncode == 1, (words, done.stdout, done.stderr)
        assert "upgrade cronguard here" in done.stdout + done.stderr
    done = hosts.command("check", "--json", newer=True)
    assert done.returncode == 1
    assert [job["state"] for job in json.loads(done.stdout)["jobs"]] == ["failing"]


@pytest.mark.long
def test_what_the_older_one_keeps_is_seen_by_the_newer_ones_check(hosts):
    """A failure that waits is counted there before it is recorded, so nothing is green."""
    hosts.older("success")
    hosts.newer("success")
    hosts.older("failure", "failure")
    done = hosts.command("check", "--json", newer=True)
    assert done.returncode == 1
    assert [job["state"] for job in json.loads(done.stdout)["jobs"]] == ["failing"]


@pytest.mark.long
def test_a_spool_that_is_upgraded_too(hosts):
    """What the older process cannot keep there waits in its memory; what is lost is said."""
    hosts.older("success")
    hosts.newer("success")
    hosts.older("failure")
    hosts.newer("success", schemas="sqlite,spool")
    hosts.older("failure", "failure")
    said = hosts.end()
    assert "in the memory of this process" in said
    assert UPGRADED in said
    assert "nightly is failing" in said
    assert "2 outcomes are lost with this process" in said


@pytest.mark.long
def test_a_downgrade_under_a_living_process(hosts):
    """The backup from before the upgrade is put back: the older one goes on there, all recorded."""
    hosts.older("success", "failure")
    shutil.copy(hosts.place.path, hosts.place.folder / "backup")
    for end in ("-wal", "-shm"):
        shutil.copy(f"{hosts.place.path}{end}", hosts.place.folder / f"backup{end}")
    hosts.newer("success")
    hosts.older("failure")
    for end in ("-wal", "-shm", ""):
        (hosts.place.folder / f"backup{end}").replace(f"{hosts.place.path}{end}")
    hosts.older("failure")
    hosts.end()
    assert hosts.recorded() == [
        ("success", 0),
        ("failure", 1),
        ("success", 0),  # the newer one's, counted last in the file that was taken away
        ("failure", 1),
        ("failure", 2),
    ]


# --- in one process -------------------------------------------------------------------------------


@pytest.fixture
def upgrade(monkeypatch):
    """Upgrade a file by the SQL of a newer cronguard."""

    def go(path):
        texts = sql.sql_texts("sqlite")
        number = connections.SCHEMA_VERSIONS["sqlite"] + 1
        more = (f"{number:04}_later.sql", "ALTER TABLE cronguard_jobs ADD COLUMN later TEXT;")
        with monkeypatch.context() as patched:
            patched.setitem(connections.SCHEMA_VERSIONS, "sqlite", number)
            patched.setattr(sql, "sql_texts", lambda _: (*texts, more))
            store = SQLiteStore(path)
            assert store.migrate()
            store.close()

    return go


def test_an_upgrade_between_two_transactions(tmp_path, upgrade):
    """Every call says so from then on, whether the file is still open or opened anew."""
    store = SQLiteStore(tmp_path / "log.db")
    run = Run(new_id(), "nightly", datetime.now(UTC), Owner("h", 1))
    store.start_run(run, is_dead=lambda _: False)
    upgrade(store.path)
    for _ in range(3):
        with pytest.raises(StoreConfigError, match=UPGRADED) as caught:
            store.finish_run(run, Outcome("success", datetime.now(UTC)), started=True)
        assert caught.value.code == "schema_newer"
        for look in (store.jobs, store.watches, store.damaged):
            with pytest.raises(StoreConfigError, match=UPGRADED):
                look()
    store.close()
    with pytest.raises(StoreConfigError, match="upgrade cronguard here") as caught:
        store.jobs()
    assert caught.value.code == "schema_newer"
    store.close()


def test_an_upgrade_that_finds_nothing_to_do_disturbs_nobody(tmp_path):
    """A process that opens a file of the same schema."""
    store, other = SQLiteStore(tmp_path / "log.db"), SQLiteStore(tmp_path / "log.db")
    store.jobs()
    assert other.migrate() is False
    assert store.jobs() == []
    store.close()
    other.close()
