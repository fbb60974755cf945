"""Many hosts, one log: counts and alerts stay exact, whatever happens at the same instant."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from support import crowd

from cronguard.core.clock import new_id
from cronguard.core.expectations import statements
from cronguard.core.model import ChannelRule, Failure, Outcome, Owner, Run
from cronguard.runtime.check import check
from cronguard.runtime.delivery import Dispatcher
from cronguard.settings.types import ChannelSettings, Settings
from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.server.supabase import SupabaseStore

pytestmark = pytest.mark.one_python

FAILED = Failure("ValueError")
WAITING = """select exists (select 1 from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock')"""


def run_of(job, host, **changes):
    owner = Owner(host, 1, f"space of {host}", "1")
    run = Run(new_id(), job, datetime.now(UTC), owner, channels=(ChannelRule("told", 2),))
    return run._replace(**changes)


def fail(store, run):
    return store.finish_run(
        run, Outcome("failure", datetime.now(UTC), 0.1, FAILED), started=True
    ).consecutive_failure_count


@pytest.fixture(params=["postgres", "pooler", pytest.param("supabase", marks=pytest.mark.long)])
def hosts(request, database, _prepared):
    """Two clients that know nothing of each other, on each way to the database."""
    if request.param == "supabase":
        project = _prepared.project("legacy")
        stores = [SupabaseStore(project.url, project.service_key, timeout=30) for _ in range(2)]
    else:
        url = database.url if request.param == "postgres" else database.pooler_url
        stores = [PostgresStore(url, timeout=30) for _ in range(2)]
    yield stores
    for store in stores:
        store.close()


def together(stores, work, trials):
    """``work(trial, number, store)`` on every store at the same instant; answers by trial."""
    barrier = threading.Barrier(len(stores))
    answers = [[None] * len(stores) for _ in range(trials)]

    def go(number, store):
        for trial in range(trials):
            barrier.wait(60)
            answers[trial][number] = work(trial, number, store)

    threads = [threading.Thread(target=go, args=pair) for pair in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_two_hosts_failing_at_the_same_instant(hosts):
    """Counts 1 and 2, one alert each. (Of 400 trials, looking before or after the commit got 388
    and 116 wrong.)"""
    trials = 150

    def work(trial, number, store):
        run = run_of(f"job{trial}", f"host{number}", overlap="allow")
        store.start_run(run, is_dead=lambda _: False)
        return fail(store, run)

    answers = together(hosts, work, trials)
    assert [sorted(counts) for counts in answers] == [[1, 2]] * trials
    alerts = hosts[0].alerts(limit=1000)
    assert sorted(alert.job for alert in alerts) == sorted(f"job{n}" for n in range(trials))
    assert {job.consecutive_failure_count for job in hosts[0].jobs()} == {2}


def test_two_hosts_starting_the_same_job_together(hosts):
    """200 trials: one runs, one is skipped."""
    trials = 200

    def work(trial, number, store):
        run = run_of(f"job{trial}", f"host{number}")
        return store.start_run(run, is_dead=lambda _: False).status

    answers = together(hosts, work, trials)
    assert [sorted(found) for found in answers] == [["running", "skipped"]] * trials


def test_two_hosts_finding_the_same_dead_run(hosts):
    """It is counted once, and announced once."""
    trials = 100

    def work(trial, number, store):
        job = f"job{trial}"
        if number == 0:
            gone = run_of(job, "gone", lease=1e-6, channels=(ChannelRule("told", 1),))
            store.start_run(gone, is_dead=lambda _: False)
        barrier.wait(60)
        run = run_of(job, f"host{number}", overlap="allow", channels=(ChannelRule("told", 1),))
        return store.start_run(run, is_dead=lambda _: False).consecutive_failure_count

    barrier = threading.Barrier(2)
    assert together(hosts, work, trials) == [[1, 1]] * trials
    assert len(hosts[0].alerts(limit=1000)) == trials


def test_a_heartbeat_locks_in_the_order_of_a_sweep(database):
    """Job by job, whichever started first: held up at one row it holds none that a sweep comes to
    later, so that neither waits for the other."""
    store = PostgresStore(database.url, timeout=30)
    later, sooner = (run_of(job, "a") for job in ("b.later", "a.sooner"))
    for run in (later, sooner):
        store.start_run(run, is_dead=lambda _: False)
    ids = [later.run_id, sooner.run_id]
    lock = "select 1 from cron_execution_logs where run_id = %s for update nowait"
    beat = threading.Thread(target=lambda: store.heartbeat(ids[:1], lease=90.0, ended=ids))
    with database.connect() as sweep, database.connect() as watch:
        with sweep.transaction():
            sweep.execute(lock, (sooner.run_id,))
            beat.start()
            while not watch.execute(WAITING).fetchone()[0]:
                assert beat.is_alive()
            sweep.execute(lock, (later.run_id,))
        beat.join(30)
        held = watch.execute("select count(*) from cron_execution_logs where holds_lease")
        assert held.fetchone() == (0,)
    store.close()


def test_two_hosts_stating_at_the_same_instant(hosts):
    """Each knows other things of the job, new to the store or not: all of it is kept."""
    trials = 50
    known = ({"threshold": 5, "runbook": "https://example.org/r"}, {"max_runtime": 7.0})

    def work(trial, number, store):
        stated = statements("command", **known[number])
        if number == 1 and trial % 2:
            store.declare(f"job{trial}", statements("settings", schedule="0 6 * * *"))
        run = run_of(f"job{trial}", f"host{number}", overlap="allow", stated=stated)
        return store.start_run(run, is_dead=lambda _: False).status

    together(hosts, work, trials)
    for watch in hosts[0].watches():
        expected = watch.expected
        assert (expected.threshold, expected.max_runtime) == (5, 7.0)
        assert expected.runbook == "https://example.org/r"
        declared = int(watch.job.removeprefix("job")) % 2
        assert expected.schedule == ("0 6 * * *" if declared else None)
        assert len(watch.sources) == 3 + declared
    assert len(hosts[0].watches()) == trials


def test_two_hosts_claiming_at_the_same_instant(hosts):
    """Every alert is handed out once."""
    for trial in range(100):
        run = run_of(f"job{trial}", "host", channels=(ChannelRule("told", 1),))
        hosts[0].start_run(run, is_dead=lambda _: False)
        fail(hosts[0], run)

    def work(trial, number, store):
        claimed = store.claim_alerts(channels=["told"], limit=3, claim_for=600)
        return [delivery.alert_id for delivery in claimed]

    answers = together(hosts, work, 40)
    ids = [alert_id for trial in answers for found in trial for alert_id in found]
    assert len(ids) == len(set(ids)) == 100


class Silent:
    OPTIONS = ()

    def send(self, message):
        pass


def test_two_hosts_checking_at_the_same_instant(hosts):
    """A silence and what goes on too long is told of once, and sent once, however many look."""
    for number in range(5):
        hosts[0].declare(f"due{number}", statements(schedule="0 * * * *", grace=0.0))
        run = run_of(f"slow{number}", "host", stated=statements(max_runtime=60.0), lease=3000.0)
        hosts[0].start_run(run, is_dead=lambda _: False)
    begin = datetime.now(UTC)

    def work(trial, number, store):
        dispatcher = Dispatcher(store, ("told",), lambda _name: Silent())
        now = begin + timedelta(hours=5 + trial)
        settings = Settings(channels=(ChannelSettings("told", "log"),))
        return check(store, dispatcher, settings, now=now).attempts

    trials = together(hosts, work, 4)
    sent = [attempt.delivery.alert_id for trial in trials for found in trial for attempt in found]
    kinds = [alert.kind for alert in hosts[0].alerts(limit=1000)]
    assert (kinds.count("overrun"), kinds.count("missed")) == (5, 5)
    assert len(sent) == len(set(sent)) == 10


@pytest.mark.parametrize(
    ("way", "failures"),
    [
        ("postgres", 10),
        pytest.param("pooler", 10, marks=pytest.mark.long),
        pytest.param("supabase", 10, marks=pytest.mark.long),
        pytest.param("postgres", 100, marks=pytest.mark.soak),
        pytest.param("pooler", 100, marks=pytest.mark.soak),
        pytest.param("supabase", 100, marks=pytest.mark.soak),
    ],
)
def test_a_crowd_of_processes_counts_each_failure_once(request, database, way, failures):
    """32 processes that fail side by side in one job: as many distinct counts, one alert."""
    store, environ = database.url if way == "postgres" else database.pooler_url, {}
    if way == "supabase":
        project, store = request.getfixturevalue("project"), "supabase"
        environ = {"SUPABASE_URL": project.url, "SUPABASE_SERVICE_ROLE_KEY": project.service_key}
    counts = crowd.counts(store, 32, failures, **environ)
    assert sorted(counts) == list(range(1, 32 * failures + 1))
    store = PostgresStore(database.url)
    assert [alert.kind for alert in store.alerts()] == ["failing"]
    store.close()
