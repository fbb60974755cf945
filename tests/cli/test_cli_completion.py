"""Completion as the README and ``--help`` say to set it up, in the shells themselves."""

import os
import re
import sys
from pathlib import Path

import pytest
from support.cli import Cli
from support.debian import program
from support.terminal import Terminal

from cronguard.cli import cli as root

pytestmark = pytest.mark.one_python

SHELLS = {
    "bash": (["--norc", "--noprofile"], "PS1='re''ady> '\n"),
    "zsh": (["-f"], "PS1='re''ady> '; autoload -Uz compinit; compinit -u\n"),
    "fish": (["--no-config"], "function fish_prompt; echo -n re''ady'> '; end\n"),
}


@pytest.fixture(
    params=["bash", *(pytest.param(each, marks=pytest.mark.long) for each in ("zsh", "fish"))]
)
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
