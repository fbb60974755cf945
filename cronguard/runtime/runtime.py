"""What a process's guarded runs share: store, channels, delivery, watchdog, unwritten outcomes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from cronguard.core.errors import CronguardError, StoreError
from cronguard.core.model import (
    STREAK,
    ChannelRule,
    Failure,
    Origin,
    Outcome,
    Run,
    SecretRef,
)
from cronguard.process import log
from cronguard.process.signals import attempt, make_folder
from cronguard.runtime.watchdog import OpenRuns
from cronguard.settings.loading import (
    ChannelSettings,
    Settings,
    channel_named,
    channel_rules,
)
from cronguard.settings.options import JobConfig, resolve_job

if TYPE_CHECKING:
    from cronguard.core.interfaces import Channel, Redact, Store
    from cronguard.process.workers import TimeoutPool
    from cronguard.runtime.delivery import Dispatcher
    from cronguard.runtime.preparation import Preparation


_CAPTURE_SECONDS = 1.0
RUN_VARIABLE = "CRONGUARD_RUN"
"""Set by ``cronguard run`` for its command: ``job run_id pid start-time`` of the recorded run."""


class Job(NamedTuple):
    """A guarded job under the current settings."""

    config: JobConfig
    channels: tuple[ChannelRule, ...]


class Guarded:
    """A guard's checked options, and the job that they give under the current settings.

    ``origin`` says who gives the options: ``code`` or ``command``; ``unclear`` are those that were
    given a wrong value, of which nothing is stated.
    """

    __slots__ = ("options", "origin", "resolved", "unclear")

    def __init__(
        self,
        options: dict[str, Any],
        origin: Origin = "code",
        unclear: frozenset[str] = frozenset(),
    ) -> None:
        self.options = options
        self.origin = origin
        self.unclear = unclear
        self.resolved: tuple[Runtime, Job] | None = None


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
        self.open_runs = OpenRuns(
            self.store, self._read_monotonic, self.dispatch, self._preload_meanwhile
        )
        self.store.on_kept = self.open_runs.replay_soon
        self.exported = os.environ.get(RUN_VARIABLE)
        """The run that a parent ``cronguard run`` records; None if we are not its command."""
        self.is_closed = False
        self._preparation: Preparation | None = None
        self._warned_of: set[str] = set()
        self._undelivered: set[str] = set()
        """Jobs of which it was said that nothing can be sent for them."""
        self._notified_directly: set[str] = set()
        """Jobs whose failure was notified without the store, so that this is done only once."""

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """Return the dispatcher that sends alerts, made when there are any."""
        from cronguard.runtime.delivery import Dispatcher  # most runs send no alert

        return Dispatcher(self.store, self.channels, self._build_channel, self._build_console)

    def _read_monotonic(self) -> float:
        return self.monotonic()

    def dispatch(self, job: str) -> None:
        """Send the job's due alerts in the background; raise only what a signal handler raises."""
        failed = partial(self._say_undelivered, job)
        attempt(lambda: self.dispatcher.dispatch(job), failed=failed, only=Exception)

    def _say_undelivered(self, job: str, error: BaseException) -> None:
        if job not in self._undelivered:
            self._undelivered.add(job)
            log.last_line(
                f"cronguard: an alert of {job} waits and cannot be sent from here"
                f" ({type(error).__name__}): see cronguard doctor"
            )

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
        if guarded.unclear:
            unclear |= guarded.unclear
            configured = {key: configured[key] for key in configured if key not in unclear}
        config = resolve_job(guarded.options, configured, guarded.origin, unclear=unclear)
        job = Job(config, channel_rules(config, self._channels_of(config)))
        guarded.resolved = (self, job)
        if not self.pinned:
            attempt(self._note_channels, job, failed=_say_unnoted, only=Exception)
        return job

    def _note_channels(self, job: Job) -> None:
        """Say so if the job's alerts go elsewhere from this host than at its last start."""
        channels = ",".join(rule.channel for rule in job.channels)
        line, name = f"{channels}\n".encode(), job.config.job.replace(":", "=")
        folder = self.store.channels_folder
        if folder is None:
            return
        path = folder / name
        try:
            known = path.read_bytes()
        except FileNotFoundError:  # the first start
            make_folder(folder.parent)
            make_folder(folder)
            path.write_bytes(line)
            return
        if not known.startswith(line):
            from cronguard.runtime.known_channels import note  # channels rarely change

            note(path, job.config.job, channels)

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

    # --- the end of a run -----------------------------------------------------------------------

    def notify_directly(self, run: Run, outcome: Outcome, notified: set[str]) -> None:
        """Send alerts for a failure on which nothing could decide, with the streak unknown.

        This is done once, until the job can be recorded again. ``notified`` is filled with the
        channels that have taken theirs.
        """
        if STREAK[outcome.status] != "grow" or run.job in self._notified_directly:
            return
        self._notified_directly.add(run.job)
        report = partial(say_unsent, run.job, outcome)

        def notify() -> None:
            from cronguard.core.payload import degraded  # rare path

            if due := degraded(run, outcome):
                self.dispatcher.dispatch_directly(due, notified, otherwise=report)

        attempt(notify, failed=lambda _: report(), only=Exception)

    def recorded(self, job: str) -> None:
        """Note that an outcome of the job was taken, or decided on here."""
        if self._notified_directly:
            self._notified_directly.discard(job)

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

    def preload(self) -> None:
        """Load what a failure needs now, while it is there to be loaded; never raise."""
        from cronguard.runtime.preparation import Preparation  # most runs end before

        Preparation(self.settings, self.store).now()

    def _preload_meanwhile(self) -> bool:
        """Do `preload` in a moment in which it disturbs nobody; return whether that is done."""
        from cronguard.runtime.preparation import Preparation  # most runs end before

        if self._preparation is None:
            self._preparation = Preparation(self.settings, self.store)
        return self._preparation.go_on()

    def preload_at_once(self) -> None:
        """Do now what would be done in such moments, other packages included; never raise."""
        while not self._preload_meanwhile():
            pass  # somebody else imports; soon it is done all the same

    def close(self) -> None:
        """Write the outcomes that are left and close the store.

        Runs that are still open end all the same; each then closes it once more.
        """
        self.is_closed = True
        self.open_runs.retire()
        try:
            self.store.close()
        except Exception as error:  # noqa: BLE001  # the process is ending; nothing may stop it
            log.debug("the store could not be closed (%s)", type(error).__name__)


def _say_unnoted(error: BaseException) -> None:
    log.debug("where alerts go could not be written down (%s)", type(error).__name__)


def say_unsent(job: str, outcome: Outcome) -> None:
    """Say on standard error that a job failed, where that can be neither recorded nor sent."""
    failure = outcome.failure
    what = f" with {failure.error_type}" if failure else ""
    where = f" at {failure.error_location}" if failure and failure.error_location else ""
    log.last_line(
        f"cronguard: {job} failed{what}{where}, which could neither be recorded nor sent"
        f": see cronguard doctor"
    )
