"""What a process's guarded runs share: store, channels, delivery, watchdog, unwritten outcomes."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from cronguard.core.alert_rule import OVERRUN_STEPS, alert_rules, overrun_step
from cronguard.core.errors import CronguardError, StoreConfigError, StoreError
from cronguard.core.interfaces import Channel, Redact, Store
from cronguard.core.model import (
    HEARTBEAT_SECONDS,
    LEASE_SECONDS,
    ChannelRule,
    Expectations,
    Failure,
    Origin,
    Outcome,
    Run,
    SecretRef,
)
from cronguard.process import log
from cronguard.process.signals import raised_by_handler
from cronguard.runtime.watchdog import Watchdog
from cronguard.settings.loading import (
    ChannelSettings,
    Settings,
    channel_named,
    channel_rules,
)
from cronguard.settings.options import JobConfig, resolve_job
from cronguard.settings.store_url import default_store_path

if TYPE_CHECKING:
    from typing import Protocol

    from cronguard.process.workers import TimeoutPool
    from cronguard.runtime.delivery import Dispatcher

    class OpenRun(Protocol):
        """The interface of a recording: a run of this process that has not ended yet."""

        run: Run | None
        expected: Expectations
        """What holds for its job."""
        channels: tuple[ChannelRule, ...]
        """The channels of its overruns."""
        started: bool
        """Whether the store has taken the start."""
        began: float
        """When it began, on the runtime's monotonic clock."""
        overrun: int
        """The last overrun step that was announced; 0 for none."""


_MAX_UNWRITTEN_RUNS = 1_000
_CAPTURE_SECONDS = 1.0
_REPLAY_SECONDS = 0.4
"""How long a run may wait for its turn to replay outcomes, and how long it may then replay."""
RUN_VARIABLE = "CRONGUARD_RUN"
"""Set by ``cronguard run`` for its command: ``job run_id pid start-time`` of the recorded run."""


class Job(NamedTuple):
    """A guarded job under the current settings."""

    config: JobConfig
    channels: tuple[ChannelRule, ...]


class Guarded:
    """A guard's checked options, and the job that they give under the current settings.

    ``origin`` says who gives the options: ``code`` or ``command``.
    """

    __slots__ = ("options", "origin", "resolved")

    def __init__(self, options: dict[str, Any], origin: Origin = "code") -> None:
        self.options = options
        self.origin = origin
        self.resolved: tuple[Runtime, Job] | None = None


class Unwritten(NamedTuple):
    """A finished run whose outcome the store has not taken yet."""

    run: Run
    outcome: Outcome
    started: bool
    notified: set[str]
    """Channels that have been notified of it meanwhile."""


class Runtime:
    """Everything a process's guarded runs share."""

    now: Callable[[], datetime] = staticmethod(partial(datetime.now, UTC))
    monotonic: Callable[[], float] = staticmethod(time.monotonic)
    pinned = False
    """True for a runtime that `configure` does not replace; see `composition.installed`."""

    def __init__(self, settings: Settings, store: Store) -> None:
        from cronguard.runtime.store_factory import with_timeouts_and_spool  # imported when needed

        self.settings = settings
        self.store = with_timeouts_and_spool(store, settings)
        self.channels = {channel.name: channel for channel in settings.channels}
        self.watchdog = Watchdog(self._beat, HEARTBEAT_SECONDS)
        self.exported = os.environ.get(RUN_VARIABLE)
        """The run that a parent ``cronguard run`` records; None if we are not its command."""
        self._open: dict[int, OpenRun] = {}
        self._unwritten: dict[str, Unwritten] = {}
        self._replaying = threading.Lock()
        self._warned_of: set[str] = set()
        self._replaced = False
        """Whether another runtime has taken over, so that runs open here are the last ones."""
        self._renew_at: float | None = None
        """When to renew the leases next, on the monotonic clock; None before the first beat."""
        self.notified_directly: set[str] = set()
        """Jobs whose failure was notified without the store, so that this is done only once."""

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """Return the dispatcher that sends alerts, made when there are any."""
        from cronguard.runtime.delivery import Dispatcher  # most runs send no alert

        return Dispatcher(self.store, self.channels, self._build_channel, self._build_console)

    @cached_property
    def _captures(self) -> TimeoutPool:
        from cronguard.process.workers import TimeoutPool  # only when a job fails

        return TimeoutPool(most_late=2)

    # --- jobs -----------------------------------------------------------------------------------

    def job(self, guarded: Guarded) -> Job:
        """Return the job that a guard's options give here, computed once."""
        resolved = guarded.resolved
        if resolved is not None and resolved[0] is self:
            return resolved[1]
        name = guarded.options["job"]
        configured = self.settings.jobs.get(name, {})
        unclear = self.settings.unclear.get(name, frozenset())
        config = resolve_job(guarded.options, configured, guarded.origin, unclear=unclear)
        job = Job(config, channel_rules(config, self._channels_of(config)))
        guarded.resolved = (self, job)
        if not self.pinned:
            self._note_channels(job)
        return job

    def _note_channels(self, job: Job) -> None:
        """Say so if the job's alerts go elsewhere from this host than at its last start."""
        channels = ",".join(rule.channel for rule in job.channels)
        line, name = f"{channels}\n".encode(), job.config.job.replace(":", "=")
        try:
            path = default_store_path(os.environ).parent / "channels" / name
            try:
                known = path.read_bytes()
            except FileNotFoundError:  # the first start
                path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.parent.mkdir(mode=0o700, exist_ok=True)
                path.write_bytes(line)
                return
            if not known.startswith(line):
                from cronguard.runtime.known_channels import note  # channels rarely change

                note(path, job.config.job, channels)
        except Exception as error:  # noqa: BLE001  # nothing depends on it
            log.debug("where alerts go could not be written down (%s)", type(error).__name__)

    def _channels_of(self, config: JobConfig) -> tuple[ChannelSettings, ...]:
        """Return the channels for this job; one that only the job names is looked up now."""
        for name in config.channels or ():
            if name not in self.channels:
                try:
                    self.channels[name] = channel_named(name, os.environ)
                except CronguardError as error:
                    log.warning_once("%s: %s", config.job, error)
        return tuple(self.channels.values())

    def _build_channel(self, name: str) -> Channel:
        from cronguard.runtime.channel_factory import build_channel  # most runs send no alert

        return build_channel(self.channels[name], lambda: self.store, self.settings.proxy)

    def _build_console(self, _name: str) -> Channel:
        from cronguard.runtime.channel_factory import (
            build_channel,  # only if a vault cannot be reached
        )

        return build_channel(ChannelSettings("console", "console"))

    def capture(self, error: BaseException) -> Failure:
        """Return what is kept of an error, redacted as the settings say.

        Third-party code may run here: the error's own, a redactor, or a pattern in `redact_keep`.
        It runs in a thread with a timeout, and if it does not return, the message is left out.
        Raises only what a signal handler of the program raises meanwhile.
        """
        from cronguard.privacy.capture import capture, is_plain, load  # only when a job fails
        from cronguard.process.workers import Failed, NoThread, Overdue  # likewise

        redact, keep = self.settings.redact, self.settings.redact_keep
        if not callable(redact) and not keep and is_plain(error):
            return capture(error, redact=redact)  # a thread would cost more than the work
        load(redact)
        forms: tuple[Redact, ...] = (redact, "strict")
        for form in forms:
            work = partial(capture, error, redact=form, keep=keep)
            try:
                return self._captures.call(work, _CAPTURE_SECONDS)
            except NoThread:
                return work()
            except (Failed, Overdue) as caught:
                log.warning_once("an error message could not be read (%s)", type(caught).__name__)
        return Failure("BaseException")

    # --- runs of this process -------------------------------------------------------------------

    def opened(self, recording: OpenRun) -> None:
        """Note that a run has started, or that more is known of what is expected of it."""
        self._open[id(recording)] = recording
        self.watchdog.ensure(recording.expected.max_runtime or math.inf)

    def closed(self, recording: OpenRun) -> None:
        """Note that a run has ended; its lease is no longer renewed."""
        self._open.pop(id(recording), None)
        if self._replaced and not self._open:
            self.watchdog.stop()

    def write(self, unwritten: Unwritten) -> bool:
        """Write an outcome to the store, after those that it has not taken yet.

        Returns:
            Whether alerts of the job are due.

        Raises:
            StoreError: The store did not take it. What a signal handler raises is raised as well.
        """
        if self._unwritten and not self.replay():
            raise StoreError("the store still does not answer", code="behind")
        return self._finish(unwritten)

    def _finish(self, unwritten: Unwritten) -> bool:
        run, outcome, started, notified = unwritten
        finished = self.store.finish_run(
            run, outcome, started=started, notified=frozenset(notified)
        )
        if self.notified_directly and not self._unwritten.keys() - {run.run_id}:  # recorded again
            self.notified_directly.discard(run.job)
        return finished.alerts_due

    def keep(self, unwritten: Unwritten) -> None:
        """Keep an outcome that may not have been written, for `replay`."""
        self._unwritten[unwritten.run.run_id] = unwritten
        if len(self._unwritten) > _MAX_UNWRITTEN_RUNS:
            self._unwritten.pop(next(iter(self._unwritten)), None)

    def replay(self, seconds: float = _REPLAY_SECONDS) -> bool:
        """Write the outcomes that the store has not taken yet, in order.

        Returns:
            False if the store still does not take them or the ``seconds`` have run out.
        """
        if not self._unwritten:
            return True
        give_up = time.monotonic() + seconds
        held: list[bool] = []
        try:
            # One thread at a time, or every run would write the same outcomes. The lock is taken
            # and noted in one step, so that a signal handler cannot come between: see `SQLiteFile`.
            held.extend(filter(None, map(self._replaying.acquire, (True,), (_REPLAY_SECONDS,))))
            return bool(held) and self._replay_all(give_up)
        finally:
            if held:
                self._replaying.release()

    def _replay_all(self, give_up: float) -> bool:
        """Do the work of `replay` with the lock held. A loop must be apart: see `SQLiteFile`."""
        for unwritten in list(self._unwritten.values()):
            if time.monotonic() >= give_up or not self._replay_one(unwritten):
                return False
        return True

    def _replay_one(self, unwritten: Unwritten) -> bool:
        """Write one outcome; return False if the store still does not take it."""
        run = unwritten.run
        caught: Exception | None = None
        alerts_due = False
        try:
            alerts_due = self._finish(unwritten)
        except Exception as error:  # noqa: BLE001  # judged below, where its context can be seen
            caught = error
        if caught is not None:
            interruption = raised_by_handler(caught)
            if interruption is not None:
                raise interruption
            if isinstance(caught, StoreError) and not isinstance(caught, StoreConfigError):
                return False
            log.error_once("a run of %s cannot be recorded (%s)", run.job, type(caught).__name__)
        self._unwritten.pop(run.run_id, None)
        if alerts_due:
            self.dispatcher.dispatch(run.job)
        return True

    def ping(self, job: Job, *, failed: bool) -> None:
        """Ping the job's ``heartbeat_url``, if any, with how a run ended; never raise."""
        ref = job.config.heartbeat_url
        if ref is not None:
            from cronguard.runtime import channel_factory as factory  # few jobs have a heartbeat
            from cronguard.runtime.heartbeat_ping import ping

            def resolve(ref: SecretRef) -> str:
                factory.use_proxy(self.settings.proxy, lambda: self.store)
                return factory.resolve_secret(ref, lambda: self.store)

            ping(job.config.job, ref, resolve, failed=failed)

    def warn_once(self, error: StoreError, consequence: str) -> None:
        """Log what the store did not do; the same error is logged once per process."""
        caught = str(error)
        if caught not in self._warned_of:
            self._warned_of.add(caught)
            log.warning("%s: %s", consequence, caught)

    def _beat(self) -> float:
        """Do the watchdog's work; return the seconds until there is more to do."""
        now = self.monotonic()
        if self._renew_at is None:
            self._renew_at = now + HEARTBEAT_SECONDS
        elif now >= self._renew_at:
            self._renew_at = now + HEARTBEAT_SECONDS
            try:
                self._renew_leases()
            except StoreError as error:  # overruns must be looked for all the same
                log.debug("a heartbeat was missed: %s", error)
        due = self._renew_at
        for recording in list(self._open.values()):
            limit = recording.expected.max_runtime
            if recording.run is not None and limit:
                due = min(due, self._check_overrun(recording, recording.run, limit, now))
        return due - now

    def _renew_leases(self) -> None:
        self.replay()
        held = [
            recording.run.run_id
            for recording in list(self._open.values())
            if recording.started and recording.run is not None
        ]
        if held:
            self.store.heartbeat(held, lease=LEASE_SECONDS)

    def _check_overrun(self, recording: OpenRun, run: Run, limit: float, now: float) -> float:
        """Announce a run that takes too long; return when to look again, on the monotonic clock."""
        elapsed = now - recording.began
        if overrun_step(elapsed, limit) > recording.overrun:
            if not recording.started:  # the store has not taken the start, so it knows of no run
                return now + max(1.0, elapsed / 4)
            from cronguard.core.schedule import overrun  # most runs end in time

            news = overrun(run.run_id, run.job, elapsed, limit)
            assert news is not None  # noqa: S101  # for mypy
            try:
                rules = alert_rules(recording.channels, recording.expected)
                due = self.store.announce_overrun(news, rules)
            except StoreError as error:
                log.debug("an overrun of %s could not be announced: %s", run.job, error)
                return now + HEARTBEAT_SECONDS
            recording.overrun = news.step
            log.warning("%s is %s", run.job, news.message)
            if due:
                self.dispatcher.dispatch(run.job)
        step = next((each for each in OVERRUN_STEPS if each > recording.overrun), None)
        return math.inf if step is None else recording.began + step * limit

    def close(self) -> None:
        """Write the outcomes that are left and close the store."""
        self._replaced = True
        if not self._open:
            self.watchdog.stop()
        try:
            self.replay(math.inf)
            self.store.close()
        except Exception as error:  # noqa: BLE001  # the process is ending; nothing may stop it
            log.debug("the store could not be closed (%s)", type(error).__name__)
