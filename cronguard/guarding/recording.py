"""One run, from its start to its committed outcome. One `Recording` a run, no shared state.

Nothing here raises to the guarded program. What the store does not take is kept and written before
the process's next run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from cronguard.core.clock import new_id
from cronguard.core.errors import CronguardError, StoreConfigError, StoreError
from cronguard.core.model import EndStatus, Failure, Outcome, Run
from cronguard.process import log
from cronguard.process.identity import current_owner, is_dead
from cronguard.process.signals import interrupted_by_ctrl_c, raised_by_handler
from cronguard.runtime.composition import current
from cronguard.runtime.runtime import Guarded, Job, Runtime, Unwritten

_open_runs: ContextVar[tuple[Recording, ...]] = ContextVar("cronguard_open_runs", default=())


_CELERY_CONTROL_FLOW = frozenset({"Retry", "Ignore", "Reject"})
_name: Any = type.__dict__["__name__"].__get__
_module: Any = type.__dict__["__module__"].__get__
_mro: Any = type.__dict__["__mro__"].__get__


class Recording:
    """A run as its process sees it.

    ``live`` is False for a run that is not recorded: the same job entered inside itself, or
    cronguard in trouble. ``skipped`` is True if another run holds the job.
    """

    __slots__ = (
        "_entered",
        "_runtime",
        "began",
        "held_by",
        "job",
        "live",
        "overrun",
        "run",
        "skipped",
        "started",
        "watch",
    )

    def __init__(self, runtime: Runtime | None = None, job: Job | None = None) -> None:
        self._runtime = runtime
        self.job = job
        self.live = False
        self.skipped = False
        self.started = False
        self.held_by: str | None = None
        self.run: Run | None = None
        self.began = 0.0
        self.overrun = 0
        """How many times its max_runtime has been announced to have passed."""
        self._entered = False
        self.watch: object = None
        """Kept alive by the run: what tells when its coroutine is thrown away."""

    # --- the start ------------------------------------------------------------------------------

    def start(self) -> None:
        """Tell the store; afterwards the run is live, skipped, or runs without a record.

        Raises only what a signal handler of the program raises meanwhile, Ctrl-C included: then
        `end` is to be called as if the function had raised it.
        """
        self._attempt("start", self._start)
        if self._runtime is not None:
            self.began = self._runtime.monotonic()  # what cronguard took is not the function's time

    def _start(self) -> None:
        runtime, run = self._runtime, self.run
        if runtime is None or run is None:
            return
        self.live = True
        runtime.opened(self)
        if not runtime.replay():
            return  # the store would let us wait again, and take this before what came first
        started = runtime.store.start_run(run, is_dead=is_dead)
        self.started = True
        if started.status == "skipped":
            self.live, self.skipped, self.held_by = False, True, started.held_by
            runtime.closed(self)
        if started.alerts_due:
            runtime.dispatcher.dispatch(run.job)
        if self.skipped:
            log.warning(
                "%s was skipped: run %s still holds it (cronguard unlock %s frees it)",
                run.job,
                started.held_by,
                run.job,
            )

    def enter(self) -> None:
        """From here on, in this context, the same job entered again is this run."""
        if self.live:
            self._entered = True
            outer = _open_runs.get()
            _open_runs.set((*(run for run in outer if run.live), self) if outer else (self,))

    # --- the end --------------------------------------------------------------------------------

    def leave(self) -> None:
        """The counterpart of `enter`, in the same context."""
        if not self._entered:
            return
        self._entered = False
        now_open = _open_runs.get()
        if now_open and now_open[-1] is self:
            _open_runs.set(now_open[:-1])
        else:  # another guard of this context was entered later and is still open
            _open_runs.set(tuple(other for other in now_open if other is not self))

    def close(self, error: BaseException | None) -> None:
        """`leave` and `end`. What has been done already is not done again."""
        self.leave()
        self.end(error)

    def end(self, error: BaseException | None) -> None:
        """The function returned (None) or raised: judge and commit.

        Raises only what a signal handler of the program raises meanwhile.
        """
        if not self.live:
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
        """The outcome, as of now. Raises as `end` does."""
        ended = self._ended()
        status: EndStatus = "failure"
        failure = None
        caught: Exception | None = None
        try:
            status = end_status(error, self.job.config.ignore if self.job else ())
            if status == "failure" and self._runtime is not None:
                failure = self._runtime.capture(error)
        except Exception as problem:  # noqa: BLE001  # judged below, where its context can be seen
            caught = problem
        if caught is not None:
            self._report("error", caught)
        return Outcome(status, *ended, failure)

    def _ended(self) -> tuple[datetime, float]:
        runtime = self._runtime
        if runtime is None:
            return datetime.now(UTC), 0.0
        return runtime.now(), runtime.monotonic() - self.began

    def commit(self, outcome: Outcome) -> None:
        """Hand the outcome to the store. Raises as `end` does."""
        if self.live:
            self._attempt("end", self._commit, outcome)

    def end_as(self, status: EndStatus, failure: Failure | None = None) -> None:
        """The run ended in a way that no exception tells, such as a command's exit code."""
        self.commit(Outcome(status, *self._ended(), failure))

    def _commit(self, outcome: Outcome) -> None:
        runtime, run = self._runtime, self.run
        if runtime is None or run is None or sys.is_finalizing():  # see `prepare`
            return
        unwritten = Unwritten(run, outcome, self.started, set())
        problem: StoreError | None = None
        alerts_due = False
        try:
            self.live = False
            runtime.closed(self)
            if run.owner.pid == current_owner().pid:  # else we are a fork that left through here
                alerts_due = runtime.write(unwritten)
        except StoreConfigError as error:
            problem = error
        except BaseException as error:  # struck by Ctrl-C or a time limit, it may not be written
            runtime.keep(unwritten)
            runtime.closed(self)
            if not isinstance(error, StoreError):
                raise
            problem = error
        if problem is not None:
            self._report("end", problem)
            _notify_directly(runtime, unwritten)
        elif alerts_due:
            runtime.dispatcher.dispatch(run.job)
        if self.job is None or self.job.config.heartbeat_url is None:
            return
        if outcome.status != "cancelled" and run.owner.pid == current_owner().pid:
            runtime.ping(self.job, failed=outcome.status != "success")

    def _attempt(self, what: str, work: Callable[..., None], *args: Any) -> None:
        caught: Exception | None = None
        try:
            work(*args)
        except Exception as error:  # noqa: BLE001  # judged below, where its context can be seen
            caught = error
        if caught is not None:
            self._report(what, caught)

    def _report(self, what: str, error: Exception) -> None:
        """Say what went wrong inside cronguard; what a signal handler raised goes on its way."""
        interruption = raised_by_handler(error)
        if interruption is not None:
            raise interruption
        name = self.job.config.job if self.job else "a job"
        if isinstance(error, StoreError) and self._runtime is not None:
            kept = what == "end" and not isinstance(error, StoreConfigError)
            fate = "is kept until the store answers" if kept else "was not recorded"
            self._runtime.warn_once(error, f"the {what} of {name} {fate}")
        else:
            log.error("cronguard could not record the %s of %s: %s", what, name, _brief(error))


def _notify_directly(runtime: Runtime, unwritten: Unwritten) -> None:
    """A failure that cannot be written down is told at once, streak unknown; once, until the job
    can be written down again."""
    run, outcome, _, notified = unwritten
    if outcome.status != "failure" or run.job in runtime.notified_directly:
        return
    runtime.notified_directly.add(run.job)
    from cronguard.core.payload import degraded  # rare path

    runtime.dispatcher.dispatch_directly(degraded(run, outcome), notified)


def end_status(
    error: BaseException | None, ignore: tuple[type[BaseException], ...] = ()
) -> EndStatus:
    """``success``, ``failure`` or ``cancelled``; ``ignore`` lists the job's own cancellations.

    A cancelled task counts as a failure, since time-outs arrive that way, unless it is Ctrl-C that
    `asyncio.run` hands on as a cancellation.
    """
    if error is None:
        return "success"
    if ignore and isinstance(error, ignore):
        return "cancelled"
    kinds = _mro(type(error))  # `isinstance` would ask the error itself, which may raise
    if SystemExit in kinds:
        code = error.code  # type: ignore[attr-defined]
        return "success" if code is None or (isinstance(code, int) and code == 0) else "failure"
    if KeyboardInterrupt in kinds:
        return "cancelled"
    if _name(kinds[0]) == "CancelledError" and interrupted_by_ctrl_c():
        return "cancelled"
    if any(
        _name(kind) in _CELERY_CONTROL_FLOW and _module(kind) == "celery.exceptions"
        for kind in kinds
    ):
        return "cancelled"
    return "failure"


def prepare(guarded: Guarded) -> Recording:
    """A recording for a run that is about to start; it has not been told to the store yet."""
    caught: Exception | None = None
    if sys.is_finalizing():  # modules are taken apart: SQLite's would take the process down
        return Recording()
    try:
        runtime = current()
        job = runtime.job(guarded)
        config = job.config
        recording = Recording(runtime, job)
        if _inside(runtime, config.job):
            return recording
        recording.began = runtime.monotonic()
        recording.run = Run(
            run_id=new_id(),
            job=config.job,
            started_at=runtime.now(),
            owner=current_owner(),
            rules=job.rules,
            overlap=config.overlap,
            max_runtime=config.max_runtime,
            schedule=config.schedule,
            runbook=config.runbook,
            test_mode=config.test_mode or runtime.settings.test_mode,
        )
    except Exception as error:  # noqa: BLE001  # judged below, where its context can be seen
        caught = error
    if caught is None:
        return recording
    interruption = raised_by_handler(caught)
    if interruption is not None:
        raise interruption
    log.error_once("cronguard is not recording %s: %s", guarded.options["job"], _brief(caught))
    return Recording()


def exported(run: Run) -> str:
    """What `cronguard.runtime.runtime.RUN_VARIABLE` says for a command's job to be this run."""
    return f"{run.job} {run.run_id} {run.owner.pid} {run.owner.started or '-'}"


def _inside(runtime: Runtime, job: str) -> bool:
    """Whether this job's own run is open around us: in this context, or as our parent command."""
    for outer in _open_runs.get():
        if outer.live and outer.run is not None and outer.run.job == job:
            return outer.run.owner.pid == current_owner().pid  # a fork's run is one of its own
    if runtime.exported is None:
        return False
    name, _, rest = runtime.exported.partition(" ")
    return name == job and _is_alive(rest)


def _is_alive(rest: str) -> bool:
    """Whether the ``cronguard run`` that exported this is still there.

    A daemon that a guarded command leaves behind inherits the variable; its own later runs are runs
    of their own.
    """
    try:
        _, pid, started = rest.split(" ")
        owner = current_owner()._replace(pid=int(pid), started=None if started == "-" else started)
    except ValueError:
        return False
    return not is_dead(owner)


def _brief(error: BaseException) -> str:
    """cronguard's own sentences are shown; of anything else only its type."""
    return str(error) if isinstance(error, CronguardError) else type(error).__name__
