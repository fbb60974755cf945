"""A call to PostgreSQL is made where it is asked for, and ends in time whatever the server does."""

import asyncio
import os
import signal
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
from support import hostile
from support.forwarder import Forwarder
from support.processes import Place
from support.record import recording

from cronguard import StoreError, cron_guarded
from cronguard.process.workers import TimeoutPool
from cronguard.stores.server import postgres as postgres_module
from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.timeouts import with_timeouts

HANG = 60
"""Seconds after which a call counts as one that never ends."""


def store_at(server, timeout):
    """A store whose server is one of `support.hostile`."""
    url = f"postgresql://u:p@127.0.0.1:{server.port}/x?sslmode=disable&gssencmode=disable"
    return with_timeouts(PostgresStore(url), timeout)


def connected(store):
    """The same, when it has a connection: a busy machine takes its time."""
    store._store._connect()
    return store


@pytest.fixture
def run_in_thread(monkeypatch):
    """What was asked of threads: the names of the functions."""
    asked, make = [], TimeoutPool.run_in_thread

    def noting(pool, work, timeout):
        asked.append(work.__name__)
        return make(pool, work, timeout)

    monkeypatch.setattr(TimeoutPool, "run_in_thread", noting)
    return asked


def ended(call):
    """The error that a call ends with; the test fails if it does not end."""
    found = []

    def make():
        try:
            found.append(call())
        except StoreError as error:
            found.append(error)

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    thread.join(HANG)
    assert found, "it hangs"
    return found[0]


@pytest.mark.parametrize(
    "then",
    [
        hostile.never_answers,
        hostile.never_reads,
        hostile.pg_drips_a_row,
        hostile.pg_drips_notices,
        hostile.pg_floods,
        hostile.pg_stops_midway,
    ],
)
def test_a_server_that_does_not_answer(then, run_in_thread):
    """Not even with bytes that keep coming, or with a request that it does not take."""
    with hostile.serve(hostile.postgres(then)) as server:
        store = connected(store_at(server, 0.3))
        error = ended(lambda: store.history("x" * 20_000_000))
        assert (type(error), error.code) == (StoreError, "timeout")
        assert "did not answer within 0.3 s" in str(error)
    assert run_in_thread == ["drain_and_close"]


def test_a_server_that_greets_nobody(run_in_thread):
    """What comes before there is a connection may block in libpq: it has a thread."""
    with hostile.serve(hostile.never_answers) as server:
        error = ended(store_at(server, 0.3).jobs)
    assert (run_in_thread, error.code) == (["_connect"], "timeout")


def test_a_late_answer_is_not_the_next_ones(database):
    """It is on its way while the next call is made, on another connection."""
    way = Forwarder(urlsplit(database.url).port)
    url = database.url.replace(f":{way.upstream}/", f":{way.port}/")
    store, patient = (with_timeouts(PostgresStore(url), seconds) for seconds in (0.5, 60))
    patient._store._idle = store._store._idle
    assert patient.jobs() == []
    way.stop()
    assert ended(store.schema_version).code == "timeout"
    way.process.send_signal(signal.SIGCONT)
    assert [patient.jobs() for _ in range(5)] == [[]] * 5
    store.close()
    way.close()


def test_calls_that_hang_are_few(database):
    """Each would leave the server with a backend that waits: three, and then none is begun."""
    patient = PostgresStore(database.url)
    store = connected(with_timeouts(PostgresStore(database.url), 0.5))
    with recording(patient):
        cron_guarded(job="nightly")(lambda: None)()
    with database.admin() as db, db.transaction():
        db.execute("select 1 from cronguard_jobs for update")
        codes = [ended(lambda: store.snooze("nightly", None)).code for _ in range(8)]
        (waiting,) = db.execute(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
            " and datname = %s and application_name = 'cronguard'",
            (database.name,),
        ).fetchone()
    assert codes == ["timeout"] * 8
    assert 1 <= waiting <= 3
    give_up = time.monotonic() + HANG
    while (notified := ended(lambda: store.snooze("nightly", None))) is not True:
        assert time.monotonic() < give_up, notified
    store.close()
    patient.close()


def test_once_connected_no_thread_is_asked(database, run_in_thread):
    """Neither by plain functions nor, on top of their own, by coroutines."""

    @cron_guarded
    def nightly():
        pass

    @cron_guarded
    async def hourly():
        pass

    with recording(PostgresStore(database.url), store_timeout=HANG) as record:
        for _ in range(3):
            nightly()
            asyncio.run(hourly())
        assert record.statuses("nightly") == record.statuses("hourly") == ["success"] * 3
    assert run_in_thread == ["_connect"]


class TimeLimit(Exception):  # noqa: N818  # the program's
    """As a scheduler's."""


@pytest.mark.parametrize("kind", [TimeLimit, TimeoutError, KeyboardInterrupt])
def test_what_a_signal_handler_raises_ends_the_wait(kind):
    """It comes out as it is, at once, and the connection is not used again; nor is another one made
    to cancel the query."""
    asked = threading.Event()

    def then(connection, stop):
        connection.recv(65536)
        asked.set()
        stop.wait()

    error, before = kind("over"), signal.getsignal(signal.SIGALRM)

    def handler(signum, frame):
        raise error

    def strike():
        assert asked.wait(HANG)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)

    signal.signal(signal.SIGALRM, handler)
    try:
        with hostile.serve(hostile.postgres(then)) as server:
            store = store_at(server, HANG)
            striker = threading.Thread(target=strike)
            striker.start()
            begun = time.monotonic()
            with pytest.raises(kind) as caught:
                store.jobs()
            assert time.monotonic() - begun < HANG
            striker.join()
            assert caught.value is error
            assert not store._store._idle
            assert server.connections == 1
    finally:
        signal.signal(signal.SIGALRM, before)


FORKS = """
    import os, signal, sys, threading, time, psycopg
    from cronguard import StoreError
    from cronguard.stores.timeouts import with_timeouts
    from cronguard.stores.server.postgres import PostgresStore

    url = sys.argv[1]
    store = with_timeouts(PostgresStore(url), 60.0)
    store.jobs()
    (link,) = store._store._idle
    children, forked = [], threading.Event()

    def handler(signum, frame):
        children.append(os.fork())
        if children != [0]:
            forked.set()
            os.waitpid(children[0], 0)  # the answer is there first for the child

    def strike():
        waits = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = %s"
        with psycopg.connect(url, autocommit=True) as look:
            while not look.execute(waits, (look.info.dbname,)).fetchone():
                time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)
        forked.wait()
        db.rollback()

    signal.signal(signal.SIGALRM, handler)
    db = psycopg.connect(url)
    db.execute("lock table cronguard_jobs")
    striker = threading.Thread(target=strike)
    striker.start()
    try:
        print(store.jobs() == [], flush=True)
    except StoreError as error:
        print(error.code, flush=True)
    if 0 in children:
        store.close()
        os._exit(0)
    striker.join()
    db.close()
    assert store.jobs() == []
    assert list(store._store._idle) == [link]
    store.close()
    """


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_does_not_read_its_parents_answer(database, tmp_path):
    """Forked by a signal handler in the middle of the wait, it is on the parent's connection."""
    place = Place(tmp_path)
    place.environ["PYTHONWARNINGS"] = ""
    done = place.run(FORKS, database.url)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["True", "connection_closed"]


GEVENT = """
    import sys
    {early}
    import psycopg
    from cronguard.stores.server.postgres import PostgresStore
    from cronguard.stores.timeouts import with_timeouts

    url = sys.argv[1]
    store = with_timeouts(PostgresStore(url), 30.0)
    store.jobs()
    {late}
    import gevent

    db = psycopg.connect(url)
    db.execute("lock table cronguard_jobs")
    calls = [gevent.spawn(store.jobs) for _ in range(2)]
    gevent.sleep(0.2)  # they are waiting, and we are not
    print([call.ready() for call in calls])
    db.rollback()
    gevent.joinall(calls)
    print([call.value for call in calls])
    db.close()
    store.close()
    """
PATCH = "from gevent import monkey; monkey.patch_all()"


@pytest.mark.parametrize("when", ["early", "late"])
def test_greenlets_go_on_meanwhile(when, database, tmp_path):
    """Whether gevent patched before psycopg was there, or after."""
    place = Place(tmp_path)
    place.environ["PYTHONWARNINGS"] = ""
    code = GEVENT.format(**{"early": "", "late": "", when: PATCH})
    done = place.run(code, database.url)
    assert (done.returncode, done.stdout) == (0, "[False, False]\n[[], []]\n"), done.stderr


# --- hosts and addresses --------------------------------------------------------------------------


@pytest.fixture
def silent():
    """A port where connections are taken and nothing is ever said."""
    with hostile.serve(hostile.never_answers) as server:
        yield server


def several(database, *hosts, **options):
    """The database's address with these hosts, ``host:port`` each."""
    parts = urlsplit(database.url)
    login = parts.netloc.rpartition("@")[0]
    more = "&".join(f"{key}={value}" for key, value in options.items())
    return f"postgresql://{login}@{','.join(hosts)}{parts.path}?{more}"


def test_a_silent_host_before_one_that_answers(database, silent):
    """The first has its share of the time and no more; then the one that answered comes first."""
    there = f"127.0.0.1:{urlsplit(database.url).port}"
    store = PostgresStore(several(database, f"127.0.0.1:{silent.port}", there))
    bounded = with_timeouts(store, 6.0)
    assert ended(bounded.jobs) == []
    assert silent.connections == 1
    store.close()
    assert ended(bounded.jobs) == []
    assert silent.connections == 1
    assert f"127.0.0.1,127.0.0.1:{silent.port}," in store.where
    store.close()


def test_a_name_with_a_dead_address(database, monkeypatch):
    """Of several that a name leads to, as a host whose IPv6 leads nowhere has them."""
    port = urlsplit(database.url).port
    look_up = socket.getaddrinfo

    def two(host, *args, **options):
        if host != "db.test":
            return look_up(host, *args, **options)
        return [
            address
            for each in ("127.0.0.9", "127.0.0.1")
            for address in look_up(each, *args, **options)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    with socket.create_server(("127.0.0.9", port)):  # nobody accepts
        store = with_timeouts(PostgresStore(several(database, f"db.test:{port}")), 6.0)
        assert ended(store.jobs) == []
        store.close()


def test_several_hosts_and_none_that_answers(database, silent):
    """It ends in time, and says what the one said that said something."""
    refusing = f"127.0.0.1:{hostile.refusing_port()}"
    silence = f"127.0.0.1:{silent.port}"
    store = with_timeouts(PostgresStore(several(database, silence, refusing)), 1.0)
    assert ended(store.jobs).code in ("timeout", "connection_refused")
    there = f"127.0.0.1:{urlsplit(database.url).port}"
    nowhere = several(database, there, refusing).replace(f"/{database.name}?", "/nowhere?")
    assert ended(with_timeouts(PostgresStore(nowhere), 6.0).jobs).code == "no_database"


def test_what_is_asked_of_a_host_holds_for_each(database):
    """`target_session_attrs` passes over a server that is not what is asked for."""
    there = f"127.0.0.1:{urlsplit(database.url).port}"
    url = several(database, there, target_session_attrs="standby")
    assert isinstance(ended(with_timeouts(PostgresStore(url), 6.0).jobs), StoreError)
    url = several(database, there, target_session_attrs="prefer-standby")
    assert ended(with_timeouts(PostgresStore(url), 6.0).jobs) == []


def test_a_connection_that_was_not_used_for_long_is_not_used_again(database, monkeypatch):
    """What lies between, such as a NAT, may have forgotten it without a word."""
    store = PostgresStore(database.url)
    store.jobs()
    (first,) = store._idle
    store.jobs()
    assert list(store._idle) == [first]
    monkeypatch.setattr(postgres_module, "_IDLE_SECONDS", -1.0)
    assert store.jobs() == []
    (second,) = store._idle
    assert second is not first
    assert first.closed
    store.close()


def test_a_connection_that_was_forgotten_leaves_time_for_another(database):
    """The kernel gives it up, when nothing is acknowledged, at half of a call's time, and
    asks every half minute whether the other end is there."""
    store = PostgresStore(database.url, timeout=2.0)
    store.jobs()
    (link,) = store._idle
    with socket.socket(fileno=os.dup(link.fileno())) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1000
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
    store.close()
