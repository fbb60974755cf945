"""The context manager `guard`, which makes a block of code a run, also with ``async with``."""

from __future__ import annotations

import sys
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, NoReturn, Unpack

from cronguard.core.errors import ConfigError, JobOverlap
from cronguard.guarding.call import asyncio_task, end, start, warn_of_retry
from cronguard.guarding.recording import Recording, new_recording
from cronguard.runtime.runtime import Guarded
from cronguard.settings.options import check_options

if TYPE_CHECKING:
    from cronguard.settings.options import JobOptions


class guard:  # noqa: N801  # used like a function: ``with guard(job="…")``
    """Guard a block: ``with guard("nightly_export") as run:``, or ``async with``.

    Takes the options of `cron_guarded`; the job's name stands in front or as ``job``.
    ``run.run_id`` is the id of the run, None if it is not recorded.

    Raises:
        ConfigError: An option is wrong, or there is no name.
        JobOverlap: On entering, if another run holds the job and ``overlap`` is not ``"allow"``.
    """

    def __init__(self, name: str | None = None, /, **options: Unpack[JobOptions]) -> None:
        if name is not None:
            if options.get("job") not in (None, name):
                raise ConfigError("guard has two names for one job: leave out job=")
            options["job"] = name
        checked = check_options(dict(options))
        if checked.get("job") is None:
            raise ConfigError('guard needs a name for the job: write guard("nightly_export")')
        self._guarded = Guarded(checked)
        self._open: list[tuple[object, Recording]] = []

    def __call__(self, *_: object) -> NoReturn:
        """Refuse to be a decorator.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            "guard is for a block, as in `with guard(...)`, and decorates nothing: "
            "put @cron_guarded(job=...) on a function"
        )

    def __enter__(self) -> GuardedRun:
        recording = new_recording(self._guarded)
        try:
            recording.start()
            return self._enter_run(recording)
        except BaseException as error:
            recording.end(error)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        recording = self._take_run()
        try:
            if error is not None:
                warn_of_retry(recording, error, _caller_of(sys._getframe().f_back))  # noqa: SLF001
            recording.close(error)
        except BaseException:
            recording.close(error)  # a signal handler may have raised before it was done
            raise

    async def __aenter__(self) -> GuardedRun:
        recording = new_recording(self._guarded)
        try:
            await start(recording)
            return self._enter_run(recording)
        except BaseException as error:
            await end(recording, error)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        recording = self._take_run()
        recording.leave()
        try:
            if error is not None:
                warn_of_retry(recording, error, _caller_of(sys._getframe().f_back))  # noqa: SLF001
        finally:
            await end(recording, error)

    def _enter_run(self, recording: Recording) -> GuardedRun:
        job = self._guarded.options["job"]
        if recording.skipped:
            raise JobOverlap(recording.overlap)
        recording.enter()
        self._open.append((_thread_and_task(), recording))
        return GuardedRun(job, recording.run.run_id if recording.run else None)

    def _take_run(self) -> Recording:
        """Return the run entered last in this thread or task, and forget it.

        One guard may be entered by several threads and tasks.
        """
        here = _thread_and_task()
        for index in range(len(self._open) - 1, -1, -1):
            if self._open[index][0] == here:
                return self._open.pop(index)[1]
        if not self._open:
            raise RuntimeError(
                f"{self!r} was left without being entered: use it in a with statement"
            )
        return self._open.pop()[1]  # entered in one task and left in another

    def __repr__(self) -> str:
        return f"guard(job={self._guarded.options['job']!r})"


def _thread_and_task() -> object:
    return threading.get_ident(), id(asyncio_task())


def _caller_of(block: FrameType | None) -> FrameType | None:
    """Return who called the function that holds the block; None if C code left it."""
    return block.f_back if block is not None else None


class GuardedRun:
    """The run that ``with guard(...) as run`` gives to its block."""

    __slots__ = ("job", "run_id")

    def __init__(self, job: str, run_id: str | None) -> None:
        self.job = job
        self.run_id = run_id
        """The id of the run's row; None if it is not recorded (the job inside itself)."""

    def __repr__(self) -> str:
        return f"<run {self.run_id} of {self.job}>"
