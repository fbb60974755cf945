"""``cronguard run`` below what starts and stops jobs: as the bare command is, in every respect.

Each is really run, with a job that counts its signals and takes 0.4 s to tidy up.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from support.cli import PATIENCE, Cli
from support.debian import program
from support.terminal import Terminal

pytestmark = [pytest.mark.one_python, pytest.mark.long]

JOB = """
import os, signal, sys, time
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def count(number, frame):
    os.write(log, (signal.Signals(number).name + "\\n").encode())
    if number == signal.SIGTERM or number == signal.SIGINT:
        end = time.monotonic() + 0.4
        while time.monotonic() < end:  # a second one would be counted meanwhile
            time.sleep(0.01)
        os.write(2, b"tidied\\n")
        os._exit(9)
for name in "SIGINT SIGTERM SIGHUP SIGUSR1 SIGCONT".split():
    if signal.getsignal(signal.Signals[name]) != signal.SIG_IGN:
        signal.signal(signal.Signals[name], count)
os.write(1, b"at work\\n")
os.write(log, b"ready\\n")
while True:
    time.sleep(60)
"""


class Seen(NamedTuple):
    """What can be seen of a job from outside, and what it counted."""

    code: str
    signals: str
    out: str
    err: str


class Job:
    """The job, bare or guarded, in a folder of its own."""

    def __init__(self, folder: Path, *, guarded: bool):
        folder.mkdir()
        self.folder = folder
        self.log = folder / "log"
        (folder / "job.py").write_text(JOB)
        self.cli = Cli(folder)
        command = [sys.executable, str(folder / "job.py"), str(self.log)]
        if guarded:
            command = [sys.executable, "-m", "cronguard", "run", "nightly", "--", *command]
        self.command = ["env", "-C", str(folder), *self.variables, *command]

    @property
    def variables(self):
        return [f"{name}={value}" for name, value in self.cli.environ.items()]

    def wait_until(self, lines):
        """Wait until so many lines are in the log, the first of which says that it is ready."""
        self.wait_for(lambda: self.log.exists() and self.log.read_text().count("\n") >= lines)

    @staticmethod
    def wait_for(condition):
        give_up = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < give_up
            time.sleep(0.01)

    def signals(self):
        lines = self.log.read_text().split()[1:]
        return " ".join(line for line in lines if line != "SIGCONT")

    def is_over(self):
        """Tell whether no process of this job is left."""
        found = ["pgrep", "-f", str(self.log)]
        return subprocess.run(found, stdout=subprocess.DEVNULL, check=False).returncode != 0

    def seen(self, code, out, err):
        return Seen(str(code), self.signals(), out, err)


def child_of(pid):
    """The first child of a process, once there is one."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    Job.wait_for(lambda: path.read_text().split())
    return int(path.read_text().split()[0])


def to_it(pid, number):
    os.kill(pid, number)


def to_its_group(pid, number):
    os.killpg(pid, number)


def to_its_childs_group(pid, number):
    os.killpg(child_of(pid), number)


def to_its_child(pid, number):
    os.kill(child_of(pid), number)


class Wrapper(NamedTuple):
    """A program that starts a job, and how it is told to end it."""

    words: list[str]
    sends: list[tuple]
    expected: Seen
    package: str | None = None


TIDIED = "SIGTERM", "at work\n", "tidied\n"
TERM = [(to_it, signal.SIGTERM)]
OUT_OF_TIME = [(to_it, signal.SIGALRM)]  # as its own alarm does
SETPRIV = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
UNSHARE = ["unshare", "--pid", "--fork", "--kill-child"]
WRAPPERS = {
    "none": Wrapper([], TERM, Seen("9", *TIDIED)),
    "none, its group": Wrapper([], [(to_its_group, signal.SIGTERM)], Seen("9", *TIDIED)),
    "timeout": Wrapper(["timeout", "600"], OUT_OF_TIME, Seen("124", *TIDIED)),
    "timeout --foreground": Wrapper(
        ["timeout", "--foreground", "600"], OUT_OF_TIME, Seen("124", *TIDIED)
    ),
    "timeout -s KILL": Wrapper(
        ["timeout", "-s", "KILL", "600"], OUT_OF_TIME, Seen("-9", "", "at work\n", "")
    ),
    "nohup": Wrapper(
        ["nohup"],
        [(to_its_group, signal.SIGHUP), (to_it, signal.SIGUSR1), (to_it, signal.SIGTERM)],
        Seen("9", "SIGUSR1 SIGTERM", *TIDIED[1:]),
    ),
    "setsid": Wrapper(
        ["setsid", "--wait"], [(to_its_childs_group, signal.SIGTERM)], Seen("9", *TIDIED)
    ),
    "sudo -u": Wrapper(["sudo", "-n", "-u", "root"], TERM, Seen("9", *TIDIED), "sudo"),
    "setpriv": Wrapper(SETPRIV, TERM, Seen("9", *TIDIED)),
    "tini": Wrapper(["tini", "-s", "--"], TERM, Seen("9", *TIDIED), "tini"),
    "tini -g": Wrapper(["tini", "-s", "-g", "--"], TERM, Seen("9", *TIDIED), "tini"),
    "PID 1": Wrapper(UNSHARE, [(to_its_child, signal.SIGTERM)], Seen("9", *TIDIED)),
    "tini as PID 1": Wrapper(
        [*UNSHARE, "tini", "--"], [(to_its_child, signal.SIGTERM)], Seen("9", *TIDIED), "tini"
    ),
}


@pytest.mark.needs_root("runs sudo and makes a pid namespace")
@pytest.mark.parametrize("guarded", [False, True], ids=["bare", "guarded"])
@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_ends_the_job(tmp_path, name, guarded):
    """The same exit code, the same signals, the same output, and nobody is left behind."""
    wrapper = WRAPPERS[name]
    if wrapper.package:
        program(wrapper.package)
    job = Job(tmp_path / "job", guarded=guarded)
    command = [*wrapper.words, *job.command]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        job.wait_until(1)
        for number, (send, each) in enumerate(wrapper.sends, 1):
            send(process.pid, each)
            if each == signal.SIGUSR1:
                job.wait_until(number)
        out, err = process.communicate(timeout=PATIENCE)
    seen = job.seen(process.returncode, out, err)
    if not guarded and seen.signals == "SIGTERM SIGTERM":  # which `timeout` may do, sending both
        seen = seen._replace(signals="SIGTERM")
    assert seen == wrapper.expected
    job.wait_for(job.is_over)
    if guarded and wrapper.expected.code != "-9":
        assert job.cli.last("nightly") == ("failure", "9")


# --- a shell's job control ------------------------------------------------------------------------


@pytest.mark.parametrize("guarded", [False, True], ids=["bare", "guarded"])
@pytest.mark.parametrize("how", ["Ctrl-C", "kill %1", "kill $!", "fg"])
def test_a_shell_with_job_control(tmp_path, how, guarded):
    """On a terminal the job is stopped, continued, interrupted and killed as if it were bare."""
    job = Job(tmp_path / "job", guarded=guarded)
    script = job.folder / "start"
    words = " ".join(f"'{word}'" for word in job.command)
    script.write_text(f"#!/bin/sh\nexec {words}\n")
    script.chmod(0o755)
    bash = ["bash", "--norc", "--noprofile", "-i"]
    terminal = Terminal(bash, {**os.environ, "PS1": "$ ", "HISTFILE": ""}, job.folder)
    try:
        background = how == "kill $!"
        terminal.type(f"./start{' &' if background else ''}\n")
        job.wait_until(1)
        if how in {"kill %1", "fg"}:
            terminal.type("\x1a")
            terminal.wait_for("Stopped")
        if how in {"kill %1", "kill $!"}:
            terminal.type(f"{how}; {'wait $!' if background else 'fg'}; echo code=$?.\n")
        elif how == "fg":
            terminal.type("fg\n")
            job.wait_until(2)  # SIGCONT
            terminal.type("\x03")
        else:
            terminal.type("\x03")
        if how in {"Ctrl-C", "fg"}:
            terminal.type("echo code=$?.\n")
        terminal.wait_for("code=9.")
        assert job.signals() == ("SIGTERM" if how.startswith("kill") else "SIGINT")
        job.wait_for(job.is_over)
        if guarded:
            assert job.cli.last("nightly") == ("failure", "9")
    finally:
        terminal.close()


# --- cron -----------------------------------------------------------------------------------------

CRON = """
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/spool/cron
mount -t tmpfs tmpfs /etc/cron.d
mkdir /var/spool/cron/crontabs
mount --bind /dev/null /etc/crontab
cp "$1"/table /etc/cron.d/job
exec "$2" -f
"""


@pytest.mark.needs_root("runs cron in a mount namespace")
@pytest.mark.parametrize("guarded", [False, True], ids=["bare", "guarded"])
def test_cron(tmp_path, guarded):
    """Debian's, which starts it in a session of its own; somebody then signals the session."""
    cron = program("cron") or "/usr/sbin/cron"
    job = Job(tmp_path / "job", guarded=guarded)
    script = job.folder / "line"
    words = " ".join(f"'{word}'" for word in job.command)
    script.write_text(
        f"#!/bin/sh\ncd {job.folder}\ntrap : TERM\n{words} >out 2>err\necho $? >code.new\n"
        "mv code.new code\n"
    )
    script.chmod(0o755)
    (job.folder / "table").write_text(f"@reboot root {script}\n")
    command = [*UNSHARE, "--mount", "--mount-proc", "sh", "-ec", CRON, "sh", str(job.folder), cron]
    with subprocess.Popen(command) as process:
        try:
            job.wait_until(1)
            found = subprocess.check_output(["pgrep", "-f", f"job.py {job.log}"], text=True)
            os.killpg(os.getpgid(int(found.split()[-1])), signal.SIGTERM)
            job.wait_for((job.folder / "code").exists)
        finally:
            process.kill()
    read = [(job.folder / name).read_text() for name in ("code", "out", "err")]
    assert job.seen(read[0].strip(), *read[1:]) == Seen("9", *TIDIED)


# --- systemd --------------------------------------------------------------------------------------

SYSTEMD = """
mount -t tmpfs tmpfs /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /etc/systemd
mkdir /etc/systemd/system
cp "$1"/*.target "$1"/*.service /etc/systemd/system
touch /run/console
mount --bind /run/console /dev/console
sh "$1"/drive "$1" &
exec env container=other "$2" --system --unit=idle.target
"""
DRIVE = """
exec >"$1"/driven 2>&1
until [ -S /run/systemd/private ]; do sleep 0.05; done
systemctl start job.service
until [ -s "$1"/log ]; do sleep 0.05; done
systemctl stop job.service
until [ -s "$1"/code ]; do sleep 0.05; done
touch "$1"/over
"""
UNIT = """
[Unit]
DefaultDependencies=no
[Service]
KillMode={mode}
TimeoutStopSec=60
ExecStart={script}
StandardOutput=file:{folder}/out
StandardError=file:{folder}/err
ExecStopPost=/bin/sh -c 'echo "$EXIT_CODE $EXIT_STATUS" >{folder}/code'
"""


@pytest.fixture
def in_a_cgroup(tmp_path):
    """Words that start a command in a cgroup of its own, taken away afterwards."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    root = next(Path(where) for _, where, kind, *_ in mounts if kind == "cgroup2")
    group = root / f"cronguard-test-{os.getpid()}"
    group.mkdir()
    yield ["sh", "-ec", f'echo $$ >{group}/cgroup.procs; exec "$@"', "sh"]
    for folder, *_ in sorted(os.walk(group), reverse=True):
        Job.wait_for(lambda folder=folder: not Path(folder, "cgroup.procs").read_text())
        Path(folder).rmdir()


@pytest.mark.needs_root("runs systemd in namespaces")
@pytest.mark.parametrize("guarded", [False, True], ids=["bare", "guarded"])
@pytest.mark.parametrize("mode", ["control-group", "mixed", "process"])
def test_systemd(tmp_path, in_a_cgroup, mode, guarded):
    """The real one, as the first process of a container: what ``systemctl stop`` does."""
    program("systemd-analyze", "systemd")
    job = Job(tmp_path / "job", guarded=guarded)
    script = job.folder / "line"
    words = " ".join(f"'{word}'" for word in job.command)
    script.write_text(f"#!/bin/sh\nexec {words}\n")
    script.chmod(0o755)
    (job.folder / "drive").write_text(DRIVE)
    (job.folder / "idle.target").write_text("[Unit]\nDefaultDependencies=no\n")
    unit = UNIT.format(mode=mode, script=script, folder=job.folder)
    (job.folder / "job.service").write_text(unit)
    systemd = next(
        p for p in ("/lib/systemd/systemd", "/usr/lib/systemd/systemd") if shutil.which(p)
    )
    command = [*in_a_cgroup, *UNSHARE, "--cgroup", "--mount", "--mount-proc"]
    with subprocess.Popen([*command, "sh", "-ec", SYSTEMD, "sh", job.folder, systemd]) as process:
        try:
            job.wait_for((job.folder / "over").exists)
        finally:
            process.kill()
    code, out, err = ((job.folder / name).read_text() for name in ("code", "out", "err"))
    assert job.seen(code.strip(), out, err) == Seen("exited 9", *TIDIED)
    if guarded:
        assert job.cli.last("nightly") == ("failure", "9")
