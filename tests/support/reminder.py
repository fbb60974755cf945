"""The assignment reminder of ``examples``: its modules, its commands, and projects to run it on."""

import base64
import fcntl
import hashlib
import hmac
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import httpx
from support import readme
from support.stack import install
from support.stack.client import Project
from support.stack.gateway import JWT_SECRET

EXAMPLE = readme.ROOT / "examples" / "assignment_reminder"
if str(EXAMPLE) not in sys.path:
    sys.path.insert(0, str(EXAMPLE))

from reminders.repository import Assignment, DueRule  # noqa: E402
from reminders.sqlite import SQLiteRepository  # noqa: E402
from reminders.supabase import SupabaseRepository  # noqa: E402
from reminders.trial.gateway import Gateway  # noqa: E402

MIGRATION = EXAMPLE / "reminders" / "sql" / "supabase.sql"
NIGHT = date(2026, 3, 2)
RULE = DueRule(NIGHT, timedelta(days=50))
LONG_AGO = NIGHT - timedelta(days=80)
JOB = "assignment_reminder"
NAME, PHONE = "Wilhelmina Quistorp", "+47 91234567"
PRIVATE = ("Wilhelmina", "Quistorp", "91234567")
ENOUGH = 60


class OnSQLite:
    """A database file with so many assignments; all of them are due on `NIGHT`."""

    kind = "sqlite"

    def __init__(self, folder):
        self.path = folder / "reminders.db"
        self.store = f"sqlite:///{self.path}"
        self.environ = {"CRONGUARD_STORE": f"sqlite:///{folder / 'cronguard.db'}"}
        SQLiteRepository.create(self.store).__exit__(None, None, None)

    def open(self):
        return SQLiteRepository.open(self.store)

    def rows(self, query):
        """What a query finds; it is committed."""
        with closing(sqlite3.connect(self.path, timeout=30)) as db, db:
            db.execute("pragma foreign_keys = on")
            return db.execute(query).fetchall()

    def log(self, query):
        """What a query of cronguard's log finds."""
        with closing(sqlite3.connect(self.path.with_name("cronguard.db"), timeout=30)) as db:
            return db.execute(query).fetchall()

    def expire(self):
        """Let every reservation's time be over."""
        self.rows("update reminders set reserved_until = 0 where state = 'reserved'")

    def break_date(self, assignment_id, on):
        """Set a date as nothing may: with the rule taken away and put back."""
        with closing(sqlite3.connect(self.path)) as db:
            named = "name = 'date_is_derived'"
            (rule,) = db.execute(f"select sql from sqlite_schema where {named}").fetchone()
            db.executescript(
                f"drop trigger date_is_derived;"
                f"update assignments set last_contact_date = '{on}' where id = {assignment_id};"
                f"{rule};"
            )


def new_project(stack):
    """A Supabase project with cronguard's migration and the reminder's."""
    database = stack.database("newer")
    command = [sys.executable, "-m", "cronguard", "init", "supabase", "--print"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    with database.connect() as db, db.transaction():
        db.execute(printed)
        db.execute(MIGRATION.read_text())
    return stack.closing(Project(database))


class OnSupabase:
    """A project of `new_project`, emptied."""

    kind = "supabase"
    store = "supabase"

    def __init__(self, project):
        self.project = project
        self.environ = {
            "CRONGUARD_STORE": "supabase",
            "SUPABASE_URL": project.url,
            "SUPABASE_SECRET_KEY": project.secret_key,
        }
        project.database.empty()
        kept = {"activities": "activities_kept", "contact_corrections": "corrections_kept"}
        with project.database.connect() as db, db.transaction():
            for table, trigger in kept.items():
                db.execute(f"alter table {table} disable trigger {trigger}")
            db.execute(f"truncate assignments, reminders, {', '.join(kept)} restart identity")
            for table, trigger in kept.items():
                db.execute(f"alter table {table} enable always trigger {trigger}")

    def open(self):
        return SupabaseRepository(self.project.url, self.project.secret_key)

    def rows(self, query):
        """What a query of the owner's finds; it is committed."""
        with self.project.database.connect() as db:
            found = db.execute(query)
            return found.fetchall() if found.description else []

    log = rows

    def expire(self):
        """Let every reservation's time be over."""
        self.rows("update reminders set reserved_until = now() where state = 'reserved'")

    def break_date(self, assignment_id, on):
        """Set a date as nothing may: with the rule taken away and put back."""
        with self.project.database.connect() as db, db.transaction():
            db.execute("alter table assignments disable trigger date_is_derived")
            db.execute(
                "update assignments set last_contact_date = %s where id = %s", (on, assignment_id)
            )
            db.execute("alter table assignments enable always trigger date_is_derived")

    def call(self, token, function, **body):
        """An RPC with somebody's token; ``None``: with the publishable key alone."""
        headers = {"apikey": self.project.gateway.publishable_key}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = f"{self.project.url}/rest/v1/{function}"
        return httpx.post(url, headers=headers, json=body, timeout=ENOUGH)


def add(place, count, *, on=LONG_AGO):
    """Add assignments, all of them of one person; their ids begin at 1."""
    with place.open() as repository:
        repository.add_assignments(Assignment(NAME, PHONE, on) for _ in range(count))


def dates(place):
    """Assignment id → last contact date, as text."""
    rows = place.rows("select id, last_contact_date from assignments")
    return {id_: str(on) for id_, on in rows}


def states(place):
    """How many reminders are in each state."""
    return dict(place.rows("select state, count(*) from reminders group by state"))


def environment(folder, **more):
    """What a command sees of ours: a home of its own, and what is given."""
    kept = ("PATH", "PYTHONPATH", "COVERAGE_PROCESS_START")
    here = {name: os.environ[name] for name in kept if name in os.environ}
    here |= {"HOME": str(folder), "PYTHONWARNINGS": "error", "LANG": "C.UTF-8"}
    return here | {"CRONGUARD_STORE_TIMEOUT": "20"} | more  # a busy machine is no outage


def start(place, folder, *arguments, **more):
    """A command of the example's, running."""
    return subprocess.Popen(
        [sys.executable, str(EXAMPLE), *arguments],
        cwd=folder,
        env=environment(folder, **place.environ, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_job(place, folder, gateway, *arguments, **more):
    """The nightly job, running."""
    options = ["--store", place.store, "--gateway", gateway.url, "--today", str(NIGHT)]
    return start(place, folder, "run", *options, *arguments, **more)


def end(process):
    """What a command said, once it has ended."""
    with process:
        out, err = process.communicate(timeout=ENOUGH)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


RUNS = f"""
    select status, error_type, error_code, error_message, error_location,
        consecutive_failure_count
    from cron_execution_logs where job = '{JOB}' order by started_at desc
"""


def runs(place):
    """The job's runs as cronguard's log has them, newest first."""
    names = ("status", "type", "code", "message", "location", "streak")
    return [dict(zip(names, row, strict=True)) for row in place.log(RUNS)]


def load_plpgsql_check(db):
    """Put the functions of plpgsql_check into a superuser's database.

    Debian's package is unpacked into the stack's cache and not installed: that would start another
    server. It must be of the server's major version.
    """
    package = f"postgresql-{db.info.server_version // 10_000}-plpgsql-check"
    usual = os.umask(0o022)  # the server's user reads it
    try:
        cache = install.cache_folder()
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (cache / package).exists():
                _unpack(package, cache)
    finally:
        os.umask(usual)
    (library,) = (cache / package).glob("usr/lib/postgresql/*/lib/plpgsql_check.so")
    (script,) = (cache / package).glob("usr/share/postgresql/*/extension/plpgsql_check--*.sql")
    db.execute("load 'plpgsql'")
    functions = re.sub(r"^\\echo.*$", "", script.read_text(), flags=re.MULTILINE)
    functions = functions.replace("MODULE_PATHNAME", str(library.with_suffix("")))
    db.execute(functions.replace("@extschema@", "public"))


def _unpack(package, cache):
    """Unpack Debian's package, with lists of our own, as `install` does for the pooler."""
    with tempfile.TemporaryDirectory(dir=cache) as building:
        options = ["-q", "-o", "APT::Sandbox::User="]
        for kind, inside in (("State::Lists", "partial"), ("Cache", "archives/partial")):
            Path(building, kind, inside).mkdir(parents=True)
            options += ["-o", f"Dir::{kind}={building}/{kind}"]
        for command in ("update", f"download {package}"):
            install._run(["apt-get", *command.split(), *options], cwd=building)
        (found,) = Path(building).glob("*.deb")
        install._run(["dpkg", "-x", str(found), "unpacked"], cwd=building)
        Path(building, "unpacked").rename(cache / package)


class HeldGateway(Gateway):
    """A gateway that takes some messages and then keeps its clients waiting until ``go``."""

    def __init__(self, takes):
        super().__init__()
        self.offered = []
        self.holds = threading.Event()
        self.go = threading.Event()
        self._left = takes
        self._counting = threading.Lock()

    def take(self, key):
        with self._counting:
            self.offered.append(key)
            self._left -= 1
            must_wait = self._left < 0
        if must_wait:
            self.holds.set()
            while not (self.go.is_set() or self.closed.is_set()):
                self.go.wait(0.1)
        return super().take(key)


def user_token(**claims):
    """A signed-in user's token, with these claims beside the usual ones."""
    usual = {"role": "authenticated", "sub": "6f1d1a52-0000-4000-8000-000000000001"}
    body = usual | {"exp": int(time.time()) + 3600} | claims
    parts = [_base64(json.dumps(part).encode()) for part in ({"alg": "HS256"}, body)]
    mark = hmac.new(JWT_SECRET.encode(), ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, _base64(mark)])


def admin_token():
    """The token of a user whom the project's owner has made an admin."""
    return user_token(app_metadata={"reminder_role": "admin"})


def _base64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def parts(name):
    """The texts of the blocks that are marked ``check: NAME`` in the example's README, in order."""
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    mark = re.compile(rf"<!-- check: {name} -->\n```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    found = mark.findall(text)
    assert found, f"the example's README has no part marked check: {name}"
    return found
