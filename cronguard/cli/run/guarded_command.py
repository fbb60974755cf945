"""A command as one run: recorded, started, waited for, judged."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cronguard.cli.output.lines import print_error
from cronguard.cli.run.child import Child, Ended, take_standard_streams
from cronguard.cli.run.stderr import Relay
from cronguard.core.model import EndStatus, Failure
from cronguard.guarding.recording import Recording, exported, prepare
from cronguard.runtime.composition import current
from cronguard.runtime.runtime import RUN_VARIABLE, Guarded

if TYPE_CHECKING:
    from cronguard.settings.types import Settings

NOT_EXECUTABLE = 126
NOT_FOUND = 127
SIGNALLED = 128


def run_guarded(options: dict[str, Any], command: Sequence[str], *, keep_output: bool) -> int:
    """Run ``command`` as a run of ``options["job"]``; returns the exit code to end with.

    Signals are held back from before the run is recorded until after it has ended, so that none is
    lost: those meant for the command are handed to it.
    """
    take_standard_streams()
    ended: Ended | None = None
    try:
        with Child() as child:
            recording = prepare(Guarded(options, "command"))
            recording.start()
            if recording.skipped:
                return 0
            recording.prepare()
            relay = _relay(recording, wanted=keep_output)
            try:
                ended = child.run(command, _environment(recording), relay)
            except (OSError, ValueError) as error:
                ended = Ended(_not_started(command[0], error))
            recording.end_as(*_judge(recording, ended, relay.stop() if relay else ""))
        if relay:
            relay.finish()
    except KeyboardInterrupt:  # after the command's end: its own code still counts
        if ended is None:
            raise
    return ended.code if ended.code >= 0 else SIGNALLED - ended.code


def _environment(recording: Recording) -> Mapping[str, str]:
    if not recording.live or recording.run is None:
        return os.environ
    return {**os.environ, RUN_VARIABLE: exported(recording.run)}


def _settings(recording: Recording) -> Settings | None:
    return current().settings if recording.live else None


def _relay(recording: Recording, *, wanted: bool) -> Relay | None:
    """Standard error stays the command's own unless something of it is to be kept."""
    settings = _settings(recording)
    if not wanted or settings is None or settings.redact == "strict" or sys.platform == "win32":
        return None
    try:
        return Relay(2)
    except (OSError, RuntimeError):  # no descriptors or no threads left: the command comes first
        return None


def _not_started(name: str, error: Exception) -> int:
    if isinstance(error, FileNotFoundError) or not name or _is_nowhere(name):
        there = os.path.lexists(name) and os.sep in name
        what = "the interpreter it names is not there" if there else "it was not found"
        hint = "correct its first line" if there else "give its full path, or set PATH"
        print_error(f"cannot run {name!r}: {what}; {hint}")
        return NOT_FOUND
    if isinstance(error, PermissionError):
        print_error(f"cannot run {name!r}: it is not an executable file; see chmod +x")
    else:
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number).lower() if number else "it holds a null character"
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
