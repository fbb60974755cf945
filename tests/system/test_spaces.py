"""Alive or dead? Judged in this process space and in others, by real processes in real namespaces.

Those in other spaces need root, ``unshare`` and ``setpriv`` (util-linux).
"""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.processes import PREAMBLE, Place

from cronguard.core.clock import new_id
from cronguard.core.model import Run
from cronguard.process.identity import current_owner, is_dead
from cronguard.stores.sqlite.store import SQLiteStore

LIVES = """
    import sys
    @cron_guarded
    def nightly():
        print("working", flush=True)
        sys.stdin.readline()
    nightly()
    """
STARTS = """
    @cron_guarded
    def nightly(): return "ran"
    print(nightly())
    """
NEW_PIDS = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
SOMEBODY = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups")
_FILES = "+dac_override,+dac_read_search"
READS_ALL = (f"--inh-caps={_FILES}", f"--ambient-caps={_FILES}")


namespaces = pytest.mark.needs_root("makes namespaces")


@pytest.fixture
def place(tmp_path):
    for tool in ("unshare", "setpriv"):
        assert shutil.which(tool), f"install {tool}: it comes with util-linux"
    return Place(tmp_path)


class Living:
    """A run that goes on for as long as the block."""

    def __init__(self, place, **options):
        self.process = place.start(LIVES, stdin=subprocess.PIPE, **options)
        assert self.process.stdout.readline() == "working\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self.process:
            if self.process.poll() is None:
                self.process.communicate("\n", timeout=60)


def starts(place, **options):
    """What a start of the job says: ``ran``, or ``None`` where it was skipped."""
    done = place.run(STARTS, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_killed_and_started_again(place):
    """Counted at once, and run at once."""
    with Living(place) as run:
        run.process.kill()
        run.process.wait()
        assert starts(place) == "ran"
    assert place.statuses() == ["crashed", "success"]


def test_a_zombie_is_dead(place):
    """Its parent has not looked after it; nobody will."""
    with Living(place) as run:
        run.process.kill()
        stat = f"/proc/{run.process.pid}/stat"
        give_up = time.monotonic() + 30
        while state(stat) != "Z":
            assert time.monotonic() < give_up
            time.sleep(0.01)
        assert starts(place) == "ran"
        run.process.wait()
    assert place.statuses() == ["crashed", "success"]


def state(stat):
    return Path(stat).read_text(encoding="ascii").rpartition(")")[2].split()[0]


def test_a_stopped_process_is_alive(place):
    """However long; it goes on when it is let."""
    with subprocess.Popen(["sleep", "60"]) as stopped:
        owner = current_owner()._replace(pid=stopped.pid, started=None)
        stopped.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, stopped.pid, os.WSTOPPED)
        assert not is_dead(owner)
        stopped.kill()
    assert is_dead(owner)


def test_a_live_run_is_left_alone(place):
    """In its own process space."""
    with Living(place):
        assert starts(place) == "None"
    assert place.statuses() == ["success", "skipped"]


@namespaces
@pytest.mark.parametrize("outside", [True, False], ids=["seen from inside", "seen from outside"])
def test_a_live_run_in_another_pid_namespace(place, outside):
    """Its pid means nothing there, or another process: the lease counts, and it holds."""
    there, here = {"wrapper": NEW_PIDS}, {}
    if outside:
        there, here = here, there
    with Living(place, **there):
        assert starts(place, **here) == "None"
        done = subprocess.run(
            [*here.get("wrapper", ()), sys.executable, "-m", "cronguard", "check"],
            env=place.environ,
            cwd=place.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "crashed" not in done.stdout
    assert place.statuses() == ["success", "skipped"]


@namespaces
def test_a_pid_that_was_given_to_another(place):
    """The process of that number started at another time: the run is dead."""
    killed = place.write(LIVES)
    again = place.write(STARTS)
    script = place.folder / "reuse.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import subprocess, sys
            run = subprocess.Popen([sys.executable, {str(killed)!r}], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE)
            assert run.stdout.readline() == b"working\\n"
            run.kill()
            run.wait()
            with open("/proc/sys/kernel/ns_last_pid", "w") as last:
                last.write(str(run.pid - 1))
            other = subprocess.Popen(["sleep", "60"])
            assert other.pid == run.pid, (other.pid, run.pid)
            subprocess.run([sys.executable, {str(again)!r}], check=True)
            other.kill()
            other.wait()
            """
        )
    )
    done = place.run(script, wrapper=NEW_PIDS)
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
    assert place.statuses() == ["crashed", "success"]


@namespaces
def test_a_process_that_is_hidden(place):
    """Under hidepid another user sees no such process; the kernel still says that it is there."""
    script = place.write(STARTS)
    with Living(place):
        somebody = " ".join((*SOMEBODY, *READS_ALL))
        command = f'mount -t proc -o hidepid=2 proc /proc && exec {somebody} "$@"'
        proof = "import os; print(os.path.exists(f'/proc/{os.sys.argv[1]}'))"
        pid = str(pid_of(place))
        wrapper = ("unshare", "--mount", "sh", "-c", command, "sh")
        seen = subprocess.run(
            [*wrapper, sys.executable, "-c", proof, pid],
            capture_output=True,
            text=True,
            check=True,
        )
        assert seen.stdout == "False\n"
        done = place.run(script, wrapper=wrapper)
        assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr
    assert place.statuses() == ["success", "skipped"]


def pid_of(place):
    ((pid,),) = place.rows("SELECT pid FROM cron_execution_logs WHERE status = 'running'")
    return pid


RACER = (
    PREAMBLE
    + """
import sys
from cronguard.stores.sqlite.store import SQLiteStore
from cronguard.core.clock import new_id
from cronguard.core.model import Run
from cronguard.process.identity import current_owner, is_dead
from datetime import datetime, UTC
store = SQLiteStore(sys.argv[1])
for line in sys.stdin:
    run = Run(new_id(), line.strip(), datetime.now(UTC), current_owner())
    print(store.start_run(run, is_dead=is_dead).status, flush=True)
"""
)


def test_two_processes_start_the_same_job_together(place):
    """On SQLite, 200 times: one runs, one is skipped."""
    racers = [place.start(place.write(RACER), place.path, stdin=subprocess.PIPE) for _ in range(2)]
    found = [[], []]

    def race(number):
        racer = racers[number]
        for trial in range(200):
            gate.wait(60)
            racer.stdin.write(f"job{trial}\n")
            racer.stdin.flush()
            found[number].append(racer.stdout.readline().strip())

    gate = threading.Barrier(2)
    threads = [threading.Thread(target=race, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for racer in racers:
        racer.communicate(timeout=30)
        assert racer.returncode == 0
    pairs = [sorted(pair) for pair in zip(*found, strict=True)]
    assert pairs == [["running", "skipped"]] * 200


def test_unlock_and_the_lease_of_another_host(tmp_path):
    """What cannot be judged can be freed by hand, and frees itself when the lease is over."""
    store = SQLiteStore(tmp_path / "log.db")
    elsewhere = current_owner()._replace(space="another kernel", host="other")
    for freed in ("by hand", "by time"):
        run = Run(new_id(), freed, run_at(), elsewhere, lease=0.2)
        assert store.start_run(run, is_dead=lambda _: True).status == "running"
        mine = Run(new_id(), freed, run_at(), current_owner())
        assert store.start_run(mine, is_dead=lambda _: True).status == "skipped"
    assert store.unlock("by hand") == 1
    free = Run(new_id(), "by hand", run_at(), current_owner())
    assert store.start_run(free, is_dead=lambda _: False).status == "running"
    give_up = time.monotonic() + 30
    while True:
        free = Run(new_id(), "by time", run_at(), current_owner())
        if store.start_run(free, is_dead=lambda _: False).status == "running":
            break
        assert time.monotonic() < give_up
        time.sleep(0.05)
    assert "crashed" in {record.status for record in store.history("by time")}
    store.close()


def run_at():
    return datetime.now(UTC)
