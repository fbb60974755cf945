"""From the ``store`` setting to an open store: the plugin that answers to its scheme is loaded."""

from __future__ import annotations

import os
from typing import cast

from cronguard._plugins import load
from cronguard._settings import Settings
from cronguard._store_url import default_store_path, store_target
from cronguard.errors import ConfigError
from cronguard.interfaces import Store
from cronguard.model import SecretRef


def open_store(settings: Settings) -> Store:
    """The store that the settings name. Touches no file and no network yet.

    Raises ConfigError or PluginError, one line each, if there is no such store or its extra is not
    installed.
    """
    setting = settings.store
    if setting is None:
        return default_store(settings)
    if not isinstance(setting, str | SecretRef):
        return setting
    target = store_target(setting, os.environ)
    kind = load("cronguard.stores", target.plugin)
    url = f"sqlite:///{target.location}" if target.plugin == "sqlite" else target.location
    return cast("Store", kind.from_url(url, timeout=settings.store_timeout))  # type: ignore[attr-defined]  # a store class's duty


def default_store(settings: Settings) -> Store:
    """The embedded default: a SQLite file in the user's state folder."""
    try:
        path = default_store_path(os.environ)
    except OSError as error:
        raise ConfigError(
            f"no place for the database ({type(error).__name__}): set HOME or CRONGUARD_STORE"
        ) from None
    kind = load("cronguard.stores", "sqlite")
    return cast("Store", kind(path, timeout=settings.store_timeout))
