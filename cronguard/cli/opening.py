"""Settings and stores for a command, opened strictly: what is wrong is said, not worked around."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cronguard.cli.output.lines import SettingsError, print_error

if TYPE_CHECKING:
    from cronguard.core.health import Health
    from cronguard.core.interfaces import Store
    from cronguard.core.model import JobStatus
    from cronguard.runtime.runtime import Runtime
    from cronguard.settings.types import Loaded, Settings
    from cronguard.stores.server.postgres import PostgresStore


DATABASE_VARIABLE = "SUPABASE_DB_URL"
SCHEMA_WAIT_SECONDS = 10.0
"""How long after a migration Supabase's API may take to see it, or a little more."""
_ASK_EVERY_SECONDS = 0.25


def load_settings(*, say_problems: bool = False) -> Loaded:
    """Return the settings and what is wrong with them, which ``say_problems`` prints too."""
    from cronguard.runtime.composition import load, overrides

    loaded = load(overrides())
    for problem in loaded.problems if say_problems else ():
        print_error(problem)
    return loaded


def open_runtime(settings: Settings | None = None) -> Runtime:
    """Return store, channels and delivery. Raises SettingsError unless ``settings`` are given."""
    from cronguard.runtime.runtime import Runtime

    settings = settings or _right_settings()
    runtime = Runtime(settings, open_store(settings))
    if context := click.get_current_context(silent=True):
        context.call_on_close(runtime.store.close)  # which may have a spool before it
    return runtime


def open_store(settings: Settings | None = None) -> Store:
    """Return the store itself, whose calls may take their time. Raises as `open_runtime`."""
    from cronguard.runtime import store_factory

    store = store_factory.open_store(settings or _right_settings())
    if context := click.get_current_context(silent=True):
        context.call_on_close(store.close)
    _wait_for_schema(store)
    return store


def _wait_for_schema(store: Store) -> None:
    """Let the store of a Supabase project wait for a migration that was applied just now."""
    await_schema = getattr(store, "await_schema", None)
    if await_schema is None:
        return
    give_up: float | None = None

    def ask_again() -> bool:
        nonlocal give_up
        if give_up is None:
            give_up = time.monotonic() + SCHEMA_WAIT_SECONDS
            print_error(
                f"{getattr(store, 'where', 'the API')} knows no cronguard schema; in case it was"
                f" made just now, asking for {SCHEMA_WAIT_SECONDS:.0f} s more"
            )
        time.sleep(_ASK_EVERY_SECONDS)
        return time.monotonic() < give_up

    await_schema(ask_again)


@contextmanager
def store_on_demand(settings: Settings) -> Iterator[Callable[[], Store]]:
    """Yield a function that opens the store, for secrets that are kept there; close it after."""
    from cronguard.runtime import store_factory

    opened: list[Store] = []

    def store() -> Store:
        opened.append(store_factory.open_store(settings))
        _wait_for_schema(opened[-1])
        return opened[-1]

    try:
        yield store
    finally:
        for each in opened:
            each.close()


def _right_settings() -> Settings:
    loaded = load_settings()
    if loaded.problems:
        raise SettingsError(*loaded.problems)
    return loaded.settings


def store_file(store: Store) -> Path | None:
    """Return the file that a store keeps its data in; None if it is none that we know of."""
    from cronguard.runtime.store_factory import without_spool

    path = getattr(without_spool(store), "path", None)
    return path if isinstance(path, Path) and str(path) != ":memory:" else None


def jobs_of(store: Store) -> list[JobStatus]:
    """Return `Store.jobs`; a database that is not there yet is not created by looking at it."""
    return store.jobs() if is_there(store) else []


def health_of(runtime: Runtime) -> list[Health]:
    """Return how every job is doing, by name. No database is created for it."""
    from cronguard.runtime.health import read_health

    store = runtime.store if is_there(runtime.store) else None
    return read_health(store, runtime.settings)


def is_there(store: Store) -> bool:
    """Tell whether the store is there; a database file may have yet to be made."""
    path = store_file(store)
    try:
        return path is None or bool(path.lstat())
    except FileNotFoundError:
        return False
    except OSError:
        return True  # that is not known; the store says why


def describe_store(settings: Settings, store: Store) -> str:
    """Return where runs are recorded, without user, password or anything else of an address."""
    from cronguard.core.model import SecretRef
    from cronguard.settings.store_url import store_target

    path = store_file(store)
    if path is not None:
        return str(path)
    setting = settings.store
    if not isinstance(setting, str | SecretRef):
        return type(setting).__name__
    held = f" (address in {setting.name})" if isinstance(setting, SecretRef) else ""
    return store_target(setting, os.environ).scheme + held


db_url_option = click.option(
    "--db-url",
    metavar="URL",
    envvar=DATABASE_VARIABLE,
    help=f"The database, or env:NAME; without it: {DATABASE_VARIABLE}.",
)


def open_database(url: str | None, purpose: str) -> PostgresStore:
    """Open the database of ``--db-url``; ``purpose`` is what needs it. The caller closes it."""
    from cronguard.settings.plugins import STORES, load

    found = _dereferenced(url)
    if not found:
        raise click.UsageError(
            f"{purpose} needs a database: set {DATABASE_VARIABLE} to the project's connection"
            " string"
        )
    store: PostgresStore = load(STORES, "postgres").from_url(found)  # type: ignore[attr-defined]  # a store class's duty
    return store


def _dereferenced(url: str | None) -> str | None:
    if url is None or not url.startswith("env:"):
        return url
    name = url.removeprefix("env:")
    value = os.environ.get(name, "").strip()
    if not value:
        raise SettingsError(f"--db-url is env:{name}, but that variable is empty: set it")
    return value
