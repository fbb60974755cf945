"""A whole cronguard in memory, for one test: what the ``cronguard`` fixture hands out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from cronguard.core.errors import ConfigError
from cronguard.core.model import Alert, Failure, RunRecord, Settlement
from cronguard.core.payload import decode
from cronguard.core.text import show, suggest
from cronguard.guarding.decorator import decorated
from cronguard.guarding.recording import new_recording
from cronguard.runtime.composition import installed
from cronguard.runtime.delivery import Dispatcher
from cronguard.runtime.runtime import Guarded, Runtime
from cronguard.settings.loading import ChannelSettings, Settings
from cronguard.settings.options import JobConfig, check_options
from cronguard.testing.memory import FrozenClock, MemoryStore

if TYPE_CHECKING:
    from datetime import datetime

    from cronguard.core.interfaces import Channel

JobOrName: TypeAlias = str | Callable[..., Any]
"""A guarded function, or a job's name."""
CHANNEL = "captured"
"""The channel of jobs that name none."""


class Harness:
    """Guarded jobs run as ever, but record into memory, and their alerts are kept here.

    Nothing is read from settings files or the environment, and nothing is sent anywhere.
    """

    def __init__(self) -> None:
        self.clock = FrozenClock()
        """The time of every run and lease; `FrozenClock.advance` moves it."""
        self.store = MemoryStore(clock=self.clock)
        self.alerts: list[Alert] = []
        """What would have been sent, oldest first; ``alert.kind`` and ``alert.job`` tell which."""
        self.sent_to: list[str] = []
        """The channel of each alert, in the same order."""
        self._runtime = _TestRuntime(self)

    @contextlib.contextmanager
    def installed(self) -> Iterator[Harness]:
        """Catch every guarded run meanwhile."""
        with installed(self._runtime):
            yield self

    def streak(self, job: JobOrName) -> int:
        """Return how many runs of the job have failed in a row; 0 for a job that never ran.

        ConfigError, here and below, for a name that is neither decorated nor recorded in this test.
        """
        name = self._known(job)
        found = [status for status in self.store.jobs() if status.job == name]
        return found[0].consecutive_failure_count if found else 0

    def runs(self, job: JobOrName) -> list[RunRecord]:
        """Return the job's runs, oldest first."""
        return list(reversed(self.store.history(self._known(job), limit=1_000_000)))

    def last_run(self, job: JobOrName) -> RunRecord:
        """Return the job's newest run. Raises AssertionError if it never ran."""
        name = self._known(job)
        newest = self.store.history(name, limit=1)
        there = [each.job for each in self.store.jobs()]
        assert newest, f"{name} has not run; there are {there}"
        return newest[0]

    def fail(self, job: JobOrName, times: int = 1) -> None:
        """Record failed runs of a job, without calling anything.

        A guarded function's own threshold and channels then count. A name goes by what is known of
        the job: what its last run stated, else the defaults.
        """
        for _ in range(times):
            self._record(job, Failure("SimulatedFailure"))

    def succeed(self, job: JobOrName, times: int = 1) -> None:
        """Record successful runs of a job, without calling anything; ``job`` as in `fail`."""
        for _ in range(times):
            self._record(job, None)

    def _known(self, job: JobOrName) -> str:
        """Return the job's name; an assertion about a mistyped one would hold by mistake."""
        name = str(_guarded(job).options["job"])
        known = decorated | {each.job for each in self.store.jobs()}
        if name not in known:
            raise ConfigError(
                f"no job {show(name)} was decorated, or recorded in this test"
                f"{suggest(name, known)}: correct the name, or record a run of it first"
            )
        return name

    def _record(self, job: JobOrName, failure: Failure | None) -> None:
        with self.installed():
            recording = new_recording(self._guarded(job))
            recording.start()
            assert recording.live, f"{job} is still running, so no other run of it can be recorded"
            recording.end_as("failure" if failure else "success", failure)

    def _guarded(self, job: JobOrName) -> Guarded:
        """Return what to record a run of; a name has the channels that are kept with its job."""
        if not isinstance(job, str):
            return _guarded(job)
        kept = [watch.channels for watch in self.store.watches() if watch.job == job]
        names = [each.channel for each in kept[0]] if kept else []
        given = {"job": job, "channels": names} if names else {"job": job}
        return Guarded(check_options(given), "command")  # states nothing

    def __repr__(self) -> str:
        return f"<cronguard in memory: {len(self.alerts)} alerts>"


def _guarded(job: JobOrName) -> Guarded:
    if isinstance(job, str):
        return Guarded(check_options({"job": job}))
    guarded = getattr(job, "_self_guarded", None) or getattr(
        getattr(job, "_self_parent", None), "_self_guarded", None
    )
    if not isinstance(guarded, Guarded):
        raise ConfigError(
            f"{getattr(job, '__name__', job)!r} is not guarded: pass a function decorated with"
            " @cron_guarded, or a job's name"
        )
    return guarded


class _CapturingDispatcher(Dispatcher):
    """Delivers at once, into the harness."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness.store, (), _no_channel)
        self._harness = harness

    def dispatch(self, job: str) -> None:
        harness = self._harness
        names = {alert.channel for alert in harness.store.alerts(state="pending", job=job)}
        for delivery in harness.store.claim_alerts(channels=sorted(names), job=job):
            harness.alerts.append(decode(delivery.payload))
            harness.sent_to.append(delivery.channel)
            harness.store.settle_alert(delivery, Settlement("sent"))


def _no_channel(name: str) -> Channel:
    raise ConfigError(f"no alert leaves a test, so there is no channel {name}")


class _TestRuntime(Runtime):
    def __init__(self, harness: Harness) -> None:
        settings = Settings(store=harness.store, channels=(ChannelSettings(CHANNEL, CHANNEL),))
        super().__init__(settings, harness.store)
        self.dispatcher = _CapturingDispatcher(harness)
        self.now = harness.clock
        self.monotonic = lambda: _seconds(harness.clock())

    def _channels_of(self, config: JobConfig) -> tuple[ChannelSettings, ...]:
        # Any channel that a job names is there in a test, and is captured.
        named = (ChannelSettings(name, name, default=False) for name in config.channels or ())
        return (*self.settings.channels, *named)


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
