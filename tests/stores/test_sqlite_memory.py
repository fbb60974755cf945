"""The SQLite store on ``:memory:``: one database that its threads share and its forks copy."""

import gc
import os
import sqlite3
import threading
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent

import pytest
from support.processes import Place

from cronguard.core.clock import new_id
from cronguard.core.errors import ConfigError
from cronguard.core.model import AlertRule, Failure, Outcome, Owner, Run
from cronguard.stores.sqlite import memory
from cronguard.stores.sqlite.store import SQLiteStore
from cronguard.testing import MemoryStore

HERE = Owner("host", 1, "space", "1")


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    place.environ["PYTHONWARNINGS"] = "ignore"  # of forks in processes with threads
    return place


def fail(store, job="nightly"):
    """Record a failed run; its count."""
    now = datetime.now(UTC)
    run = Run(new_id(), job, now, HERE, (AlertRule("told"),), overlap="allow")
    store.start_run(run, is_dead=lambda _: False)
    outcome = Outcome("failure", now, 0.5, Failure("ValueError"))
    return store.finish_run(run, outcome, started=True).consecutive_failure_count


def counts(store, job="nightly"):
    """The counts on the job's rows, oldest first."""
    return [row.consecutive_failure_count for row in reversed(store.history(job, limit=1_000_000))]


def test_threads_share_one_memory():
    """Each failure of each thread has a count of its own."""
    store = MemoryStore()
    found = []

    def work():
        found.extend([fail(store) for _ in range(50)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 401))
    (status,) = store.jobs()
    assert status.consecutive_failure_count == 400


def test_stores_in_memory_are_apart():
    """Two of one process, neither seen by the other."""
    one, other = SQLiteStore(":memory:"), SQLiteStore(":memory:")
    assert [fail(one), fail(one), fail(other)] == [1, 2, 1]


def test_a_memory_may_be_used_after_close():
    """Nothing is lost by it."""
    store = MemoryStore()
    fail(store)
    store.close()
    store.close()
    assert fail(store) == 2
    assert counts(store) == [1, 2]


def test_memory_makes_no_file(tmp_path, monkeypatch):
    """Neither where the process is nor by an open descriptor, whatever is done to it."""
    monkeypatch.chdir(tmp_path)

    def descriptors():
        folder = Path("/proc/self/fd")
        return len(list(folder.iterdir())) if folder.is_dir() else 0

    before = descriptors()
    store = SQLiteStore(":memory:")
    for _ in range(10):
        fail(store)
    assert store.prune(keep=timedelta(0)) == 9
    assert descriptors() == before
    store.close()
    assert list(tmp_path.iterdir()) == []
    assert store._file.read(lambda db: db.execute("PRAGMA temp_store").fetchone()) == (2,)


def test_a_file_that_has_the_name_of_memory(tmp_path, monkeypatch):
    """It is neither read nor written: the name means memory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ":memory:").write_text("mine")
    store = SQLiteStore(":memory:")
    assert store.migrate()
    assert not store.migrate()
    assert fail(store) == 1
    assert (tmp_path / ":memory:").read_text() == "mine"


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "sqlite:///./:memory:"])
def test_memory_is_no_address(url):
    """A job's runs would last as long as its process: settings name a file."""
    with pytest.raises(ConfigError, match="needs a file"):
        SQLiteStore.from_url(url)


def test_memory_has_the_schema_of_a_file(tmp_path, monkeypatch):
    """From its SQL, and from the image of it that is made the first time."""
    monkeypatch.setattr(memory, "_images", {})
    stores = [SQLiteStore(tmp_path / "log.db"), *(SQLiteStore(":memory:") for _ in range(3))]

    def schema(db):
        query = "SELECT type, name, sql FROM sqlite_master ORDER BY name"
        return db.execute(query).fetchall(), db.execute("PRAGMA user_version").fetchone()

    expected, *found = [store._file.read(schema) for store in stores]
    assert found == [expected] * 3
    assert memory._images.keys() == {"sqlite"}
    stores[0].close()


def test_memory_that_is_let_go_is_closed():
    """Python warns of a connection that nobody closed, and `close` does not."""
    gc.collect()  # what other tests have left is not meant
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = MemoryStore()
        fail(store)
        connection = store._file.connection
        del store
        gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_memory_shows_its_payloads():
    """What was decided, oldest first, of one kind or of all."""
    store = MemoryStore()
    fail(store)
    fail(store)
    fail(store, "weekly")
    fail(store, "weekly")
    assert len(store.payloads()) == len(store.payloads("failing")) == 2
    assert '"weekly"' in store.payloads()[1]
    assert store.payloads("recovered") == []
    assert repr(store) == "MemoryStore()"


# --- forks ----------------------------------------------------------------------------------------

FORKING = """
    import os, signal, sys, threading, time
    from datetime import UTC, datetime

    last = lambda: None
    os.register_at_fork(before=lambda: last())  # whoever comes first is called last

    from cronguard.core.clock import new_id
    from cronguard.core.errors import StoreError
    from cronguard.core.model import Outcome, Owner, Run
    from cronguard.stores.sqlite.store import SQLiteStore

    signal.alarm(50)
    store = SQLiteStore(":memory:")

    def record(job="nightly"):
        now = datetime.now(UTC)
        run = Run(new_id(), job, now, Owner("host", 1, "space", "1"), (), overlap="allow")
        store.start_run(run, is_dead=lambda _: False)
        return store.finish_run(run, Outcome("failure", now, 1.0), started=True)

    def runs(job="nightly"):
        return len(store.history(job, limit=1_000_000))

    def in_child(work):
        \"\"\"Fork; what ``work`` returns in the child, whose status is 0 for 1.\"\"\"
        if (pid := os.fork()) == 0:
            signal.alarm(40)
            try:
                ok = work()
            except BaseException as error:
                ok = print(repr(error), file=sys.stderr, flush=True)
            os._exit(0 if ok else 1)
        return os.waitpid(pid, 0)[1] == 0
    """


@pytest.fixture
def forking(place):
    """What runs a script after `FORKING`; what it printed."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")

    def run(code):
        script = place.folder / "script.py"
        script.write_text(dedent(FORKING) + dedent(code), encoding="utf-8")
        done = place.run(script)
        assert (done.returncode, done.stderr) == (0, "")
        assert [each.name for each in place.folder.iterdir()] == ["script.py"]
        return done.stdout.split()

    return run


def test_a_child_has_its_parents_memory(forking):
    """As it was at the fork; what either writes later is its own, the child's child's too."""
    code = """
        def grandchild():
            return runs() == 2 and record() and runs() == 3

        def child():
            os.read(to_child, 1)
            return runs() == 1 and record() and in_child(grandchild) and runs() == 2

        to_child, from_parent = os.pipe()
        record()
        thread = threading.Thread(target=lambda: (
            time.sleep(0.2), record(), record(), os.write(from_parent, b".")
        ))
        thread.start()
        print(in_child(child))
        thread.join()
        print(runs())
        """
    assert forking(code) == ["True", "3"]


def test_no_thread_is_inside_memory_when_a_fork_comes(forking):
    """In the last hook its lock is the fork's, nothing is written, and a child has it whole."""
    code = """
        stop, found = threading.Event(), []

        def work():
            while not stop.is_set():
                record()
                time.sleep(0.0005)

        def is_ours():
            file = store._file
            before = file.connection.total_changes
            time.sleep(0.02)  # is enough for a thread to write
            mine = file.lock.locked() and file.holder == threading.get_ident()
            written = file.connection.total_changes - before
            return mine and not file.connection.in_transaction, written

        def child():
            (status,) = store.jobs()
            before = status.consecutive_failure_count
            count = record().consecutive_failure_count
            whole = store._file.read(lambda db: db.execute("PRAGMA integrity_check").fetchone())
            return count == before + 1 and whole == ("ok",)

        record()
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        last = lambda: found.append(is_ours())
        print(*{in_child(child) for _ in range(5)})
        stop.set()
        for thread in threads:
            thread.join()
        print(*map(str, set(found)), len(found))
        """
    assert forking(code) == ["True", "(True,", "0)", "5"]


def test_a_fork_waits_for_a_transaction_in_memory(forking):
    """Of another thread; what it commits is there in the child."""
    code = """
        inside, forked = threading.Event(), []

        def work(db):
            db.execute("INSERT INTO cronguard_jobs"
                       " (job, timezone, grace, registered_at, judged_until)"
                       " VALUES ('slow', 'UTC', 0, '', '')")
            inside.set()
            time.sleep(0.5)
            forked.append(False)

        thread = threading.Thread(target=lambda: store._file.write(work))
        thread.start()
        inside.wait(30)
        print(in_child(lambda: forked == [False] and len(store.jobs()) == 1))
        thread.join()
        """
    assert forking(code) == ["True"]


def test_a_child_waits_for_no_transaction_that_never_ends(forking):
    """A thread has hung in it for longer than a fork waits: the child begins with nothing."""
    code = """
        import cronguard.stores.sqlite.connections

        cronguard.stores.sqlite.connections._PATIENCE = 0.1
        inside, stop = threading.Event(), threading.Event()
        record()
        thread = threading.Thread(
            target=lambda: store._file.write(lambda db: (inside.set(), stop.wait(30)))
        )
        thread.start()
        inside.wait(30)
        print(in_child(lambda: runs() == 0 and record() and runs() == 1))
        stop.set()
        thread.join()
        print(runs())
        """
    assert forking(code) == ["True", "1"]


def test_a_signal_handler_that_forks_in_a_transaction(forking):
    """The transaction is the parent's to commit; the child can use the store meanwhile, and is
    refused when it comes back to what its parent was doing."""
    code = """
        statuses = []

        def handler(*_):
            if pid := os.fork():
                statuses.append(os.waitpid(pid, 0)[1])
            else:
                signal.alarm(40)
                statuses.append(runs() == 1 and record() and runs() == 2)

        def work(db):
            db.execute("DELETE FROM cron_execution_logs")
            os.kill(os.getpid(), signal.SIGUSR1)
            while not statuses:
                time.sleep(0.001)
            db.execute("DELETE FROM cronguard_jobs")

        record()
        signal.signal(signal.SIGUSR1, handler)
        parent = os.getpid()
        try:
            store._file.write(work)
        except StoreError as error:
            ok = os.getpid() != parent and error.code == "forked" and statuses == [True]
            os._exit(0 if ok and runs() == 2 and store.jobs() else 1)
        print(*statuses, runs(), store.jobs())
        """
    assert forking(code) == ["0", "0", "[]"]


def test_memory_in_a_pool_of_processes(forking):
    """Each child of multiprocessing goes on from what there was when it was forked."""
    code = """
        import multiprocessing

        def count(_):
            return record("pooled").consecutive_failure_count

        record("pooled")
        with multiprocessing.get_context("fork").Pool(1) as pool:
            print(*pool.map(count, range(4)))
        print(runs("pooled"))
        """
    assert forking(code) == ["2", "3", "4", "5", "1"]


def test_memory_of_a_forked_guarded_job(place):
    """Guarded runs in both, and nothing waits at the end of either."""
    code = """
        import os, sys
        from cronguard.testing import MemoryStore

        store = MemoryStore()
        configure(store=store)

        @cron_guarded(overlap="allow")
        def nightly():
            pass

        nightly()
        if (pid := os.fork()) == 0:
            nightly()
            sys.exit(0 if len(store.history("nightly")) == 2 else 1)
        assert os.waitpid(pid, 0)[1] == 0
        nightly()
        nightly()
        print(len(store.history("nightly")))
        """
    done = place.run(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")


def test_memory_of_greenlets_that_fork(forking):
    """Under gevent greenlets share it as threads do, and a child has its copy."""
    code = """
        from gevent import monkey
        monkey.patch_all()
        import gevent

        store = SQLiteStore(":memory:")

        def work():
            for _ in range(10):
                record()
                gevent.sleep(0)

        def child():
            found = runs()
            return 0 < found < 50 and record() and runs() == found + 1

        def fork():
            gevent.sleep(0)
            return in_child(child)

        greenlets = [gevent.spawn(work) for _ in range(5)]
        forks = [gevent.spawn(fork) for _ in range(3)]
        gevent.joinall(greenlets + forks)
        print(*[each.value for each in forks], runs())
        """
    assert forking(code) == ["True", "True", "True", "50"]
