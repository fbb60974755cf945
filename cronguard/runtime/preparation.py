"""What a failure needs, loaded while there is time: a deploy may remove or replace it meanwhile.

Loading never fails the job: what cannot be loaded now is looked for again when it is needed.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from cronguard.core.interfaces import Store
from cronguard.process import log
from cronguard.settings.loading import Settings

_MODULES = (
    "json",
    "logging",
    "opcode",
    "cronguard.core.install",
    "cronguard.core.payload",
    "cronguard.core.rendering",
    "cronguard.core.schedule",
    "cronguard.privacy.capture",
    "cronguard.process.stderr",
    "cronguard.process.workers",
    "cronguard.runtime.channel_factory",
    "cronguard.runtime.delivery",
    "cronguard.runtime.heartbeat_ping",
    "cronguard.stores.spool.backlog",
    "cronguard.stores.sqlite.restating",
)


def prepare(settings: Settings, store: Store) -> None:
    """Load what a failing run, its alerts and a store that is away would need."""
    for name in _MODULES:
        _try(name, lambda name=name: importlib.import_module(name))
    _try("redaction", lambda: _load_redaction(settings))
    _try("channels", lambda: _load_channels(channel.type for channel in settings.channels))
    _try("store", getattr(store, "prepare", lambda: None))


def _load_redaction(settings: Settings) -> None:
    from cronguard.privacy.capture import load

    load(settings.redact)


def _load_channels(types: Iterable[str]) -> None:
    from cronguard.settings.plugins import CHANNELS, load

    for name in {*types, "console"}:
        _try(name, lambda name=name: load(CHANNELS, name))


def _try(what: str, work: object) -> None:
    try:
        work()  # type: ignore[operator]
    except Exception as error:  # noqa: BLE001  # a plugin may raise anything
        log.debug("%s could not be loaded ahead (%s)", what, type(error).__name__)


__all__ = ["prepare"]
