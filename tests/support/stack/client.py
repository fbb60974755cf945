"""What a test worker uses of the stack: databases of its own, and Supabase projects on them."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from . import AUTHENTICATOR_PASSWORD, PASSWORD
from .gateway import Gateway
from .install import programs
from .live import SHIFTED

EMPTY = (
    """
    begin;
    lock table cron_execution_logs, cronguard_jobs, cronguard_alerts;
    delete from cron_execution_logs where true;
    delete from cronguard_jobs where true;
    delete from cronguard_alerts where true;
    commit
    """,
    """
    do $$ begin
        if pg_table_size('cron_execution_logs') > 1000000 then
            truncate cron_execution_logs, cronguard_jobs, cronguard_alerts;
        end if;
        if to_regclass('vault.secrets') is not null then
            delete from vault.secrets where true;
        end if;
    end $$
    """,
)
"""To truncate tables of a few rows would take fifteen times as long: it makes their files anew."""


class Stack:
    """The session's servers, started by the first worker that asks; ``close`` lets go of them."""

    def __init__(self, shared):
        """``shared`` is a folder that the session's workers have in common."""
        shared.mkdir(parents=True, exist_ok=True)
        self.facts_file = shared / "stack.json"
        with (shared / "stack.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.facts, self._alive = self._join() or self._start()
        self.folder = Path(self.facts["folder"])
        self.port, self.pooler_port = self.facts["port"], self.facts["pooler_port"]
        self._open = contextlib.ExitStack()

    def database(self, regime="legacy"):
        """A new, empty project database in one of the two privilege regimes."""
        name = f"p_{uuid.uuid4().hex[:12]}"
        with self.admin() as db:
            db.execute(
                sql.SQL("create database {} template {} owner postgres").format(
                    sql.Identifier(name), sql.Identifier(f"template_{regime}")
                )
            )
        return Database(self, name)

    def plain_database(self, encoding="UTF8"):
        """A new database with nothing of Supabase's in it."""
        name = f"p_{uuid.uuid4().hex[:12]}"
        with self.admin() as db:
            db.execute(
                sql.SQL(
                    "create database {} template template0 owner postgres"
                    " encoding {} lc_collate 'C' lc_ctype 'C'"
                ).format(sql.Identifier(name), encoding)
            )
        return Database(self, name)

    def admin(self, database="postgres"):
        """A superuser's connection."""
        return psycopg.connect(
            host=str(self.folder),
            port=self.port,
            user="supabase_admin",
            dbname=database,
            autocommit=True,
        )

    def data_folder(self):
        """Where the server's files are, the write-ahead log among them."""
        return self.folder / "data"

    def log(self):
        """The server's log so far."""
        return (self.folder / "postgres.log").read_text()

    def closing(self, thing):
        """``thing.close()`` when the stack is closed."""
        self._open.callback(thing.close)
        return thing

    def close(self):
        """Let go; the servers stop when nobody is left."""
        self._open.close()
        self._alive.close()

    def _join(self):
        try:
            facts = json.loads(self.facts_file.read_text())
            alive = socket.socket(socket.AF_UNIX)
            alive.connect(f"{facts['folder']}/workers")
        except (OSError, ValueError):
            return None
        return facts, alive

    def _start(self):
        folder = Path(tempfile.mkdtemp(prefix="cronguard-stack-", dir=_short_folder()))
        folder.chmod(0o711)
        log = self.facts_file.with_suffix(".log")
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).parent / "server.py"), str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                text=True,
            )
        line = process.stdout.readline()
        process.stdout.close()
        if not line:
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)
            raise RuntimeError(f"the test stack did not start: {log.read_text().strip()}")
        process.returncode = 0  # it outlives this worker: nobody is to wait for it
        self.facts_file.write_text(line)
        return self._join()


def _short_folder():
    # A Unix socket's path has 107 characters at most, and a long TMPDIR would not leave enough;
    # root's may be closed to the user that PostgreSQL runs as.
    usual = tempfile.gettempdir()
    return usual if len(usual) < 40 and os.geteuid() else "/tmp"


class Database:
    """One database; ``url`` and ``pooler_url`` are for its owner, who is no superuser."""

    def __init__(self, stack, name):
        self.stack = stack
        self.name = name
        self.url = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{stack.port}/{name}"
        self.pooler_url = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{stack.pooler_port}/{name}"
        self._emptying = None

    def connect(self):
        """The owner's connection."""
        return psycopg.connect(self.url, autocommit=True)

    def admin(self):
        """A superuser's connection."""
        return self.stack.admin(self.name)

    def empty(self):
        """No run, job, alert or secret is left; whoever is still writing is waited for."""
        try:
            self._empty()
        except psycopg.OperationalError:  # a test has ended the connection
            self._empty()

    def _empty(self):
        if self._emptying is None or self._emptying.closed:  # each takes the server a process
            self._emptying = self.stack.closing(self.admin())
        for each in EMPTY:
            self._emptying.execute(each)

    def encrypt_under_another_root_key(self, *names):
        """Make secrets of the Vault ones that it cannot decrypt, as a restored dump has them."""
        with self.admin() as db, db.transaction():
            db.execute("set local stand_in.root_key = 'of another server'")
            for name in names:
                db.execute(
                    "update vault.secrets set secret = vault._stand_in_encrypted('lost', id, nonce)"
                    " where name = %s",
                    (name,),
                )

    def let_pass(self, seconds):
        """Put every time of the server's back by so much, as if it had passed."""
        with self.admin() as db:
            for table, (_, columns) in SHIFTED.items():
                changes = ", ".join(
                    f"{name} = {name} - make_interval(secs => {seconds})" for name in columns
                )
                db.execute(f"update {table} set {changes} where true")

    def drop(self):
        """Gone, whoever is connected."""
        with self.stack.admin() as db:
            db.execute(
                sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(self.name))
            )


class Project:
    """A Supabase project: a database, a PostgREST of its own, a gateway in front of it."""

    def __init__(self, database):
        self.database = database
        self._folder = tempfile.mkdtemp(prefix="cronguard-rest-", dir=_short_folder())
        self._socket = f"{self._folder}/postgrest"
        self.gateway = Gateway(self._socket)
        self.url = self.gateway.url
        self.service_key = self.gateway.service_token
        self.secret_key = self.gateway.secret_key
        self.process = None
        self.start()

    def let_pass(self, seconds):
        """As `Database.let_pass`."""
        self.database.let_pass(seconds)

    @property
    def requests(self):
        """(method, path) of everything that came in at the gateway."""
        return self.gateway.requests

    def start(self):
        """Run PostgREST, and return when it answers with the database's schema loaded."""
        from .gateway import JWT_SECRET

        authority = f"authenticator:{quote(AUTHENTICATOR_PASSWORD)}@127.0.0.1"
        environ = {
            "PGRST_DB_URI": f"postgresql://{authority}:{self.database.stack.port}/{self.database.name}",
            "PGRST_DB_SCHEMAS": "public",
            "PGRST_DB_EXTRA_SEARCH_PATH": "public,extensions",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_DB_POOL": "8",
            "PGRST_DB_POOL_ACQUISITION_TIMEOUT": "60",  # a crowd on a busy machine
            "PGRST_JWT_SECRET": JWT_SECRET,
            "PGRST_SERVER_UNIX_SOCKET": self._socket,
            "PGRST_LOG_LEVEL": "crit",
        }
        self.process = subprocess.Popen(
            [*_die_with_us(), programs().postgrest],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait(200)

    def stop(self):
        """PostgREST is gone; the gateway still answers."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self):
        """PostgREST with new connections."""
        self.stop()
        self.start()

    def _wait(self, status):
        import http.client

        give_up = time.monotonic() + 30
        while True:
            connection = http.client.HTTPConnection("localhost")
            try:
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.connect(self._socket)
                connection.request("GET", "/")
                if connection.getresponse().status == status:
                    return
            except OSError:
                pass
            finally:
                connection.close()
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError("PostgREST did not start")
            time.sleep(0.01)

    def close(self):
        """Stop everything that is the project's own."""
        self.stop()
        self.gateway.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _die_with_us():
    """PostgREST must not outlive a worker that was killed."""
    setpriv = shutil.which("setpriv")
    return (
        [setpriv, "--pdeathsig", signal.Signals.SIGKILL.name.removeprefix("SIG")] if setpriv else []
    )


def shared_folder(tmp_path_factory):
    """The folder that the workers of one pytest-xdist session have in common."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "stack"
