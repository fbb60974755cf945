"""Every step of the example's README, as it stands; only addresses, keys and paths are put in."""

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
from support import readme, reminder
from support.debian import program
from support.hostile import answers, serve
from support.reminder import (
    EXAMPLE,
    LONG_AGO,
    PRIVATE,
    add,
    admin_token,
    dates,
    parts,
    runs,
    states,
)
from support.stack.client import Project
from support.stack.install import programs

from reminders.repository import SetupError

BIN = Path(sys.executable).parent
DEPLOY = EXAMPLE / "deploy"
OPT = "/opt/assignment-reminder"
ETC = "/etc/assignment-reminder/environment"
VAR = "/var/lib/assignment-reminder"
STEPS = {
    "afterwards",
    "admin",
    "audit",
    "correct",
    "correct-sqlite",
    "database",
    "environment",
    "first-run",
    "install",
    "load-test",
    "make-admin",
    "message",
    "morning",
    "sqlite",
    "sqlite-environment",
    "story",
    "user",
    "vault",
}
ENOUGH = 120


class Shell:
    """A machine with the job on it: a home, a bin folder, an environment file."""

    def __init__(self, folder):
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.etc = folder / "environment"
        self.environ = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
        }
        self.tool("python", f'exec {sys.executable} "$@"')
        self.tool("cronguard", f'exec {sys.executable} -m cronguard "$@"')
        self.tool("assignment-reminder", f'exec {sys.executable} {EXAMPLE} "$@"')

    def tool(self, name, script):
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def place(self, text):
        """The text with this machine's paths."""
        return text.replace(ETC, str(self.etc)).replace(OPT, str(self.folder))

    def settings(self, text=None, **values):
        """Write the environment file, with these values in place of those that it has."""
        text = text or self.etc.read_text()
        for name, value in values.items():
            text, count = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
            assert count == 1, name
        self.etc.write_text(text)

    def __call__(self, text, *, code=0, cwd=None, **environ):
        """Run a block; returns what it said."""
        done = subprocess.run(
            ["bash", "-euc", self.place(text)],
            cwd=cwd or self.folder,
            env=self.environ | environ,
            capture_output=True,
            text=True,
            timeout=ENOUGH,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


def test_every_block_is_a_step_of_ours():
    """No block of code stands in the example's README without a test that runs it."""
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- check: (\S+) -->", text)) == STEPS
    assert text.count("<!-- check: ") == len(re.findall(r"^```\w+$", text, re.MULTILINE))
    assert parts("story")[0] in [part.text for part in readme.parts("commands")]
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (EXAMPLE / target).exists(), target
    _, _, table = text.partition("## What is where")
    names = re.findall(r"^\| `([\w./]+)` \|", table.partition("\n## ")[0], re.MULTILINE)
    assert len(names) > 5
    for name in names:
        assert (EXAMPLE / name).exists(), name


def installed(shell):
    """The first steps: both packages in an environment of their own, and a user with settings."""
    (text,) = parts("install")
    first, second, _ = text.splitlines()
    # What both need is lent, pip too, so that nothing is downloaded and little unpacked.
    shell(first.replace("-m venv", "-m venv --without-pip"))
    shell.tool("pip", f'exec {shell.bin}/python -m pip "$@"')
    (packages,) = shell.folder.glob("lib/python*/site-packages")
    lent = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    (packages / "lent.pth").write_text("\n".join(dict.fromkeys(lent)))
    offline = "install --no-deps --no-build-isolation --no-index --quiet"
    shell(second.replace("install ", f"{offline} ", 1), cwd=readme.ROOT)
    shell.tool("useradd", f'test "$*" = "--system --create-home --home-dir {VAR} reminder"')
    (text,) = parts("user")
    shell(text.replace("-o reminder", f"-o {os.geteuid()}"), cwd=readme.ROOT)
    assert shell.etc.stat().st_mode & 0o777 == 0o600


def slack_text(message):
    """What a Slack message shows, in order, without marks."""
    shown = []
    for block in message["blocks"]:
        for each in (block.get("text"), *block.get("fields", ()), *block.get("elements", ())):
            shown += [re.sub("[*`]", "", each["text"])] if each else []
    return "\n".join(shown)


def add_once_known(place, count):
    """Add assignments as soon as PostgREST knows the tables that a migration has just made."""
    give_up = time.monotonic() + ENOUGH
    while True:
        try:
            return add(place, count)
        except SetupError:
            assert time.monotonic() < give_up
            time.sleep(0.05)


def check_message(told):
    """The README's message is what Slack gets, but for times."""
    (message,) = parts("message")

    def timeless(text):
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)

    for line in message.splitlines():
        assert timeless(line) in timeless(told).splitlines(), told


@pytest.mark.long
@pytest.mark.alone
def test_from_nothing_to_a_bad_morning_and_back(tmp_path, stack):
    """Install, migrate, Vault, test alert, first run, two failures, an alert, what ops does."""
    shell = Shell(tmp_path)
    for tool in ("python", "cronguard", "assignment-reminder"):
        (shell.bin / tool).unlink()
    installed(shell)
    database = stack.database("newer")
    project = stack.closing(Project(database))
    quiet = {"SUPABASE_TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1"}
    shell.tool(
        "supabase",
        'test "$*" = link && exit\n'
        'test "$*" = "db push --remote" || exit 9\n'
        f"exec {programs().supabase_cli} db push --remote={database.url} --yes",
    )
    assert "assignment_reminder.sql" in shell(parts("database")[0], **quiet)
    place = reminder.OnSupabase(project)
    add_once_known(place, 40)
    (environment,) = parts("environment")

    def step(name, **options):
        (text,) = parts(name)
        return shell(f"{environment}\n{text}", **options)

    sink = answers()
    with reminder.Gateway() as gateway, serve(sink) as slack:
        shell.settings(
            REMINDER_GATEWAY=gateway.url,
            SUPABASE_URL=project.url,
            SUPABASE_SECRET_KEY=project.secret_key,
        )
        (vault,) = parts("vault")
        vault = vault.replace("vault set cron", f"vault set <<< {slack.url} cron")
        assert "cronguard_slack_webhook_url  used by slack" in shell(f"{environment}\n{vault}")
        assert len(sink.received) == 1

        assert "40 reminders sent." in step("first-run")
        assert (len(gateway.delivered), len(sink.received)) == (40, 1)

        add(place, 10)
        gateway.breaks_after = 4
        arrived = []
        for _ in range(3):
            assert shell(f"{environment}\nassignment-reminder run --quiet", code=1) == ""
            arrived.append(len(sink.received))
        assert arrived == [1, 2, 2]
        told = slack_text(sink.received[1].json)
        check_message(told)

        morning = step("morning")
        assert "failing" in morning
        assert "GatewayError" in morning
        gateway.breaks_after = None
        assert "6 reminders sent." in step("afterwards")
        assert (len(gateway.delivered), gateway.repeated) == (50, 0)
        assert [run["status"] for run in runs(place)[:3]] == ["success", "failure", "failure"]
        assert states(place) == {"sent": 50}

    place.break_date(3, "2020-01-01")
    (audit,) = parts("audit")
    found, mend = audit.splitlines()
    assert "assignment 3: last contact is 2020-01-01" in shell(f"{environment}\n{found}", code=1)
    assert "1 put right." in shell(f"{environment}\n{mend}")
    assert program("curl")
    keys = {
        "SUPABASE_PUBLISHABLE_KEY": project.gateway.publishable_key,
        "ADMIN_TOKEN": admin_token(),
    }
    assert '"previous_date"' in step("correct", **keys)
    assert dates(place)[1] == "2026-02-14"
    everything = "\n".join(map(str, place.rows("select * from cron_execution_logs")))
    assert [word for word in PRIVATE if word in everything + morning + told] == []


def test_making_an_admin(on_supabase):
    """The statement adds the claim and keeps the others; the claim is the one that is asked for."""
    (statement,) = parts("make-admin")
    with on_supabase.project.database.admin() as db, db.transaction(force_rollback=True):
        db.execute("create schema auth")
        db.execute("create table auth.users (id uuid, raw_app_meta_data jsonb)")
        user = "6f1d1a52-0000-4000-8000-000000000001"
        db.execute('insert into auth.users values (%s, \'{"provider": "email"}\')', (user,))
        db.execute(statement.replace("USER-ID", user))
        (claims,) = db.execute("select raw_app_meta_data from auth.users").fetchone()
        assert claims == {"provider": "email", "reminder_role": "admin"}
        set_claims = "select set_config('request.jwt.claims', %s, true)"
        db.execute(set_claims, (json.dumps({"sub": user, "app_metadata": claims}),))
        assert db.execute("select reminder_is_admin()").fetchone() == (True,)


@pytest.mark.long
def test_on_sqlite(shell):
    """The same commands with a file, the web app by its command, and a correction with curl."""
    (admin,) = parts("admin")
    (correct,) = parts("correct-sqlite")
    sink = answers()
    with reminder.Gateway() as gateway, serve(sink) as slack:
        shell.settings(
            parts("sqlite-environment")[0].replace(VAR, str(shell.folder)),
            REMINDER_GATEWAY=gateway.url,
            CRONGUARD_SLACK_WEBHOOK_URL=slack.url,
        )
        said = shell(parts("environment")[0] + parts("sqlite")[0])
    assert said.splitlines()[-1] == "0 reminders sent."
    assert len(sink.received) == 1
    place = reminder.OnSQLite.__new__(reminder.OnSQLite)
    place.path = shell.folder / "reminders.db"
    place.store = f"sqlite:///{place.path}"
    add(place, 1)
    tokens = {"REMINDER_ADMIN_TOKEN": "a" * 30, "REMINDER_USER_TOKEN": "u" * 30}
    command = ["bash", "-c", f"exec {admin.strip()} --port 0"]
    process = subprocess.Popen(
        command,
        env=shell.environ | tokens | {"REMINDER_STORE": place.store},
        stderr=subprocess.PIPE,
        text=True,
    )
    said = ""
    while not (address := re.search(r"http://127\.0\.0\.1:\d+", said)):
        line = process.stderr.readline()
        assert line, said
        said += line
    assert program("curl")
    correct = correct.replace("http://127.0.0.1:8000", address[0])
    assert '"previous_date"' in shell(correct, **tokens)
    assert "only an admin corrects" in shell(
        correct.replace("ADMIN_TOKEN", "USER_TOKEN"), code=22, **tokens
    )
    process.terminate()
    process.communicate(timeout=ENOUGH)
    assert dates(place) == {1: "2026-02-14"}


def on_a_file(shell, gateway):
    """An environment file for SQLite, with three assignments that are due."""
    place = reminder.OnSQLite(shell.folder)
    add(place, 3, on=LONG_AGO)
    shell.settings(
        (DEPLOY / "environment").read_text(),
        REMINDER_STORE=place.store,
        REMINDER_GATEWAY=gateway.url,
        CRONGUARD_STORE=place.environ["CRONGUARD_STORE"],
        CRONGUARD_SLACK_WEBHOOK_URL="",
    )
    return place


def test_crontab(shell, gateway):
    """Its lines work in the environment that cron gives: /bin/sh, a short PATH, no more."""
    place = on_a_file(shell, gateway)
    environ = {"HOME": str(shell.folder), "PATH": "/usr/bin:/bin"}
    ends = []
    for line in shell.place((DEPLOY / "crontab").read_text()).splitlines():
        if variable := re.fullmatch(r"(\w+)=(.*)", line):
            environ[variable[1]] = variable[2]
        elif line and not line.startswith("#"):
            assert "%" not in line
            *times, command = line.split(None, 5)
            assert len(times) == 5
            done = subprocess.run(
                ["/bin/sh", "-c", command], env=environ, capture_output=True, text=True, check=False
            )
            ends.append((done.returncode, done.stdout, done.stderr))
    assert ends == [(0, "", "")] * 3
    assert states(place) == {"sent": 3}
    assert [run["status"] for run in runs(place)] == ["success"]


@pytest.mark.long
def test_systemd_units(shell):
    """systemd has nothing to say against them, knows when they are due, and in which zone."""
    analyze = program("systemd-analyze", "systemd")
    units = []
    for unit in sorted((DEPLOY / "systemd").iterdir()):
        units.append(shell.folder / unit.name)
        units[-1].write_text(shell.place(unit.read_text()))
    shell.etc.write_text("")
    assert len(units) == 4
    verify = [analyze, "verify", "--man=no", *map(str, units)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if str(shell.folder) in line]
    assert (done.returncode, ours) == (0, []), done.stderr
    for timer in shell.folder.glob("*.timer"):
        (calendar,) = re.findall(r"OnCalendar=(.*)", timer.read_text())
        subprocess.run([analyze, "calendar", calendar], capture_output=True, check=True)


def test_systemd_commands(shell, gateway):
    """What the services start works with the environment file alone."""
    place = on_a_file(shell, gateway)
    environ = {"HOME": str(shell.folder), "PATH": "/usr/bin:/bin"}
    for line in shell.etc.read_text().splitlines():
        if not line.startswith("#"):
            name, _, value = line.partition("=")
            environ[name] = value
    for service in sorted((DEPLOY / "systemd").glob("*.service"), reverse=True):
        text = shell.place(service.read_text())
        for command in re.findall(r"^ExecStart(?:Post)?=(.*)$", text, re.MULTILINE):
            subprocess.run(shlex.split(command), env=environ, capture_output=True, check=True)
    assert states(place) == {"sent": 3}


def test_github_workflow(shell, gateway):
    """Valid against the schema of workflows; its commands work with what it sets."""
    import yaml

    path = DEPLOY / "github_actions.yml"
    check = [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    done = subprocess.run(check, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    workflow = yaml.safe_load(path.read_text())
    names = {
        line.partition("=")[0]
        for line in (DEPLOY / "environment").read_text().splitlines()
        if not line.startswith("#")
    }
    assert set(workflow["env"]) == names
    place = on_a_file(shell, gateway)
    steps = [step["run"] for step in workflow["jobs"]["reminder"]["steps"] if "run" in step]
    install, run, look = steps
    assert shlex.split(install)[3:] == shlex.split(parts("install")[0].splitlines()[1])[1:]
    for command in (run, look):
        shell(f"{parts('environment')[0]}\n{command}")
    assert states(place) == {"sent": 3}


@pytest.mark.long
def test_the_load_test(place, shell):
    """A small one: it is sent once each, and time, memory and slope are printed."""
    (text,) = parts("load-test")
    smaller = f"load-test --store {place.kind} --assignments 100 --assignments 400"
    said = shell(text.replace("load-test", smaller), cwd=readme.ROOT, **place.environ)
    head, *rows, slope = said.splitlines()[:4]  # after them, what a busy machine made it warn of
    assert head.split() == ["assignments", "seconds", "a", "second", "memory,", "MB"]
    assert [row.split()[0] for row in rows] == ["100", "400"]
    few, many = (float(row.split()[3]) for row in rows)
    assert many < few + 20
    assert "to the power of" in slope
