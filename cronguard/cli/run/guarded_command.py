"""A command as one run: recorded, started, waited for, judged."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cronguard.cli.output.lines import leave_interrupted, print_error
from cronguard.cli.run.ended import Ended
from cronguard.core.model import EndStatus, Failure
from cronguard.guarding.recording import Recording, exported, prepare
from cronguard.process.threads import wait_for_our_threads
from cronguard.runtime.composition import current
from cronguard.runtime.runtime import RUN_VARIABLE, Guarded
from cronguard.settings.options import DEFAULT, NONE, check_options

if TYPE_CHECKING:
    from cronguard.cli.run.child import Child
    from cronguard.settings.types import Settings

NOT_EXECUTABLE = 126
NOT_FOUND = 127
SIGNALLED = 128
OVERLAPPED = 75
NO_ZONE = (
    "the time zone of this host has no name that can be found, so --schedule is left out, and the"
    " command runs: name it, as in --timezone Europe/Oslo"
)
"""EX_TEMPFAIL of sysexits.h: it may be tried again."""
_SHELL_WORDS = frozenset({"cd", "exec", "export", "if", "for", "set", "source", "ulimit", "while"})


def run_guarded(child: Child, given: dict[str, Any], unclear: frozenset[str], name: str) -> int:
    """Run a command as a run of ``given["job"]``, unrecorded without one; return the exit code.

    Args:
        child: The command, entered: signals are held back from before the run is recorded until
            after it has ended. Once it has, none changes the exit code.
        given: The options of the job that were given, as written; each is valid.
        unclear: Options that were given a wrong value.
        name: The first word of the command.
    """
    recording = prepare(_guarded(given, unclear)) if "job" in given else Recording()
    recording.start()
    code = _skip(recording) if recording.skipped else _run(child, recording, name)
    try:
        with child.interruptible():
            child.wait_until_handed_on()
            wait_for_our_threads()
    except KeyboardInterrupt:
        leave_interrupted(code)
    return code


def _guarded(given: dict[str, Any], unclear: frozenset[str]) -> Guarded:
    """Return the job that the options give; a schedule without time zone gets this host's."""
    options = check_options(given, "command")
    takes_back = given.get("timezone") in (DEFAULT, NONE)
    if takes_back:
        del options["timezone"]
    elif "timezone" in options or options.get("schedule") is None or unclear:
        return Guarded(options, "command", unclear)
    with contextlib.suppress(Exception):  # `prepare` says what is wrong
        if takes_back or not _names_timezone(current().settings, options["job"]):
            from cronguard.settings.host_zone import host_zone  # few jobs have a schedule

            zone = host_zone(os.environ)
            if zone is None:
                print_error(NO_ZONE)
                unclear = frozenset({"timezone"})
            else:
                options["timezone"] = zone
    return Guarded(options, "command", unclear)


def _names_timezone(settings: Settings, job: str) -> bool:
    """Tell whether settings name the job's time zone, be it a wrong one."""
    return "timezone" in settings.jobs.get(job, {}) or "timezone" in settings.unclear.get(job, ())


def _skip(recording: Recording) -> int:
    return print_error(recording.overlap, code=OVERLAPPED) if recording.raises_overlap else 0


def _run(child: Child, recording: Recording, name: str) -> int:
    recording.prepare()  # the files may be others when the command has ended
    try:
        ended = child.run(_variables(recording), keep_stderr=_keeps_message(recording))
    except OSError as error:
        ended = Ended(_not_started(name, error))
    recording.end_as(*_judge(recording, ended, child.stderr_tail()))
    return ended.code if ended.code >= 0 else SIGNALLED - ended.code


def _variables(recording: Recording) -> dict[str, str]:
    if not recording.live or recording.run is None:
        return {}
    return {RUN_VARIABLE: exported(recording.run)}


def _keeps_message(recording: Recording) -> bool:
    """Tell whether anything of standard error is kept; else it stays the command's own."""
    settings = _settings(recording)
    return settings is not None and settings.redact != "strict"


def _settings(recording: Recording) -> Settings | None:
    return current().settings if recording.live else None


def _not_started(name: str, error: OSError) -> int:
    if isinstance(error, FileNotFoundError) or not name or _is_nowhere(name):
        there = os.path.lexists(name) and os.sep in name
        what = "the interpreter it names is not there" if there else "it was not found"
        hint = "correct its first line" if there else "give its full path, or set PATH"
        if not there and " " in name:
            hint = "leave out the quotes around it; a line for the shell is written sh -c 'LINE'"
        elif name in _SHELL_WORDS:
            hint = "it is the shell's own; a line for the shell is written sh -c 'LINE'"
        print_error(f"cannot run {name!r}: {what}; {hint}")
        return NOT_FOUND
    if isinstance(error, PermissionError):
        folder = Path(name).is_dir()
        what = "it is a folder" if folder else "it is not an executable file"
        hint = "name the file in it that is to run" if folder else "make it one with chmod +x"
        print_error(f"cannot run {name!r}: {what}; {hint}")
    else:
        reason = os.strerror(error.errno).lower() if error.errno else "it holds a null character"
        print_error(f"cannot run {name!r}: {reason}")
    return NOT_EXECUTABLE


def _is_nowhere(name: str) -> bool:
    """Return whether no folder of PATH has the command, those that we may not enter apart."""
    return os.sep not in name and shutil.which(name, os.F_OK) is None


def _judge(recording: Recording, ended: Ended, tail: str) -> tuple[EndStatus, Failure | None]:
    if ended.code == 0:
        return "success", None
    if -ended.code == signal.SIGINT or (
        ended.interrupted and ended.code == SIGNALLED + signal.SIGINT
    ):
        return "cancelled", None
    return "failure", _failure(_settings(recording), ended.code, tail)


def _failure(settings: Settings | None, code: int, tail: str) -> Failure:
    from cronguard.privacy.capture import capture_output, exit_failure

    if settings is not None and tail:
        with contextlib.suppress(Exception):  # whatever redaction runs into, the run is recorded
            return capture_output(tail, code, redact=settings.redact, keep=settings.redact_keep)
    return exit_failure(code)
