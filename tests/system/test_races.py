"""Many at once, and killed at any moment: nothing torn, nothing lost, nothing told twice."""

import random
import re
import signal
import sqlite3
import time
from itertools import pairwise

import pytest
from support import crowd
from support.aftermath import assert_place_goes_on
from support.hostile import answers, serve
from support.processes import Place


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    assert_place_goes_on(made)


def test_500_rapid_calls(place):
    """500 finished rows, whatever the process does right after."""
    code = """
        import os

        @cron_guarded(threshold=1000)
        def nightly(number):
            if number % 5 == 0:
                raise ValueError

        for number in range(500):
            try:
                nightly(number)
            except ValueError:
                pass
        os._exit(0)
        """
    assert place.run(code).returncode == 0
    statuses = place.statuses()
    assert (statuses.count("success"), statuses.count("failure")) == (400, 100)


@pytest.mark.one_python
def test_sixteen_processes_on_a_file_that_does_not_exist_yet(place):
    """Every run of every one is recorded, and nobody has anything to say."""
    code = """
        import sys, time

        @cron_guarded(overlap="allow", threshold=1000)
        def nightly():
            raise ValueError

        while time.time() < float(sys.argv[1]):
            pass
        for _ in range(5):
            try:
                nightly()
            except ValueError:
                pass
        """
    script = place.write(code)
    start = time.time() + 3
    processes = [place.start(script, start) for _ in range(16)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out, err) == (0, "", "")
    assert place.statuses() == ["failure"] * 80
    counts = place.rows("SELECT consecutive_failure_count FROM cron_execution_logs")
    assert sorted(count for (count,) in counts) == list(range(1, 81))


@pytest.mark.one_python
def test_a_crowd_counts_each_failure_once(place):
    """32 processes, 100 failures each of one job, kept from one another's way by nothing but the
    store: 3,200 distinct counts, one alert."""
    counts = crowd.counts(place.environ["CRONGUARD_STORE"], 32, 100)
    assert sorted(counts) == list(range(1, 3201))
    assert place.rows("SELECT kind FROM cronguard_alerts") == [("failing",)]


@pytest.mark.one_python
def test_two_processes_reach_the_threshold_at_once(place):
    """One of them announces it, once; the other's failure is the one after."""
    code = """
        import sys, time

        @cron_guarded(overlap="allow")
        def nightly():
            raise ValueError

        while time.time() < float(sys.argv[1]):
            pass
        try:
            nightly()
        except ValueError:
            pass
        """
    script = place.write(code)
    start = time.time() + 2
    for process in [place.start(script, start) for _ in range(6)]:
        process.communicate(timeout=60)
    assert place.alerts() == [("failing", "console", "sent", 1)]


KILLED = """
    import random, sys, time

    chance = random.Random(sys.argv[1])

    @cron_guarded
    def nightly():
        time.sleep(chance.choice([0, 0, 0.001]))
        if chance.random() < 0.6:
            raise ValueError

    print("ready", flush=True)
    while True:
        try:
            nightly()
        except ValueError:
            pass
    """


@pytest.mark.one_python
@pytest.mark.parametrize(
    "kills", [8, pytest.param(300, marks=pytest.mark.soak)], ids=["few", "many"]
)
def test_killed_at_any_moment(place, kills):
    """No torn finish, no wrong count, no lost alert, and no second id for one."""
    inbox = answers()
    chance = random.Random()
    script = place.write(KILLED)
    with serve(inbox) as server:
        environ = {"CRONGUARD_CHANNELS": "webhook", "CRONGUARD_WEBHOOK_URL": server.url}
        for seed in range(kills):
            process = place.start(script, seed, env=environ)
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0, 0.25))
            process.send_signal(signal.SIGKILL)
            _, err = process.communicate(timeout=60)
            assert not re.search("Traceback|could not|cannot", err), err
        place.run("with guard(job='nightly'): pass", env=environ)
        until_all_is_sent(place, environ)
    check_streak(place)
    check_alerts(place, inbox)
    assert place.rows("PRAGMA integrity_check") == [("ok",)]


def until_all_is_sent(place, environ):
    """Let the claims of the dead run out, then send what is left."""
    with sqlite3.connect(place.path, timeout=30) as db:
        db.execute("UPDATE cronguard_alerts SET claimed_until = NULL, due_at = created_at")
    db.close()
    code = "from cronguard.runtime.composition import current; current().dispatcher.deliver_all()"
    assert place.run(code, env=environ).returncode == 0


def check_streak(place):
    """Each row's count follows from the one before, and every row has ended, all of it or none."""
    rows = place.rows(
        "SELECT status, consecutive_failure_count, finished_at, error_type"
        " FROM cron_execution_logs WHERE status <> 'skipped' ORDER BY rowid"
    )
    assert {row[0] for row in rows} <= {"success", "failure", "crashed"}
    for (_, before, *_), (status, count, *_) in pairwise([("success", 0), *rows]):
        assert count == (0 if status == "success" else before + 1)
    for status, _, finished_at, error_type in rows:
        assert finished_at is not None
        wanted = {"success": None, "failure": "ValueError", "crashed": "Crashed"}
        assert error_type == wanted[status]


def check_alerts(place, inbox):
    """One alert for each time that the count reached two, each sent, each under one id."""
    reached = place.rows(
        "SELECT id FROM cron_execution_logs WHERE consecutive_failure_count = 2"
        " AND status IN ('failure', 'crashed')"
    )
    alerts = place.rows("SELECT alert_id, run_id, state, kind FROM cronguard_alerts")
    assert sorted(run_id for _, run_id, *_ in alerts) == sorted(run_id for (run_id,) in reached)
    assert {alert[2:] for alert in alerts} <= {("sent", "failing")}
    assert {request.headers["webhook-id"] for request in inbox.received} == {
        alert_id for alert_id, *_ in alerts
    }
    for request in inbox.received:
        assert request.json["alert_id"] == request.headers["webhook-id"]
