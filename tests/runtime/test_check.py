"""``cronguard check`` and ``forget``, and what a run that goes on too long says by itself."""

import json
import re
import signal
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from support.cli import Cli, Here
from support.processes import Place

from cronguard import guard
from cronguard.cli.commands import deliver
from cronguard.cli.doctor import channels as doctor_channels
from cronguard.cli.status import command
from cronguard.core.clock import new_id, rfc3339
from cronguard.core.errors import ChannelError
from cronguard.core.expectations import statements
from cronguard.core.model import ChannelRule, Outcome, Owner, Run, Settlement
from cronguard.process.identity import current_owner
from cronguard.runtime.check import check
from cronguard.runtime.composition import installed
from cronguard.runtime.delivery import Dispatcher
from cronguard.runtime.health import read_health
from cronguard.runtime.runtime import Runtime
from cronguard.settings.loading import ChannelSettings, Settings
from cronguard.stores.sqlite.store import SQLiteStore
from cronguard.testing import FrozenClock, MemoryStore

TOLD = (ChannelRule("console"),)
NONE = Settings(channels=(ChannelSettings("console", "console"),))


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    return Here(tmp_path, monkeypatch, capsys)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def declare(folder, text):
    (folder / "cronguard.toml").write_text(text)


def expected(cron, zone="UTC"):
    return statements("settings", schedule=cron, timezone=zone, grace=0.0)


def problems(done):
    return wrong_of(json.loads(done.stdout)["jobs"])


def wrong_of(jobs):
    return [(each["job"], each["state"]) for each in jobs if each["state"] not in ("new", "ok")]


def wrong(found):
    """What a check says of the jobs that are not well: (job, state), by name."""
    return wrong_of([each._asdict() for each in found.jobs])


# --- the command ----------------------------------------------------------------------------------


def test_nothing_to_check(here):
    """A stranger's first check says what there is, makes no database, and is content."""
    done = here("check")
    assert done.returncode == 0
    assert done.stdout.startswith("No job has run yet, and settings expect none.")
    assert not here.path.exists()


def test_a_database_that_cannot_be_reached_is_not_a_new_one(here):
    """Where nobody can tell whether it is there, the check does not say that all is well."""
    (here.folder / "file").touch()
    here.setenv("CRONGUARD_STORE", f"sqlite:///{here.folder}/file/runs.db")
    done = here("check")
    assert done.returncode == 1
    assert done.stderr.startswith("cronguard: ")
    assert done.stderr.count("\n") == 1


def test_all_is_well(here):
    """One line, exit 0."""
    here.record("nightly", "success")
    done = here("check")
    assert (done.returncode, done.stdout) == (0, "✓ 1 job, nothing wrong: 1 ok.\n")
    found = json.loads(here("check", "--json").stdout)
    (job,) = found.pop("jobs")
    assert (job["job"], job["state"], job["needs_attention"]) == ("nightly", "ok", False)
    assert found == {
        "schema": "cronguard.check/3",
        "store": str(here.path),
        "ok": True,
        "alerts_sent": 0,
        "crashed": [],
        "undelivered": [],
    }
    assert job == here.json("status")["jobs"][0]


def test_a_crontab_is_not_mailed_every_five_minutes(here):
    """Quiet means no line at all, whatever is found; the exit code tells."""
    here.record("nightly", "success")
    done = here("check", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    here.record("nightly", "failure", "failure")
    assert "is failing" in here("check", "-q").stderr  # the alert, on the channel console, once
    done = here("check", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    done = here("prune", "--keep", "1d", "--quiet")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_killed_run_is_found_and_told(place):
    """Counted as crashed without another start of the job; the second one alerts, once."""
    cli = Cli(place.folder)
    hang = """
        import os, signal
        @cron_guarded(job="nightly")
        def job(): os.kill(os.getpid(), signal.SIGKILL)
        job()
        """
    assert place.run(hang).returncode == -signal.SIGKILL
    done = cli("check", "--json")
    assert (done.returncode, problems(done)) == (0, [("nightly", "warning")])
    assert [each["job"] for each in json.loads(done.stdout)["crashed"]] == ["nightly"]
    done = cli("check")
    assert "1 failure, the last Crashed; alerts from 2" in done.stdout
    assert done.stdout.endswith("✓ 1 job, nothing to be done about: 1 warning.\n")
    place.run(hang)
    done = cli("check")
    assert done.returncode == 1
    assert "Sent 1 alert." in done.stdout
    assert "nightly is failing: 2 failures in a row" in done.stderr
    assert cli.last("nightly")[0] == "crashed"
    done = cli("check", "--json")
    assert problems(done) == [("nightly", "failing")]
    assert json.loads(done.stdout)["alerts_sent"] == 0


def test_a_job_that_never_ran_is_missed(here):
    """Settings alone expect it: from the first check on, and not before."""
    declare(here.folder, '[job.nightly]\nschedule = "* * * * *"\ngrace = 0\n')
    done = here("check")
    assert (done.returncode, done.stdout) == (0, "✓ 1 job, nothing wrong: 1 new.\n")
    since = rfc3339(datetime.now(UTC) - timedelta(minutes=3))
    with closing(sqlite3.connect(here.path)) as db, db:
        sources = json.dumps({key: ["settings", since] for key in ("schedule", "grace")})
        db.execute("UPDATE cronguard_jobs SET judged_until = ?, sources = ?", (since, sources))
    done = here("check")
    assert done.returncode == 1
    assert "no run started at 3 times of * * * * * (UTC)" in done.stdout
    assert "nightly did not run when it should have" in done.stderr
    done = here("check", "--json")
    assert problems(done) == [("nightly", "late")]
    assert json.loads(done.stdout)["alerts_sent"] == 0


def test_wrong_settings_are_said_and_what_is_valid_is_checked(here):
    """Exit 2, and the check is still made."""
    declare(
        here.folder, '[job.nightly]\nschedule = "nonsense"\n[job.hourly]\nschedule = "@hourly"\n'
    )
    done = here("check")
    assert done.returncode == 2
    assert "nonsense" in done.stderr
    assert "2 jobs, nothing wrong: 2 new." in done.stdout


def test_a_schedule_in_an_unknown_zone_is_not_expected(here):
    """It would be another schedule: said, exit 2, not ok, and nobody is told of missed runs."""
    declare(here.folder, '[job.a]\nschedule = "0 6 * * *"\ntimezone = "Europe/Olso"\n')
    done = here("check", "--json")
    assert done.returncode == 2
    assert "Europe/Olso" in done.stderr
    assert json.loads(done.stdout)["ok"] is False
    with here.store() as store:
        assert store.jobs() == []


def test_a_schedule_that_only_another_host_understands(store, clock):
    """It is a problem, by name, and all other jobs are checked."""
    store.declare("a", expected("0 * * * *", "Mars/Olympus"))
    store.declare("b", expected("a later version's", "UTC"))
    store.declare("c", expected("0 * * * *", "UTC"))
    clock.advance(3600)
    found = look(store, clock)
    assert wrong(found) == [("a", "warning"), ("b", "warning"), ("c", "late")]
    assert found.attention == {"a", "b", "c"}
    assert found.jobs[0].why == (
        "it cannot be judged: its schedule 0 * * * * (Mars/Olympus) cannot be evaluated on this"
        " host"
    )
    assert found.jobs[2].why.startswith("no run started")


def test_what_is_snoozed_is_shown_and_no_trouble(here):
    """Somebody knows."""
    here.record("nightly", "failure", "failure")
    done = here("check")
    assert (done.returncode, "✗ 1 job: 1 failing." in done.stdout) == (1, True)
    here("snooze", "nightly", "--for", "2h")
    done = here("check")
    assert done.returncode == 0
    assert "(snoozed, wakes in " in done.stdout
    assert "1 job, nothing to be done about: 1 failing." in done.stdout


def test_an_alert_that_does_not_go_out_is_a_problem(here):
    """It waits, and check says where."""
    here.setenv("CRONGUARD_CHANNELS", "webhook")
    here.setenv("CRONGUARD_WEBHOOK_URL", "http://127.0.0.1:1/")
    here.record("nightly", "failure", "failure", channels=(ChannelRule("webhook"),))
    here.record("nightly", "success")
    done = here("check", "--json")
    assert (done.returncode, problems(done)) == (0, [])  # it has a minute
    with closing(sqlite3.connect(here.path)) as db, db:
        long_ago = rfc3339(datetime.now(UTC) - timedelta(seconds=61))
        db.execute("UPDATE cronguard_alerts SET created_at = ?", (long_ago,))
    done = here("check", "--json")
    (found,) = json.loads(done.stdout)["undelivered"]
    assert (found.pop("since"), done.returncode) == (long_ago, 1)
    assert found == {"job": "nightly", "channel": "webhook", "given_up": False, "alerts": 1}
    done = here("check")
    assert "an alert for webhook still waiting" in done.stdout
    assert "✗ 1 job: 1 ok." in done.stdout


def test_what_is_wrong_is_told_in_words(store, clock):
    """How often it failed, since when, and what became of the alert."""
    sick, gone = Dispatcher(store, ("console",), lambda _name: Refusing(False)), Refusing(True)
    run = begin(store, clock)
    store.finish_run(run, Outcome("success", clock(), 1.0), started=True)
    worked = clock()
    for _ in range(3):
        run = begin(store, clock, channels=(ChannelRule("console", 3),))
        store.finish_run(run, Outcome("failure", clock(), 1.0), started=True)

    def notified(dispatcher):
        found = check(store, dispatcher, NONE, now=clock())
        (job,) = found.jobs
        return (job.state, job.why), [(each.dead, each.number) for each in found.undelivered]

    failing = ("failing", f"3 failures in a row; last worked at {worked:%F %T} UTC")
    assert notified(sick) == (failing, [])
    clock.advance(120)
    assert notified(Dispatcher(store, ("console",), lambda _name: gone)) == (failing, [(True, 1)])


def test_an_alert_is_tried_when_it_is_due_and_no_sooner(store, clock):
    """A check every minute leaves the back-off to itself."""
    for _ in range(2):
        run = begin(store, clock)
        store.finish_run(run, Outcome("failure", clock(), 1.0), started=True)
    (claim,) = store.claim_alerts(channels=("console",))
    store.settle_alert(claim, Settlement("pending", "http_503", retry_in=90.0))
    assert look(store, clock).attempts == ()
    clock.advance(91)
    assert [each.settlement.state for each in look(store, clock).attempts] == ["sent"]


def test_every_job_is_told_of_by_name(store, clock):
    """Each once, whatever is wrong with it."""
    begin(store, clock, "a", stated=statements(max_runtime=60.0))
    for _ in range(2):
        run = begin(store, clock, "b")
        store.finish_run(run, Outcome("failure", clock(), 1.0), started=True)
    begin(store, clock, "c", stated=statements(max_runtime=60.0))
    clock.advance(61)
    assert wrong(look(store, clock)) == [("a", "stuck"), ("b", "failing"), ("c", "stuck")]


def test_an_alert_that_is_under_way_elsewhere_is_no_trouble_yet(store, clock):
    """Another process has claimed it; after a minute it ought to have arrived."""
    for _ in range(2):
        run = begin(store, clock)
        store.finish_run(run, Outcome("failure", clock(), 1.0), started=True)
    store.claim_alerts(channels=("console",), claim_for=300)
    run = begin(store, clock)
    store.finish_run(run, Outcome("success", clock(), 1.0), started=True)
    assert look(store, clock).ok
    clock.advance(61)
    found = look(store, clock)
    assert (found.ok, wrong(found)) == (False, [])
    assert [(each.channel, each.dead) for each in found.undelivered] == [("console", False)]


def test_the_oldest_of_many_alerts_is_found(store, clock):
    """However many newer ones wait beside it, each is counted."""
    old = fail_with(store, clock, "old", 1)
    clock.advance(60)
    new = fail_with(store, clock, "new", 120)
    clock.advance(59)
    found = look(store, clock)
    assert [(each.job, each.since, each.number) for each in found.undelivered] == [("old", old, 1)]
    clock.advance(2)
    found = look(store, clock)
    assert {each.job: each.since for each in found.undelivered} == {"new": new, "old": old}
    assert sum(each.number for each in found.undelivered) == 121


def test_every_channel_that_alerts_wait_for_is_named(store, clock, capsys):
    """By doctor, deliver and status, however many there are."""
    fail_with(store, clock, "new", 120)
    names = {f"channel-{n}" for n in range(120)}
    (waiting,) = doctor_channels.alerts(store, NONE)
    assert set(re.findall(r"channel-\d+", str(waiting))) == names
    runtime = SimpleNamespace(store=store, settings=NONE)
    assert deliver._left(runtime, None)
    assert set(re.findall(r"channel-\d+", capsys.readouterr().out)) == names
    (health,) = read_health(store, NONE, now=clock())
    assert command._waits_for(runtime, health) == names


def fail_with(store, clock, job, channels):
    """Fail for so many channels, at the first failure; when that was."""
    rules = tuple(ChannelRule(f"channel-{n}", threshold=1) for n in range(channels))
    run = begin(store, clock, job, channels=rules)
    store.finish_run(run, Outcome("failure", clock(), 1.0), started=True)
    return clock()


# --- what it rests on -----------------------------------------------------------------------------


class Silent:
    """A channel that takes everything."""

    OPTIONS = ()

    def send(self, message):
        pass


class Refusing(Silent):
    """A channel that takes nothing, for now or for good."""

    def __init__(self, permanent):
        self.permanent = permanent

    def send(self, message):
        raise ChannelError("refused", permanent=self.permanent)


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture(params=["memory", "sqlite"])
def store(request, clock, tmp_path):
    made = (
        MemoryStore(clock=clock)
        if request.param == "memory"
        else SQLiteStore(tmp_path / "log.db", clock=clock)
    )
    yield made
    made.close()


def look(store, clock, configured=None):
    dispatcher = Dispatcher(store, ("console",), lambda _name: Silent())
    return check(store, dispatcher, NONE._replace(jobs=configured or {}), now=clock())


def begin(store, clock, job="nightly", **changes):
    run = Run(new_id(), job, clock(), current_owner(), TOLD)._replace(**changes)
    store.start_run(run, is_dead=lambda _owner: False)
    return run


def test_a_run_that_goes_on_is_told_at_each_step(store, clock):
    """At once, twice, four and eight times its max_runtime, and no more."""
    begin(store, clock, stated=statements(max_runtime=600.0))
    notified = []
    for minute in range(1, 101):
        clock.advance(60)
        found = look(store, clock)
        assert found.ok == (minute < 10)
        notified += [minute for _ in found.attempts]
    assert notified == [10, 20, 40, 80]


def test_a_run_elsewhere_is_left_until_its_lease_is_over(store, clock):
    """Another host's: only its lease tells, and then it is crashed, not overrun."""
    run = begin(
        store, clock, owner=Owner("other", 1, "elsewhere", "1"), stated=statements(max_runtime=60.0)
    )
    clock.advance(80)
    assert wrong(look(store, clock)) == [("nightly", "stuck")]
    clock.advance(11)
    found = look(store, clock)
    assert wrong(found) == [("nightly", "warning")]
    assert [each.run_id for each in found.crashed] == [run.run_id]
    assert store.history("nightly")[0].run_id == run.run_id


def test_many_checks_at_once_tell_once(tmp_path, clock):
    """Sixteen hosts look at the same moment: one alert for what was missed, one for the overrun."""
    store = SQLiteStore(tmp_path / "log.db", clock=clock)
    begin(store, clock, "slow", stated=statements(max_runtime=60.0))
    store.declare("nightly", expected("0 * * * *", "UTC"))
    clock.advance(3600 * 5)
    gate = threading.Barrier(16)

    def one(_):
        own = SQLiteStore(tmp_path / "log.db", clock=clock)
        gate.wait(30)
        try:
            return look(own, clock)
        finally:
            own.close()

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(one, range(16)))
    assert sum(len(each.attempts) for each in found) == 2
    assert sorted(alert.kind for alert in store.alerts()) == ["missed", "overrun"]
    store.close()


def test_a_job_that_starts_again_is_well_again(store, clock):
    """Late is late until it starts; then nothing is wrong any more."""
    clock.advance(1)
    plan = {"nightly": {"schedule": "0 * * * *", "grace": 60.0}}
    assert look(store, clock, plan).ok
    clock.advance(3 * 3600)
    for _ in range(2):
        (found,) = look(store, clock, plan).jobs
        assert (found.state, found.since) == ("late", clock() - timedelta(hours=2, seconds=1))
        assert found.why.startswith("no run started at 2 times of 0 ")
    begin(store, clock)
    assert look(store, clock, plan).ok


def test_a_skipped_start_is_no_missed_one(store, clock):
    """The schedule came; the run before it was still going."""
    plan = {"nightly": {"schedule": "0 * * * *", "grace": 60.0}}
    look(store, clock, plan)
    clock.advance(60)
    begin(store, clock, stated=statements(max_runtime=None))
    while clock().minute:
        clock.advance(60)
    skipped = begin(store, clock)
    assert store.history("nightly")[0].run_id == skipped.run_id
    clock.advance(120)
    assert look(store, clock, plan).ok


def test_many_starts_are_read_page_by_page(store, clock, monkeypatch):
    """A job that ran more often than is read at once is judged by all of its starts."""
    monkeypatch.setattr("cronguard.runtime.check._STARTS_PER_PAGE", 2)
    plan = {"nightly": {"schedule": "0 * * * *", "grace": 60.0}}
    look(store, clock, plan)
    for _ in range(24):
        clock.advance(600)
        begin(store, clock, overlap="allow", stated=statements(max_runtime=None))
    clock.advance(120)
    assert look(store, clock, plan).ok


def test_missed_while_snoozed_is_told_afterwards(store, clock):
    """Nothing is lost by a snooze."""
    plan = {"nightly": {"schedule": "0 * * * *", "grace": 60.0}}
    look(store, clock, plan)
    store.snooze("nightly", clock() + timedelta(hours=4))
    clock.advance(3 * 3600)
    found = look(store, clock, plan)
    assert (found.ok, found.attempts) == (True, ())
    clock.advance(2 * 3600)
    found = look(store, clock, plan)
    assert [each.delivery.kind for each in found.attempts] == ["missed"]
    assert "at 4 times of" in found.jobs[0].why


# --- told by the run itself -----------------------------------------------------------------------


def test_a_run_tells_by_itself_that_it_goes_on_too_long(tmp_path):
    """While it is still going, without check; and again later; the job is not disturbed."""
    notified = []
    arrived = threading.Semaphore(0)

    class Ear:
        OPTIONS = ()

        def send(self, message):
            notified.append(message.alert)
            arrived.release()

    store = SQLiteStore(tmp_path / "log.db")
    runtime = Runtime(Settings(store=store, channels=(ChannelSettings("ear", "ear"),)), store)
    runtime._build_channel = lambda _name: Ear()
    with installed(runtime), guard(job="slow", max_runtime=0.15) as run:
        assert arrived.acquire(timeout=20)
        assert arrived.acquire(timeout=20)
        assert run is not None
    runtime.close()
    assert [alert.kind for alert in notified] == ["overrun"] * 2
    assert notified[0].duration_seconds < notified[1].duration_seconds
    assert notified[0].error_message.startswith("still running after")
    assert [record.status for record in store.history("slow")] == ["success"]
    store.close()


def test_none_turns_the_overrun_off(tmp_path):
    """max_runtime=None is kept as such."""
    store = SQLiteStore(tmp_path / "log.db")
    runtime = Runtime(Settings(store=store, channels=(ChannelSettings("log", "log"),)), store)
    with installed(runtime), guard(job="slow", max_runtime=None):
        assert store.watches()[0].expected.max_runtime is None
    runtime.close()
    store.close()


# --- forget ---------------------------------------------------------------------------------------


def test_forget(here):
    """The job is gone from status and check; its history can be read."""
    here.record("nightly", "failure", "failure")
    done = here("forget", "nightly")
    assert done.returncode == 0
    assert done.stdout == (
        "nightly is forgotten, with 1 alert that had not gone out;"
        " cronguard history nightly still shows its runs.\n"
    )
    assert "No job has run yet" in here("status").stdout
    assert here("check").returncode == 0
    assert len(json.loads(here("history", "nightly", "--json").stdout)["runs"]) == 2


def test_forget_of_what_is_not_there(here):
    """One line, exit 1, with the nearest name."""
    here.record("nightly", "success")
    done = here("forget", "nihgtly")
    assert done.returncode == 1
    assert "nightly" in done.stderr


def test_forget_of_what_settings_expect(here):
    """It says that the next check would know the job again."""
    declare(here.folder, '[job.nightly]\nschedule = "@daily"\n')
    here("check")
    done = here("forget", "nightly")
    assert done.returncode == 0
    assert "settings still expect nightly" in done.stderr


def test_settled_alerts_stay_when_a_job_is_forgotten(store, clock):
    """What was sent was sent."""
    for _ in range(2):
        run = begin(store, clock)
        store.finish_run(run, Outcome("failure", clock(), 0.0), started=True)
    (claimed,) = store.claim_alerts(channels=("console",))
    store.settle_alert(claimed, Settlement("sent"))
    store.forget("nightly")
    assert [alert.state for alert in store.alerts()] == ["sent"]
