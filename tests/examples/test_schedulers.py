"""The examples for schedulers, each run or verified by what would run it."""

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.cli import Cli
from support.debian import program
from support.processes import PATIENCE, Place

pytestmark = pytest.mark.one_python

EXAMPLES = Path(__file__).parents[2] / "examples" / "schedulers"
BIN = Path(sys.executable).parent
OPT = "/opt/app/.venv/bin/"


# --- cron -----------------------------------------------------------------------------------------


def test_crontab(tmp_path):
    """Its lines work in the environment that cron gives: /bin/sh, a short PATH, no more."""
    log = tmp_path / "cronguard.db"
    nightly = tmp_path / "nightly.sh"
    nightly.write_text("#!/bin/sh\necho out; echo trouble >&2; exit 3\n")
    nightly.chmod(0o755)
    text = (EXAMPLES / "crontab").read_text()
    text = text.replace("/var/lib/app/cronguard.db", str(log)).replace(OPT, f"{BIN}/")
    text = text.replace("/opt/app/nightly.sh", str(nightly))
    environ = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
    ends = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        assert "%" not in line
        if variable := re.fullmatch(r"(\w+)=(.*)", line):
            environ[variable[1]] = variable[2]
            continue
        *times, command = line.split(None, 5)
        assert len(times) == 5
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        ends.append((done.returncode, done.stdout, done.stderr))
    assert ends == [(3, "out\n", "trouble\n"), (0, "", ""), (0, "", "")]


# --- systemd --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def analyze():
    return program("systemd-analyze", "systemd")


@pytest.mark.long
def test_systemd_units(tmp_path, analyze):
    """systemd has nothing to say against them, and knows when they are due."""
    nightly = tmp_path / "nightly.sh"
    nightly.write_text("#!/bin/sh\nexit 0\n")
    nightly.chmod(0o755)
    for unit in (EXAMPLES / "systemd").iterdir():
        text = unit.read_text().replace(OPT, f"{BIN}/")
        (tmp_path / unit.name).write_text(text.replace("/opt/app/nightly.sh", str(nightly)))
    units = sorted(str(path) for path in tmp_path.glob("*.[st]*er*") if path.suffix != ".sh")
    assert len(units) == 4
    done = subprocess.run(
        [analyze, "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert (done.returncode, ours) == (0, []), done.stderr
    for timer in tmp_path.glob("*.timer"):
        (calendar,) = re.findall(r"OnCalendar=(.*)", timer.read_text())
        done = subprocess.run([analyze, "calendar", calendar], capture_output=True, check=False)
        assert done.returncode == 0


# --- Kubernetes, GitHub Actions -------------------------------------------------------------------


def test_kubernetes_manifest():
    """Both documents are what Kubernetes calls a CronJob, to the letter; their commands work."""
    import kubernetes_validate
    import yaml

    documents = list(yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text()))
    assert [each["kind"] for each in documents] == ["CronJob"] * 2
    for each in documents:
        kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)
        pod = each["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        names = {variable["name"] for variable in container["env"]}
        assert {"CRONGUARD_STORE", "SUPABASE_URL", "SUPABASE_SECRET_KEY"} <= names
        secret = [v for v in container["env"] if "SECRET" in v["name"] or "WEBHOOK" in v["name"]]
        assert all("secretKeyRef" in variable["valueFrom"] for variable in secret)


def test_a_check_that_finds_trouble_is_no_failed_pod(tmp_path):
    """The manifest's command ends with 0 for 0 and 1, and says so for anything else."""
    import yaml

    *_, document = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())
    pod = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    command = pod["containers"][0]["command"]
    for code, end in ((0, 0), (1, 0), (2, 1)):
        tool = tmp_path / "cronguard"
        tool.write_text(f"#!/bin/sh\nexit {code}\n")
        tool.chmod(0o755)
        path = f"{tmp_path}:{os.environ['PATH']}"
        assert subprocess.run(command, env={"PATH": path}, check=False).returncode == end


def test_github_workflow():
    """It is valid against the schema of workflows, and its run lines are commands of ours."""
    workflow = EXAMPLES / "github_actions.yml"
    command = ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(workflow)]
    done = subprocess.run([BIN / command[0], *command[1:]], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = re.findall(r"run: (cronguard .*)", workflow.read_text())
    assert [line.split()[1] for line in lines] == ["run", "check"]


def test_options_in_the_examples_are_options(tmp_path):
    """`cronguard run` as the workflow has it, with a command that is there."""
    text = (EXAMPLES / "github_actions.yml").read_text()
    (line,) = re.findall(r"run: (cronguard run .*)", text)
    cli = Cli(tmp_path)
    line = line.replace("python -m app.nightly", "true").replace("cronguard ", "", 1)
    assert cli(*shlex.split(line)).returncode == 0
    (job,) = json.loads(cli("status", "--json").stdout)["jobs"]
    assert (job["schedule"], job["grace_seconds"]) == ("15 2 * * *", 2700)


# --- APScheduler ----------------------------------------------------------------------------------


@pytest.mark.long
def test_apscheduler(tmp_path):
    """The example's own job, started by a scheduler of the same kind, in its threads."""
    place = Place(tmp_path)
    place.environ |= {"PYTHONPATH": str(EXAMPLES), "PYTHONWARNINGS": ""}
    done = place.run(
        """
        from datetime import datetime, timezone
        from apscheduler.events import EVENT_JOB_EXECUTED, EVENT_JOB_ERROR
        from apscheduler_app import scheduler, send_reminders
        seen = []

        @cron_guarded(job="broken")
        def broken(): raise ValueError("boom")

        def listen(event):
            seen.append((event.job_id, type(event.exception).__name__))
            if event.job_id == "one":
                scheduler.add_job(broken, id="two", misfire_grace_time=None)
            if len(seen) == 3:
                scheduler.shutdown(wait=False)

        scheduler.add_listener(listen, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
        now = datetime.now(timezone.utc)
        scheduler.modify_job("send_reminders", next_run_time=now)
        scheduler.add_job(broken, id="one", misfire_grace_time=None)  # a second late is in time
        scheduler.start()
        print(sorted(seen))
        """
    )
    assert done.stdout == (
        "[('one', 'ValueError'), ('send_reminders', 'NoneType'), ('two', 'ValueError')]\n"
    ), done.stderr
    assert place.statuses("send_reminders") == ["success"]
    assert place.statuses("broken") == ["failure"] * 2
    assert done.stderr.count("broken is failing: 2 failures in a row") == 1
    ((schedule, zone),) = place.rows(
        "SELECT schedule, timezone FROM cronguard_jobs WHERE job = 'send_reminders'"
    )
    assert (schedule, zone) == ("0 6 * * *", "Europe/Oslo")


# --- Celery ---------------------------------------------------------------------------------------

TASKS = """
import os, time, uuid
from celery.signals import worker_init
from celery_app import app, send_reminders
from cronguard import cron_guarded, guard
from kombu.transport import filesystem
from kombu.utils.json import dumps

folder = os.environ["BROKER_FOLDER"]
for name in ("queue", "control"):
    os.makedirs(f"{folder}/{name}", exist_ok=True)
app.conf.update(
    broker_url="filesystem://",
    broker_transport_options={
        "data_folder_in": f"{folder}/queue", "data_folder_out": f"{folder}/queue",
        "control_folder": f"{folder}/control", "polling_interval": 0.05,
    },
    worker_hijack_root_logger=False,
    worker_proc_alive_timeout=60,  # a child that is slow to start is killed after it
)

# kombu writes where the worker looks, which dies of reading half a message.
def put(channel, queue, payload, **options):
    name = f"{time.monotonic_ns()}_{uuid.uuid4()}.{queue}.msg"
    with open(f"{folder}/{name}", "w") as file:
        file.write(dumps(payload))
    os.rename(file.name, f"{folder}/queue/{name}")

filesystem.Channel._put = put

@worker_init.connect
def load(**_):  # in the parent, so that a child begins well within its limits
    with guard(job="load"):
        pass

@app.task(bind=True, max_retries=1)
@cron_guarded(job="retried")
def retried(self):
    if not self.request.retries:
        raise self.retry(countdown=0)

@app.task
@cron_guarded(job="broken")
def broken():
    raise ValueError("boom")

@app.task(soft_time_limit=3)
@cron_guarded(job="slow")
def slow():
    time.sleep(300)

@app.task(time_limit=3)
@cron_guarded(job="stuck")
def stuck(again=False):
    if not again:
        time.sleep(300)

@app.task
@cron_guarded(job="killed")
def killed(again=False):
    if not again:
        time.sleep(300)
"""
SEND = """
from tasks import *
for each in (send_reminders, retried, broken, killed, slow, stuck):
    each.delay()
for each, options in ((broken, {}), (killed, {"again": True}), (stuck, {"again": True})):
    each.apply_async(kwargs=options, queue="later")
"""


@pytest.fixture
def celery(tmp_path):
    """A place whose tasks were sent, in which workers run."""
    place = Place(tmp_path)
    (tmp_path / "tasks.py").write_text(TASKS)
    place.environ |= {
        "PYTHONPATH": f"{EXAMPLES}:{tmp_path}",
        "BROKER_FOLDER": str(tmp_path / "broker"),
        "PYTHONWARNINGS": "",
        "C_FORCE_ROOT": "1",
    }
    place.run(SEND).check_returncode()
    return place


@contextmanager
def celery_worker(place, queue="celery"):
    """A real worker with forked children, killed with all of them at the end."""
    command = ["-m", "celery", "-A", "tasks", "worker", "--pool=prefork", "--concurrency=4"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING"]
    with (
        (place.folder / "worker.log").open("a") as log,
        subprocess.Popen(
            [sys.executable, *command, *quiet, "-Q", queue],
            env=place.environ,
            cwd=place.folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as worker,
    ):
        try:
            yield
        finally:
            os.killpg(worker.pid, signal.SIGKILL)


@pytest.mark.long
def test_celery(celery):
    """Retries, both time limits, an alert, and a worker that is killed in the middle of a run."""
    with celery_worker(celery):
        wait_for(celery, "send_reminders", ["success"])
        wait_for(celery, "retried", ["cancelled", "success"])
        wait_for(celery, "broken", ["failure"])
        wait_for(celery, "slow", ["failure"])
        wait_until(celery, lambda: is_over(celery, "stuck"))
        wait_for(celery, "killed", ["running"])
    with celery_worker(celery, "later"):
        wait_for(celery, "killed", ["crashed", "success"])
        # Celery asks a child to end, and kills it 0.1 s later: whichever it is counts.
        wait_for(celery, "stuck", ["failure", "success"], ["crashed", "success"])
        wait_for(celery, "broken", ["failure", "failure"])
        wait_until(celery, lambda: "broken is failing: 2 failures in a row" in said(celery))


LAST_TASK = """
import os, threading
from celery.concurrency.prefork import process_destructor
from cronguard import configure, cron_guarded

class Slow:
    OPTIONS = {}
    def send(self, message):
        threading.Event().wait(0.5)
        os.write(1, message.alert.kind.encode())

configure(channels=[Slow()])

@cron_guarded(threshold=1)
def only():
    raise ValueError

child = os.fork()
if child == 0:
    try:
        only()
    except ValueError:
        process_destructor(os.getpid(), 0)  # what a child of the pool does, and then:
        os._exit(0)
os.waitpid(child, 0)
"""


def test_a_celery_child_waits_for_its_last_alert(tmp_path):
    """With one task a child, each alert is that of a child about to end by `os._exit`."""
    place = Place(tmp_path)
    done = place.run(LAST_TASK)
    assert (done.returncode, done.stdout) == (0, "failing"), done.stderr


LAST_TASK_UNWRITTEN = """
import os, sqlite3
from celery.concurrency.prefork import process_destructor

@cron_guarded
def only():
    pass

with guard(job="earlier"):
    pass
child = os.fork()
if child == 0:
    db = sqlite3.connect(os.environ["CRONGUARD_STORE"].removeprefix("sqlite:///"))
    db.execute("BEGIN IMMEDIATE")
    only()
    db.rollback()
    process_destructor(os.getpid(), 0)
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_celery_child_writes_what_it_could_not(tmp_path):
    """It ends as other processes do, the outcome of a run that found the file busy included."""
    place = Place(tmp_path)
    done = place.run(LAST_TASK_UNWRITTEN, env={"CRONGUARD_STORE_TIMEOUT": "0.2"})
    assert done.returncode == 0, done.stderr
    assert place.statuses("only") == ["success"]


def is_over(place, job):
    """Whether the job's one run has ended, or its process has."""
    ((status, pid),) = place.rows("SELECT status, pid FROM cron_execution_logs WHERE job = ?", job)
    return status != "running" or not Path(f"/proc/{pid}").exists()


def wait_for(place, job, *any_of):
    wait_until(place, lambda: place.statuses(job) in any_of)


def wait_until(place, condition):
    give_up = time.monotonic() + 2 * PATIENCE
    while not _holds(condition):
        assert time.monotonic() < give_up, said(place)
        time.sleep(0.05)


def _holds(condition):
    try:
        return condition()
    except (sqlite3.OperationalError, ValueError):  # no table yet, no row yet
        return False


def said(place):
    return (place.folder / "worker.log").read_text()


def test_celery_beat_sends_the_example(tmp_path):
    """The schedule names a task that is there."""
    code = (
        "from celery_app import app, send_reminders\n"
        "(entry,) = app.conf.beat_schedule.values()\n"
        "assert entry['task'] in app.tasks, entry\n"
        "print(send_reminders())\n"
    )
    place = {**os.environ, "PYTHONPATH": str(EXAMPLES), "CRONGUARD_STORE": "sqlite:///beat.db"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=place,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
