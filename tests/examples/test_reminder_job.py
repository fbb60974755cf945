"""The reminder job on both databases: what is due, sent once, whatever happens meanwhile."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from click.testing import CliRunner
from support import reminder
from support.hostile import answers, serve
from support.reminder import (
    LONG_AGO,
    NIGHT,
    RULE,
    HeldGateway,
    add,
    end,
    runs,
    start_job,
    states,
)
from support.terminal import Terminal

from reminders.cli import main
from reminders.dispatch import ReminderDispatchService
from reminders.gateway import GatewayError, NotificationGateway
from reminders.repository import RepositoryError, SetupError, open_repository


def dispatch(place, gateway, *, rule=RULE, lease=timedelta(minutes=1)):
    """One dispatcher's work; returns how many reminders it sent."""
    with place.open() as repository, NotificationGateway(gateway.url) as client:
        return ReminderDispatchService(repository, client, lease=lease).send_due(rule)


def wait_until(condition):
    give_up = time.monotonic() + reminder.ENOUGH
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


# --- what is due ------------------------------------------------------------------------------


def test_due_on_its_day(place, gateway):
    """Fifty days after the last contact, and not a day before."""
    add(place, 3, on=NIGHT - timedelta(days=50))
    add(place, 2, on=NIGHT - timedelta(days=49))
    assert dispatch(place, gateway) == 3
    assert gateway.delivered == {f"{each}:2026-03-02" for each in (1, 2, 3)}
    assert dispatch(place, gateway) == 0
    assert dispatch(place, gateway, rule=RULE._replace(today=NIGHT + timedelta(days=1))) == 2


def test_due_again_after_a_contact(place, gateway):
    """A contact makes the clock start anew: its own due date, its own key."""
    add(place, 1)
    assert dispatch(place, gateway) == 1
    with place.open() as repository:
        repository.register([1], NIGHT, "direct")
    assert dispatch(place, gateway) == 0
    assert dispatch(place, gateway, rule=RULE._replace(today=NIGHT + timedelta(days=50))) == 1
    assert gateway.delivered == {"1:2026-01-31", "1:2026-04-21"}


def test_more_than_a_batch(place, gateway):
    """Batches follow one another to the end, also where many have the same date."""
    add(place, 450)
    assert dispatch(place, gateway) == 450 == len(gateway.delivered)
    assert states(place) == {"sent": 450}


# --- once -------------------------------------------------------------------------------------


def test_two_dispatchers_share_the_work(place, gateway):
    """Nothing is even offered twice to the gateway: the database decides who sends."""
    add(place, 500)
    sent, ready = [], threading.Barrier(2)

    def work():
        ready.wait()
        sent.append(dispatch(place, gateway))

    pair = [threading.Thread(target=work) for _ in range(2)]
    for thread in pair:
        thread.start()
    for thread in pair:
        thread.join(reminder.ENOUGH)
    assert sum(sent) == len(gateway.delivered) == 500
    assert gateway.repeated == 0


def test_a_broken_night_is_made_up(place, gateway):
    """What the gateway did not take is due again at once, what it took is not."""
    add(place, 30)
    gateway.breaks_after = 5
    with pytest.raises(GatewayError):
        dispatch(place, gateway)
    assert len(gateway.delivered) == 5
    assert states(place) == {"sent": 5}
    gateway.breaks_after = None
    assert dispatch(place, gateway) == 25
    assert gateway.repeated == 0


def test_a_death_after_sending_repeats_the_key(place, gateway, monkeypatch):
    """Between the gateway's yes and the commit: sent again with the same key, delivered once."""
    add(place, 3)
    with place.open() as repository, NotificationGateway(gateway.url) as client:
        service = ReminderDispatchService(repository, client)
        monkeypatch.setattr(repository, "mark_sent", lambda _: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            service.send_due(RULE)
    assert (len(gateway.delivered), states(place)) == (3, {"reserved": 3})
    place.expire()
    assert dispatch(place, gateway) == 3
    assert (len(gateway.delivered), gateway.repeated, states(place)) == (3, 3, {"sent": 3})


def test_a_contact_ends_a_dead_runs_reservation(place, gateway):
    """What was reserved when the run died, and is not due any more, is not sent."""
    add(place, 2)
    with place.open() as repository:
        repository.reserve(RULE, "6f1d1a52-0000-4000-8000-00000000000a", timedelta(0), 10)
        repository.register([1], NIGHT, "direct")
    assert dispatch(place, gateway) == 1
    assert gateway.delivered == {"2:2026-01-31"}


def test_a_slow_batch_goes_on_under_a_new_lease(place, gateway):
    """A dispatcher whose time is half over stops, and takes up its own rest again."""
    add(place, 40)
    gateway.delay_seconds = 0.05
    assert dispatch(place, gateway, lease=timedelta(seconds=0.2)) == 40
    assert (len(gateway.delivered), states(place)) == (40, {"sent": 40})


# --- processes --------------------------------------------------------------------------------


def test_started_twice_one_is_skipped(place, tmp_path):
    """Two instances together: one runs, one is recorded as skipped, nothing goes out twice."""
    add(place, 20)
    with HeldGateway(takes=5) as gateway:
        pair = [start_job(place, tmp_path, gateway) for _ in range(2)]
        assert gateway.holds.wait(reminder.ENOUGH)
        wait_until(lambda: any(each.poll() is not None for each in pair))
        (loser,) = [each for each in pair if each.poll() is not None]
        gateway.go.set()
        ends = {each is loser: end(each) for each in pair}
    assert [ends[which].returncode for which in (True, False)] == [0, 0]
    assert ends[False].stdout == "20 reminders sent.\n"
    assert "skipped" in ends[True].stderr
    assert sorted(run["status"] for run in runs(place)) == ["skipped", "success"]
    assert sorted(gateway.offered) == sorted(gateway.delivered)
    assert len(gateway.delivered) == 20


WAITS = r"are reserved by another run until \d\d:\d\d:\d\d; waiting"


def test_killed_in_the_middle_the_rest_is_sent(place, tmp_path):
    """SIGKILL while messages are on their way; the next start says that it waits for the dead one's
    reservation, and sends the rest, none twice."""
    add(place, 300)
    with HeldGateway(takes=230) as gateway:
        first = start_job(place, tmp_path, gateway)
        assert gateway.holds.wait(reminder.ENOUGH)
        first.send_signal(signal.SIGKILL)
        assert end(first).returncode == -signal.SIGKILL
        gateway.go.set()
        second = start_job(place, tmp_path, gateway, "--quiet")
        says = second.stderr.readline()
        assert re.fullmatch(f"Reminders: 100 {WAITS}\n", says), says
        place.expire()
        done = end(second)
    assert (done.returncode, done.stderr) == (0, "")
    assert [run["status"] for run in runs(place)] == ["success", "crashed"]
    assert len(gateway.delivered) == 300
    assert states(place) == {"sent": 300}


UNLOCKED = """
import sys
from datetime import timedelta
from cronguard import cron_guarded
from reminders import job
from support.reminder import RULE

send = cron_guarded(job=job.JOB, overlap="allow")(job.send_reminders.__wrapped__)
print(send(sys.argv[1], sys.argv[2], RULE, lease=timedelta(seconds=30)))
"""


@pytest.mark.long
def test_without_the_lock_still_none_twice(place, tmp_path):
    """Three instances with ``overlap="allow"`` share the work."""
    add(place, 900)
    path = f"{reminder.EXAMPLE}:{reminder.readme.ROOT / 'tests'}"
    environ = reminder.environment(tmp_path, **place.environ, PYTHONPATH=path)
    with HeldGateway(takes=10) as gateway:
        command = [sys.executable, "-c", UNLOCKED, place.store, gateway.url]
        crowd = [
            subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        assert gateway.holds.wait(reminder.ENOUGH)
        # All three wait with every connection that they have.
        wait_until(lambda: len(gateway.offered) == 10 + 3 * 8)
        gateway.go.set()
        sent = [int(end(each).stdout) for each in crowd]
    assert sum(sent) == 900
    assert min(sent) > 0
    assert sorted(gateway.offered) == sorted(gateway.delivered)
    assert {run["status"] for run in runs(place)} == {"success"}


OVERRUN = UNLOCKED.replace('overlap="allow"', "max_runtime=timedelta(seconds=0.5)")


@pytest.mark.long
def test_an_overrun_is_told_while_it_runs(place, tmp_path):
    """A gateway so slow that the run passes its limit: the alert is there before the run ends."""
    add(place, 2)
    path = f"{reminder.EXAMPLE}:{reminder.readme.ROOT / 'tests'}"
    sink = answers()
    with HeldGateway(takes=0) as gateway, serve(sink) as server:
        environ = reminder.environment(
            tmp_path, **place.environ, PYTHONPATH=path, CRONGUARD_WEBHOOK_URL=server.url
        )
        command = [sys.executable, "-c", OVERRUN, place.store, gateway.url]
        slow = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
        wait_until(lambda: sink.received)
        assert slow.poll() is None
        gateway.go.set()
        assert end(slow).stdout == "2\n"
    alert = sink.received[0].json
    assert (alert["kind"], alert["job"]) == ("overrun", "assignment_reminder")
    assert alert["duration_seconds"] >= 0.5


def test_it_is_guarded_as_asked(cronguard, tmp_path):
    """Every option of the guard is the one that was asked for."""
    from reminders.job import send_reminders

    with pytest.raises(SetupError):
        send_reminders("nowhere", "http://127.0.0.1:1", RULE)
    assert cronguard.streak("assignment_reminder") == 1
    place = reminder.OnSQLite(tmp_path)
    with reminder.Gateway() as gateway:
        done = end(start_job(place, tmp_path, gateway, "--quiet"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    expected = "select schedule, timezone, max_runtime from cronguard_jobs"
    assert place.log(expected) == [("0 6 * * *", "Europe/Oslo", 1800)]


# --- nothing private, and one line ------------------------------------------------------------


def test_an_alert_names_no_mentor(on_sqlite, tmp_path, gateway):
    """The job's error does; alert, log and what cron mails do not."""
    add(on_sqlite, 2)
    gateway.breaks_after = 0
    said = [end(start_job(on_sqlite, tmp_path, gateway)) for _ in range(2)]
    assert [each.returncode for each in said] == [1, 1]
    assert "2 failures in a row" in said[1].stderr
    assert "the gateway does not take reminders (HTTP 503); the rest stays due" in said[0].stderr
    shown = "".join(each.stdout + each.stderr for each in said) + json.dumps(runs(on_sqlite))
    assert "503" in shown
    assert [word for word in reminder.PRIVATE if word in shown] == []


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://127.0.0.1:1", "does not take reminders (ConnectionRefusedError)"),
        ("nonsense", "is no http:// or https:// URL"),
        ("http://[bad", "is no http:// or https:// URL"),
    ],
)
def test_a_gateway_that_is_none(on_sqlite, address, says):
    """One line that says which, exit code 1, and the failure is recorded."""
    add(on_sqlite, 1)
    arguments = ["run", "--store", on_sqlite.store, "--gateway", address, "--today", str(NIGHT)]
    done = CliRunner(env=on_sqlite.environ).invoke(main, arguments)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1), done.stderr
    assert says in done.stderr
    assert runs(on_sqlite)[0]["status"] == "failure"


@pytest.mark.parametrize(
    ("store", "says"),
    [
        ("sqlite:///nowhere.db", "assignment-reminder init"),
        ("mysql://x", "set --store"),
        ("supabase", "SUPABASE_URL"),
    ],
)
def test_a_store_that_is_none(tmp_path, monkeypatch, store, says):
    """A sentence that says what to do."""
    monkeypatch.chdir(tmp_path)
    for name in ("SUPABASE_URL", "SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SetupError, match=says):
        open_repository(store)


def test_a_supabase_that_is_not_ready(stack, on_supabase):
    """Without the migration, with a wrong key, out of reach: each says which."""
    bare = stack.database("newer")
    project = reminder.Project(bare)
    cases = [
        (project.url, project.secret_key, "assignment-reminder init"),
        (on_supabase.project.url, on_supabase.project.gateway.publishable_key, "the secret key"),
        (on_supabase.project.url, "sb_secret_wrong", "the secret key"),
        ("http://127.0.0.1:1", "x", "cannot be reached"),
    ]
    for url, key, says in cases:
        with (
            reminder.SupabaseRepository(url, key) as repository,
            pytest.raises(RepositoryError, match=says),
        ):
            repository.count_due(RULE)
    project.close()
    bare.drop()


def test_progress_on_a_terminal(on_sqlite, tmp_path, gateway):
    """A bar where a person looks, which says what it waits for."""
    add(on_sqlite, 250)
    with on_sqlite.open() as repository:
        repository.reserve(RULE, "of a dead run", timedelta(minutes=10), 100)
    command = [sys.executable, str(reminder.EXAMPLE), "run", "--store", on_sqlite.store]
    command += ["--gateway", gateway.url, "--today", str(NIGHT)]
    environ = reminder.environment(tmp_path, **on_sqlite.environ, TERM="xterm")
    terminal = Terminal(command, environ, tmp_path)
    terminal.wait_for("Reminders")
    terminal.wait_for("Reminders: 100 are reserved by another run until ")
    terminal.wait_for(" 60%")
    on_sqlite.expire()
    terminal.wait_for("100%")
    terminal.wait_for("250 reminders sent.")
    terminal.close()


def test_reminded_long_ago_is_not_counted(place):
    """What was sent stays sent; what is still due is counted without it."""
    add(place, 10, on=LONG_AGO)
    with place.open() as repository:
        batch = repository.reserve(RULE, "6f1d1a52-0000-4000-8000-00000000000a", timedelta(60), 4)
        repository.mark_sent(batch.reminders)
        assert repository.count_due(RULE) == 6
        assert [each.assignment_id for each in batch.reminders] == [1, 2, 3, 4]
