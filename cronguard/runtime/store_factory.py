"""From the ``store`` setting to an open store, by the plugin for its scheme."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cronguard.core.errors import ConfigError, CronguardError, StoreConfigError
from cronguard.core.model import SecretRef
from cronguard.process import log
from cronguard.process.signals import tolerate
from cronguard.settings.loading import Settings
from cronguard.settings.store_url import default_store_path, store_target

if TYPE_CHECKING:
    from cronguard.core.interfaces import Store
    from cronguard.stores.spooled import SpooledStore

_NOT_CALLS = frozenset({"kept", "where", "within"})
"""Optional methods of a store; to ask for one opens nothing."""
_RETRY_SECONDS = 5.0
_LARGE_PRIME = 2**61 - 1
"""A SQLite file's spool is named by the file's path modulo this: to load hashlib takes longer."""


def open_store(settings: Settings) -> Store:
    """Return the store that the settings name, without touching a file or the network.

    Raises:
        ConfigError: The address is wrong, or there is no place for the default store.
        PluginError: There is no such store, or its extra is not installed.
    """
    setting = settings.store
    if setting is None:
        return default_store(settings)
    if not isinstance(setting, str | SecretRef):
        return setting
    target = store_target(setting, os.environ)
    if target.plugin == "sqlite":  # looking up a plugin costs more than SQLite itself
        from cronguard.stores.sqlite.store import SQLiteStore  # imported when needed

        return SQLiteStore.from_url(f"sqlite:///{target.location}", timeout=settings.store_timeout)
    from cronguard.settings.plugins import STORES, load

    kind = load(STORES, target.plugin)
    return cast("Store", kind.from_url(target.location, timeout=settings.store_timeout))  # type: ignore[attr-defined]  # a store class's duty


def open_store_or_default(settings: Settings, say: Callable[..., None]) -> Store:
    """Return the store that the settings name; else the default one, or a stand-in for it."""
    try:
        return open_store(settings)
    except Exception as error:  # noqa: BLE001  # a store's own code may raise anything
        problem = why_unopened(error)
    try:
        store = default_store(settings)
    except Exception as error:  # noqa: BLE001  # its modules may be missing
        problem = why_unopened(error)
        say("cronguard settings: %s; nothing can be recorded", problem)
        return cast("Store", UnopenedStore(partial(open_store, settings), problem))
    say("cronguard settings: %s; until then runs are kept in %s", problem, _path_of(store))
    return store


def _path_of(store: Store) -> object:
    return getattr(store, "path", "the default store")


def with_timeouts_and_spool(store: Store, settings: Settings) -> SpooledStore:
    """Return the store for a process's runs: with a timeout per call and a local spool.

    A store that is ``bounded`` already, such as SQLite, gets no timeout. The spool is in the user's
    state folder, one for each store; without such a folder it is in memory.
    """
    from cronguard.stores.spooled import SpooledStore

    if isinstance(store, SpooledStore):
        return store
    remote = not getattr(store, "bounded", False)
    path = _spool_path(store, settings, remote=remote)
    if remote:
        from cronguard.stores.timeouts import with_timeouts  # few stores need it

        store = with_timeouts(store, settings.store_timeout)
    return SpooledStore(
        store, path, remote=remote, warn=lambda sentence: log.warning_once("%s", sentence)
    )


def _spool_path(store: Store, settings: Settings, *, remote: bool) -> Path | None:
    folder: Path | None = None
    with tolerate(ConfigError, OSError):
        folder = default_store_path(os.environ).parent
    if folder is None:
        log.debug("the local spool is in memory: there is no place for its file")
        return None
    if not remote:
        place = getattr(store, "path", None)
        if place is None or str(place) == ":memory:":
            return None  # it ends with the process as well
        number = int.from_bytes(os.fsencode(Path(place).absolute()), "big")
        return folder / f"spool-file-{number % _LARGE_PRIME:x}.db"
    import hashlib  # not for a SQLite file: it takes longer than the run

    where = getattr(store, "where", None) or _address_without_credentials(settings)
    name = f"{type(store).__module__}.{type(store).__qualname__} {where}"
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:12]
    return folder / f"spool-{digest}.db"


def without_spool(store: Store) -> Store:
    """Return the store below the spool of `with_timeouts_and_spool`, or ``store`` itself."""
    from cronguard.stores.spooled import SpooledStore

    return store.store if isinstance(store, SpooledStore) else store


def _address_without_credentials(settings: Settings) -> str:
    """Return the store's address without user and password; empty if it has no address."""
    if not isinstance(settings.store, str | SecretRef):
        return ""
    try:
        url = store_target(settings.store, os.environ).location
    except ConfigError:
        return ""
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}/{path.partition('?')[0]}"


class UnopenedStore:
    """Stands for a store that cannot be opened: what it is given waits, and it is tried again."""

    bounded = True
    path = None

    def __init__(self, open_it: Callable[[], Store], problem: str) -> None:
        self._open = open_it
        self._problem = problem
        self._store: Store | None = None
        self._try_at = time.monotonic() + _RETRY_SECONDS

    def __repr__(self) -> str:
        return repr(self._store) if self._store is not None else f"<no store: {self._problem}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in _NOT_CALLS:
            raise AttributeError(name)
        return partial(self._call, name)

    def close(self) -> None:
        """Close the store, if it has been opened meanwhile."""
        if self._store is not None:
            self._store.close()

    def _call(self, name: str, *args: Any, **keywords: Any) -> Any:
        if self._store is None and time.monotonic() >= self._try_at:
            self._try_at = time.monotonic() + _RETRY_SECONDS
            try:
                self._store = self._open()
            except Exception as error:  # noqa: BLE001  # as before
                self._problem = why_unopened(error)
        if self._store is None:
            raise StoreConfigError(self._problem, code="not_opened")
        return getattr(self._store, name)(*args, **keywords)


def why_unopened(error: Exception) -> str:
    """Return why a store cannot be opened, as the beginning of a sentence."""
    if isinstance(error, CronguardError):
        return str(error)
    if isinstance(error, ImportError) and error.name:
        return f"the store cannot be opened: the module {error.name!r} cannot be loaded"
    return f"the store cannot be opened ({type(error).__name__})"


def default_store(settings: Settings) -> Store:
    """Return the default store: a SQLite file in the user's state folder."""
    try:
        path = default_store_path(os.environ)
    except OSError as error:
        raise ConfigError(
            f"no place for the database ({type(error).__name__}): set HOME or CRONGUARD_STORE"
        ) from None
    from cronguard.stores.sqlite.store import SQLiteStore  # imported when needed

    return SQLiteStore(path, timeout=settings.store_timeout)
