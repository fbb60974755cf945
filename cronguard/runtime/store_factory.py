"""From the ``store`` setting to an open store: the plugin that answers to its scheme is loaded."""

from __future__ import annotations

import os
from typing import cast

from cronguard.core.errors import ConfigError
from cronguard.core.interfaces import Store
from cronguard.core.model import SecretRef
from cronguard.process import log
from cronguard.settings.loading import Settings
from cronguard.settings.store_url import default_store_path, store_target


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
    if target.plugin == "sqlite":  # looking up a plugin costs more than it
        from cronguard.stores.sqlite.store import SQLiteStore  # adapters come late

        return SQLiteStore.from_url(f"sqlite:///{target.location}", timeout=settings.store_timeout)
    from cronguard.settings.plugins import STORES, load

    kind = load(STORES, target.plugin)
    return cast("Store", kind.from_url(target.location, timeout=settings.store_timeout))  # type: ignore[attr-defined]  # a store class's duty


def with_timeouts_and_spool(store: Store, settings: Settings) -> Store:
    """The store for a process's runs: every call bounded, and a spool before one that is remote.

    The spool is in the user's state folder, one a store; without such a place there is none.
    """
    if getattr(store, "bounded", False):
        return store
    import hashlib

    from cronguard.stores.spool.store import SpooledStore
    from cronguard.stores.timeouts import with_timeouts  # not for a store that sees to it itself

    bounded = with_timeouts(store, settings.store_timeout)
    try:
        folder = default_store_path(os.environ).parent
    except (ConfigError, OSError) as error:
        log.debug("no local spool: %s", error)  # and what cannot be written is told directly
        return bounded
    where = getattr(store, "where", None) or _place(settings)
    name = f"{type(store).__module__}.{type(store).__qualname__} {where}"
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:12]
    return SpooledStore(
        bounded,
        folder / f"spool-{digest}.db",
        warn=lambda sentence: log.warning_once("%s", sentence),
    )


def without_spool(store: Store) -> Store:
    """The store itself, where `with_timeouts_and_spool` put this host's spool before it."""
    from cronguard.stores.spool.store import SpooledStore

    return store.remote if isinstance(store, SpooledStore) else store


def _place(settings: Settings) -> str:
    """The store's address without user and password; empty for an object that nobody can name."""
    if not isinstance(settings.store, str | SecretRef):
        return ""
    try:
        url = store_target(settings.store, os.environ).location
    except ConfigError:
        return ""
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}/{path.partition('?')[0]}"


def default_store(settings: Settings) -> Store:
    """The embedded default: a SQLite file in the user's state folder."""
    try:
        path = default_store_path(os.environ)
    except OSError as error:
        raise ConfigError(
            f"no place for the database ({type(error).__name__}): set HOME or CRONGUARD_STORE"
        ) from None
    from cronguard.stores.sqlite.store import SQLiteStore  # adapters come late

    return SQLiteStore(path, timeout=settings.store_timeout)
