"""cronguard tells a team, once and in the right place, that a scheduled job is broken.

    from cronguard import cron_guarded

    @cron_guarded(job="assignment_reminder", threshold=2)
    def send_reminders(): ...

Importing this package reads no file, starts no thread and loads no third-party module: what a
name needs is loaded when the name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from cronguard.core.errors import (
        ChannelError,
        ConfigError,
        CronguardError,
        JobOverlap,
        PluginError,
        SecretError,
        StoreConfigError,
        StoreError,
    )
    from cronguard.guarding.context_manager import GuardedRun, guard
    from cronguard.guarding.decorator import cron_guarded
    from cronguard.runtime.composition import configure

__all__ = [
    "ChannelError",
    "ConfigError",
    "CronguardError",
    "GuardedRun",
    "JobOverlap",
    "PluginError",
    "SecretError",
    "StoreConfigError",
    "StoreError",
    "__version__",
    "configure",
    "cron_guarded",
    "guard",
]

_NAMES = {"__version__": "VERSION"}
_HOMES = {
    "__version__": "core.install",
    "GuardedRun": "guarding.context_manager",
    "configure": "runtime.composition",
    "cron_guarded": "guarding.decorator",
    "guard": "guarding.context_manager",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # not needed by a bare import

    home = import_module(f"{__name__}.{_HOMES.get(name, 'core.errors')}")
    value = getattr(home, _NAMES.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
