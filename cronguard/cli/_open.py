"""Settings and store for a command, opened strictly: what is wrong is said, not worked around."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cronguard.cli._say import CommandError, SettingsError, plural, say
from cronguard.errors import CronguardError, PluginError, StoreError

if TYPE_CHECKING:
    from cronguard._runtime import Runtime
    from cronguard._settings_types import Loaded, Settings
    from cronguard.interfaces import Store
    from cronguard.model import JobStatus
    from cronguard.stores.spooled import SpooledStore


F = TypeVar("F", bound=Callable[..., Any])


def load_settings() -> Loaded:
    """The settings and what is wrong with them."""
    from cronguard._runtime import load, overrides

    return load(overrides())


def open_runtime(settings: Settings | None = None) -> Runtime:
    """Store, channels and delivery. Wrong settings are an error unless ``settings`` are given."""
    from cronguard._runtime import Runtime

    settings = settings or _right_settings()
    return Runtime(settings, open_store(settings))


def open_store(settings: Settings | None = None) -> Store:
    """The store itself, whose calls may take as long as they need. Otherwise as `open_runtime`."""
    from cronguard import _stores

    try:
        store = _stores.open_store(settings or _right_settings())
    except PluginError as error:
        raise SettingsError(str(error)) from None
    if context := click.get_current_context(silent=True):
        context.call_on_close(store.close)
    return store


@contextmanager
def store_on_demand(settings: Settings) -> Iterator[Callable[[], Store]]:
    """A function that opens the store, for secrets that are kept there; closed with the block."""
    from cronguard import _stores

    opened: list[Store] = []

    def store() -> Store:
        opened.append(_stores.open_store(settings))
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
    """The file that a store keeps its data in; None if it is none that we know of."""
    from cronguard._stores import without_spool

    path = getattr(without_spool(store), "path", None)
    return path if isinstance(path, Path) else None


def jobs_of(store: Store) -> list[JobStatus]:
    """`Store.jobs`, but a database that is not there yet is not created by looking at it."""
    return store.jobs() if is_there(store) else []


def is_there(store: Store) -> bool:
    """False for a database file that has yet to be made."""
    path = store_file(store)
    try:
        return path is None or bool(path.lstat())
    except FileNotFoundError:
        return False
    except OSError:
        return True  # it cannot be told; the store says why


def _spooled(store: Store) -> tuple[SpooledStore | None, int]:
    """The store, if it has a spool before it, and how many outcomes wait there."""
    from cronguard.stores.spooled import SpooledStore

    if not isinstance(store, SpooledStore):
        return None, 0
    try:
        return store, store.waiting()
    except StoreError:
        return store, 0


def spool_sentence(store: Store) -> str | None:
    """Where outcomes wait for a store that was out of reach, and when they go; None for none."""
    spooled, waiting = _spooled(store)
    if spooled is None or not waiting:
        return None
    runs = "1 run waits" if waiting == 1 else f"{waiting:,} runs wait"
    return f"{runs} in {spooled.spool_path} to be recorded: the next run, check or deliver does it"


def replay(store: Store, *, quiet: bool = False) -> None:
    """Tell the store what this host has kept for it. Raises StoreError if it does not answer."""
    spooled, waiting = _spooled(store)
    if spooled is None or not waiting:
        return
    from cronguard.cli._progress import progress

    with progress("recording kept runs") as advance:
        done = spooled.replay(advance)
    if not quiet:
        say(f"Recorded {plural(done, 'run')} that had been kept here.")


@contextmanager
def kept_alerts_sent(runtime: Runtime) -> Iterator[None]:
    """If the store does not answer meanwhile, at least send what this host has decided itself."""
    try:
        yield
    except StoreError:
        spooled, _ = _spooled(runtime.store)
        if spooled is not None and spooled.has_alerts():
            with suppress(StoreError):
                runtime.courier.deliver_all(force=False)
        raise


def find_job(statuses: Sequence[JobStatus], name: str) -> JobStatus:
    """The job of that name. Raises `CommandError` with the nearest name if there is none."""
    for status in statuses:
        if status.job == name:
            return status
    raise CommandError(no_such_job(name, [status.job for status in statuses]))


def no_such_job(name: str, known: Iterable[str]) -> str:
    """One line for a job that nobody has heard of."""
    from cronguard._words import show, suggest

    names = list(known)
    hint = "see cronguard status" if names else "no job has run yet; see cronguard run --help"
    return f"there is no job {show(name)}{suggest(name, names)}: {hint}"


def describe_store(settings: Settings, store: Store) -> str:
    """Where runs are recorded, without user names, passwords or anything else of an address."""
    from cronguard._store_url import store_target
    from cronguard.model import SecretRef

    path = store_file(store)
    if path is not None:
        return str(path)
    setting = settings.store
    if not isinstance(setting, str | SecretRef):
        return type(setting).__name__
    held = f" (address in {setting.name})" if isinstance(setting, SecretRef) else ""
    return store_target(setting, os.environ).scheme + held


def complete_jobs(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    """Names of jobs, for the shell. Silent when they cannot be had."""
    try:
        settings = load_settings().settings
        store = open_store(settings)
        known = {*settings.jobs, *(status.job for status in jobs_of(store))}
        store.close()
    except CronguardError:
        return []
    return sorted(name for name in known if name.startswith(incomplete))


def complete_channels(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    """Names of channels, for the shell."""
    names = (channel.name for channel in load_settings().settings.channels)
    return sorted(name for name in names if name.startswith(incomplete))


def job_argument(*, many: bool = False, required: bool = True) -> Callable[[F], F]:
    """The ``JOB`` argument of a command, completed by the shell."""
    return click.argument(
        "jobs" if many else "job",
        metavar="[JOB]..." if many else "JOB",
        nargs=-1 if many else 1,
        required=required and not many,
        shell_complete=complete_jobs,
    )


def up_to(most: int) -> Callable[[click.Context, click.Parameter, int], int]:
    """The callback of an option that takes a whole number from 1 to ``most``."""

    def check(_ctx: click.Context, _param: click.Parameter, value: int) -> int:
        if not 1 <= value <= most:
            raise click.BadParameter(f"{value} is not a whole number from 1 to {most:,}")
        return value

    return check


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")

quiet_option = click.option(
    "-q", "--quiet", is_flag=True, help="Print errors only: cron mails every line."
)
