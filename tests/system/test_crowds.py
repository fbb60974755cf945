"""Sixteen processes, killed at random: the log's own journal of outcomes obeys the reference.

Triggers note every change of a run's status in the order of commits; what stands there is worked
out again by the reference of the streak model, which knows nothing but that list.
"""

import json
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime

import pytest
from support.aftermath import assert_goes_on
from support.reference import Event, Job, counted, history_of, text_of

from cronguard.core.model import AlertRule, Run
from cronguard.process.identity import current_owner
from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.server.supabase import SupabaseStore
from cronguard.stores.sqlite.store import SQLiteStore

JOBS = ("a", "b", "c")
RULES = [
    AlertRule("slack", 2, None, True)._asdict(),
    AlertRule("pager", 3, 2, True)._asdict(),
]
FACTS = ("kind", "channel", "consecutive_failure_count", "last_success_at")

CROWD = """
import json, os, random, signal, sys, time
from datetime import UTC, datetime
from cronguard.process.identity import current_owner, is_dead
from cronguard.core.errors import StoreError
from cronguard.core.clock import new_id
from cronguard.core.expectations import statements
from cronguard.core.model import ChannelRule, Failure, Outcome, Run

kind, place, seconds, seed = sys.argv[1], json.loads(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
if kind == "sqlite":
    from cronguard.stores.sqlite.store import SQLiteStore as Store
elif kind == "supabase":
    import supabase  # once, and not in every child
    from cronguard.stores.server.supabase import SupabaseStore as Store
else:
    from cronguard.stores.server.postgres import PostgresStore as Store
chance = random.Random(seed)
channels = (ChannelRule("slack"), ChannelRule("pager", 3, 2))
stated = statements(notify_recovery=True)


def live(seed):
    \"\"\"Runs of every job, one after another, until somebody kills us.\"\"\"
    chance = random.Random(seed)
    store = Store(*place, timeout=60)
    while True:
        here = current_owner()
        lease = 90.0
        if chance.random() < 0.2:  # as from another host, with a lease that is soon over
            here, lease = here._replace(space=f"host {os.getpid()}"), 0.05
        run = Run(new_id(), chance.choice("abc"), datetime.now(UTC), here, channels, stated,
                  lease=lease, overlap=chance.choice(["skip", "allow"]))
        if store.start_run(run, is_dead=is_dead).status == "skipped":
            continue
        time.sleep(chance.choice([0, 0, 0, 0.01, 0.1]))
        status = chance.choice(["success", "failure", "failure", "failure", "cancelled"])
        failure = Failure("ValueError") if status == "failure" else None
        ended = Outcome(status, datetime.now(UTC), 0.1, failure)
        store.finish_run(run, ended, started=True)


def born():
    seed = chance.random()
    pid = os.fork()
    if pid == 0:
        try:
            live(seed)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\\n".encode())
        finally:
            os._exit(1)
    return pid


living = [born() for _ in range(16)]
kills = 0
end = time.monotonic() + seconds
while time.monotonic() < end or kills < 16:
    time.sleep(chance.uniform(0, 0.06))
    index = chance.randrange(16)
    os.kill(living[index], signal.SIGKILL)
    if os.waitstatus_to_exitcode(os.waitpid(living[index], 0)[1]) == -signal.SIGKILL:
        kills += 1
    living[index] = born()
for pid in living:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
print(kills + 16)
"""

JOURNAL = {
    "sqlite": """
        CREATE TABLE journal (n INTEGER PRIMARY KEY, id, job, status, count, ended);
        CREATE TRIGGER ended AFTER UPDATE ON cron_execution_logs
            WHEN OLD.status <> NEW.status
        BEGIN
            INSERT INTO journal (id, job, status, count, ended) VALUES (NEW.id, NEW.job,
                NEW.status, NEW.consecutive_failure_count, NEW.finished_at);
        END;
        CREATE TRIGGER skipped AFTER INSERT ON cron_execution_logs WHEN NEW.status = 'skipped'
        BEGIN
            INSERT INTO journal (id, job, status, count, ended) VALUES (NEW.id, NEW.job,
                NEW.status, NEW.consecutive_failure_count, NEW.finished_at);
        END;
    """,
    "postgres": """
        create schema journal;
        grant usage on schema journal to public;
        create table journal.journal (n bigint generated always as identity, id uuid, job text,
            status text, count integer, ended timestamptz);
        create function journal.note() returns trigger language plpgsql security definer as $$
        begin
            if tg_op = 'UPDATE' and old.status <> new.status or new.status = 'skipped' then
                insert into journal.journal (id, job, status, count, ended) values (new.run_id,
                    new.job, new.status, new.consecutive_failure_count, new.finished_at);
            end if;
            return null;
        end $$;
        create trigger journal after insert or update on public.cron_execution_logs
            for each row execute function journal.note();
    """,
}


class Crowded:
    """A log and its journal."""

    def sweep(self):
        """Count those that were killed; of a lease from another host only its end tells."""
        give_up = time.monotonic() + 60
        while any(watch.running for watch in self.store.watches()):
            self.store.sweep(current_owner(), is_dead=lambda _owner: True)
            assert time.monotonic() < give_up


class OnSQLite(Crowded):
    """One file."""

    kind = "sqlite"

    def __init__(self, path):
        self.path = path
        self.place = [str(path)]
        self.store = SQLiteStore(path)
        self.store.migrate()
        with closing(sqlite3.connect(path)) as db:
            db.executescript(JOURNAL["sqlite"])

    def rows(self, query):
        with closing(sqlite3.connect(self.path, timeout=30)) as db:
            return db.execute(query).fetchall()

    def journal(self):
        found = self.rows("SELECT id, job, status, count, ended FROM journal ORDER BY n")
        return [(*row[:4], datetime.fromisoformat(row[4])) for row in found]

    def alerts(self):
        return self.rows("SELECT job, channel, payload FROM cronguard_alerts ORDER BY rowid")

    def wait(self):
        """What the dead have begun is undone by whoever comes next."""

    def close(self):
        assert self.rows("PRAGMA integrity_check") == [("ok",)]
        self.store.close()


class OnServer(Crowded):
    """One database, whatever the way to it."""

    def __init__(self, kind, database, place):
        self.kind, self.database, self.place = kind, database, place
        self.store = (SupabaseStore if kind == "supabase" else PostgresStore)(*place)
        with database.admin() as db:
            db.execute(JOURNAL["postgres"])

    def rows(self, query):
        with self.database.admin() as db:
            return db.execute(query).fetchall()

    def journal(self):
        return self.rows(
            "select id::text, job, status, count, ended from journal.journal order by n"
        )

    def alerts(self):
        return self.rows("select job, channel, payload from cronguard_alerts order by seq")

    def wait(self):
        """What the dead have asked for is still being done."""
        give_up = time.monotonic() + 60
        query = (
            "select 1 from pg_stat_activity where datname = current_database()"
            " and state <> 'idle' and pid <> pg_backend_pid()"
        )
        while self.rows(query):
            assert time.monotonic() < give_up
            time.sleep(0.05)

    def close(self):
        self.store.close()
        with self.database.admin() as db:
            db.execute("drop schema journal cascade")


@pytest.fixture
def log(request, tmp_path):
    if request.param == "sqlite":
        made = OnSQLite(tmp_path / "log.db")
    elif request.param == "supabase":
        project = request.getfixturevalue("project")
        made = OnServer("supabase", project.database, [project.url, project.service_key])
    else:
        database = request.getfixturevalue("database")
        url = database.url if request.param == "postgres" else database.pooler_url
        made = OnServer("postgres", database, [url])
    yield made
    made.close()


@pytest.mark.parametrize(
    ("log", "seconds"),
    [
        ("sqlite", 1),
        pytest.param("pooler", 1, marks=[pytest.mark.long, pytest.mark.one_python]),
        pytest.param("sqlite", 60, marks=pytest.mark.soak),
        pytest.param("postgres", 60, marks=pytest.mark.soak),
        pytest.param("pooler", 60, marks=pytest.mark.soak),
        pytest.param("supabase", 60, marks=pytest.mark.soak),
    ],
    indirect=["log"],
)
def test_sixteen_processes_killed_at_random(log, seconds, request):
    """Every count, every alert and the last success are what the list of outcomes makes them."""
    begun = datetime.now(UTC)
    command = [sys.executable, "-c", CROWD, log.kind, json.dumps(log.place), str(seconds), "seed"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=540, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    log.wait()
    log.sweep()
    journal = log.journal()
    jobs = {job: Job(begun) for job in JOBS}
    counts = {job: [] for job in JOBS}
    for run_id, job, status, count, ended in journal:
        if status == "skipped":
            assert count == (counts[job] or [0])[-1]
            continue
        run = Run(run_id, job, ended, current_owner())
        events = jobs[job].events
        was_counted = status == "success" and run_id in counted(events)
        if was_counted and counted(events)[-1] != run_id:
            status, count = "late", (counts[job] or [0])[-1]  # noqa: PLW2901  # about its own row
        events.append(Event(run, status, ended, RULES, snoozed=False, notified=frozenset()))
        counts[job].append(count)
    found = {job: [] for job in JOBS}
    for job, channel, payload in log.alerts():
        facts = json.loads(payload)
        facts["channel"] = channel
        found[job].append([facts[key] for key in FACTS])
    for job in JOBS:
        walked = list(history_of(jobs[job]))
        assert [streak for _, streak, *_ in walked] == counts[job]
        assert found[job] == [
            [kind, rule["channel"], 0 if kind == "recovered" else streak, text_of(shown)]
            for _event, streak, _last, shown, decided, *_ in walked
            for kind, rule, _step in decided
        ]
    assert_goes_on(log.store, *JOBS)
    if seconds > 1:
        say = request.config.get_terminal_writer().line
        say(f"\n{log.kind}: {done.stdout.strip()} kills, {Counter(row[2] for row in journal)}")
