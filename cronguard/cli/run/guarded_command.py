"""A command as one run: recorded, started, waited for, judged."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

from cronguard.cli.output.lines import leave_interrupted, print_error
from cronguard.cli.run.ended import Ended
from cronguard.cli.run.unstarted import why_not_started
from cronguard.core.model import EndStatus, Failure
from cronguard.guarding.recording import Recording, exported, new_recording
from cronguard.process.threads import wait_for_our_threads
from cronguard.runtime.composition import current
from cronguard.runtime.runtime import RUN_VARIABLE, Guarded
from cronguard.settings.options import DEFAULT, NONE, check_options

if TYPE_CHECKING:
    from cronguard.cli.run.child import Child
    from cronguard.settings.types import Settings

SIGNALLED = 128
OVERLAPPED = 75
"""EX_TEMPFAIL of sysexits.h: it may be tried again."""
NO_ZONE = (
    "the time zone of this host has no name that can be found, so --schedule is left out, and the"
    " command runs: name it, as in --timezone Europe/Oslo"
)


def run_guarded(child: Child, given: dict[str, Any], unclear: frozenset[str], name: str) -> int:
    """Run a command as a run of ``given["job"]``, unrecorded without one; return the exit code.

    Args:
        child: The command, entered: signals are held back from before the run is recorded until
            after it has ended. Once it has, none changes the exit code.
        given: The options of the job that were given, as written; each is valid.
        unclear: Options that were given a wrong value.
        name: The first word of the command.
    """
    recording = new_recording(_guarded(given, unclear)) if "job" in given else Recording()
    recording.start()
    code = _skip(recording) if recording.skipped else _run(child, recording, name)
    try:
        with child.interruptible():
            child.wait_until_relayed()
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
    with contextlib.suppress(Exception):  # `new_recording` says what is wrong
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
    recording.preload()  # the files may be others when the command has ended
    try:
        ended = child.run(_variables(recording), keep_stderr=_keeps_message(recording))
    except OSError as error:
        unstarted = why_not_started(name, error)
        print_error(unstarted.said)
        child.stderr_tail()  # which is waited for below
        kept = (unstarted.kept,)
        failure = _failure(_settings(recording), unstarted.code, unstarted.kept, keep=kept)
        recording.end_as("failure", failure)
        return unstarted.code
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


def _judge(recording: Recording, ended: Ended, tail: str) -> tuple[EndStatus, Failure | None]:
    if ended.code == 0:
        return "success", None
    if -ended.code == signal.SIGINT or (
        ended.interrupted and ended.code == SIGNALLED + signal.SIGINT
    ):
        return "cancelled", None
    return "failure", _failure(_settings(recording), ended.code, tail)


def _failure(
    settings: Settings | None, code: int, tail: str, *, keep: tuple[str, ...] = ()
) -> Failure:
    from cronguard.privacy.capture import capture_output, exit_failure

    if settings is not None and tail:
        with contextlib.suppress(Exception):  # whatever redaction runs into, the run is recorded
            return capture_output(
                tail, code, redact=settings.redact, keep=(*settings.redact_keep, *keep)
            )
    return exit_failure(code)
