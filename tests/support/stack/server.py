"""What one test session shares: a PostgreSQL server and a transaction pooler in front of it.

Started by whichever worker comes first, as a process of its own: ``python server.py FOLDER``. Every
worker keeps a connection to its Unix socket open; when the last one is gone, however it ended, the
servers stop and the folder is deleted.
"""

import base64
import hashlib
import hmac
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))
from stack import AUTHENTICATOR_PASSWORD, PASSWORD
from stack.install import MissingError, programs, server_user

HERE = Path(__file__).parent
REGIMES = ("legacy", "newer")
ADMIN = "supabase_admin"
FIRST_CLIENT_SECONDS = 60
LAST_CLIENT_SECONDS = 1.0

POSTGRES_CONF = """
listen_addresses = '127.0.0.1'
max_connections = 300
shared_buffers = 64MB
fsync = off
full_page_writes = off
synchronous_commit = off
autovacuum = on
log_statement = 'none'
logging_collector = off
timezone = 'Etc/GMT+7'
"""
# The server's own time zone is far from UTC on purpose: nothing may depend on it.

HBA = """
local all all trust
host all all 127.0.0.1/32 scram-sha-256
"""

POOLER_INI = """
[databases]
* = host={folder} port={port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {pooler_port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
max_client_conn = 400
default_pool_size = 4
max_db_connections = 8
server_idle_timeout = 20
admin_users = postgres
"""


def free_port():
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def verifier(password):
    """What PostgreSQL keeps of a password, made with one iteration for 4,096.

    Each connection of a test's would take as many, and 7 ms of a processor.
    """
    salt = b"of the tests"
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)
    client, server = (
        hmac.digest(salted, whose, "sha256") for whose in (b"Client Key", b"Server Key")
    )
    kept = (salt, hashlib.sha256(client).digest(), server)
    salt, client, server = (base64.b64encode(each).decode() for each in kept)
    return f"SCRAM-SHA-256$1:{salt}${client}:{server}"


class Servers:
    """PostgreSQL and the pooler, in one folder."""

    def __init__(self, folder):
        self.folder = folder
        self.found = programs()
        self.user = server_user()
        self.running = []
        self.port, self.pooler_port = free_port(), free_port()

    def start(self):
        """Ready to be connected to when this returns."""
        data = self.folder / "data"
        if self.user:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        self._call("initdb", "-D", data, "-U", ADMIN, "-A", "trust", "-E", "UTF8", "--no-sync")
        with (data / "postgresql.conf").open("a") as file:
            file.write(POSTGRES_CONF + f"port = {self.port}\n")
            file.write(f"unix_socket_directories = '{self.folder}'\n")
        (data / "pg_hba.conf").write_text(HBA)
        self._spawn([f"{self.found.postgres_bin}/postgres", "-D", str(data)], "postgres.log")
        self._bootstrap()
        users = self.folder / "users.txt"
        users.write_text('"postgres" ""\n')
        ini = self.folder / "pooler.ini"
        ini.write_text(
            POOLER_INI.format(
                folder=self.folder, port=self.port, pooler_port=self.pooler_port, users=users
            )
        )
        environ = {**os.environ, "LD_LIBRARY_PATH": self.found.pgbouncer_libraries}
        self._spawn([self.found.pgbouncer, "-q", str(ini)], "pooler.log", environ)
        self._connect("postgres", port=self.pooler_port, host="127.0.0.1", user="postgres").close()

    def facts(self):
        """What a worker must know."""
        return {"folder": str(self.folder), "port": self.port, "pooler_port": self.pooler_port}

    def stop(self):
        """At once: nothing here outlives the tests."""
        for process, how in zip(self.running, (signal.SIGQUIT, signal.SIGKILL), strict=False):
            process.send_signal(how)  # PostgreSQL frees its shared memory, the pooler has nothing
        for process in reversed(self.running):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _bootstrap(self):
        with self._connect("postgres") as db:
            roles = (HERE / "roles.sql").read_text()
            db.execute(
                roles.format(
                    postgres=verifier(PASSWORD), authenticator=verifier(AUTHENTICATOR_PASSWORD)
                )
            )
            db.commit()
            db.autocommit = True
            db.execute("create database template_legacy owner postgres")
        with self._connect("template_legacy") as db:
            db.execute((HERE / "project.sql").read_text())
        with self._connect("postgres") as db:
            db.autocommit = True
            db.execute("create database template_newer template template_legacy owner postgres")
        with self._connect("template_newer") as db:
            db.execute((HERE / "newer_regime.sql").read_text())

    def _call(self, program, *arguments):
        done = subprocess.run(
            [f"{self.found.postgres_bin}/{program}", *map(str, arguments)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self._identity(),
        )
        if done.returncode:
            sys.exit(f"{program} failed: {done.stderr.strip()[-1000:]}")

    def _spawn(self, command, log, environ=None):
        with (self.folder / log).open("wb") as output:
            self.running.append(
                subprocess.Popen(
                    command,
                    cwd=self.folder,
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    **self._identity(),
                )
            )

    def _identity(self):
        if not self.user:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def _connect(self, database, *, port=None, host=None, user=ADMIN):
        give_up = time.monotonic() + 30
        while True:
            try:
                return psycopg.connect(
                    host=host or str(self.folder),
                    port=port or self.port,
                    user=user,
                    dbname=database,
                    prepare_threshold=None,
                )
            except psycopg.OperationalError:
                for process in self.running:
                    if process.poll() is not None:
                        logs = "".join(log.read_text() for log in self.folder.glob("*.log"))
                        sys.exit(f"{process.args[0]} ended: {logs[-2000:]}")
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.02)


def serve(listener):
    """Return when no worker is left."""
    clients = set()
    chooser = selectors.DefaultSelector()
    chooser.register(listener, selectors.EVENT_READ)
    patience = FIRST_CLIENT_SECONDS
    while True:
        ready = chooser.select(None if clients else patience)
        if not ready:
            return
        for key, _ in ready:
            if key.fileobj is listener:
                client, _ = listener.accept()
                clients.add(client)
                chooser.register(client, selectors.EVENT_READ)
            elif not key.fileobj.recv(64):
                chooser.unregister(key.fileobj)
                clients.discard(key.fileobj)
                key.fileobj.close()
                patience = LAST_CLIENT_SECONDS


def main():
    """Start, say the facts on standard output, serve, stop."""
    folder = Path(sys.argv[1])
    os.umask(0o022)  # the user that PostgreSQL runs as reads what is written here
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        servers = Servers(folder)
    except MissingError as error:
        sys.exit(str(error))
    try:
        servers.start()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "workers"))
            listener.listen(64)
            sys.stdout.write(json.dumps(servers.facts()) + "\n")
            sys.stdout.flush()
            sys.stdout.close()
            serve(listener)
    finally:
        servers.stop()


if __name__ == "__main__":
    main()
