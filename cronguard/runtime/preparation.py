"""What a failure needs, loaded while there is time: a deploy may remove or replace it meanwhile.

Loading never fails the job: what cannot be loaded now is looked for again when it is needed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module

from cronguard.core.model import SecretRef
from cronguard.process import log
from cronguard.process.imports import importing_alone
from cronguard.settings.loading import Settings
from cronguard.stores.spooled import SpooledStore

_MODULES = (
    "json",
    "logging",
    "opcode",
    "cronguard.channels.transport.proxy",
    "cronguard.core.damage",
    "cronguard.core.install",
    "cronguard.core.payload",
    "cronguard.core.rendering",
    "cronguard.core.schedule",
    "cronguard.privacy.capture",
    "cronguard.process.stderr",
    "cronguard.process.workers",
    "cronguard.runtime.channel_factory",
    "cronguard.runtime.delivery",
    "cronguard.runtime.known_channels",
    "cronguard.runtime.retries",
    "cronguard.stores.spool.behind",
    "cronguard.stores.sqlite.errors",
    "cronguard.stores.sqlite.expectations",
    "cronguard.stores.sqlite.memory",
    "cronguard.stores.sqlite.outbox",
    "cronguard.stores.sqlite.replaced.carrying",
    "cronguard.stores.sqlite.replaced.following",
    "cronguard.stores.sqlite.restating",
    "cronguard.stores.sqlite.silences",
    "cronguard.stores.sqlite.starting",
)
"""What any failure may need."""
_LATE = ("cronguard.channels.", "cronguard.runtime.heartbeat_ping")
"""Modules that may have a function ``load_late``, for what they import late."""
_MOST_TRIES = 10


class Preparation:
    """Loads what a failing run, its alerts and a store that is away would need."""

    def __init__(self, settings: Settings, store: SpooledStore) -> None:
        self._settings = settings
        self._steps = self._all_steps(settings, store)
        self._heavy: list[Callable[[], object]] = []
        """Steps that load other packages."""
        self._next: Callable[[], object] | None = None
        self._tries = 0

    def now(self) -> None:
        """Load it now, but for other packages and their like, which take long: see `go_on`."""
        for step in self._steps:
            if step not in self._heavy:
                _say(_error_of(step))

    def go_on(self) -> bool:
        """Load what can be loaded while nobody else imports; return whether it is all done.

        Where somebody else imports whenever it is tried, it is done all the same, late rather than
        never.
        """
        self._tries += 1
        while True:
            self._next = self._next or next(self._steps, None)
            if self._next is None:
                self._load_plugins()
                return True
            with importing_alone() as alone:
                if not alone and self._tries < _MOST_TRIES:
                    return False
                caught = _error_of(self._next)
            _say(caught)
            self._next = None

    def _all_steps(self, settings: Settings, store: SpooledStore) -> Iterator[Callable[[], object]]:
        """Yield each step, none of which takes long or waits for another thread."""
        from cronguard.settings.plugins import CHANNELS, SECRETS, builtin

        for name in _MODULES:
            yield partial(import_module, name)
        yield partial(_load_redaction, settings)
        for channel in settings.channels:
            yield partial(builtin, CHANNELS, channel.type)
            if channel.instance is not None or builtin(CHANNELS, channel.type) is None:
                yield partial(import_module, "asyncio")  # its `send` may be asynchronous
            for value in channel.options.values():
                if isinstance(value, SecretRef):
                    yield partial(builtin, SECRETS, value.scheme)
        yield partial(builtin, CHANNELS, "console")
        if settings.proxy:
            yield partial(import_module, "urllib.request")
        if any(job.get("heartbeat_url") for job in settings.jobs.values()):
            yield partial(import_module, "cronguard.runtime.heartbeat_ping")
        seen: set[str] = set()
        while new := {name for name in list(sys.modules) if name.startswith(_LATE)} - seen:
            seen |= new
            for name in new:
                load_late = getattr(sys.modules[name], "load_late", None)
                if load_late is not None:
                    self._heavy.append(load_late)
                    yield load_late
        yield store.preload

    def _load_plugins(self) -> None:
        """Load third parties' channels: in a thread of their own, so not in `importing_alone`."""
        from cronguard.settings.plugins import CHANNELS, load

        for channel in self._settings.channels:
            if channel.instance is None:
                _say(_error_of(partial(load, CHANNELS, channel.type)))


def _load_redaction(settings: Settings) -> None:
    from cronguard.privacy.capture import load

    load(settings.redact, data=True)


def _error_of(step: Callable[[], object]) -> Exception | None:
    try:
        step()
    except Exception as error:  # noqa: BLE001  # said by the caller
        return error
    return None


def _say(error: Exception | None) -> None:
    """Log a fault: after the block of `importing_alone`, since a log handler may import."""
    if error is not None:
        log.debug("something could not be loaded ahead (%s)", type(error).__name__)


__all__ = ["Preparation"]
