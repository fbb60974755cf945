"""The command line as a whole: help, errors, exit codes, and what it loads."""

import ast
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from support import readme
from support.cli import PATIENCE, Cli, Here, read_until

from cronguard import __version__
from cronguard.cli import cli as root
from cronguard.cli.commands import history


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    return Here(tmp_path, monkeypatch, capsys)


def every_command(group=root, path=("cronguard",)):
    """(path, command) of all there is."""
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            yield (*path, name), command
            if isinstance(command, click.Group):
                yield from every_command(command, (*path, name))


COMMANDS = {" ".join(path): command for path, command in every_command()}


# --- help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_and_option_has_help(path):
    """A sentence first, an example, and a word about each option."""
    command = COMMANDS[path]
    first, *rest = (command.help or "").split("\n\n")
    assert re.fullmatch(r"[A-Z].*\.", first), "help begins with a sentence"
    assert rest
    assert "cronguard" in "".join(rest), "help shows an example"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert re.fullmatch(r"[A-Z].*\.(  \[.*\])?", parameter.help), parameter.help


@pytest.mark.parametrize("path", COMMANDS)
def test_the_list_of_commands_says_what_their_help_says(path):
    """The one-line help is kept apart, so that listing loads nothing: the two agree."""
    *parent, name = path.split()
    group = root if len(parent) == 1 else COMMANDS[" ".join(parent)]
    listed = dict(group.one_liners(click.Context(group)))
    assert listed[name] == COMMANDS[path].help.split("\n\n")[0]


@pytest.mark.parametrize("path", ["cronguard", *COMMANDS])
def test_help_can_be_shown(here, path):
    """``--help`` and ``-h`` of everything; exit 0; nothing wider than a terminal but examples."""
    args = path.split()[1:]
    done = here(*args, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: {path} ")
    assert here(*args, "-h").stdout == done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_without_arguments_there_is_help(here):
    """``cronguard`` alone is a question."""
    assert here().stdout == here("--help").stdout


def test_the_readme_names_commands_that_exist():
    """And options that they have."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in readme.pages())
    used = re.findall(r"cronguard ([a-z][a-z-]+)((?: +[^\n`|#]*)?)", pages)
    shell = [(name, rest) for name, rest in used if f"cronguard {name}" in COMMANDS]
    for name, rest in shell:
        own = rest.split(" -- ")[0]
        options = {
            opt
            for p in COMMANDS[f"cronguard {name}"].params
            for opt in (*p.opts, *p.secondary_opts)
        }
        subcommands = {
            o
            for c, v in COMMANDS.items()
            if c.startswith(f"cronguard {name} ")
            for p in v.params
            for o in p.opts
        }
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", own):
            assert option in options | subcommands | {"--help"}, f"cronguard {name} {option}"


def test_version(here):
    """The version and nothing else."""
    assert here("--version").stdout == f"cronguard {__version__}\n"


# --- what is loaded -------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [["--version"], ["--help"], ["--nonsense"]])
def test_nothing_is_loaded_that_is_not_needed(args):
    """No command's module, no store, no settings, no third-party module but click."""
    code = f"""
import sys
from cronguard.cli import main
main({args!r})
mine = {{name for name in sys.modules if name.startswith("cronguard")}}
print("LOADED", sorted(mine), [n for n in ("httpx", "sqlite3", "rich", "wrapt", "json", "logging",
      "importlib.metadata", "tomllib", "asyncio") if n in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    loaded = done.stdout.partition("LOADED ")[2]
    allowed = ["cronguard", "core", "errors", "install", "text", "process", "log", "signals"]
    allowed += ["cli", "app", "groups", "output", "lines", "hidden", "stderr"]
    if args == ["--nonsense"]:
        allowed += ["rendering", "model", "clock"]
        loaded = loaded.replace("'json'", "").replace("'logging'", "")
    mine, others = loaded.split("] [")
    assert {name.rpartition(".")[2] for name in ast.literal_eval(mine + "]")} <= set(allowed)
    assert ast.literal_eval("[" + others.replace(", ,", ",").lstrip(", ")) == []


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["statsu"], "there is no command 'statsu' (did you mean 'status'?); see cronguard --help"),
        (["frobnicate"], "there are run, status, history, alerts, report,"),
        (["status", "--jason"], "there is no option '--jason' (did you mean '--json'?); see"),
        (
            ["status", "--xyz"],
            "there is no option '--xyz': it takes --failing, --all, --watch, --json, --help;",
        ),
        (["prune"], "missing option '--keep' (Keep runs that ended within this time: 90d, 12w)"),
        (["init", "sqllite"], "did you mean 'sqlite'?"),
        (["history"], "JOB"),
        (["history", "a", "b"], "b"),
        (["history", "a", "--limit", "many"], "many"),
        (["--nonsense"], "there is no option '--nonsense': it takes --version, --help; see"),
        (["check", "--since"], "there is no option '--since': it takes --quiet, --json, --help"),
        (["history", "a", "--sinze", "2h"], "(did you mean '--since'?)"),
        (["init"], "missing command: there are sqlite, postgres, supabase; see cronguard init"),
        (["history", "a", "--limit", "0"], "0 is not a whole number from 1 to 100,000; see"),
    ],
)
def test_wrong_usage(here, args, said):
    """One line on stderr, exit 2, with what was probably meant."""
    done = here(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.startswith("cronguard: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "args",
    [
        ["status"],
        ["history", "nightly"],
        ["test-alert"],
        ["prune", "--keep", "90d"],
        ["snooze", "nightly", "--for", "2h"],
        ["unlock", "nightly"],
        ["init", "sqlite"],
    ],
    ids=lambda args: args[0],
)
def test_wrong_settings(here, args):
    """Every fault is a line that says where, what and what to do; exit 2; nothing is done."""
    literal = "https://hooks.slack.com/services/T00/B00/hunter2"
    (here.folder / "cronguard.toml").write_text(
        f'chanels = ["slack"]\n[channel.slack]\nwebhook_url = "{literal}"\n'
    )
    done = here(*args)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("cronguard: cronguard.toml") for line in lines)
    assert "did you mean 'channels'?" in done.stderr
    assert "CRONGUARD_SLACK_WEBHOOK_URL" in done.stderr
    assert "hunter2" not in done.stderr


def test_a_store_that_is_down(here):
    """One line, exit 1."""
    here.path.mkdir()
    done = here("status")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cronguard: ")
    assert done.stderr.count("\n") == 1


def test_a_mistake_of_ours(here, monkeypatch):
    """Is one line with its type and place, and nothing of its text, which may hold a secret."""

    def broken(*_):
        raise RuntimeError("hunter2")

    monkeypatch.setattr(history, "health_of", broken)
    done = here("history", "nightly")
    assert done.returncode == 1
    assert re.fullmatch(
        r"cronguard: internal error, RuntimeError at cronguard\.cli\.commands\.history:\d+: .*\n",
        done.stderr,
    )
    assert "hunter2" not in done.stderr


# --- processes ------------------------------------------------------------------------------------


def test_nobody_reads_the_output(tmp_path):
    """``cronguard status | head`` is quiet about it."""
    cli = Cli(tmp_path)
    reader, writer = os.pipe()
    os.close(reader)
    with cli.start("status", stdout=writer) as process:
        os.close(writer)
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize(
    "args",
    [
        ["status"],
        ["status", "--json"],
        ["channels"],
        ["init", "postgres", "--print"],
        ["init", "supabase", "--print"],
        ["--help"],
        ["status", "--help"],
        ["--version"],
    ],
)
def test_output_that_cannot_be_written(tmp_path, args):
    """A full disk is no mistake of ours: one line says what it is."""
    with Path("/dev/full").open("wb") as full:
        done = Cli(tmp_path)(*args, stdout=full)
    assert done.returncode == 1
    assert re.fullmatch(r"cronguard: the output cannot be written \(.+\): .+\n", done.stderr)


def test_output_that_is_closed(tmp_path):
    """Neither a closed standard output nor a closed standard error makes a traceback."""
    cli = Cli(tmp_path)
    closed = ["sh", "-c", 'exec "$@" >&-', "sh"]
    done = cli("status", wrapper=closed)
    assert (done.returncode, done.stderr) == (0, "")
    assert cli("statsu", wrapper=["sh", "-c", 'exec "$@" 2>&-', "sh"]).returncode == 2


def test_output_in_a_poor_encoding(tmp_path):
    """Marks have stand-ins, and what cannot be shown is replaced."""
    cli = Cli(tmp_path)
    done = cli("doctor", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0
    assert "ok cronguard: " in done.stdout
    assert done.stderr == ""


def test_ctrl_c_leaves_quietly(tmp_path):
    """130, no traceback, while a command waits for an endpoint that does not answer."""
    from support.hostile import serve

    cli = Cli(tmp_path)
    arrived, notified = os.pipe()

    def behave(connection, stop):
        os.write(notified, b"asked\n")
        stop.wait()

    with serve(behave) as server, os.fdopen(arrived, "rb", 0) as arrival:
        cli.environ["CRONGUARD_WEBHOOK_URL"] = server.url
        with cli.start("test-alert") as process:
            read_until(arrival, b"asked\n")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
    os.close(notified)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert out == b""


STRUCK_AT_CLICK = """
import sys

class Strike:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Strike())
"""


def test_ctrl_c_while_starting(tmp_path):
    """130 and no traceback even before anything of cronguard's own runs."""
    (tmp_path / "sitecustomize.py").write_text(STRUCK_AT_CLICK)
    cli = Cli(tmp_path)
    cli.environ["PYTHONPATH"] = f"{tmp_path}:{cli.environ.get('PYTHONPATH', '')}"
    done = cli("status")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("cronguard un", "unlock"),
        ("cronguard history ni", "nightly"),
        ("cronguard status ni", "nightly"),
        ("cronguard test-alert --channel cons", "console"),
        ("cronguard run --overlap s", "skip"),
        ("cronguard init s", "sqlite"),
    ],
)
def test_the_shell_is_helped(tmp_path, words, offered):
    """Commands, options, names of jobs and channels are completed."""
    here = Cli(tmp_path)
    here("run", "nightly", "--", "true")
    words = words.split()
    done = here(
        env={
            "_CRONGUARD_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(words),
            "COMP_CWORD": str(len(words) - 1),
        }
    )
    assert f"plain,{offered}" in done.stdout.splitlines()
    assert done.stderr == ""


def test_completion_is_silent_when_there_is_nothing_to_offer(tmp_path):
    """A store that is down is no news for somebody who pressed a key."""
    here = Cli(tmp_path)
    here.path.mkdir()
    environ = {"_CRONGUARD_COMPLETE": "bash_complete", "COMP_CWORD": "2"}
    done = here(env=environ | {"COMP_WORDS": "cronguard history n"})
    assert (done.stdout.strip(), done.stderr) == ("", "")
