"""What a remote store last said of each job, for this host to go on with: a small file a job."""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from cronguard.core.model import JobState, Run
from cronguard.process.signals import make_folder, tolerate
from cronguard.stores.spool.values import readable, run_of, run_text, state_of, state_text

_AT_LEAST_EVERY = 1.0
"""Seconds: a state that differs only by its last success is not written more often."""


class Known(NamedTuple):
    """What is known of a job without asking its store."""

    state: JobState | None = None
    """As the store answered last; None if it never did."""
    holder: Run | None = None
    """A run of this host that holds the job, as its process noted; None for none. Its lease counts
    from ``started_at``, which is when that was noted."""


class LastKnown:
    """What is known of each job, in memory and in ``folder`` (None for in memory only).

    The folder is shared by the processes of this host; what any of them learned last counts.
    Nothing is raised: to know nothing is allowed.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._states: dict[str, tuple[JobState, int]] = {}
        """With when it was said, in nanoseconds."""
        self._written: dict[str, tuple[JobState, float]] = {}
        self._held: dict[str, Run] = {}

    def note(self, job: str, state: JobState | None, *, keep: bool) -> None:
        """Note what the store said; with ``keep`` for other processes too."""
        if state is None:
            return
        self._states[job] = state, time.time_ns()
        if keep and not self._is_written(job, state):
            self._write(job)

    def hold(self, run: Run, *, lease: float) -> None:
        """Note for other processes that a run goes on, for so many seconds if nobody can tell."""
        self._held[run.job] = run._replace(
            started_at=datetime.now(UTC), channels=(), stated=(), lease=lease
        )
        self._write(run.job)

    def release(self, run: Run) -> None:
        """Note that a run is over, if `hold` was called for it."""
        held = self._held.get(run.job)
        if held is not None and held.run_id == run.run_id:
            del self._held[run.job]
            self._write(run.job)

    def get(self, job: str) -> Known:
        """Return what is known; nothing if nothing ever was, or it cannot be read."""
        own, since = self._states.get(job, (None, -1))
        found = self._read(job, since)
        if found is None:
            return Known(own, self._held.get(job))
        text, is_newer = found
        state = (readable(state_of, text) if is_newer else None) or own
        return Known(state, readable(_holder_of, text))

    def forget(self, job: str) -> None:
        """Forget what is known of a job."""
        self._states.pop(job, None)
        self._written.pop(job, None)
        if self._folder is not None:
            with tolerate(OSError, ValueError):
                _path(self._folder, job).unlink()

    def _read(self, job: str, since: int) -> tuple[str, bool] | None:
        """Return what the file says, and whether it was said later than ``since``."""
        if self._folder is None:
            return None
        path = _path(self._folder, job)
        with tolerate(OSError, ValueError):
            return path.read_text(encoding="utf-8"), path.stat().st_mtime_ns > since
        return None

    def _is_written(self, job: str, state: JobState) -> bool:
        before, at = self._written.get(job, (None, 0.0))
        if before is None:
            return False
        alike = before._replace(
            last_success_at=state.last_success_at, last_counted_run=state.last_counted_run
        )
        return alike == state and time.monotonic() - at < _AT_LEAST_EVERY

    def _write(self, job: str) -> None:
        if self._folder is None:
            return
        state, since = self._states.get(job, (None, time.time_ns()))
        facts = json.loads(state_text(state)) if state else {}
        if holder := self._held.get(job):
            facts["holder"] = json.loads(run_text(holder))
        with tolerate(OSError, ValueError):
            _replace(_path(self._folder, job), json.dumps(facts).encode("utf-8"), since)
            if state is not None:
                self._written[job] = state, time.monotonic()


def _replace(path: Path, text: bytes, since: int) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(draft, flags, 0o600)
    except FileNotFoundError:
        make_folder(path.parent)
        descriptor = os.open(draft, flags, 0o600)
    try:
        os.write(descriptor, text)
        os.utime(draft, ns=(since, since))  # the kernel's own stamp is milliseconds behind
    finally:
        os.close(descriptor)
    draft.replace(path)


def _path(folder: Path, job: str) -> Path:
    return folder / f"{quote(job, safe='')}.json"


def _holder_of(text: str) -> Run | None:
    found = json.loads(text).get("holder")
    return run_of(json.dumps(found)) if found else None
