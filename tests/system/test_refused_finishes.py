"""A finish that a server, or what stands before it, answers as it should not: on real servers.

The runs of a worker that lives on, and of one process each: in the end the log has every outcome,
the streak is exact, each alert went out once, and the job ran every time.
"""

import json
import re
from textwrap import dedent

import pytest
from support.hostile import answers, serve
from support.processes import PATIENCE, Place

from cronguard.stores.server.postgres import PostgresStore

pytestmark = [pytest.mark.one_python, pytest.mark.long]

PATIENT = """
    from cronguard.stores.spool import backlog

    backlog.REPLAY_SECONDS = 30.0
    """
"""Where the store takes longer than usual for what waits, a run begins on this host alone, and its
row comes with its end: after that of the next run, if that one had more luck."""
WORKER = """
    import sys

    @cron_guarded(job="nightly")
    def nightly(well):
        print("ran", flush=True)
        if not well:
            raise ValueError("nothing in /tmp/x <script> \\u00f8")

    for line in sys.stdin:
        try:
            nightly(line == "success\\n")
        except ValueError:
            pass
        print("over", flush=True)
    """
PAGE = "<!DOCTYPE html><html><body><h1>{}</h1>Ray ID: 8f2</body></html>"
ANSWERS = {
    "html 403": (403, "text/html", PAGE.format("403 Forbidden")),
    "html 404": (404, "text/html", PAGE.format("404 Not Found")),
    "html 200": (200, "text/html", PAGE.format("Please wait")),
    "409": (409, "application/json", json.dumps({"message": "conflict"})),
    "22P05": (400, "application/json", json.dumps({"code": "22P05", "message": "no equivalent"})),
    "empty 200": (200, "application/json", ""),
    "null 200": (200, "application/json", "null"),
}
REFUSE_ONCE = """
    create sequence public.hostile;
    grant usage on sequence public.hostile to public;
    create function public.refuse_once() returns trigger language plpgsql as $$
    begin
        if new.status = 'failure' and nextval('public.hostile') = 1 then
            raise exception 'as the test wants' using errcode = '{code}';
        end if;
        return new;
    end $$;
    create trigger refuse_once before insert or update on public.cron_execution_logs
        for each row execute function public.refuse_once();
    """
NO_FAILURE = "alter table public.cron_execution_logs add constraint mine check ({})"
MEND = """
    drop trigger if exists refuse_once on public.cron_execution_logs;
    drop function if exists public.refuse_once();
    drop sequence if exists public.hostile;
    alter table public.cron_execution_logs drop constraint if exists mine;
    """


class Worker:
    """A place whose runs happen in one process that lives on, or each in one of its own."""

    def __init__(self, folder, url, *, lives_on):
        self.place = Place(folder)
        self.place.patient = True
        self.url = url
        self.lives_on = lives_on
        self.hook = answers()
        self.script = self.write(WORKER)
        self.process = None

    def write(self, code):
        return self.place.write(dedent(PATIENT) + dedent(code))

    def run(self, *statuses):
        """Run the job so often; it runs each time."""
        for status in statuses:
            self.process = self.process or self.place.start(self.script, stdin=-1)
            self.process.stdin.write(f"{status}\n")
            self.process.stdin.flush()
            assert self.process.stdout.readline() == "ran\n"
            assert self.process.stdout.readline() == "over\n"
            if not self.lives_on:
                self.end()

    def end(self):
        if self.process is not None:
            _, err = self.process.communicate(timeout=PATIENCE)
            assert self.process.returncode == 0, err
            assert "Traceback" not in err
            assert not re.search("tmp/x|script>", err), "what a server refuses is not shown"
            self.process = None

    def log(self):
        """(status, count) of the rows, oldest first, and the message of the last failure."""
        store = PostgresStore(self.url)
        rows = store.history("nightly")[::-1]
        store.close()
        return [(row.status, row.consecutive_failure_count) for row in rows]

    def alerts(self):
        return [request.json["kind"] for request in self.hook.received]


@pytest.fixture(params=["postgres", "supabase"])
def kind(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["worker", "cron"])
def worker(request, kind, tmp_path):
    server = request.getfixturevalue("database" if kind == "postgres" else "project")
    database = getattr(server, "database", server)
    made = Worker(tmp_path, database.url, lives_on=request.param)
    made.server, made.database = server, database
    if kind == "postgres":
        made.place.environ |= {"CRONGUARD_STORE": server.url}
    else:
        made.place.environ |= {
            "CRONGUARD_STORE": "supabase",
            "SUPABASE_URL": server.url,
            "SUPABASE_SECRET_KEY": server.secret_key,
            "PYTHONWARNINGS": "",
        }
    with serve(made.hook) as hook:
        made.place.environ |= {
            "CRONGUARD_STORE_TIMEOUT": "60",
            "CRONGUARD_CHANNELS": "webhook",
            "CRONGUARD_WEBHOOK_URL": hook.url,
        }
        yield made
        if made.process is not None:
            made.process.kill()
            made.process.communicate(timeout=PATIENCE)
    with database.admin() as db:
        db.execute(MEND)


WANTED = [("success", 0), ("failure", 1), ("failure", 2), ("failure", 3), ("success", 0)]


def in_each_way(values, in_processes):
    """Each in a worker that lives on; one of a kind in processes too, of the others the soak."""
    return [
        pytest.param(
            value,
            lives_on,
            id=f"{'worker' if lives_on else 'cron'}-{value}",
            marks=[] if lives_on or value in in_processes else pytest.mark.soak,
        )
        for value in values
        for lives_on in (True, False)
    ]


@pytest.mark.parametrize("kind", ["supabase"], indirect=True)
@pytest.mark.parametrize(
    ("answer", "worker"),
    in_each_way(ANSWERS, {"html 403", "22P05", "null 200"}),
    indirect=["worker"],
)
def test_answered_once_by_something_else(worker, answer):
    """By a proxy or a gateway, while PostgREST is well."""
    worker.run("success")
    worker.server.gateway.once.append(("cronguard_finish_run", *ANSWERS[answer]))
    worker.run("failure", "failure", "failure", "success")
    worker.end()
    assert worker.server.gateway.once == []
    assert worker.log() == WANTED
    assert worker.alerts() == ["failing"]


@pytest.mark.parametrize(
    ("code", "worker"),
    in_each_way(["22P05", "23514", "23505", "57014", "P0001"], {"23514", "57014"}),
    indirect=["worker"],
)
def test_refused_once_by_the_database(worker, code):
    """An encoding, a constraint, a trigger of the user's own."""
    worker.run("success")
    with worker.database.admin() as db:
        db.execute(REFUSE_ONCE.format(code=code))
    worker.run("failure", "failure", "failure", "success")
    worker.end()
    assert worker.log() == WANTED
    assert worker.alerts() == ["failing"]


def test_refused_for_its_text(worker):
    """A rule of the user's on messages: the outcome is recorded without its own."""
    with worker.database.admin() as db:
        db.execute(NO_FAILURE.format("error_message is null"))
    worker.run("success", "failure", "failure", "failure", "success")
    worker.end()
    assert worker.log() == WANTED
    assert worker.alerts() == ["failing"]


def test_refused_until_somebody_mends_it(worker):
    """Every outcome of the job waits, in order; nobody is told again when all is recorded."""
    worker.run("success")
    with worker.database.admin() as db:
        db.execute(NO_FAILURE.format("status <> 'failure'") + " not valid")
    worker.run("failure", "failure", "failure")
    assert worker.alerts() == ["failing"] or worker.lives_on
    with worker.database.admin() as db:
        db.execute(MEND)
    worker.run("success")
    worker.end()
    assert worker.log() == WANTED
    assert worker.alerts() == ["failing"]


PREFORKING = """
    import os
    import sys

    @cron_guarded(job="nightly")
    def nightly(well):
        print("ran", flush=True)
        if not well:
            raise ValueError("bad")

    def call(status):
        try:
            nightly(status == "success")
        except ValueError:
            pass
        print("over", flush=True)

    call("success")  # what the server does before it forks its workers
    pipes = [os.pipe() for _ in range(2)]
    for requests, _ in pipes:
        if os.fork() == 0:
            for _, end in pipes:
                os.close(end)
            with os.fdopen(requests) as lines:
                for line in lines:
                    call(line.strip())
            sys.exit()
    for line in sys.stdin:
        number, status = line.split()
        os.write(pipes[int(number)][1], f"{status}\\n".encode())
    for _, end in pipes:
        os.close(end)
    for _ in pipes:
        os.wait()
    """


@pytest.mark.parametrize("worker", [True], indirect=True, ids=["worker"])
def test_siblings_of_a_server_that_forks_its_workers(worker):
    """One has an outcome that waits: the job runs in both, and all is recorded in order."""
    place = worker.place
    worker.process = place.start(worker.write(PREFORKING), stdin=-1)

    def ask(number, status):
        worker.process.stdin.write(f"{number} {status}\n")
        worker.process.stdin.flush()
        assert worker.process.stdout.readline() == "ran\n"
        assert worker.process.stdout.readline() == "over\n"

    assert worker.process.stdout.readline() == "ran\n"
    assert worker.process.stdout.readline() == "over\n"
    with worker.database.admin() as db:
        db.execute(REFUSE_ONCE.format(code="22P05"))
    ask(0, "failure")
    ask(1, "failure")
    ask(0, "failure")
    ask(1, "success")
    worker.end()
    assert worker.log() == WANTED
    assert worker.alerts() == ["failing"]


@pytest.mark.needs_root("makes a pid namespace")
@pytest.mark.parametrize("worker", [True], indirect=True, ids=["container"])
def test_a_container_killed_whole_and_restarted_within_its_lease(worker):
    """Its last outcome waits on its disk: the new one tells it, and the job runs at once."""
    container = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    place = worker.place

    def start():
        worker.process = place.start(worker.script, stdin=-1, wrapper=container)

    start()
    worker.run("success")
    with worker.database.admin() as db:
        db.execute(REFUSE_ONCE.format(code="23514"))
    worker.run("failure")
    worker.process.kill()
    worker.process.communicate(timeout=PATIENCE)
    start()
    worker.run("failure", "failure", "success")
    worker.end()
    assert worker.log() == WANTED
    assert worker.alerts() == ["failing"]
