"""The command line in a sandbox: as a process of its own, or in this one."""

import json
import os
import select
import subprocess
import sys
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from cronguard.cli import main
from cronguard.core.clock import new_id
from cronguard.core.model import ChannelRule, Failure, Outcome, Run
from cronguard.process import log
from cronguard.process.identity import current_owner
from cronguard.stores.sqlite.store import SQLiteStore

PATIENCE = 60
TOLD = (ChannelRule("console"),)


class Cli:
    """Runs ``cronguard`` with a home, a working directory and a store of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder / "runs.db"
        kept = ("PATH", "PYTHONPATH", "COVERAGE_PROCESS_START")
        self.environ = {name: os.environ[name] for name in kept if name in os.environ} | {
            "HOME": str(folder),
            "CRONGUARD_STORE": f"sqlite:///{self.path}",
            "PYTHONWARNINGS": "error",
        }

    def start(self, *args, wrapper=(), **options):
        """A running ``cronguard``; bytes in, bytes out."""
        environ = {**self.environ, **options.pop("env", {})}
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | options
        return subprocess.Popen(
            [*wrapper, sys.executable, "-m", "cronguard", *args],
            cwd=self.folder,
            env=environ,
            **streams,
        )

    def __call__(self, *args, **options):
        """``cronguard`` run to its end, as a `subprocess.CompletedProcess` with text."""
        with self.start(*args, **options) as process:
            out, err = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(
            args, process.returncode, *[(part or b"").decode() for part in (out, err)]
        )

    @property
    def store(self):
        return SQLiteStore(self.path)

    def runs(self, job):
        """The job's rows, newest first."""
        store = self.store
        try:
            return store.history(job, limit=1000)
        finally:
            store.close()

    def last(self, job):
        """The job's newest row as (status, error code)."""
        record = self.runs(job)[0]
        return record.status, record.failure.error_code if record.failure else None


def read_until(stream, ending, *, patience=PATIENCE):
    """What comes from a pipe until it ends with ``ending``; fails the test if that never comes."""
    got = b""
    while not got.endswith(ending):
        assert select.select([stream], [], [], patience)[0], f"only {got!r} came"
        data = os.read(stream.fileno(), 1)
        assert data, f"the stream ended after {got!r}"
        got += data
    return got


def kill(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, 9)


class Here:
    """Runs ``cronguard`` in this process: quick, for what is not about processes."""

    def __init__(self, folder: Path, monkeypatch, capsys):
        self.path = folder / "runs.db"
        self.folder = folder
        self._capsys = capsys
        for name in os.environ:
            if name.startswith(("CRONGUARD_", "SUPABASE_")):
                monkeypatch.delenv(name)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("HOME", str(folder))
        monkeypatch.setenv("CRONGUARD_STORE", f"sqlite:///{self.path}")
        monkeypatch.setattr(log, "_echo_sink", None)
        monkeypatch.setattr(log, "_logged_once", set())
        self.setenv = monkeypatch.setenv
        self.delenv = monkeypatch.delenv

    def __call__(self, *args):
        """(exit code, standard output, standard error)."""
        self._capsys.readouterr()
        code = main(args)
        out, err = self._capsys.readouterr()
        return subprocess.CompletedProcess(args, code, out, err)

    def json(self, *args, code=0):
        """What a command prints with ``--json``."""
        done = self(*args, "--json")
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    @contextmanager
    def store(self):
        """The store, to be filled or looked at."""
        store = SQLiteStore(self.path)
        try:
            yield store
        finally:
            store.close()

    def record(self, job, *statuses, failure=None, channels=TOLD, **run):
        """Rows of a job, oldest first: ended runs, or ``"running"``."""
        with self.store() as store:
            for status in statuses:
                row = Run(
                    new_id(), job, datetime.now(UTC), current_owner(), channels=channels, **run
                )
                store.start_run(row, is_dead=lambda _: False)
                if status != "running":
                    error = (failure or Failure("ValueError")) if status == "failure" else None
                    outcome = Outcome(status, datetime.now(UTC), 0.25, error)
                    store.finish_run(row, outcome, started=True)
