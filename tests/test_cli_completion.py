"""Completion as the README and ``--help`` say to set it up, in the shells themselves."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.cli import PATIENCE, Cli
from support.debian import program

from cronguard.cli import cli as root

SHELLS = {
    "bash": (["--norc", "--noprofile"], "PS1='re''ady> '\n"),
    "zsh": (["-f"], "PS1='re''ady> '; autoload -Uz compinit; compinit -u\n"),
    "fish": (["--no-config"], "function fish_prompt; echo -n re''ady'> '; end\n"),
}
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()].|\x1b[=>]|[\x00-\x09\x0b-\x1a\x7f]")


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command, environ, folder):
        self.said = ""
        self.master, own = pty.openpty()
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), own)
        # Not pty.fork(), which a process with threads is warned of.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command], env=environ, cwd=folder, **streams
        )
        os.close(own)

    def type(self, text):
        os.write(self.master, text.encode())

    def wait_for(self, text):
        """Fails, with what was there instead, unless ``text`` comes; drops what came."""
        give_up = time.monotonic() + PATIENCE
        while text not in self.said:
            left = give_up - time.monotonic()
            assert left > 0, repr(self.said)
            if select.select([self.master], [], [], left)[0]:
                data = os.read(self.master, 4096).decode(errors="replace")
                self.said = CONTROLS.sub("", self.said + data)
        self.said = self.said.partition(text)[2]

    def close(self):
        os.close(self.master)  # which hangs up on it
        self.process.wait(PATIENCE)


@pytest.fixture(params=SHELLS)
def shell(request, tmp_path):
    """A shell with completion, in which `cronguard` is ours and has run two jobs."""
    cli = Cli(tmp_path)
    for job in ("nightly", "hourly"):
        assert cli("run", job, "--", "true").returncode == 0
    options, prepare = SHELLS[request.param]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = cli.environ | {"PATH": path, "TERM": "vt100", "XDG_CONFIG_HOME": str(tmp_path)}
    terminal = Terminal([program(request.param), *options], environ, tmp_path)
    (line,) = re.findall(rf"^  {request.param} +(.*)$", root.epilog, re.MULTILINE)
    terminal.type(prepare)
    terminal.wait_for("ready> ")
    terminal.type(f"{line}\n")
    terminal.wait_for("ready> ")
    yield terminal
    terminal.close()


def test_the_tab_key(shell):
    """It completes commands, the names of jobs and options."""
    for typed, completed in (
        ("cronguard snoo", "ze"),
        ("nig", "htly"),
        ("--unt", "il"),
    ):
        shell.type(typed)
        shell.wait_for(typed)
        shell.type("\t")
        shell.wait_for(f"{completed} ")
