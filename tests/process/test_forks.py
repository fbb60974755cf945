"""Forks: a child is a process of its own, whatever its parent was in the middle of."""

import os
import signal
import sys
from textwrap import dedent

import pytest
from support.hostile import answers, serve
from support.processes import Place

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    place.patient = True
    place.environ["PYTHONWARNINGS"] = "ignore"  # of forks in processes with threads
    return place


def test_what_a_child_commits_outlives_its_parent(place):
    """The parent closes the file while the child has it open: SQLite's locks are each one's own."""
    code = """
        import os, sys

        def run(job):
            with guard(job=job):
                pass

        run("parent")
        to_child, from_parent = os.pipe()
        to_parent, from_child = os.pipe()
        if os.fork() == 0:
            run("child")
            os.write(from_child, b"open")
            os.read(to_child, 6)
            run("child")
            os._exit(0)
        os.read(to_parent, 4)
        configure()  # closes the store
        os.write(from_parent, b"closed")
        os.wait()
        """
    assert place.run(code).returncode == 0
    assert place.statuses("child") == ["success", "success"]


def test_a_fork_after_a_dispatch(place):
    """Parent and child owe an alert each; each goes out once, though the child has no threads."""
    code = """
        import os, sys

        def fail(job):
            try:
                with guard(job=job, threshold=1):
                    raise ValueError
            except ValueError:
                pass

        fail("parent")
        if os.fork() == 0:
            with guard(job="child"):
                pass
            fail("child")
            sys.exit()
        os.wait()
        """
    inbox = answers()
    environ = {"CRONGUARD_CHANNELS": "webhook"}
    with serve(inbox) as server:
        done = place.run(code, env={**environ, "CRONGUARD_WEBHOOK_URL": server.url})
    assert done.returncode == 0, done.stderr
    assert [alert[2] for alert in place.alerts()] == ["sent", "sent"]
    assert len({request.headers["webhook-id"] for request in inbox.received}) == 2


def test_a_fork_that_leaves_through_a_guarded_function(place):
    """Its SystemExit is not the end of the run, which is its parent's to record."""
    code = """
        import os, sys

        @cron_guarded
        def nightly():
            pid = os.fork()
            if pid == 0:
                sys.exit(0)
            os.waitpid(pid, 0)
            raise ValueError

        nightly()
        """
    done = place.run(code)
    assert "ValueError" in done.stderr
    assert place.statuses() == ["failure"]


def test_a_fork_inside_a_run_is_another_process(place):
    """The same job there is a second run of it, and skipped as such; other jobs run."""
    code = """
        import os

        @cron_guarded
        def nightly(depth):
            if depth:
                return "called"
            pid = os.fork()
            if pid == 0:
                with guard(job="other"):
                    answer = nightly(1)
                os._exit(0 if answer is None else 1)
            assert os.waitpid(pid, 0)[1] == 0

        nightly(0)
        """
    done = place.run(code)
    assert done.returncode == 0, done.stderr
    assert sorted(place.statuses()) == ["skipped", "success"]
    assert place.statuses("other") == ["success"]


@pytest.mark.parametrize("warm", [True, False])
def test_what_a_child_could_not_write_it_writes_at_its_end(place, warm):
    """One of multiprocessing runs none of its parent's exit functions; it must run ours."""
    code = """
        import multiprocessing, os, sys
        from cronguard import StoreError
        from cronguard.stores.sqlite.store import SQLiteStore

        class Store(SQLiteStore):
            lacking = True

            def finish_run(self, run, outcome, **more):
                if run.job == "nightly" and self.lacking:
                    self.lacking = False
                    raise StoreError("away")
                return super().finish_run(run, outcome, **more)

        @cron_guarded(threshold=1)
        def nightly():
            pass

        configure(store=Store(sys.argv[1]))
        if "warm" in sys.argv:
            with guard(job="earlier"):
                pass
        child = multiprocessing.get_context("fork").Process(target=nightly)
        child.start()
        child.join()
        """
    done = place.run(code, place.path, *(["warm"] if warm else []))
    assert "until the store answers: away" in done.stderr
    assert place.statuses() == ["success"]


def test_a_child_reads_its_settings_anew(place):
    """What its environment says by then counts, for its runs alone."""
    code = """
        import os, sqlite3, sys

        with guard(job="parent"):
            pass
        if os.fork() == 0:
            os.environ["CRONGUARD_STORE"] = "sqlite:///" + sys.argv[1]
            with guard(job="child"):
                pass
            sys.exit()
        os.wait()
        with guard(job="parent"):
            pass
        query = "SELECT job, status FROM cron_execution_logs"
        print(*sqlite3.connect(sys.argv[1]).execute(query))
        """
    place.environ["PYTHONWARNINGS"] = "ignore"
    done = place.run(code, place.folder / "child.db")
    assert (done.returncode, done.stdout) == (0, "('child', 'success')\n"), done.stderr
    assert place.statuses("parent") == ["success"] * 2
    assert not place.statuses("child")


def test_a_store_object_is_not_shared_with_a_child(place):
    """Given to configure() and used before the fork; each process has a connection of its own."""
    code = """
        import os
        from cronguard.stores.sqlite.store import SQLiteStore

        store = SQLiteStore(os.environ["CRONGUARD_STORE"].removeprefix("sqlite:///"))
        configure(store=store)

        @cron_guarded(overlap="allow")
        def nightly():
            pass

        nightly()
        connection = store._file.connection
        children = []
        for _ in range(4):
            pid = os.fork()
            if pid == 0:
                for _ in range(25):
                    nightly()
                os._exit(0 if store._file.connection is not connection else 1)
            children.append(pid)
        for _ in range(25):
            nightly()
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
        """
    done = place.run(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert place.statuses() == ["success"] * 126
    assert place.rows("PRAGMA integrity_check") == [("ok",)]


def test_a_child_imports_what_a_thread_was_about_to_import(place):
    """Forked between two steps of Python's own lock, which then names no owner."""
    code = """
        import importlib._bootstrap, os, signal, threading

        lock = importlib._bootstrap._get_module_lock("colorsys")
        thread = threading.Thread(target=lock.lock.acquire)
        thread.start()
        thread.join()
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            import colorsys
            os._exit(0)
        print(os.waitpid(pid, 0)[1])
        """
    done = place.run(code)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


# What waits is the module's code: a finder holds the lock that `os.fork` itself waits for.
SLOW_IMPORT = """
    import importlib.machinery, os, signal, sys, threading, time
    import cronguard.process.lifecycle

    importing, forked = threading.Event(), threading.Event()

    class Slow:
        def find_spec(self, name, path, target=None):
            if name == SLOW and threading.current_thread() is not threading.main_thread():
                spec = importlib.machinery.PathFinder.find_spec(name, path, target)
                run = spec.loader.exec_module
                spec.loader.exec_module = lambda module: (wait(), run(module))
                return spec

    def wait():
        importing.set()
        forked.wait(30)

    sys.meta_path.insert(0, Slow())
    thread = threading.Thread(target=cron_guarded(job="nightly")(lambda: None))
    """


def test_a_child_imports_what_a_first_guarded_run_was_importing(place):
    """In a thread of the program's own, which would not have imported it but for us."""
    code = """
        cronguard.process.lifecycle.IMPORT_WAIT_SECONDS = 0  # that import is never done
        thread.start()
        importing.wait(30)
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            import sqlite3
            assert sqlite3.connect(":memory:").execute("SELECT 1").fetchone() == (1,)
            cron_guarded(job="child")(lambda: None)()
            os._exit(0)
        forked.set()
        thread.join()
        print(os.waitpid(pid, 0)[1])
        """
    done = place.run("SLOW = 'sqlite3.dbapi2'\n" + dedent(SLOW_IMPORT) + dedent(code))
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    assert (place.statuses("nightly"), place.statuses("child")) == (["success"], ["success"])


def test_a_fork_waits_for_a_first_guarded_run_to_import_what_it_needs(place):
    """So that a child seldom finds anything half imported."""
    code = """
        cronguard.process.lifecycle.IMPORT_WAIT_SECONDS = 60
        nap = time.sleep  # is what a fork that waits does
        cronguard.process.lifecycle.time.sleep = lambda seconds: (forked.set(), nap(seconds))
        thread.start()
        importing.wait(30)
        pid = os.fork()
        if pid == 0:
            os._exit(0 if "cronguard.stores.sqlite.store" in sys.modules else 1)
        thread.join()
        print(os.waitpid(pid, 0)[1], forked.is_set())
        """
    done = place.run("SLOW = 'sqlite3.dbapi2'\n" + dedent(SLOW_IMPORT) + dedent(code))
    assert (done.returncode, done.stdout) == (0, "0 True\n"), done.stderr


def test_a_child_never_waits_for_a_thread_that_it_does_not_have(place):
    """Forked while one is inside SQLite, and another importing, it does both freely."""
    code = """
        import os, signal, sys, threading
        import cronguard.process.lifecycle

        stop = threading.Event()

        def work():
            job = cron_guarded(job="busy", overlap="allow")(lambda: None)
            while not stop.is_set():
                job()

        def keep_importing():
            while not stop.is_set():
                import colorsys, wave, quopri, mailbox
                for name in ("colorsys", "wave", "quopri", "mailbox"):
                    sys.modules.pop(name, None)

        cronguard.process.lifecycle.IMPORT_WAIT_SECONDS = 0.005  # this thread never stops importing
        threads = [threading.Thread(target=work) for _ in range(2)]
        threads.append(threading.Thread(target=keep_importing, name="cronguard-channel-x"))
        for thread in threads:
            thread.start()
        stuck = 0
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                signal.alarm(60)
                import sqlite3
                sqlite3.connect(":memory:").execute("SELECT 1")
                sqlite3.connect(f"own-{os.getpid()}.db").execute("CREATE TABLE t (x)")
                import colorsys, wave, quopri, mailbox
                os._exit(0)
            stuck += os.waitpid(pid, 0)[1] != 0
        stop.set()
        print(stuck)
        """
    done = place.run(code, timeout=300)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


FIRST = """
    import os, sys, threading, time

    last = lambda: None
    os.register_at_fork(before=lambda: last())  # whoever comes first is called last

    from cronguard import cron_guarded, guard

    def in_no_file():
        fork = sys.modules["cronguard.stores.sqlite.connections"]
        return all(file.lock.locked() and file.connection is None for file in list(fork._files))

    def fork():
        if (pid := os.fork()) == 0:
            os._exit(0)
        return os.waitpid(pid, 0)[1]

    @cron_guarded(overlap="allow")
    def nightly():
        pass
    """


@pytest.fixture
def run_last(place):
    """What runs a script whose hook, its function ``last``, is called after all of ours."""

    def run(code):
        script = place.folder / "last.py"
        script.write_text(dedent(FIRST) + dedent(code), encoding="utf-8")
        return place.run(script)

    return run


def test_no_file_is_open_when_a_fork_comes(run_last):
    """Whatever threads are doing, and several fork: in the last hook every file's lock is held."""
    code = """
        import cronguard.process.lifecycle, cronguard.stores.sqlite.connections
        from cronguard.stores.sqlite.store import SQLiteStore

        # Two that fork all the time on a busy machine may wait longer than a program should.
        cronguard.process.lifecycle._OTHER_FORK_WAIT_SECONDS = 60
        cronguard.stores.sqlite.connections._PATIENCE = 60
        stop, found = threading.Event(), []

        def keep_reading(store):
            while not stop.is_set():
                store._file.read(lambda db: None)

        def keep_running():
            while not stop.is_set():
                nightly()

        def last():
            time.sleep(0.02)
            found.append(in_no_file())

        readers = [SQLiteStore(f"{number}.db") for number in range(2)]
        busy = [threading.Thread(target=keep_reading, args=(store,)) for store in readers]
        busy.append(threading.Thread(target=keep_running))
        forking = [threading.Thread(target=lambda: [fork() for _ in range(8)]) for _ in range(2)]
        for thread in busy + forking:
            thread.start()
        for thread in forking:
            thread.join()
        stop.set()
        print(found.count(True), found.count(False))
        """
    done = run_last(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "16 0\n", "")


def test_runs_go_on_while_a_fork_waits_for_imports(place, run_last):
    """Files are closed last: a run that begins meanwhile is recorded, and at once."""
    code = """
        from cronguard.process import lifecycle

        def go_on():
            thread.start()
            thread.join(30)
            found.append(thread.is_alive())

        found, thread = [], threading.Thread(target=nightly)
        nightly()
        lifecycle.register("imports", before_fork=go_on)
        print(fork(), found)
        """
    done = run_last(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 [False]\n", "")
    assert place.statuses() == ["success"] * 2


def test_a_file_that_is_made_while_a_process_forks(run_last):
    """It is opened when the fork is over."""
    code = """
        from cronguard.stores.sqlite.store import SQLiteStore

        made, stores, found, written = threading.Event(), [], [], []

        def make():
            stores.append(SQLiteStore("made.db"))
            made.set()
            stores[0]._file.write(lambda db: written.append(True))

        def last():
            thread.start()
            made.wait(30)
            time.sleep(0.2)  # is enough to open it
            found.append(in_no_file())

        nightly()
        thread = threading.Thread(target=make)
        status = fork()
        thread.join()
        print(status, found, written)
        """
    done = run_last(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 [True] [True]\n", "")


def test_a_first_run_that_begins_while_a_process_forks(place, run_last):
    """Not even what closes files was loaded when the fork began; the run waits until it is over."""
    code = """
        found = []

        def last():
            assert "cronguard.stores.sqlite.store" not in sys.modules
            thread.start()
            end = time.monotonic() + 30
            while time.monotonic() < end:
                fork = sys.modules.get("cronguard.stores.sqlite.connections")
                if len(getattr(fork, "_files", ())):
                    break
                time.sleep(0.001)
            time.sleep(0.2)  # is enough to open it
            found.append(in_no_file())

        thread = threading.Thread(target=nightly)
        status = fork()
        thread.join()
        print(status, found)
        """
    done = run_last(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 [True]\n", "")
    assert place.statuses() == ["success"]


def test_a_fork_in_the_middle_of_a_fork(place, run_last):
    """As a signal handler may: what the outer one holds is held until that is over."""
    code = """
        found = []

        def last():
            if not found:
                found.append(False)
                fork()
                found[0] = in_no_file()

        nightly()
        fork()
        nightly()
        print(found)
        """
    done = run_last(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[True]\n", "")
    assert place.statuses() == ["success"] * 2


def test_a_run_in_the_middle_of_a_fork(place, run_last):
    """By a signal handler of the very thread that forks: it waits for nothing, and is kept."""
    code = """
        import cronguard.process.lifecycle, cronguard.stores.sqlite.connections

        def last():
            begun = time.monotonic()
            nightly()
            print(time.monotonic() - begun < 30)

        cronguard.process.lifecycle._OTHER_FORK_WAIT_SECONDS = 60
        cronguard.stores.sqlite.connections._PATIENCE = 60
        nightly()
        fork()
        """
    done = run_last(code)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    assert place.statuses() == ["success"] * 2


def test_a_fork_inside_a_transaction(run_last):
    """By a signal handler or a finalizer: it does not wait for itself."""
    code = """
        import cronguard.process.lifecycle, cronguard.stores.sqlite.connections
        from cronguard.stores.sqlite.store import SQLiteStore

        store = SQLiteStore("made.db")
        cronguard.process.lifecycle._OTHER_FORK_WAIT_SECONDS = 60
        cronguard.stores.sqlite.connections._PATIENCE = 60
        begun = time.monotonic()
        print(store._file.write(lambda db: fork()), time.monotonic() - begun < 30)
        print(store._file.read(lambda db: db.execute("PRAGMA user_version").fetchone()[0] > 0))
        """
    done = run_last(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 True\nTrue\n", "")


def test_a_child_that_comes_back_into_a_transaction(run_last):
    """Forked there by a signal handler: it does not commit what its parent does."""
    code = """
        from cronguard.core.errors import StoreError
        from cronguard.stores.sqlite.store import SQLiteStore

        store = SQLiteStore("made.db")
        store.migrate()
        parent = os.getpid()

        def work(db):
            db.execute("INSERT INTO cronguard_jobs"
                       " (job, timezone, grace, registered_at, judged_until)"
                       " VALUES (?, 'UTC', 0, '', '')", (str(os.fork()),))

        try:
            store._file.write(work)
        except StoreError as error:
            os._exit(0 if error.code == "forked" and os.getpid() != parent else 1)
        print(os.wait()[1], [each.job == "0" for each in store.jobs()])
        """
    done = run_last(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 [False]\n", "")


@pytest.mark.skipif(
    sys.version_info[:2] == (3, 13), reason="3.13.0 counts threads that start when the fork is done"
)
def test_a_program_that_forks_is_not_warned_of_our_threads(place):
    """Since 3.12 a fork warns of other threads; a program with none has none because of us."""
    code = """
        import os, warnings

        warnings.simplefilter("always")

        @cron_guarded
        def nightly():
            for _ in range(20):
                pid = os.fork()
                if pid == 0:
                    os._exit(0)
                os.waitpid(pid, 0)

        nightly()
        try:
            with guard(job="fails", threshold=100):
                raise ValueError
        except ValueError:
            nightly()
        """
    done = place.run(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert place.statuses() == ["success", "success"]


def test_the_watchdog_is_back_after_a_fork(place):
    """In the parent, and in a child that runs something."""
    code = """
        import os, threading

        def watched():
            return [t.name for t in threading.enumerate()].count("cronguard-watchdog")

        @cron_guarded(overlap="allow")
        def nightly():
            pass

        nightly()
        assert watched() == 1
        pid = os.fork()
        assert watched() == (0 if pid == 0 else 1)
        nightly()
        assert watched() == 1
        if pid == 0:
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        """
    done = place.run(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_child_killed_by_a_signal_takes_nothing_along(place):
    """The parent's run goes on and is recorded as it ends."""
    code = f"""
        import os

        @cron_guarded
        def nightly():
            pid = os.fork()
            if pid == 0:
                os.kill(os.getpid(), {int(signal.SIGKILL)})
            os.waitpid(pid, 0)

        nightly()
        """
    assert place.run(code).returncode == 0
    assert place.statuses() == ["success"]
