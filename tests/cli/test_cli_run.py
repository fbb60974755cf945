"""``cronguard run``: the command is as it would be without us, and recorded."""

import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.cli import PATIENCE, Cli, kill, read_until
from support.hostile import serve

from cronguard.cli.run import forwarding
from cronguard.cli.run.forwarding import Received, wait_for_signal
from cronguard.cli.run.unstarted import why_not_started
from cronguard.process.identity import _look_up, current_owner, is_dead

CAPTURED = {"CRONGUARD_REDACT": "scrub"}
ALONE = {"CRONGUARD_REDACT": "strict"}

PYTHON = [sys.executable, "-c"]


@pytest.fixture
def cli(tmp_path):
    return Cli(tmp_path)


@pytest.fixture(params=[CAPTURED, ALONE, None], ids=["captured", "strict", "no-output"])
def how(request, cli):
    """Every way that standard error can go: through us, past us by setting, past us by option."""
    cli.environ.update(request.param or CAPTURED)
    return ["--no-output"] if request.param is None else []


# --- exit codes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 3, 130, 255])
def test_the_exit_code_is_the_commands(cli, code):
    """Exits as the command does; 0 is a success, everything else a failure with that code."""
    assert cli("run", "nightly", "--", "sh", "-c", f"exit {code}").returncode == code
    assert cli.last("nightly") == (("failure", str(code)) if code else ("success", None))


def test_a_command_that_is_not_there_is_a_failure(cli):
    """127, one line that says so, recorded as a failure."""
    done = cli("run", "nightly", "--", "no-such-command", "--token=hunter2")
    assert done.returncode == 127
    assert done.stderr.startswith("cronguard: cannot run 'no-such-command': it was not found")
    assert done.stderr.count("\n") == 1
    assert cli.last("nightly") == ("failure", "127")


def test_a_command_in_no_folder_that_may_be_entered_is_not_there(cli):
    """127, as in a shell, although the system's own answer is that permission was denied."""
    (cli.folder / "closed").write_text("")  # a file, which nobody enters, be it root
    cli.environ["PATH"] = f"{cli.folder / 'closed'}{os.pathsep}{cli.environ['PATH']}"
    assert why_not_started("no-such-command", PermissionError()).code == 127
    assert cli("run", "nightly", "--", "no-such-command").returncode == 127


def test_a_file_that_cannot_be_executed_is_a_failure(cli):
    """126, one line that says so, recorded as a failure."""
    (cli.folder / "job.sh").write_text("exit 0\n")
    done = cli("run", "nightly", "--", "./job.sh")
    assert done.returncode == 126
    assert "not an executable file" in done.stderr
    assert cli.last("nightly") == ("failure", "126")


def test_a_script_whose_interpreter_is_missing(cli):
    """127, and the line says that it is the interpreter which is not there."""
    script = cli.folder / "job.sh"
    script.write_text("#!/no/such/shell\n")
    script.chmod(0o755)
    done = cli("run", "nightly", "--", str(script))
    assert done.returncode == 127
    assert "interpreter" in done.stderr


def test_a_script_without_a_first_line_is_run_by_sh(cli):
    """As cron, env and every shell do."""
    script = cli.folder / "job"
    script.write_text('echo "got $1"; exit 5\n')
    script.chmod(0o755)
    done = cli("run", "nightly", "--", "./job", "an argument")
    assert (done.returncode, done.stdout) == (5, "got an argument\n")


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV"])
def test_a_command_ended_by_a_signal(cli, name):
    """128 + N, recorded under the signal's name."""
    number = signal.Signals[name]
    done = cli("run", "nightly", "--", "sh", "-c", f"kill -{number.value} $$")
    assert done.returncode == 128 + number
    assert cli.last("nightly") == ("failure", name)


def test_a_command_ended_by_ctrl_c_is_cancelled(cli):
    """SIGINT counts for nothing, whether it ends the command itself or a shell reports it."""
    cli("run", "nightly", "--", "false")
    assert cli("run", "nightly", "--", "sh", "-c", "kill -2 $$").returncode == 130
    assert cli.last("nightly") == ("cancelled", None)
    assert cli.runs("nightly")[0].consecutive_failure_count == 1


# --- output ---------------------------------------------------------------------------------------


@pytest.mark.one_python
def test_output_passes_byte_for_byte(cli, how):
    """All 256 bytes on both streams, no more and no less."""
    write = "import os; b = bytes(range(256)) * 999; os.write(1, b); os.write(2, b[::-1]); exit(1)"
    with cli.start("run", *how, "nightly", "--", *PYTHON, write) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert out == bytes(range(256)) * 999
    assert err == out[::-1]


@pytest.mark.one_python
def test_output_passes_as_it_comes(cli, how):
    """What the command has written is there before it goes on, an unfinished line included."""
    talk = "printf 'out, '; printf 'err, ' >&2; read line; echo \"$line\"; exit 4"
    with cli.start("run", "nightly", *how, "--", "sh", "-c", talk) as process:
        read_until(process.stdout, b"out, ")
        read_until(process.stderr, b"err, ")
        assert cli.runs("nightly")[0].status == "running"
        process.stdin.write(b"answered\n")
        process.stdin.close()
        assert process.stdout.read() == b"answered\n"
    assert process.returncode == 4


@pytest.mark.one_python
def test_a_flood_on_standard_error(cli):
    """Twenty megabytes pass unchanged, and the end of them is what is kept."""
    cli.environ |= CAPTURED
    flood = (
        "import sys; e = sys.stderr\n"
        "for n in range(200_000): e.write(f'{n:09d} ' + 'x' * 90 + '\\n')\n"
        "e.write('RuntimeError: database is locked\\n'); sys.exit(1)"
    )
    with cli.start("run", "nightly", "--", *PYTHON, flood, stdout=subprocess.DEVNULL) as process:
        err = process.stderr.read()
    lines = err.splitlines()
    assert len(lines) == 200_001
    assert [int(line[:9]) for line in lines[:-1]] == list(range(200_000))
    assert lines[-1] == b"RuntimeError: database is locked"


KEEP_EVERYTHING = """
import sys, cronguard
cronguard.configure(redact=lambda text, error: text)
from cronguard.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.one_python
def test_the_end_of_standard_error_is_the_message(cli):
    """As the redaction leaves it; a cut line is left out, and so is everything with --no-output."""
    said = "import sys; print('y' * 20_000, file=sys.stderr); sys.exit('the last \\xff word')"
    for option, message in ([], "the last \ufffd word"), (["--no-output"], None):
        subprocess.run(
            [*PYTHON, KEEP_EVERYTHING, "run", "nightly", *option, "--", *PYTHON, said],
            env=cli.environ | {"PYTHONIOENCODING": "latin-1"},
            cwd=cli.folder,
            timeout=PATIENCE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        assert cli.runs("nightly")[0].failure.error_message == message


@pytest.mark.one_python
def test_nothing_of_the_command_line_is_stored(cli):
    """Command lines hold passwords: none of their words is in the database."""
    cli("run", "nightly", "--", "sh", "-c", "exit 1", "--password=hunter2hunter2")
    held = b"".join(path.read_bytes() for path in cli.folder.rglob("*") if path.is_file())
    assert b"nightly" in held
    assert b"hunter2" not in held


def test_closed_standard_streams(cli):
    """They are closed for the command too, and the database does not become one of them."""
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    look = "[ -e /proc/$$/fd/0 ] || [ -e /proc/$$/fd/1 ] || [ -e /proc/$$/fd/2 ] || exit 6"
    cli.environ |= ALONE
    assert cli("run", "nightly", "--", "sh", "-c", look, wrapper=closed).returncode == 6
    assert cli.last("nightly") == ("failure", "6")
    assert cli("run", "nightly", "--", "no-such-command", wrapper=closed).returncode == 127
    cli.environ |= CAPTURED
    done = cli("run", "nightly", "--", "sh", "-c", "echo lost >&2; exit 7", wrapper=closed)
    assert done.returncode == 7
    assert [record.status for record in cli.runs("nightly")] == ["failure"] * 3


def test_nobody_reads_standard_error(cli):
    """A closed reader is our trouble, not the command's."""
    cli.environ |= CAPTURED
    reader, writer = os.pipe()
    os.close(reader)
    talk = "import os\nfor _ in range(1000): os.write(2, b'x' * 1000)\nprint('done')"
    with cli.start("run", "nightly", "--", *PYTHON, talk, stderr=writer) as process:
        os.close(writer)
        assert process.stdout.read() == b"done\n"
    assert process.returncode == 0


# --- what the command inherits --------------------------------------------------------------------


def test_standard_input_and_descriptors_are_inherited(cli):
    """As by any command: a lock held on descriptor 9 goes on being held."""
    held = ["sh", "-c", 'echo through | { exec 9<&0 0</dev/null; exec "$@"; }', "sh"]
    assert cli("run", "nightly", "--", "sh", "-c", "cat <&9", wrapper=held).stdout == "through\n"


def test_signal_state_is_inherited(cli):
    """Nothing is blocked in the command; what was ignored (nohup) stays so; SIGPIPE does not."""
    look = "grep -E '^Sig(Blk|Ign)' /proc/self/status"
    cli.environ |= CAPTURED
    ignore = (
        "import os, signal, sys; signal.signal(1, signal.SIG_IGN);"
        "signal.signal(13, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    nohup = [*PYTHON, ignore]
    for wrapper, ignored in ((), 0), (nohup, 1):
        done = cli("run", "nightly", "--", *look.replace("'", "").split(), wrapper=wrapper)
        masks = dict(line.split(":\t") for line in done.stdout.splitlines())
        assert int(masks["SigBlk"], 16) == 0
        assert int(masks["SigIgn"], 16) & 0xFFFF == ignored


def test_a_parent_that_ignores_its_children(cli):
    """SIGCHLD ignored by whoever started us does not hide how the command ended."""
    careless = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN);"
        "os.execvp(sys.argv[1], sys.argv[1:])"
    )
    done = cli("run", "nightly", "--", "sh", "-c", "exit 3", wrapper=[*PYTHON, careless])
    assert done.returncode == 3


def test_the_command_stays_in_our_process_group(cli):
    """No session or group of its own, so that a terminal's job control works."""
    done = cli("run", "nightly", "--", *PYTHON, "import os; print(os.getpgrp(), os.getppid())")
    group, parent = map(int, done.stdout.split())
    assert group == os.getpgrp()
    assert parent != os.getpid()


# --- signals --------------------------------------------------------------------------------------

TELL = """
import os, signal, sys
def tell(number, frame):
    os.write(1, signal.Signals(number).name.encode() + b"\\n")
    if number == signal.SIGTERM:
        sys.exit(9)
for name in "SIGINT SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGTERM".split():
    signal.signal(signal.Signals[name], tell)
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""


def test_signals_are_handed_to_the_command(cli, how):
    """Every one, in order, and the run ends as the command says it does."""
    with cli.start("run", *how, "nightly", "--", *PYTHON, TELL) as process:
        read_until(process.stdout, b"ready\n")
        for name in ("SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTERM"):
            process.send_signal(signal.Signals[name])
            assert read_until(process.stdout, b"\n") == f"{name}\n".encode()
        assert process.wait(PATIENCE) == 9
    assert cli.last("nightly") == ("failure", "9")


def test_what_the_group_got_is_not_passed_on(cli, how):
    """Once each, though it comes to the command and to us; what comes to us alone is passed on."""
    with cli.start("run", *how, "nightly", "--", *PYTHON, TELL, start_new_session=True) as process:
        read_until(process.stdout, b"ready\n")
        for name in ("SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"):
            os.killpg(process.pid, signal.Signals[name])
            assert read_until(process.stdout, b"\n") == f"{name}\n".encode()
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == b"SIGTERM\n"
        assert process.wait(PATIENCE) == 9


def test_one_after_the_other_is_one_event(cli):
    """As `timeout` sends them: to its child, and then to the group."""
    tidy = (
        "import os, signal, time\n"
        "def tidy(*_):\n"
        "    os.write(1, b'tidying\\n'); time.sleep(0.4); os.write(1, b'tidied\\n'); os._exit(9)\n"
        "signal.signal(signal.SIGTERM, tidy); os.write(1, b'ready\\n'); time.sleep(600)"
    )
    with cli.start("run", "nightly", "--", *PYTHON, tidy, start_new_session=True) as process:
        read_until(process.stdout, b"ready\n")
        process.terminate()
        os.killpg(process.pid, signal.SIGTERM)
        assert process.stdout.read() == b"tidying\ntidied\n"
        assert process.wait(PATIENCE) == 9


def test_a_command_in_a_group_of_its_own_is_told(cli):
    """What our group got, and so not the command, is passed on, unless the keyboard did it."""
    elsewhere = "import os; os.setpgid(0, 0)" + TELL
    with cli.start("run", "nightly", "--", *PYTHON, elsewhere, start_new_session=True) as process:
        read_until(process.stdout, b"ready\n")
        os.killpg(process.pid, signal.SIGTERM)
        assert process.stdout.read() == b"SIGTERM\n"


class Heard(set):
    """A helper that has heard what is in this set, each once."""

    def has_received(self, number):
        heard = number in self
        self.discard(number)
        return heard


@pytest.fixture
def forward(monkeypatch):
    """Forwarding to nobody: what the helper hears, the clock, what is passed on."""
    heard, clock, passed = Heard(), [100.0], []
    monkeypatch.setattr(forwarding.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(forwarding.os, "kill", lambda _, number: passed.append(number))
    monkeypatch.setattr(forwarding.os, "getpgid", lambda _: os.getpgrp())
    return SimpleNamespace(
        forwarding=forwarding.Forwarding(0, heard), heard=heard, clock=clock, passed=passed
    )


def test_a_signal_is_judged_a_moment_after_it_came(forward):
    """Whoever signals one process after the other may come to the group a little later."""
    forward.forwarding.received(Received(signal.SIGTERM, 7))
    forward.forwarding.pass_on_due()
    forward.heard.add(signal.SIGTERM)
    forward.clock[0] += 0.05
    forward.forwarding.received(Received(signal.SIGTERM, 7))
    forward.clock[0] += forward.forwarding.seconds_left()
    forward.forwarding.pass_on_due()
    forward.forwarding.received(Received(signal.SIGTERM, 7))
    assert forward.forwarding.seconds_left() == math.inf
    assert forward.passed == []


def test_the_same_signal_again_is_another_event(forward):
    """A second Ctrl-C or SIGTERM to us alone, later, is passed on as the first was not."""
    forward.heard.add(signal.SIGTERM)
    for _ in range(2):
        forward.forwarding.received(Received(signal.SIGTERM, 7))
        forward.clock[0] += 0.2
        forward.forwarding.pass_on_due()
        forward.clock[0] += 0.2
    assert forward.passed == [signal.SIGTERM]


@pytest.mark.parametrize(
    ("received", "passed"),
    [
        (Received(signal.SIGTERM, 7), True),
        (Received(signal.SIGINT, 0, from_kernel=True), False),
        (Received(signal.SIGTERM, 1), False),
        (Received(signal.SIGTERM, 0), False),
    ],
    ids=["timeout", "the keyboard", "systemd", "from outside of a container"],
)
def test_a_command_that_has_left_the_group(forward, monkeypatch, received, passed):
    """It has not got what the group got, but what goes from process to process."""
    monkeypatch.setattr(forwarding.os, "getpgid", lambda _: os.getpgrp() + 1)
    forward.heard.add(received.number)
    forward.forwarding.received(received)
    forward.clock[0] += 0.2
    forward.forwarding.pass_on_due()
    assert forward.passed == [received.number] * passed


def test_without_a_helper(forward):
    """Where none could be started, only what the keyboard sends counts as the group's."""
    alone = forwarding.Forwarding(0, None)
    alone.received(Received(signal.SIGINT, 0, from_kernel=True))
    alone.received(Received(signal.SIGTERM, 7))
    forward.clock[0] += 0.2
    alone.pass_on_due()
    assert forward.passed == [signal.SIGTERM]


def test_the_alarm_that_was_set_for_the_command(cli):
    """A time limit that whoever started us has set (``alarm 1; exec``) reaches the command."""
    limited = (
        "import os, signal, sys; signal.setitimer(signal.ITIMER_REAL, 3);"
        "os.execvp(sys.argv[1], sys.argv[1:])"
    )
    done = cli("run", "nightly", "--", "sleep", "600", wrapper=[*PYTHON, limited])
    assert done.returncode == 128 + signal.SIGALRM
    assert cli.last("nightly") == ("failure", "SIGALRM")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SIGTERM", 0),
        *((name, 4) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1")),
    ],
)
def test_a_signal_after_the_end_changes_no_exit_code(cli, name, code):
    """While a slow test alert is under way; what asks for the end hastens it, no more."""
    arrived, notified = os.pipe()
    ends = threading.Event()

    def behave(connection, stop):
        os.write(notified, b"asked\n")
        ends.wait(PATIENCE)

    with serve(behave) as server, os.fdopen(arrived, "rb", 0) as arrival:
        cli.environ["CRONGUARD_WEBHOOK_URL"] = server.url
        command = ["--test-mode", "--", "sh", "-c", f"exit {code}"]
        with cli.start("run", "nightly", *command) as process:
            read_until(arrival, b"asked\n")
            process.send_signal(signal.Signals[name])
            if name == "SIGUSR1":
                ends.set()
            assert process.wait(PATIENCE) == code
        ends.set()
    os.close(notified)
    assert cli.last("nightly") == (("failure", str(code)) if code else ("success", None))


def test_a_signal_after_the_end_while_a_heartbeat_is_under_way(cli):
    """The same, though nobody waits for a heartbeat but the end of the process."""
    arrived, notified = os.pipe()

    def behave(connection, stop):
        os.write(notified, b"asked\n")
        stop.wait()

    (cli.folder / "cronguard.toml").write_text(
        '[job.nightly]\nheartbeat_url = "env:NIGHTLY_URL"\n', encoding="utf-8"
    )
    with serve(behave) as server, os.fdopen(arrived, "rb", 0) as arrival:
        cli.environ["NIGHTLY_URL"] = f"http://127.0.0.1:{server.port}/"
        with cli.start("run", "nightly", "--", "true") as process:
            read_until(arrival, b"asked\n")
            process.terminate()
            assert process.wait(PATIENCE) == 0
    os.close(notified)


# --- the owner ------------------------------------------------------------------------------------


def test_the_command_owns_the_run(cli):
    """The row has its process id, which a person may look for and a decorated job inside knows."""
    done = cli("run", "nightly", "--", "sh", "-c", "echo $$ $CRONGUARD_RUN")
    pid, job, run_id, owner, _ = done.stdout.split()
    (row,) = cli.runs("nightly")
    assert (job, run_id, owner, row.pid) == ("nightly", row.run_id, pid, int(pid))


def test_the_wrapper_alone_is_killed(cli, how):
    """The job runs on and holds the job, its standard error is read; its end is a crash."""
    wait = ["sh", "-c", "echo $$; read line; echo going on >&2; read line"]
    with cli.start("run", *how, "nightly", "--", *wait) as process:
        pid = int(read_until(process.stdout, b"\n"))
        process.kill()
        assert process.wait(PATIENCE) == -9
        process.stdin.write(b"now\n")
        process.stdin.flush()
        read_until(process.stderr, b"going on\n")
        beside = cli("run", "nightly", "--", "echo", "beside")
        assert (beside.returncode, beside.stdout) == (0, "")
        assert [row.status for row in cli.runs("nightly")] == ["skipped", "running"]
        process.stdin.close()
        assert process.stderr.read() == b""  # its reader has ended as well
        wait_until_gone(pid)
    assert cli("run", "nightly", "--", "true").returncode == 0
    assert [row.status for row in cli.runs("nightly")] == ["success", "skipped", "crashed"]


def wait_until_gone(pid):
    """Wait until a process is not there any more."""
    give_up = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_the_wrapper_is_killed_before_the_start_is_recorded(cli):
    """The command has not run then, and nobody is left."""
    blocker = sqlite3.connect(cli.path)
    cli("run", "other", "--", "true")
    blocker.execute("BEGIN EXCLUSIVE")
    with cli.start("run", "nightly", "--", "touch", str(cli.folder / "ran")) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while len(held := children.read_text().split()) < 2:
            time.sleep(0.01)
        process.kill()
        process.wait(PATIENCE)
        for pid in held:
            wait_until_gone(pid)
        assert process.stdout.read() == process.stderr.read() == b""
    blocker.close()
    assert not (cli.folder / "ran").exists()


def test_a_run_that_is_being_recorded_has_not_crashed(cli):
    """Between the command's end and its record, a look from another process finds it alive."""
    with cli.start("run", "nightly", "--", "sh", "-c", "echo $$; read line; exit 0") as process:
        pid = int(read_until(process.stdout, b"\n"))
        owner = current_owner()._replace(pid=pid, started=_look_up(pid)[0])
        blocker = sqlite3.connect(cli.path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        try:
            process.stdin.close()
            while "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
                time.sleep(0.01)
            assert not is_dead(owner)
        finally:
            blocker.close()
        assert process.wait(PATIENCE) == 0
    assert is_dead(owner)
    assert cli.last("nightly") == ("success", None)


@pytest.mark.needs_root("makes a pid namespace")
def test_the_first_process_of_a_container_reaps(cli):
    """What the command leaves behind is let go of when it ends, as an init does."""
    container = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    zombies = "grep -l '^State:.Z' /proc/[0-9]*/status"
    leave = f"(true & exec true) & wait; (sleep 0.1 &); sleep 1; {zombies}; echo $PPID; exit 3"
    done = cli("run", "nightly", "--", "sh", "-c", leave, wrapper=container)
    assert (done.returncode, done.stdout) == (3, "1\n")


def test_a_terminated_run_is_recorded_by_how_its_command_ended(cli):
    """SIGTERM to us ends the command, and is what is recorded."""
    with cli.start("run", "nightly", "--", "sh", "-c", "echo ready; exec sleep 600") as process:
        read_until(process.stdout, b"ready\n")
        process.terminate()
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
    assert cli.last("nightly") == ("failure", "SIGTERM")


def test_an_interrupted_run_is_cancelled(cli):
    """SIGINT to us ends the command; a shell that reports it with 130 means the same."""
    for command in "exec sleep 600", 'trap "exit 130" INT; sleep 600 & wait':
        with cli.start("run", "nightly", "--", "sh", "-c", f"echo ready; {command}") as process:
            read_until(process.stdout, b"ready\n")
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 130
        assert cli.last("nightly") == ("cancelled", None)


def test_ctrl_c_at_a_terminal_reaches_the_command_once(cli):
    """The terminal signals the whole group; the command does not get it from us as well."""
    ours, theirs = os.openpty()
    take_terminal = (
        "import os, fcntl, sys, termios; os.setsid();"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    control = [*PYTHON, take_terminal]
    elsewhere = "import os; os.setpgid(0, 0)" + TELL  # where the terminal's own cannot reach it
    with cli.start(
        "run", "nightly", "--", *PYTHON, elsewhere, wrapper=control, stdin=theirs
    ) as process:
        os.close(theirs)
        read_until(process.stdout, b"ready\n")
        os.write(ours, b"\x03")
        process.terminate()
        assert process.stdout.read() == b"SIGTERM\n"
    os.close(ours)
    assert process.returncode == 9


def test_ctrl_c_while_an_alert_is_being_sent(cli):
    """Leaves at once with the command's code; the alert waits."""
    arrived, notified = os.pipe()

    def behave(connection, stop):
        os.write(notified, b"asked\n")
        stop.wait()

    with serve(behave) as server, os.fdopen(arrived, "rb", 0) as arrival:
        cli.environ["CRONGUARD_WEBHOOK_URL"] = server.url
        command = ["sh", "-c", "exit 4"]
        with cli.start("run", "nightly", "--threshold", "1", "--", *command) as process:
            read_until(arrival, b"asked\n")
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=PATIENCE)
    os.close(notified)
    assert process.returncode == 4
    assert b"Traceback" not in err
    store = cli.store
    assert [alert.state for alert in store.alerts()] == ["pending"]
    store.close()


def test_a_killed_command_is_seen_at_once(cli, how):
    """Even if a process that it left behind holds its output open."""
    leave = (
        "import os, subprocess, time; n = subprocess.DEVNULL\n"
        "child = subprocess.Popen(['sleep', '600'], stdout=n)\n"
        "print(os.getpid(), child.pid, flush=True); time.sleep(600)"
    )
    with cli.start("run", *how, "nightly", "--", *PYTHON, leave) as process:
        command, left_behind = map(int, read_until(process.stdout, b"\n").split())
        try:
            os.kill(command, signal.SIGKILL)
            assert process.wait(PATIENCE) == 137
            assert cli.last("nightly") == ("failure", "SIGKILL")
        finally:
            kill(left_behind)


def test_those_left_behind_do_not_hold_up_the_end(cli):
    """A background process that keeps standard error open delays neither the end nor its news."""
    cli.environ |= CAPTURED
    leave = "sleep 600 >/dev/null & echo $!; exit 3"
    with cli.start("run", "nightly", "--", "sh", "-c", leave) as process:
        left_behind = int(read_until(process.stdout, b"\n"))
        try:
            assert process.wait(PATIENCE) == 3
            assert cli.last("nightly") == ("failure", "3")
        finally:
            kill(left_behind)
        assert process.stderr.read() == b""  # which ends when nobody is left who may write


def test_what_those_left_behind_write_is_not_lost(cli, how):
    """It goes where standard error goes, after the end of the run too, and needs no program."""
    cli.environ["PATH"] = str(cli.folder)
    os.mkfifo(cli.folder / "go")
    leave = "(read line < go; echo late >&2) & echo early >&2; exit 3"
    with cli.start("run", *how, "nightly", "--", "/bin/sh", "-c", leave) as process:
        assert process.wait(PATIENCE) == 3
        read_until(process.stderr, b"early\n")
        with (cli.folder / "go").open("w") as go:
            go.write("now\n")
        assert process.stderr.read() == b"late\n"


def test_those_left_behind_may_go_on_writing(cli):
    """A background process is not killed by SIGPIPE because the run that started it is over."""
    cli.environ |= CAPTURED
    os.mkfifo(cli.folder / "go")
    os.mkfifo(cli.folder / "news")
    later = "cat go; for n in $(seq 2000); do echo 'a line of nothing' >&2; done; echo alive > news"
    leave = 'sh -c "$1" >/dev/null & exit 0'
    with (
        os.fdopen(os.open(cli.folder / "news", os.O_RDONLY | os.O_NONBLOCK), "rb", 0) as news,
        cli.start("run", "nightly", "--", "sh", "-c", leave, "sh", later) as process,
    ):
        assert process.wait(PATIENCE) == 0
        with (cli.folder / "go").open("w") as go:
            go.write("now\n")
        assert read_until(news, b"\n") == b"alive\n"


def test_where_signals_do_not_tell_who_sent_them(monkeypatch):
    """As on macOS: they are waited for all the same, and for a limited time."""
    monkeypatch.delattr(signal, "sigtimedwait")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        assert wait_for_signal({signal.SIGINT}, 0) is None
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        assert wait_for_signal({signal.SIGINT}, PATIENCE) == (signal.SIGINT, None, False)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
