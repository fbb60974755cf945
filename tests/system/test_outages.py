"""A real remote store that goes away in every way there is, under real cron processes."""

import json
import os
import re
import signal
from urllib.parse import urlsplit

import psycopg
import pytest
from support.cli import Cli
from support.forwarder import Forwarder
from support.hostile import answers, refusing_port, serve
from support.processes import Place
from support.record import SOON

from cronguard.stores.server.postgres import PostgresStore

pytestmark = pytest.mark.one_python

MOST = 2.5
"""Seconds that a start or a finish takes, the store's time-out of 2 s included, on a machine that
does nothing else."""

JOB = """
    import sys, time
    import cronguard.stores.server.{kind}
    from cronguard.runtime.composition import current
    current()  # what opening a store's library takes is not what is measured

    @cron_guarded(job="nightly", threshold=2)
    def job():
        global began
        print("started", time.monotonic() - began, flush=True)
        sys.stdin.readline()
        began = time.monotonic()
        raise ValueError("boom")

    began = time.monotonic()
    try:
        job()
    except ValueError as error:
        print("ended", time.monotonic() - began, flush=True)
        raise
    """


class Outage:
    """A cron host whose way to its store can be cut, and the webhook that is told."""

    most = SOON
    """Seconds that a start or a finish may take."""

    def __init__(self, folder, kind, server, hook):
        self.place = Place(folder)
        self.place.patient = True
        self.hook = hook
        self.server = server
        database = getattr(server, "database", server)
        self.url = database.url
        if kind == "postgres":
            parts = urlsplit(server.url)
            self.way = Forwarder(parts.port)
            store = server.url.replace(f":{parts.port}/", f":{self.way.port}/")
            self.place.environ |= {"CRONGUARD_STORE": store}
        else:
            self.way = Forwarder(urlsplit(server.url).port)
            self.place.environ |= {
                "CRONGUARD_STORE": "supabase",
                "SUPABASE_URL": f"http://127.0.0.1:{self.way.port}",
                "SUPABASE_SECRET_KEY": server.secret_key,
                "PYTHONWARNINGS": "",
            }
        self.script = self.place.write(JOB.format(kind=kind))

    def run(self, between=lambda: None, *, there=False):
        """One nightly run that fails; what cronguard took at its start and at its end.

        ``there``: the store can be reached, and is given all the time that a busy machine needs.
        """
        env = {"CRONGUARD_STORE_TIMEOUT": "60" if there else None}
        with self.place.start(self.script, stdin=-1, env=env) as process:
            started = process.stdout.readline()
            between()
            out, err = process.communicate("\n", timeout=60)
        assert "ValueError: boom" in err
        assert process.returncode == 1
        start, end = (float(each) for each in re.findall(r"\w+ ([\d.e-]+)\n", started + out))
        assert there or (start < self.most and end < self.most), (start, end, err)
        return err

    def counts(self):
        """The job's rows, in the order of commits."""
        store = PostgresStore(self.url)
        rows = reversed(store.history("nightly"))
        store.close()
        return [(row.status, row.consecutive_failure_count) for row in rows]

    def assert_goes_on(self):
        """The next run starts, with the default overlap, and no run that has ended is open."""
        env = {"CRONGUARD_STORE_TIMEOUT": "60"}
        done = self.place.run("with guard(job='nightly'): print('ran')", env=env)
        assert done.stdout == "ran\n", done.stderr
        assert "running" not in [status for status, _ in self.counts()]

    def alerts(self):
        """(streak, degraded) of every alert that arrived."""
        found = [request.json for request in self.hook.received]
        return [(alert["consecutive_failure_count"], alert["degraded"]) for alert in found]


@pytest.fixture(params=["postgres", pytest.param("supabase", marks=pytest.mark.long)])
def outage(request, tmp_path):
    server = request.getfixturevalue("database" if request.param == "postgres" else "project")
    hook = answers()
    with serve(hook) as notified:
        made = Outage(tmp_path, request.param, server, hook)
        made.place.environ |= {
            "CRONGUARD_CHANNELS": "webhook",
            "CRONGUARD_WEBHOOK_URL": notified.url,
        }
        yield made
        made.way.mend()
        made.assert_goes_on()
        made.way.close()


@pytest.mark.parametrize(
    "how",
    [
        "refuse",
        pytest.param("stop", marks=[pytest.mark.long, pytest.mark.alone]),
        pytest.param("swallow", marks=[pytest.mark.long, pytest.mark.alone]),
    ],
)
def test_away_for_a_night(outage, how):
    """Two runs fail meanwhile: told once, on what was known, and recorded once it is back."""
    if how != "refuse":
        outage.most = MOST
    outage.run(there=True)
    getattr(outage.way, how)()
    err = outage.run()
    assert len(re.findall("runs are kept in .*spool-", err)) == 1
    outage.run()
    assert outage.alerts() == [(2, True)]
    outage.way.mend()
    outage.run(there=True)
    assert outage.counts() == [("failure", n) for n in (1, 2, 3, 4)]
    assert outage.alerts() == [(2, True)]


@pytest.mark.long
@pytest.mark.parametrize("how", ["refuse", "stop"])
def test_away_between_start_and_finish(outage, how):
    """The row that was left running is ended when the store is back; nobody is told twice."""
    outage.run(there=True)
    outage.run(between=getattr(outage.way, how))
    assert outage.alerts() == [(2, True)]
    outage.way.mend()
    outage.run(there=True)
    assert outage.counts() == [("failure", n) for n in (1, 2, 3)]
    assert outage.alerts() == [(2, True)]


@pytest.mark.long
def test_there_again_between_start_and_finish(outage):
    """What began unseen is recorded at its end, by the store itself."""
    outage.run(there=True)
    outage.way.refuse()
    outage.run(between=outage.way.open, there=True)
    assert outage.counts() == [("failure", 1), ("failure", 2)]
    assert outage.alerts() == [(2, False)]


@pytest.mark.long
def test_a_backend_that_is_stopped(database, tmp_path):
    """The server process itself, in the middle of a session: the finish is kept in time."""
    hook = answers()
    with serve(hook) as notified:
        outage = Outage(tmp_path, "postgres", database, hook)
        outage.place.environ |= {
            "CRONGUARD_CHANNELS": "webhook",
            "CRONGUARD_WEBHOOK_URL": notified.url,
        }
        stopped = []

        def stop_backend():
            with psycopg.connect(database.url, autocommit=True) as db:
                query = "select pid from pg_stat_activity where application_name = 'cronguard'"
                stopped.extend(pid for (pid,) in db.execute(query).fetchall())
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)

        try:
            outage.run(there=True)
            outage.run(between=stop_backend)
            assert stopped
            assert outage.alerts() == [(2, True)]
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
            outage.way.close()
        outage.way.open()
        outage.run(there=True)
        outage.way.close()
    assert outage.counts() == [("failure", n) for n in (1, 2, 3)]
    assert outage.alerts() == [(2, True)]


# --- what the command line says and does meanwhile ------------------------------------------------


@pytest.fixture
def away(tmp_path, database):
    """A command line whose store has kept two failed runs, with an alert that did not go out."""
    outage = Outage(tmp_path, "postgres", database, answers())
    outage.place.environ |= {
        "CRONGUARD_CHANNELS": "webhook",
        "CRONGUARD_WEBHOOK_URL": f"http://127.0.0.1:{refusing_port()}/",
    }
    outage.run(there=True)
    outage.way.refuse()
    outage.run()
    outage.cli = Cli(tmp_path)
    outage.cli.environ = outage.place.environ | {"CRONGUARD_STORE_TIMEOUT": "60"}  # once it is back
    yield outage
    outage.way.mend()
    outage.assert_goes_on()
    outage.way.close()


@pytest.mark.long
def test_check_sends_what_it_can(away):
    """The alert decided here goes out though the store is down; the rest is one line, exit 1."""
    with serve(away.hook) as notified:
        away.cli.environ["CRONGUARD_WEBHOOK_URL"] = notified.url
        done = away.cli("check")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "refuses connections" in done.stderr
    assert away.alerts() == [(2, True)]


def test_check_finds_what_was_killed_meanwhile(away):
    """A run whose start the store never heard of: counted after those before it."""
    with away.place.start(away.script, stdin=-1) as process:
        assert process.stdout.readline().startswith("started")
        process.kill()
    away.way.open()
    done = away.cli("check", "--json")
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["crashed"]) == 1
    assert away.counts() == [("failure", 1), ("failure", 2), ("crashed", 3)]


@pytest.mark.long
def test_what_is_kept_is_shown_and_recorded_by_hand(away):
    """doctor and status say how many runs wait and where; deliver and check record them."""
    waits = "1 run waits in"
    assert waits in away.cli("doctor").stdout
    away.way.open()
    assert waits in away.cli("doctor").stdout
    assert waits in away.cli("status").stdout
    assert away.counts() == [("failure", 1)]
    done = away.cli("check")
    assert "Recorded 1 run that had been kept here." in done.stdout, done.stdout + done.stderr
    assert away.counts() == [("failure", 1), ("failure", 2)]
    assert waits not in away.cli("status").stdout


@pytest.mark.long
def test_a_secret_in_a_vault_out_of_reach(tmp_path, database):
    """The alert is written here at once, says so, and waits for its channel."""
    outage = Outage(tmp_path, "postgres", database, answers())
    outage.place.environ |= {
        "CRONGUARD_CHANNELS": "slack",
        "CRONGUARD_SLACK_WEBHOOK_URL": "vault:cronguard_slack",
    }
    try:
        assert "is failing" not in outage.run(there=True)
        outage.way.refuse()
        err = outage.run()
        assert "nightly is failing: 2 failures in a row" in err
        assert "Degraded: the log store could not be reached" in err
        assert "secret_unreadable" in err
        err = outage.run()
        assert "nightly is failing" not in err.replace("the failing alert", "")
    finally:
        outage.way.close()


def test_an_ephemeral_place_is_said_once(tmp_path):
    """Where files do not last and nobody named a store, streaks will not either."""
    place = Place(tmp_path)
    place.environ |= {"CRONGUARD_STORE": None, "GITHUB_ACTIONS": "true"}
    done = place.run(
        """
        @cron_guarded
        def job(): return "done"
        print(job(), job())
        """
    )
    assert done.stdout == "done done\n"
    assert done.stderr.count("GitHub Actions keeps no files from run to run") == 1
    place.environ["CRONGUARD_STORE"] = f"sqlite:///{tmp_path}/named.db"
    assert place.run("cron_guarded(print, job='x')('done')").stderr == ""
