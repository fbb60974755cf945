"""The registry of what is done at forks and at the end: phases in their order, nobody beside it."""

import ast
import json
import os
from textwrap import dedent

import pytest
from support.imports import MODULES
from support.processes import Place

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

REGISTRY = "cronguard.process.lifecycle"
REGISTERING = {"register_at_fork", "_register_atexit", "Finalize", "finalize"}


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    place.environ["PYTHONWARNINGS"] = "ignore"  # of forks in processes with threads
    return place


def registrations(source):
    """The lines that register something at a fork or at the end of the process."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        call.lineno
        for call in calls
        if name_of(call.func) in REGISTERING or ast.unparse(call.func) == "atexit.register"
    ]


def name_of(function):
    return getattr(function, "attr", None) or getattr(function, "id", None)


@pytest.mark.parametrize("name", MODULES)
def test_nobody_registers_beside_the_registry(name):
    """What is done at a fork and at the end has one order, which is written in one place."""
    found = registrations(MODULES[name].read_text(encoding="utf-8"))
    assert bool(found) == (name == REGISTRY)


def test_a_registration_is_found():
    """However it is written."""
    for line in ("os.register_at_fork(before=f)", "atexit.register(f)", "Finalize(None, f)"):
        assert registrations(f"def g():\n    {line}") == [2]
    assert registrations("weakref.finalize(x, f)") == [1]
    assert registrations("lifecycle.register('files', at_exit=f)") == []


def test_phases_are_done_in_their_order(place):
    """Whoever registered first; before a fork, in parent and child, and at the end."""
    code = """
        import os
        from cronguard.process import lifecycle

        def say(moment, phase):
            return lambda: os.write(1, f"{moment} {phase}\\n".encode())

        phases = ["interrupt", "process", "deliveries", "outcomes", "files", "imports", "threads"]
        tables = {
            "before_fork": lifecycle.BEFORE_FORK,
            "in_parent": lifecycle.IN_PARENT,
            "in_child": lifecycle.IN_CHILD,
            "at_exit": lifecycle.AT_EXIT + lifecycle.AFTER_EXIT,
        }
        for phase in phases:
            for moment, table in tables.items():
                if phase in table:
                    lifecycle.register(phase, **{moment: say(moment, phase)})
        with guard(job="nightly"):
            pass
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        """
    done = place.run(code)
    assert (done.returncode, done.stderr) == (0, "")
    said = [line.split() for line in done.stdout.splitlines()]
    assert {moment: [p for m, p in said if m == moment] for moment, _ in said} == {
        "before_fork": ["threads", "imports", "files"],
        "in_child": ["imports", "files", "threads", "process"],
        "in_parent": ["files", "threads"],
        "at_exit": ["deliveries", "imports", "outcomes", "threads", "interrupt"],
    }


def test_what_is_done_in_each_phase(place):
    """By which module; a run that goes well has loaded these, and a failure loads the others."""
    code = """
        import json, sys
        from cronguard.process import lifecycle

        def module_of(work):
            return getattr(work, "func", work).__module__

        with guard(job="nightly"):
            pass
        import cronguard.process.imports, cronguard.process.workers
        found = {
            moment: {
                phase: sorted({module_of(work).removeprefix("cronguard.") for work in works})
                for phase, works in getattr(lifecycle, f"_{moment}_hooks").items()
            }
            for moment in ("before", "parent", "child", "exit")
        }
        print(json.dumps(found))
        """
    done = place.run(code)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    files, watchdog = ["stores.sqlite.connections"], "runtime.composition"
    assert found == {
        "before": {
            "threads": ["process.workers", watchdog],
            "imports": ["process.lifecycle"],
            "files": files,
        },
        "parent": {"files": files, "threads": [watchdog]},
        "child": {
            "imports": ["process.lifecycle"],
            "files": files,
            "threads": ["process.threads", "process.workers"],
            "process": ["process.identity", "process.imports", watchdog],
        },
        "exit": {
            "deliveries": ["process.threads"],
            "imports": ["process.imports"],
            "outcomes": ["runtime.composition"],
            "threads": [watchdog],
            "interrupt": ["process.signals"],
        },
    }


def test_one_hook_that_fails_keeps_no_other_from_its_work(place):
    """At the end as at a fork; Python says what it raised."""
    code = """
        from cronguard.process import lifecycle

        def fail():
            raise ValueError("no luck")

        lifecycle.register("imports", at_exit=fail)
        lifecycle.register("outcomes", at_exit=lambda: print("outcomes"))
        lifecycle.register("interrupt", at_exit=lambda: print("interrupt"))
        with guard(job="nightly"):
            pass
        """
    done = place.run(code)
    assert (done.returncode, done.stdout) == (0, "outcomes\ninterrupt\n")
    assert "no luck" in done.stderr


def test_the_end_and_what_the_program_does_at_its_end(place):
    """Outcomes are told before what was there at the first run is gone, such as connections."""
    code = """
        import atexit
        from cronguard.process import lifecycle

        atexit.register(print, "before the first run")
        for phase in "outcomes", "interrupt":
            lifecycle.register(phase, at_exit=lambda phase=phase: print(phase))
        with guard(job="nightly"):
            pass
        atexit.register(print, "after it")
        """
    done = place.run(code)
    assert done.stdout.splitlines() == ["after it", "outcomes", "before the first run", "interrupt"]


def test_the_end_of_a_child_of_multiprocessing(place):
    """Its phases are done once, though it builds more than one runtime."""
    code = """
        import multiprocessing, os
        from cronguard.process import lifecycle

        lifecycle.register("outcomes", at_exit=lambda: os.write(1, b"%d\\n" % os.getpid()))

        def work():
            for _ in range(3):
                with guard(job="child", overlap="allow"):
                    pass
                configure()

        with guard(job="parent"):
            pass
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join()
        """
    done = place.run(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.split()) == len(set(done.stdout.split())) == 2


# --- threads of ours in a child -------------------------------------------------------------------

FORKING = """
    import logging, os, signal, threading

    children = []
    said = threading.Event()

    def fork(*_, **__):
        if (pid := os.fork()) == 0:
            signal.alarm(30)
            return
        children.append(pid)
        said.set()
        {end}

    def status():
        assert said.wait(30)
        return os.waitpid(children[0], 0)[1]
    """

CHANNEL = """
    class Channel:
        OPTIONS = {}
        name = "forking"
        send = fork

    configure(channels=[Channel()])
    try:
        with guard(job="nightly", threshold=1):
            raise ValueError
    except ValueError:
        pass
    print(status())
    """
HANDLER = """
    class Handler(logging.Handler):
        emit = fork

    logging.getLogger("cronguard").addHandler(Handler())
    from cronguard.process import log
    log.warning("nothing")
    print(status())
    """
STORE = """
    from cronguard.testing import MemoryStore

    class Store(MemoryStore):
        bounded = False
        heartbeat = fork

    from cronguard.process import log
    store = Store()
    configure(store=store)
    import cronguard.runtime.watchdog as watchdog
    watchdog.HEARTBEAT_SECONDS = 0.1
    with guard(job="nightly"):
        print(status())
    """
BEAT = """
    from cronguard.runtime.watchdog import Watchdog

    watchdog = Watchdog(lambda: fork() or 60, 60)
    watchdog.ensure()
    print(status())
    """


@pytest.mark.parametrize("end", ["return", "raise ValueError"])
@pytest.mark.parametrize("where", [CHANNEL, HANDLER, STORE, BEAT])
def test_a_child_that_comes_back_into_a_thread_of_ours(place, where, end):
    """A plugin forks and makes no end of its child: it is not left behind for ever."""
    done = place.run(dedent(FORKING).format(end=end) + dedent(where))
    assert done.stdout == "0\n", done.stderr


def test_the_process_waits_for_what_a_daemon_thread_began(place):
    """As an asynchronous job's outcome is recorded in one, and its heartbeat sent from there."""
    code = """
        import threading, time
        from cronguard.process.threads import run_in_background

        def begin():
            work = lambda: (begun.set(), time.sleep(0.5), print("done", flush=True))
            run_in_background("heartbeat", work, time.monotonic() + 30)

        begun = threading.Event()
        threading.Thread(target=begin, daemon=True).start()
        begun.wait(30)
        """
    assert place.run(code).stdout == "done\n"
