"""What a remote store last said of each job, for this host to go on with: a small file a job."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from urllib.parse import quote

from cronguard.core.model import JobState
from cronguard.stores.spool.values import state_of, state_text

_AT_LEAST_EVERY = 1.0
"""Seconds: a state that differs only by its last success is not written more often."""


class LastKnown:
    """States by job, in memory and in ``folder``. Never raises: to know nothing is allowed.

    The folder is shared by the processes of this host; what any of them was told last counts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._states: dict[str, tuple[JobState, int]] = {}
        """With when it was said, in nanoseconds."""
        self._written: dict[str, tuple[JobState, float]] = {}

    def note(self, job: str, state: JobState | None, *, keep: bool) -> None:
        """The store has said so. ``keep`` it for other processes too, or for this one only."""
        if state is None:
            return
        self._states[job] = state, time.time_ns()
        if keep and not self._is_written(job, state):
            with contextlib.suppress(OSError, ValueError):
                self._write(job, *self._states[job])
                self._written[job] = (state, time.monotonic())

    def get(self, job: str) -> JobState | None:
        """What was said last; None if nothing ever was, or it cannot be read."""
        own, since = self._states.get(job, (None, -1))
        path = self._path(job)
        try:
            if path.stat().st_mtime_ns > since:
                return state_of(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return own

    def forget(self, job: str) -> None:
        """Nothing is known of it any more."""
        self._states.pop(job, None)
        self._written.pop(job, None)
        with contextlib.suppress(OSError, ValueError):
            self._path(job).unlink()

    def _is_written(self, job: str, state: JobState) -> bool:
        before, at = self._written.get(job, (None, 0.0))
        if before is None:
            return False
        alike = before._replace(
            last_success_at=state.last_success_at, last_counted_run=state.last_counted_run
        )
        return alike == state and time.monotonic() - at < _AT_LEAST_EVERY

    def _write(self, job: str, state: JobState, since: int) -> None:
        path = self._path(job)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        text = state_text(state).encode("utf-8")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0)
        try:
            descriptor = os.open(draft, flags, 0o600)
        except FileNotFoundError:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(draft, flags, 0o600)
        try:
            os.write(descriptor, text)
            os.utime(draft, ns=(since, since))  # the kernel's own stamp is milliseconds behind
        finally:
            os.close(descriptor)
        draft.replace(path)

    def _path(self, job: str) -> Path:
        return self._folder / f"{quote(job, safe='')}.json"
