"""One run, from its start to its committed outcome: one `Recording` per run, no shared state.

No error inside cronguard reaches the guarded program. What the store does not take waits, see
`cronguard.stores.spooled`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from cronguard.core.clock import new_id, readable
from cronguard.core.errors import CronguardError, StoreError
from cronguard.core.model import STREAK, EndStatus, Expectations, Failure, Outcome, Run, Started
from cronguard.process import log
from cronguard.process.identity import current_owner, is_dead
from cronguard.process.signals import interrupted_by_ctrl_c, raised_by_handler
from cronguard.runtime.composition import current
from cronguard.runtime.runtime import Guarded, Job, Runtime, say_unsent

_open_runs: ContextVar[tuple[Recording, ...]] = ContextVar("cronguard_open_runs", default=())
_reported_unrecorded: set[str] = set()
"""Jobs of which it was said that they fail and cannot be recorded."""
_CELERY_CONTROL_FLOW = frozenset({"Retry", "Ignore", "Reject"})
# Taken from `type` itself: a metaclass may define its own, which may raise.
_type_name: Any = type.__dict__["__name__"].__get__
_type_module: Any = type.__dict__["__module__"].__get__
_type_mro: Any = type.__dict__["__mro__"].__get__


class Recording:
    """A run as its process sees it.

    ``live`` is True from the start until the outcome is handed to the store. It stays False for a
    run that is not recorded: the same job entered inside itself, or an error inside cronguard.
    ``skipped`` is True if another run holds the job; ``overlap`` then says which.
    """

    __slots__ = (
        "_entered",
        "_runtime",
        "began",
        "channels",
        "expected",
        "job",
        "live",
        "overlap",
        "overrun",
        "run",
        "skipped",
        "started",
        "unrecorded",
        "watch",
    )

    def __init__(self, runtime: Runtime | None = None, job: Job | None = None) -> None:
        self._runtime = runtime
        self.job = job
        self.expected = job.config.expected if job else Expectations()
        self.channels = job.channels if job else ()
        self.live = False
        self.skipped = False
        self.started = False
        self.overlap = ""
        self.run: Run | None = None
        self.began = 0.0
        self.overrun = 0
        """The last multiple of ``max_runtime`` that was announced; 0 for none."""
        self._entered = False
        self.unrecorded: str | None = None
        """The name of its job if an error inside cronguard keeps it from being recorded."""
        self.watch: object = None
        """Kept alive here: a weak reference that notices when the run's coroutine is dropped."""

    # --- the start ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the run in the store; afterwards it is live, skipped, or runs without a record.

        Raises only what a signal handler of the program raises meanwhile, Ctrl-C included. `end`
        must then be called as if the function had raised it.
        """
        self._attempt("start", self._start)
        if self._runtime is not None:
            self.began = self._runtime.monotonic()  # leave out the time that cronguard took

    def _start(self) -> None:
        runtime, run = self._runtime, self.run
        if runtime is None or run is None:
            return
        self.live = True
        runtime.open_runs.add(self)
        started = runtime.store.start_run(run, is_dead=is_dead)
        self.started = True
        if started.expected is not None:
            self._learn(started)
        if started.status == "skipped":
            self.live, self.skipped = False, True
            self.overlap = _overlap_sentence(run, started, self.expected.max_runtime)
            runtime.open_runs.remove(self)
        if started.alerts_due:
            runtime.dispatch(run.job)
        if self.skipped and not self.raises_overlap:
            log.warning("%s", self.overlap)

    @property
    def raises_overlap(self) -> bool:
        """Tell whether the job wants `JobOverlap` raised where it is skipped."""
        return self.job is not None and self.job.config.overlap == "raise"

    def _learn(self, started: Started) -> None:
        """Go by what holds for the job: somebody else may have stated what this run does not."""
        limit = self.expected.max_runtime
        self.expected = started.expected or self.expected
        self.channels = started.channels or self.channels
        if self.expected.max_runtime != limit and self._runtime is not None:
            self._runtime.open_runs.add(self)

    def enter(self) -> None:
        """Mark the run as open in this context: its job entered again inside is not recorded."""
        if self.live:
            self._entered = True
            outer = _open_runs.get()
            _open_runs.set((*(run for run in outer if run.live), self) if outer else (self,))

    def preload(self) -> None:
        """Load what a failure of the run would need; raises as `start` does."""
        if self._runtime is not None:
            self._attempt("failure", self._runtime.preload)

    # --- the end --------------------------------------------------------------------------------

    def leave(self) -> None:
        """Undo `enter`, in the same context."""
        if not self._entered:
            return
        self._entered = False
        now_open = _open_runs.get()
        if now_open and now_open[-1] is self:
            _open_runs.set(now_open[:-1])
        else:  # another guard was entered later in this context and is still open
            _open_runs.set(tuple(other for other in now_open if other is not self))

    def close(self, error: BaseException | None) -> None:
        """Call `leave` and `end`. What has been done already is not done again."""
        self.leave()
        self.end(error)

    def end(self, error: BaseException | None) -> None:
        """Judge and commit how the function ended; ``error`` is None if it returned.

        Raises only what a signal handler of the program raises meanwhile.
        """
        if not self.live and self.unrecorded is None:
            return
        if error is None:
            self.end_as("success")
            return
        try:
            outcome = self._judge(error)
        except BaseException:
            self.end_as("failure")
            raise
        self.commit(outcome)

    def _judge(self, error: BaseException) -> Outcome:
        """Return the outcome of a function that raised ``error`` now. Raises as `end` does."""
        ended = self._end_time_and_duration()
        status: EndStatus = "failure"
        failure = None
        caught: Exception | None = None
        try:
            status = end_status(error, self.job.config.ignore if self.job else ())
            if STREAK[status] == "grow":
                runtime = self._runtime
                failure = runtime.capture(error) if runtime else Failure(_type_name(type(error)))
        except Exception as problem:  # noqa: BLE001  # judged below, where its context can be seen
            caught = problem
        if caught is not None:
            self._report("error", caught)
        return Outcome(status, *ended, failure)

    def _end_time_and_duration(self) -> tuple[datetime, float]:
        runtime = self._runtime
        if runtime is None:
            return datetime.now(UTC), 0.0
        return runtime.now(), runtime.monotonic() - self.began

    def commit(self, outcome: Outcome) -> None:
        """Hand the outcome to the store. Raises as `end` does."""
        if self.live:
            self._attempt("end", self._commit, outcome)
        elif self.unrecorded is not None:
            self._report_unrecorded(self.unrecorded, outcome)

    def end_as(self, status: EndStatus, failure: Failure | None = None) -> None:
        """Commit an end that no exception shows, such as a command's exit code."""
        self.commit(Outcome(status, *self._end_time_and_duration(), failure))

    def _report_unrecorded(self, job: str, outcome: Outcome) -> None:
        """Say that the job fails, once until it does well again."""
        self.unrecorded = None
        effect = STREAK[outcome.status]
        if effect == "reset":
            _reported_unrecorded.discard(job)
        elif effect == "grow" and job not in _reported_unrecorded:
            _reported_unrecorded.add(job)
            say_unsent(job, outcome)

    def _commit(self, outcome: Outcome) -> None:
        runtime, run = self._runtime, self.run
        if runtime is None or run is None or sys.is_finalizing():  # see `new_recording`
            return
        problem: Exception | None = None
        alerts_due = False
        store, started = runtime.store, self.started
        notified: set[str] = set()
        try:
            self.live = False
            runtime.open_runs.remove(self)
            if run.owner.pid == current_owner().pid:  # else a fork of the run came out here
                finished = store.finish_run(run, outcome, started=started, notified=notified)
                alerts_due = finished.alerts_due
                runtime.recorded(run.job)
        except BaseException as error:  # after Ctrl-C or a time limit it may not be written
            store.keep(run, outcome, started=started, notified=notified)
            runtime.open_runs.remove(self)
            if not isinstance(error, Exception):
                raise
            problem = error
        if problem is not None:
            if not isinstance(problem, StoreError) and raised_by_handler(problem) is not None:
                raise problem
            runtime.open_runs.replay_soon()
            self._report("end", problem)
            runtime.notify_directly(run, outcome, notified)
        elif alerts_due:
            runtime.dispatch(run.job)
        job, effect = self.job, STREAK[outcome.status]
        if effect != "keep" and job is not None and job.config.heartbeat_url is not None:
            self._ping(runtime, job, run, failed=effect == "grow")
        if runtime.is_closed:
            runtime.close()  # nobody else closes what `configure` has replaced

    @staticmethod
    def _ping(runtime: Runtime, job: Job, run: Run, *, failed: bool) -> None:
        if run.owner.pid == current_owner().pid:
            runtime.ping(job, failed=failed)

    def _attempt(self, what: str, work: Callable[..., None], *args: Any) -> None:
        caught: Exception | None = None
        try:
            work(*args)
        except Exception as error:  # noqa: BLE001  # judged below, where its context can be seen
            caught = error
        if caught is not None:
            self._report(what, caught)

    def _report(self, what: str, error: Exception) -> None:
        """Log what went wrong inside cronguard; raise it if a signal handler raised it."""
        interruption = raised_by_handler(error)
        if interruption is not None:
            raise interruption
        name = self.job.config.job if self.job else "a job"
        if isinstance(error, StoreError) and self._runtime is not None:
            kept = what == "end"
            fate = "waits in this process until the store answers" if kept else "was not recorded"
            self._runtime.warn_once(error, f"the {what} of {name} {fate}")
        else:
            log.error("cronguard could not record the %s of %s: %s", what, name, _safe_text(error))


def end_status(
    error: BaseException | None, ignore: tuple[type[BaseException], ...] = ()
) -> EndStatus:
    """Return ``success``, ``failure`` or ``cancelled`` for what a function raised, or None.

    ``ignore`` lists the exception types that are cancellations to this job. A cancelled task counts
    as a failure, since timeouts arrive that way, unless `asyncio.run` cancelled it for Ctrl-C.
    """
    if error is None:
        return "success"
    if ignore and isinstance(error, ignore):
        return "cancelled"
    kinds = _type_mro(type(error))  # `isinstance` would ask the error itself, which may raise
    if SystemExit in kinds:
        code = error.code  # type: ignore[attr-defined]
        return "success" if code is None or (isinstance(code, int) and code == 0) else "failure"
    if KeyboardInterrupt in kinds:
        return "cancelled"
    if _type_name(kinds[0]) == "CancelledError" and interrupted_by_ctrl_c():
        return "cancelled"
    if any(
        _type_name(kind) in _CELERY_CONTROL_FLOW and _type_module(kind) == "celery.exceptions"
        for kind in kinds
    ):
        return "cancelled"
    return "failure"


def _overlap_sentence(run: Run, started: Started, max_runtime: float | None) -> str:
    """Return why a run was skipped; how to free the job only where the other one seems dead."""
    holder = started.holder
    if holder is None:
        return f"{run.job} was skipped: another run goes on"
    since, where = readable(holder.started_at), f"on {holder.host}, process {holder.pid}"
    text = f"{run.job} was skipped: another run goes on since {since} ({where})"
    if max_runtime and (run.started_at - holder.started_at).total_seconds() > max_runtime:
        text += (
            f", longer than its max_runtime: if it hangs, end it, or free the job with"
            f" cronguard unlock {run.job}"
        )
    return text


def new_recording(guarded: Guarded) -> Recording:
    """Return a recording for a run that is about to start; the store does not know it yet."""
    caught: Exception | None = None
    if sys.is_finalizing():  # modules are torn down: using SQLite's could crash the process
        return Recording()
    try:
        runtime = current()
        job = runtime.job(guarded)
        config = job.config
        recording = Recording(runtime, job)
        if _is_inside_own_run(runtime, config.job):
            return recording
        recording.began = runtime.monotonic()
        recording.run = Run(
            run_id=new_id(),
            job=config.job,
            started_at=runtime.now(),
            owner=current_owner(),
            channels=job.channels,
            stated=config.stated,
            overlap="allow" if config.overlap == "allow" else "skip",
            test_mode=config.test_mode or runtime.settings.test_mode,
        )
    except Exception as error:  # noqa: BLE001  # judged below, where its context can be seen
        caught = error
    if caught is None:
        return recording
    interruption = raised_by_handler(caught)
    if interruption is not None:
        raise interruption
    log.error_once("cronguard is not recording %s: %s", guarded.options["job"], _safe_text(caught))
    recording = Recording()
    recording.unrecorded = guarded.options["job"]
    return recording


def exported(run: Run) -> str:
    """Return the value of `RUN_VARIABLE` that marks a command's job as part of this run."""
    return f"{run.job} {run.run_id} {run.owner.pid} {run.owner.started or '-'}"


def _is_inside_own_run(runtime: Runtime, job: str) -> bool:
    """Tell whether a run of this job is open around us, in this context or as parent command."""
    for outer in _open_runs.get():
        if outer.live and outer.run is not None and outer.run.job == job:
            return outer.run.owner.pid == current_owner().pid  # a run in a fork is a new run
    if runtime.exported is None:
        return False
    name, _, rest = runtime.exported.partition(" ")
    return name == job and _is_exporter_alive(rest)


def _is_exporter_alive(rest: str) -> bool:
    """Tell whether the ``cronguard run`` that exported the variable is still alive.

    A daemon that a guarded command leaves behind inherits the variable, but its later runs are new
    runs.
    """
    try:
        _, pid, started = rest.split(" ")
        owner = current_owner()._replace(pid=int(pid), started=None if started == "-" else started)
    except ValueError:
        return False
    return not is_dead(owner)


def _safe_text(error: BaseException) -> str:
    """Return an error of cronguard's as text; of any other error only its type, to be safe."""
    return str(error) if isinstance(error, CronguardError) else type(error).__name__
