"""One health: what each state is called by every command, on every store."""

import html
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from support.cli import Here
from support.processes import Place

import cronguard
from cronguard.core.clock import new_id, rfc3339
from cronguard.core.expectations import statements
from cronguard.core.model import ChannelRule, Failure, Outcome, Run
from cronguard.process.identity import current_owner
from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.server.supabase import SupabaseStore
from cronguard.stores.sqlite.store import SQLiteStore
from cronguard.testing import MemoryStore

pytestmark = pytest.mark.one_python

STATES = {
    "back": "ok",  # it was silent, and started again
    "broken": "failing",
    "damaged": "warning",  # its row says what cannot be
    "failed": "warning",
    "going": "ok",
    "hung": "stuck",
    "killed": "warning",  # a crash that nobody has counted
    "killed.again": "failing",  # the second failure is such a crash
    "late": "late",  # declared, and never ran
    "new": "new",
    "silent": "late",  # it ran, and does no more
    "snoozed": "failing",
    "well": "ok",
}
NEWEST = {"killed": "crashed", "killed.again": "crashed", "going": "running", "well": "success"}
"""How the newest run of some jobs ended, whether or not somebody has counted it."""
WORDS = "failing|stuck|late|warning|new|ok"
SETTINGS = """
channels = ["log"]
[job.new]
""" + "".join(
    f'[job.{name}]\nschedule = "* * * * *"\ngrace = 300\n' for name in ("back", "late", "silent")
)
RUNS = """
    import contextlib, os, signal, sys, time

    def run(job, work=lambda: None, **options):
        with contextlib.suppress(ValueError), guard(job=job, channels=["log"], **options):
            work()

    def fail():
        raise ValueError

    def kill():
        os.kill(os.getpid(), signal.SIGKILL)

    def hang():
        print("open", flush=True)
        time.sleep(600)

    """
ENDED = """
    for job in ("well", "silent", "back", "damaged"):
        run(job)
    for job in ("failed", "killed.again", *["broken", "snoozed"] * 2):
        run(job, fail)
    """
KILLED = "run({job!r}, kill)\n"
OPEN = "run({job!r}, hang, max_runtime={limit})\n"


class World:
    """A store, what runs on it, and a look at its rows."""

    def __init__(self, here, place, store, execute):
        self.here, self.place, self.store, self.execute = here, place, store, execute
        self.processes = []

    def play(self):
        """Make every state, by runs of other processes."""
        done = self.place.run(RUNS + ENDED)
        assert done.returncode == 0, done.stderr
        for job in ("killed", "killed.again"):
            done = self.place.run(RUNS + KILLED.format(job=job))
            assert done.returncode == -signal.SIGKILL
        for job, limit in (("going", None), ("hung", 0.01)):
            script = RUNS + OPEN.format(job=job, limit=limit)
            self.processes.append(self.place.start(script))
            assert self.processes[-1].stdout.readline() == "open\n"

    def close(self):
        for process in self.processes:
            process.kill()
            process.communicate()
        self.store.close()


class InMemory(World):
    """The same in this process, whose store no other can see."""

    def play(self):
        for job, *ends in (
            *((job, "success") for job in ("well", "silent", "back", "damaged")),
            *((job, "failure") for job in ("failed", "killed.again")),
            *((job, "failure", "failure") for job in ("broken", "snoozed")),
        ):
            for end in ends:
                run = self.start(job, current_owner())
                failure = Failure("ValueError") if end == "failure" else None
                outcome = Outcome(end, datetime.now(UTC), 0.1, failure)
                self.store.finish_run(run, outcome, started=True)
        with subprocess.Popen([sys.executable, "-c", ""]) as gone:
            dead = current_owner()._replace(pid=gone.pid, started="0")
        for job in ("killed", "killed.again"):
            self.start(job, dead)
        self.start("going", current_owner(), stated=statements(max_runtime=None))
        self.start("hung", current_owner(), 3600.0, stated=statements(max_runtime=60.0))

    def start(self, job, owner, age=0.0, **changes):
        started = datetime.now(UTC) - timedelta(seconds=age)
        run = Run(new_id(), job, started, owner, (ChannelRule("log"),), **changes)
        self.store.start_run(run, is_dead=lambda _: False)
        return run


@pytest.fixture(params=["sqlite", "memory", "postgres", "supabase"])
def world(request, tmp_path, monkeypatch, capsys):
    here, place = Here(tmp_path, monkeypatch, capsys), Place(tmp_path)
    (tmp_path / "cronguard.toml").write_text(SETTINGS)
    kind = World
    if request.param == "memory":
        kind, store = InMemory, MemoryStore()
        cronguard.configure(store=store)

        def execute(query):
            store._file.write(lambda db: db.execute(query))

    elif request.param == "sqlite":
        store = SQLiteStore(here.path)

        def execute(query):
            store._file.write(lambda db: db.execute(query))

    else:
        project = request.getfixturevalue("project")
        environ = {
            "CRONGUARD_STORE": "supabase",
            "SUPABASE_URL": project.url,
            "SUPABASE_SECRET_KEY": project.secret_key,
        }
        store = SupabaseStore(project.url, project.secret_key)
        if request.param == "postgres":
            environ = {"CRONGUARD_STORE": "env:DATABASE_URL", "DATABASE_URL": project.database.url}
            store = PostgresStore(project.database.url)
        for name, value in environ.items():
            here.setenv(name, value)
        place.environ |= environ | {"CRONGUARD_STORE_TIMEOUT": "60"}

        def execute(query):
            with project.database.connect() as db:
                db.execute(query)

    with closing(kind(here, place, store, execute)) as made:
        yield made
    cronguard.configure()


def said_by(here):
    """What each command calls each job."""
    found = re.findall(rf"(?m)^({WORDS}) +(\S+)", here("status").stdout)
    yield "status", {job: state for state, job in found}
    heads = {job: here("status", job).stdout.splitlines()[0] for job in STATES}
    words = re.compile(r" (?:is|has been|has had a|has a) (\w+)")
    yield "status JOB", {job: words.search(head)[1] for job, head in heads.items()}
    yield "status --json", {each["job"]: each["state"] for each in here.json("status")["jobs"]}
    yield "report", report_of(here)
    done = here("check")
    assert done.returncode == 1, done.stdout
    yield "check", check_of(done.stdout)
    jobs = here.json("check", code=1)["jobs"]
    yield "check --json", {each["job"]: each["state"] for each in jobs}
    assert {each["job"] for each in jobs if each["needs_attention"]} == {
        name
        for name, state in STATES.items()
        if (state in ("failing", "stuck", "late") and name != "snoozed") or name == "damaged"
    }
    yield "status, afterwards", {each["job"]: each["state"] for each in here.json("status")["jobs"]}
    yield "report, afterwards", report_of(here)


def newest_of(here):
    """What each command calls the newest run of some jobs."""
    pages = {job: here.json("history", job)["runs"] for job in NEWEST}
    yield "history --json", {job: runs[0]["status"] for job, runs in pages.items()}
    for job, status in NEWEST.items():
        (run,) = here.json("history", job, "--status", status, "--limit", "1")["runs"]
        assert run == pages[job][0]
    lines = {job: here("history", job).stdout.splitlines()[1] for job in NEWEST}
    yield "history", {job: line.split()[2] for job, line in lines.items()}
    yield "status JOB", {job: last_in_strip(here("status", job).stdout) for job in NEWEST}
    told = {each["job"]: each for each in here.json("status", *NEWEST)["jobs"]}
    yield "status --json", {job: told[job]["last_run"]["status"] for job in NEWEST}
    runs = {job: told[job]["detail"]["runs"][0]["status"] for job in NEWEST}
    yield "status JOB --json", runs
    assert here("report", "-o", "report.html").returncode == 0
    page = (here.folder / "report.html").read_text(encoding="utf-8")
    cards = {job: page.partition(f'id="job-{job}"')[2] for job in NEWEST}
    rows = {job: re.search(r'<td class="\w+">(\w+)</td>', card)[1] for job, card in cards.items()}
    yield "report", rows


def last_in_strip(text):
    strip, legend = re.search(r"(?m)^Last runs +(\S+)\n.*: (.*)$", text).groups()
    signs = dict(pair.split() for pair in legend.split("  "))
    return signs[strip[-1]]


def report_of(here):
    assert here("report", "-o", "report.html").returncode == 0
    page = (here.folder / "report.html").read_text(encoding="utf-8")
    found = re.findall(r'"who"><(?:a [^>]*|b)>(.*?)</(?:a|b)> <span class="badge (\w+)">', page)
    return {html.unescape(job): state for job, state in found}


def check_of(text):
    """Jobs that are well are only counted there: they are taken from the table if that holds."""
    rows = dict(re.findall(rf"(?m)^(\S+) +({WORDS})\b", text))
    counts = {state: int(number) for number, state in re.findall(r"(\d+) (\w+)[,.]", text)}
    assert {state: counts[state] for state in ("new", "ok")} == {
        state: Counter(STATES.values())[state] for state in ("new", "ok")
    }
    return {name: state for name, state in STATES.items() if state in ("new", "ok")} | rows


def test_every_face_says_the_same_word(world):
    """For jobs that fail, hang, are killed, fall silent and come back, before anybody has looked
    and afterwards."""
    world.here("check")  # what settings declare is expected from now on
    world.play()
    long_ago = rfc3339(datetime.now(UTC) - timedelta(minutes=10))
    for job in ("back", "late", "silent"):
        world.execute(
            f"update cronguard_jobs set judged_until = '{long_ago}', sources = '{{}}'"
            f" where job = '{job}'"
        )
    world.execute(f"update cron_execution_logs set started_at = '{long_ago}' where job = 'silent'")
    world.execute("update cronguard_jobs set consecutive_failure_count = -1 where job = 'damaged'")
    assert world.here("snooze", "snoozed", "--for", "1h").returncode == 0
    for face, runs in newest_of(world.here):
        assert runs == NEWEST, face
    found = dict(said_by(world.here))
    for face, words in found.items():
        assert words == STATES, face
    for face, runs in newest_of(world.here):
        assert runs == NEWEST, f"{face}, afterwards"
    kinds = Counter((each.job, each.kind) for each in world.store.alerts(limit=1000))
    assert kinds[("late", "missed")] == kinds[("silent", "missed")] == 1
    assert kinds[("killed.again", "failing")] == 1
    assert kinds[("hung", "overrun")] >= 1, "one for each step that a slow machine has passed"


def test_a_store_that_cannot_be_read_is_no_green_light(world):
    """No command says that all is well: one line, and exit 1."""
    if isinstance(world, InMemory):
        pytest.skip("it can always be read")
    world.here.setenv("CRONGUARD_STORE", f"sqlite:///{world.here.folder}/cronguard.toml")
    for command in (("status",), ("status", "--json"), ("check",), ("report", "-o", "-")):
        done = world.here(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
