"""A real remote store that goes away in every way there is, under real cron processes."""

import os
import re
import signal
from urllib.parse import urlsplit

import psycopg
import pytest
from support.forwarder import Forwarder
from support.hostile import answers, serve
from support.processes import Place

from cronguard.stores.postgres import PostgresStore

MOST = 2.5
"""Seconds that a start or a finish may take, the store's time-out of 2 s included."""

JOB = """
    import sys, time
    {imports}
    from cronguard._runtime import current
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

    def __init__(self, folder, kind, server, hook):
        self.place = Place(folder)
        self.hook = hook
        self.server = server
        database = getattr(server, "database", server)
        self.url = database.url
        if kind == "postgres":
            parts = urlsplit(server.url)
            self.way = Forwarder(parts.port)
            store = server.url.replace(f":{parts.port}/", f":{self.way.port}/")
            self.place.environ |= {"CRONGUARD_STORE": store}
            self.script = self.place.write(JOB.format(imports="import psycopg"))
        else:
            self.way = Forwarder(urlsplit(server.url).port)
            self.place.environ |= {
                "CRONGUARD_STORE": "supabase",
                "SUPABASE_URL": f"http://127.0.0.1:{self.way.port}",
                "SUPABASE_SECRET_KEY": server.secret_key,
                "PYTHONWARNINGS": "",
            }
            self.script = self.place.write(JOB.format(imports="import supabase"))

    def run(self, between=lambda: None):
        """One nightly run that fails; what cronguard took at its start and at its end."""
        with self.place.start(self.script, stdin=-1) as process:
            started = process.stdout.readline()
            between()
            out, err = process.communicate("\n", timeout=60)
        assert "ValueError: boom" in err
        assert process.returncode == 1
        start, end = (float(each) for each in re.findall(r"\w+ ([\d.e-]+)\n", started + out))
        assert start < MOST, err
        assert end < MOST, err
        return err

    def counts(self):
        """The job's rows, in the order of commits."""
        store = PostgresStore(self.url)
        rows = reversed(store.history("nightly"))
        store.close()
        return [(row.status, row.consecutive_failure_count) for row in rows]

    def alerts(self):
        """(streak, degraded) of every alert that arrived."""
        found = [request.json for request in self.hook.received]
        return [(alert["consecutive_failure_count"], alert["degraded"]) for alert in found]


@pytest.fixture(params=["postgres", "supabase"])
def outage(request, tmp_path):
    server = request.getfixturevalue("database" if request.param == "postgres" else "project")
    hook = answers()
    with serve(hook) as told:
        made = Outage(tmp_path, request.param, server, hook)
        made.place.environ |= {
            "CRONGUARD_CHANNELS": "webhook",
            "CRONGUARD_WEBHOOK_URL": told.url,
        }
        yield made
        made.way.close()


@pytest.mark.parametrize("how", ["refuse", "stop", "swallow"])
def test_away_for_a_night(outage, how):
    """Two runs fail meanwhile: told once, on what was known, and recorded once it is back."""
    outage.run()
    getattr(outage.way, how)()
    err = outage.run()
    assert len(re.findall("runs are kept in .*spool-", err)) == 1
    outage.run()
    assert outage.alerts() == [(2, True)]
    outage.way.mend()
    outage.run()
    assert outage.counts() == [("failure", n) for n in (1, 2, 3, 4)]
    assert outage.alerts() == [(2, True)]


@pytest.mark.parametrize("how", ["refuse", "stop"])
def test_away_between_start_and_finish(outage, how):
    """The row that was left running is ended when the store is back; nobody is told twice."""
    outage.run()
    outage.run(between=getattr(outage.way, how))
    assert outage.alerts() == [(2, True)]
    outage.way.mend()
    outage.run()
    assert outage.counts() == [("failure", n) for n in (1, 2, 3)]
    assert outage.alerts() == [(2, True)]


def test_there_again_between_start_and_finish(outage):
    """What began unseen is recorded at its end, by the store itself."""
    outage.run()
    outage.way.refuse()
    outage.run(between=outage.way.open)
    assert outage.counts() == [("failure", 1), ("failure", 2)]
    assert outage.alerts() == [(2, False)]


def test_a_backend_that_is_stopped(database, tmp_path):
    """The server process itself, in the middle of a session: the finish is kept in time."""
    hook = answers()
    with serve(hook) as told:
        outage = Outage(tmp_path, "postgres", database, hook)
        outage.place.environ |= {
            "CRONGUARD_CHANNELS": "webhook",
            "CRONGUARD_WEBHOOK_URL": told.url,
        }
        stopped = []

        def stop_backend():
            with psycopg.connect(database.url, autocommit=True) as db:
                query = "select pid from pg_stat_activity where application_name = 'cronguard'"
                stopped.extend(pid for (pid,) in db.execute(query).fetchall())
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)

        try:
            outage.run()
            outage.run(between=stop_backend)
            assert stopped
            assert outage.alerts() == [(2, True)]
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
            outage.way.close()
        outage.way.open()
        outage.run()
        outage.way.close()
    assert outage.counts() == [("failure", n) for n in (1, 2, 3)]
    assert outage.alerts() == [(2, True)]
