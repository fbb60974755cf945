"""What the measurements share: a folder, the environment with the peers, and workers."""

import contextlib
import os
import subprocess
import sys
from functools import cached_property
from pathlib import Path

from cronguard.stores.sqlite.store import SQLiteStore
from tests.benchmark.turns import Cost
from tests.peers import environment
from tests.peers.sink import Sink

HERE = Path(__file__).parent


class Bench:
    """``rounds`` is how often the sides take turns; ``large`` asks for what takes a lot of disk."""

    def __init__(self, folder, rounds, *, large=False):
        self.folder = Path(folder)
        self.rounds = rounds
        self.large = large
        self.closing = contextlib.ExitStack()
        """What ends when a measurement is done."""
        self._logs = 0

    @cached_property
    def python(self):
        """The interpreter of an environment where cronguard and its peers are installed."""
        print("installing cronguard and its peers …", file=sys.stderr, flush=True)
        return environment.make(self.folder / "installed")

    @cached_property
    def sink(self):
        """Where the peers' requests go, as long as we live."""
        return Sink().__enter__()

    @cached_property
    def environ(self):
        """Nothing of ours; with bytecode, as every installed package has it."""
        ours = ("CRONGUARD_", "PYTHON", "SUPABASE_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {**kept, "HOME": str(self.folder), "XDG_STATE_HOME": str(self.folder / "state")}

    def log(self):
        """The path of a new, empty log in SQLite."""
        self._logs += 1
        path = self.folder / f"{self._logs}.db"
        store = SQLiteStore(path)
        store.migrate()
        store.close()
        return path

    def worker(self, tool, how="ok", *, store=None, job="nightly", python=None, **environ):
        """A `Worker`, for one measurement; ``store`` is a path, an address, or (None) a new log."""
        store = store or self.log()
        if tool == "cronguard" and isinstance(store, Path):
            store = f"sqlite:///{store}"
        command = [python or self.python, HERE / "worker.py", tool, how, store, job, self.sink.url]
        environ = {**self.environ, **environ}
        worker = Worker([str(each) for each in command], environ, self.folder)
        self.closing.callback(worker.end)
        return worker


class Worker:
    """A process of ``worker.py``."""

    def __init__(self, command, environ, folder):
        self._process = subprocess.Popen(
            command,
            env=environ,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def end(self):
        """Let it come to its end, as a program would."""
        if not self._process.stdin.closed:
            self._process.stdin.close()
            assert self._process.wait() == 0
            self._process.stdout.close()

    def begin(self, times):
        """Let it make so many calls."""
        self._process.stdin.write(f"{times}\n")
        self._process.stdin.flush()

    def cost(self):
        """What the calls took in all."""
        return Cost(*map(float, self._process.stdout.readline().split()))

    def side(self, times):
        """A side of a comparison: what one call takes, over so many."""

        def side():
            self.begin(times)
            wall, cpu = self.cost()
            return Cost(wall / times, cpu / times)

        return side
