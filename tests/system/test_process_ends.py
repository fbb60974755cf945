"""Alerts and the ends of processes: what is owed goes out or waits, and nothing hangs."""

import contextlib
import sys
import time

import pytest
from support.aftermath import assert_place_goes_on
from support.hostile import (
    Answers,
    answer,
    answers,
    drips_a_body,
    drips_a_header,
    endless_body,
    gzip_bomb,
    never_answers,
    redirects,
    serve,
    smtp_drips_its_banner,
)
from support.processes import Place
from support.record import SOON

FAILS = """
    import asyncio, atexit, multiprocessing, os, sys, threading, time

    @cron_guarded(threshold=1)
    def nightly():
        raise ValueError

    @cron_guarded(job="nightly", threshold=1)
    async def nightly_async():
        raise ValueError

    def quietly():
        try:
            nightly()
        except ValueError:
            pass

    async def quietly_async():
        try:
            await nightly_async()
        except ValueError:
            pass
    """
WAYS_TO_END = {
    "return": "quietly()",
    "sys.exit": "quietly(); sys.exit(3)",
    "unhandled exception": "nightly()",
    "daemon thread": """
        thread = threading.Thread(target=quietly, daemon=True)
        thread.start()
        thread.join()""",
    "in a running loop": """
        async def main():
            quietly()
        asyncio.run(main())""",
    "asynchronously": "asyncio.run(quietly_async())",
    "asynchronously, unhandled": "asyncio.run(nightly_async())",
    "multiprocessing, fork": """
        child = multiprocessing.get_context("fork").Process(target=quietly)
        child.start()
        child.join()""",
    "multiprocessing, spawn": """
        if __name__ == "__main__":
            child = multiprocessing.get_context("spawn").Process(target=quietly)
            child.start()
            child.join()""",
    "multiprocessing, after a run in the parent": """
        with guard(job="parent"):
            child = multiprocessing.get_context("fork").Process(target=quietly)
            child.start()
            child.join()""",
    "os.fork": """
        if os.fork() == 0:
            quietly()
            sys.exit()
        os.wait()""",
    "pool": """
        with multiprocessing.get_context("fork").Pool(1) as pool:
            pool.apply(quietly)
            pool.close()
            pool.join()""",
}
if sys.version_info[:2] != (3, 12):  # where no thread can be started then: see below
    WAYS_TO_END["thread that outlives the main one"] = """
        def work():
            threading.main_thread().join()
            quietly()
        threading.Thread(target=work).start()"""
    WAYS_TO_END["atexit"] = "atexit.register(quietly)"
    WAYS_TO_END["atexit, after an earlier run"] = """
        atexit.register(quietly)
        with guard(job="earlier"):
            pass"""


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    place.patient = True
    yield place
    assert_place_goes_on(place)


def notified(place, server, **more):
    """The environment in which alerts go to a server."""
    environ = {"CRONGUARD_CHANNELS": "webhook", "CRONGUARD_WEBHOOK_URL": server.url, **more}
    return {"env": environ}


def ids(received):
    return [request.headers["webhook-id"] for request in received]


@pytest.mark.parametrize("way", WAYS_TO_END)
def test_the_alert_goes_out(place, way):
    """Before the process is gone, whichever way it ends, and only once."""
    place.environ["PYTHONWARNINGS"] = "default"  # of forks in processes with threads
    inbox = answers()
    with serve(inbox) as server:
        script = FAILS + WAYS_TO_END[way].replace("\n    ", "\n")
        done = place.run(script, **notified(place, server))
    code = 3 if way == "sys.exit" else 1 if "unhandled" in way else 0
    assert done.returncode == code, done.stderr
    assert place.alerts() == [("failing", "webhook", "sent", 1)], done.stderr
    assert len(inbox.received) == 1
    assert place.statuses() == ["failure"]


@pytest.mark.skipif(sys.version_info[:2] != (3, 12), reason="only there")
@pytest.mark.parametrize(
    "when", ["atexit.register(quietly)", "threading.Thread(target=after_the_main_thread).start()"]
)
def test_when_312_starts_no_thread_the_alert_waits(place, when):
    """Once the main thread has ended; the next run brings the news."""
    code = f"""
    def after_the_main_thread():
        threading.main_thread().join()
        quietly()

    {when}
    """
    inbox = answers()
    with serve(inbox) as server:
        done = place.run(FAILS + code, **notified(place, server))
        assert done.returncode == 0
        assert "wait for its next run or for cronguard deliver" in done.stderr
        place.run("with guard(job='nightly'): pass", **notified(place, server))
    assert place.alerts()[0][2] == "sent"
    assert len(inbox.received) == 1


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="no thread can be started then")
def test_a_call_after_the_main_thread_does_not_wait_for_its_alert(place):
    """A scheduler in a thread of its own goes on where the main thread has nothing more to do."""
    code = """
    returned = threading.Event()

    class Channel:
        OPTIONS = ()
        def send(self, message):
            assert returned.wait(60)

    def work():
        threading.main_thread().join()
        quietly()
        returned.set()

    configure(channels=[Channel()])
    threading.Thread(target=work).start()
    """
    done = place.run(FAILS + code)
    assert done.returncode == 0, done.stderr
    assert [alert[2:] for alert in place.alerts()] == [("sent", 1)], done.stderr


# --- endpoints that do not behave ----------------------------------------------------------------


@pytest.mark.one_python
@pytest.mark.long
def test_endpoints_that_do_not_behave(place, tmp_path):
    """The call returns at once, the process is gone in about five seconds, the alert stays pending
    and goes out with the next run."""
    bad = {
        "never answers": never_answers,
        "drips": drips_a_body,
        "never ends": endless_body,
        "redirects": redirects,
    }
    code = (
        FAILS
        + "\n    quietly(); from cronguard.runtime.composition import current"
        + "\n    print(current().dispatcher._under_way)\n"
    )
    places, processes, servers = {}, {}, []
    start = time.monotonic()
    try:
        for name, behave in bad.items():
            folder = tmp_path / name.replace(" ", "-")
            folder.mkdir()
            places[name] = Place(folder)
            servers.append(serve(behave))
            server = servers[-1].__enter__()
            processes[name] = places[name].start(code, **notified(places[name], server))
        for name, process in processes.items():
            out, err = process.communicate(timeout=30)
            assert process.returncode == 0, err
            assert out == "1\n" or name == "redirects", f"{name}: the call waited for its alert"
            assert places[name].alerts() == [("failing", "webhook", "pending", 1)], name
            assert "did not reach channel webhook" in err
            assert "Traceback" not in err
        assert time.monotonic() - start < SOON
    finally:
        for server in servers:
            server.__exit__(None, None, None)
    inbox = answers()
    with serve(inbox) as server:
        for name, bad_place in places.items():
            bad_place.patient = True
            bad_place.run("with guard(job='nightly'): pass", **notified(bad_place, server))
            assert bad_place.alerts() == [("failing", "webhook", "sent", 2)], name
    assert len(set(ids(inbox.received))) == len(bad)


def test_a_process_waits_for_one_deadline_however_much_it_owes(place):
    """Four deliveries at a time: those that have not had their turn do not make it wait again."""
    code = """
    import cronguard.runtime.delivery, threading, time

    class Channel:
        OPTIONS = ()
        def send(self, message):
            threading.Event().wait()

    cronguard.runtime.delivery.DELIVERY_SECONDS = 2.0
    configure(channels=[Channel()])
    start = time.monotonic()
    for number in range(20):
        try:
            with guard(job=f"job-{number}", threshold=1):
                raise ValueError
        except ValueError:
            pass
    print(time.monotonic() - start)
    """
    done = place.run(code)
    assert done.returncode == 0, done.stderr
    turns = 1 + float(done.stdout) // 1.5  # how many there may have been before its end
    tried = [alert for alert in place.alerts() if alert[3]]
    assert 0 < len(tried) <= 4 * turns
    assert {alert[2] for alert in place.alerts()} == {"pending"}


@pytest.mark.long
@pytest.mark.one_python
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measured by /proc")
def test_hostile_endpoints_leave_nothing_behind(place):
    """Neither memory nor threads, all of them at once."""
    place.patient = False
    behaviours = {
        "drips_a_header": drips_a_header,
        "drips_a_body": drips_a_body,
        "never_ends": endless_body,
        "bomb": gzip_bomb,
        "never_answers": never_answers,
        "redirects": redirects,
        "stalls": never_answers,
        "mail": smtp_drips_its_banner,
    }
    code = """
    import socket, sys, threading, time
    from cronguard.core import model

    model.DELIVERY_SECONDS = 2.5
    look_up, gone = socket.getaddrinfo, threading.Event()

    def getaddrinfo(host, *args, **options):
        if host == "hangs.invalid" and not options.get("flags"):
            gone.wait()
        return look_up(host, *args, **options)

    socket.getaddrinfo = getaddrinfo

    def fail(job, channels):
        try:
            with guard(job=job, threshold=1, channels=channels):
                raise ValueError
        except ValueError:
            pass
        give_up = time.monotonic() + 30
        while threading.active_count() > len(kept()) and time.monotonic() < give_up:
            if not deliveries():
                gone.set()
            time.sleep(0.01)

    def kept():
        names = ("MainThread", "cronguard-watchdog", "cronguard-worker")
        return [each for each in threading.enumerate() if each.name in names]

    def deliveries():
        return [each for each in threading.enumerate() if each.name == "cronguard-delivery"]

    def most_memory():
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

    fail("earlier", ["good"])
    fail("earlier again", ["good"])
    before = most_memory()
    fail("nightly", sys.argv[1:])
    print(most_memory() - before, threading.active_count() - len(kept()))
    """
    environ = {}
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(serve(each)) for name, each in behaviours.items()}
        servers["good"] = stack.enter_context(serve(answers()))
        settings = ""
        for name, server in servers.items():
            url = server.url.replace("http:", "https:") if name == "stalls" else server.url
            environ[f"CRONGUARD_{name.upper()}_URL"] = url
            settings += f'[channel.{name}]\ntype = "webhook"\n'
        settings = settings.replace(
            '[channel.mail]\ntype = "webhook"',
            '[channel.mail]\ntype = "email-smtp"\nhost = "127.0.0.1"\n'
            f'port = {servers["mail"].port}\nsecurity = "none"\nfrom = "a@example.org"\n'
            'to = "b@example.org"',
        )
        del environ["CRONGUARD_MAIL_URL"]
        environ["CRONGUARD_NAMELESS_URL"] = "https://hangs.invalid/"
        settings += '[channel.nameless]\ntype = "webhook"\n'
        (place.folder / "cronguard.toml").write_text(settings, encoding="utf-8")
        done = place.run(code, *behaviours, "nameless", env=environ)
    assert done.returncode == 0, done.stderr
    growth, threads = map(int, done.stdout.split())
    assert growth < 20_000  # kB
    assert threads == 0
    tries = {alert[1]: alert[3] for alert in place.alerts() if alert[1] != "good"}
    assert tries == dict.fromkeys([*behaviours, "nameless"], 1), done.stderr


CHANNEL = """
    import socket, sys, threading, time

    class Channel:
        OPTIONS = ()
        def send(self, message):
            {body}

    configure(channels=[Channel()])

    @cron_guarded(threshold=1)
    def nightly():
        raise ValueError

    try:
        nightly()
    except ValueError:
        pass
    """


@pytest.mark.long
def test_a_channel_that_hangs_does_not_keep_the_process(tmp_path):
    """Whatever it hangs in."""
    bodies = [
        "time.sleep(1000)",
        "threading.Event().wait()",
        "socket.create_server(('127.0.0.1', 0)).accept()",
        "threading.Thread(target=time.sleep, args=(1000,), daemon=True).start(); time.sleep(1000)",
    ]
    places = [Place(tmp_path / str(number)) for number in range(len(bodies))]
    start = time.monotonic()
    processes = []
    for place, body in zip(places, bodies, strict=True):
        place.folder.mkdir()
        processes.append(place.start(CHANNEL.format(body=body)))
    for place, process in zip(places, processes, strict=True):
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert [alert[2:] for alert in place.alerts()] == [("pending", 1)]
    assert time.monotonic() - start < SOON


def test_a_store_that_hangs_does_not_keep_the_process(place):
    """Neither at the calls, nor behind them, nor at exit."""
    place.patient = False
    code = """
        import threading, time
        from cronguard.testing import MemoryStore

        class Store(MemoryStore):
            bounded = False
            def hang(self, *args, **kwargs):
                threading.Event().wait()
            claim_alerts = settle_alert = close = hang

        configure(store=Store(), store_timeout=0.5)

        @cron_guarded(threshold=1)
        def nightly():
            raise ValueError

        try:
            nightly()
        except ValueError:
            print("raised")
        """
    start = time.monotonic()
    done = place.run(code, timeout=30)
    assert (done.returncode, done.stdout) == (0, "raised\n"), done.stderr
    assert time.monotonic() - start < SOON


def test_asynchronous_channels_find_their_host_at_the_end(place):
    """A name is looked up in a pool of threads, which a process that is ending no longer lends."""
    code = """
        import asyncio, os

        class Channel:
            OPTIONS = ()
            async def send(self, message):
                await asyncio.sleep(0.2)
                port = int(os.environ["PORT"])
                reader, writer = await asyncio.open_connection("localhost", port)
                writer.write(b"POST / HTTP/1.1\\r\\nContent-Length: 0\\r\\n\\r\\n")
                assert b"200" in await reader.readline()
                writer.close()

        configure(channels=[Channel()])

        @cron_guarded(threshold=1)
        def nightly():
            raise ValueError

        try:
            nightly()
        except ValueError:
            pass
        """
    inbox = answers()
    with serve(inbox) as server:
        done = place.run(code, env={"PORT": str(server.port)})
    assert done.returncode == 0
    assert [alert[2] for alert in place.alerts()] == ["sent"], done.stderr
    assert len(inbox.received) == 1


def test_one_watchdog_whatever_is_configured(place):
    """A job that configures leaves the thread of what was before behind, until it has ended."""
    code = """
    import threading, time

    @cron_guarded
    def nightly():
        configure()

    def watchdogs():
        return [each.name for each in threading.enumerate()].count("cronguard-watchdog")

    for _ in range(5):
        nightly()
    with guard(job="last"):
        give_up = time.monotonic() + 30
        while watchdogs() > 1 and time.monotonic() < give_up:
            time.sleep(0.01)
        print(watchdogs())
    """
    done = place.run(code)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert place.statuses() == ["success"] * 5


# --- ends that give no time ----------------------------------------------------------------------

SUDDEN_ENDS = {
    "SIGKILL after the commit": """
        import cronguard.runtime.delivery
        cronguard.runtime.delivery.Dispatcher.dispatch = lambda self, job: os.kill(os.getpid(), 9)
        quietly()""",
    "SIGTERM after the commit": """
        import cronguard.runtime.delivery
        cronguard.runtime.delivery.Dispatcher.dispatch = lambda self, job: os.kill(os.getpid(), 15)
        quietly()""",
    "os._exit": "quietly(); os._exit(3)",
    "no thread to be had": """
        def refuse(thread):
            raise RuntimeError("can't start new thread")
        threading.Thread.start = refuse
        quietly()""",
}


@pytest.mark.parametrize("end", SUDDEN_ENDS)
def test_what_could_not_be_sent_goes_out_with_the_next_run(place, end):
    """It is in the outbox since the very commit of the failure."""
    inbox = answers()
    script = FAILS + SUDDEN_ENDS[end].replace("\n    ", "\n")
    with serve(inbox) as server:
        place.run(script, **notified(place, server))
        assert place.statuses() == ["failure"]
        release_claims(place)
        place.run("with guard(job='nightly'): pass", **notified(place, server))
    assert [alert[2] for alert in place.alerts()] == ["sent"]
    assert len(set(ids(inbox.received))) == 1


@pytest.mark.one_python
def test_killed_while_sending_it_comes_again(place):
    """With the same id, once the dead sender's claim has run out."""
    answer_second = Answers([answer()])
    first = []

    def kills(connection, stop):
        if not first:
            first.append(True)
            process.kill()
        else:
            answer_second(connection, stop)

    with serve(kills) as server:
        process = place.start(
            FAILS + "\n    quietly(); time.sleep(60)\n", **notified(place, server)
        )
        process.communicate(timeout=60)
        assert place.alerts() == [("failing", "webhook", "pending", 1)]
        place.run("with guard(job='nightly'): pass", **notified(place, server))
        assert place.alerts() == [("failing", "webhook", "pending", 1)], (
            "its claim was not respected"
        )
        release_claims(place)
        place.run("with guard(job='nightly'): pass", **notified(place, server))
    assert place.alerts() == [("failing", "webhook", "sent", 2)]
    assert len(answer_second.received) == 1


def release_claims(place):
    """As if the ten seconds of a claim had passed."""
    import sqlite3

    db = sqlite3.connect(place.path, timeout=30)
    with db:
        db.execute(
            "UPDATE cronguard_alerts SET due_at = created_at,"
            " claimed_until = CASE WHEN claimed_until IS NULL THEN NULL ELSE created_at END"
        )
    db.close()
