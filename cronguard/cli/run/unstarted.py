"""Why a command could not be started, for whoever reads standard error and for the log."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from cronguard.core.text import may_be_secret

NOT_EXECUTABLE = 126
NOT_FOUND = 127
_SHELL_WORDS = frozenset({"cd", "exec", "export", "if", "for", "set", "source", "ulimit", "while"})
_PROGRAM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,59}")
_A_LINE = "leave out the quotes around it; a line for the shell is written sh -c 'LINE'"


class Unstarted(NamedTuple):
    """A command that could not be started."""

    code: int
    """A shell's exit code."""
    said: str
    """A line that says what to do."""
    kept: str
    """What is recorded and sent: of the command line no more than the program's name."""


def why_not_started(name: str, error: OSError) -> Unstarted:
    """Return why the system did not start ``name``, the first word of a command."""
    if isinstance(error, FileNotFoundError) or not name or _is_nowhere(name):
        return _not_found(name)
    if isinstance(error, PermissionError):
        folder = Path(name).is_dir()
        what = "it is a folder" if folder else "it is not an executable file"
        hint = "name the file in it that is to run" if folder else "make it one with chmod +x"
        kept = "a folder, not a program" if folder else "not an executable file"
    else:
        reason = os.strerror(error.errno).lower() if error.errno else "it holds a null character"
        what, hint, kept = reason, "", f"cannot be executed ({reason})"
    said = "; ".join(filter(None, (f"cannot run {name!r}: {what}", hint)))
    return Unstarted(NOT_EXECUTABLE, said, f"{kept}: {_shown(name)}")


def _not_found(name: str) -> Unstarted:
    kept = f"command not found: {_shown(name)}"
    what, hint = "it was not found", "give its full path, or set PATH"
    if os.sep in name and os.path.lexists(name):
        what, hint = "the interpreter it names is not there", "correct its first line"
        kept = f"the interpreter that the first line names is not there: {_shown(name)}"
    elif " " in name:
        hint = _A_LINE
        kept = "command not found: its whole line stands in quotes"
    elif name in _SHELL_WORDS:
        hint = "it is the shell's own; a line for the shell is written sh -c 'LINE'"
    return Unstarted(NOT_FOUND, f"cannot run {name!r}: {what}; {hint}", kept)


def _shown(name: str) -> str:
    """Return the program's name without folders, masked unless it looks like one."""
    program = name.rpartition(os.sep)[2]
    return program if _PROGRAM.fullmatch(program) and not may_be_secret(program) else "‹…›"


def _is_nowhere(name: str) -> bool:
    """Return whether no folder of PATH has the command, those that we may not enter apart."""
    return os.sep not in name and shutil.which(name, os.F_OK) is None


__all__ = ["Unstarted", "why_not_started"]
