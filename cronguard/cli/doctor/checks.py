"""What ``cronguard doctor`` looks at. Nothing is changed, sent or shown that is secret."""

from __future__ import annotations

import os
import platform
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cronguard.cli.backlog import refused_sentence, spool_sentence, unreadable_sentence
from cronguard.cli.doctor import cron, crontab
from cronguard.cli.doctor.channels import alerts, changes, channels, heartbeats, proxy
from cronguard.cli.doctor.findings import Check, Expected, Findings, Value
from cronguard.cli.doctor.installed import explain_damage, explain_other, is_ours, others
from cronguard.cli.opening import (
    describe_store,
    is_there,
    load_settings,
    store_file,
)
from cronguard.cli.output.jobs import option_text, stated_by
from cronguard.cli.output.lines import plural
from cronguard.core.errors import CronguardError, StoreError
from cronguard.core.install import VERSION
from cronguard.core.model import LEASE_SECONDS, Expectations, SecretRef, Watch

if TYPE_CHECKING:
    from cronguard.core.interfaces import Store
    from cronguard.settings.types import Loaded, Settings

_OLDEST_SQLITE = (3, 34, 0)


def examine(*, as_cron: bool = False) -> Findings:
    """Look at everything.

    Args:
        as_cron: Whether to look with the environment and in the folder that cron gives a job;
            this process then goes on in them.
    """
    expected: list[Expected] = []
    checks: list[Check] = []
    lines = crontab.read()
    if as_cron:
        checks += cron.enter(load_settings().settings, lines)
    loaded = load_settings()
    checks += [*_software(), *_settings(loaded), *_store(loaded, lines, expected)]
    checks += [*channels(loaded.settings), *heartbeats(loaded.settings), *proxy(loaded.settings)]
    checks += [*_plugins()]
    return Findings(checks, list(_values(loaded.settings)), expected)


def _software() -> Iterator[Check]:
    python = platform.python_version()
    yield Check("cronguard", "ok", f"{VERSION} on Python {python} ({sys.executable})")
    yield from _installed()
    try:
        import sqlite3
    except ImportError:
        yield Check("sqlite", "error", "this Python has no sqlite3 module: use one that has it")
        return
    known = sqlite3.sqlite_version_info >= _OLDEST_SQLITE
    needed = "" if known else "; version 3.34 or newer is needed: update SQLite or Python"
    yield Check("sqlite", "ok" if known else "error", sqlite3.sqlite_version + needed)


def _installed() -> Iterator[Check]:
    for other in others():
        yield Check("installed", "warning", explain_other(other))
    if not is_ours():
        yield Check("installed", "error", explain_damage())


def _settings(loaded: Loaded) -> Iterator[Check]:
    file = loaded.settings.file
    for problem in loaded.problems:
        yield Check("settings", "error", problem)
    for warning in loaded.warnings:
        yield Check("settings", "warning", warning)
    if file and file.name == "cronguard.toml" and _also_in(file.with_name("pyproject.toml")):
        other = f"[tool.cronguard] in the pyproject.toml beside {file} is not read"
        yield Check("settings", "warning", f"{other}, since this file is: keep one of the two")
    if not loaded.problems:
        yield Check("settings", "ok", f"read from {file}" if file else "no settings file")


def _also_in(pyproject: Path) -> bool:
    with suppress(OSError):
        return b"[tool.cronguard" in pyproject.read_bytes()
    return False


# --- the store ------------------------------------------------------------------------------------


def _store(loaded: Loaded, lines: str, expected: list[Expected]) -> Iterator[Check]:
    """Look at the store; ``expected`` is filled with what it keeps of its jobs."""
    from cronguard.runtime.store_factory import open_store, with_timeouts_and_spool, without_spool
    from cronguard.settings.store_url import (
        describe_default_store,
        ephemeral_place,
        ephemeral_sentence,
    )

    settings = loaded.settings
    try:
        dependent = with_timeouts_and_spool(open_store(settings), settings)
        store = without_spool(dependent)  # looking replays nothing
    except CronguardError as error:
        meanwhile = describe_default_store(os.environ)
        yield Check("store", "error", f"{error}; until then runs are kept in {meanwhile}")
        return
    place = describe_store(settings, store)
    path = store_file(store)
    try:
        problem = store.schema_problem() if hasattr(store, "schema_problem") else None
        if problem is not None:
            served = problem.code == "schema_newer"
            yield Check("schema", "warning" if served else "error", str(problem))
        if path is not None and not is_there(store):
            yield _to_be_made(path)
            yield from crontab.expectations(lines, settings.jobs, [])
        elif problem is None or served:
            jobs = store.jobs()
            store.heartbeat([], lease=LEASE_SECONDS)
            yield Check(
                "store", "ok", f"{place} can be read and written: {plural(len(jobs), 'job')}"
            )
            watches = store.watches()
            expected += _expected(watches)
            yield from crontab.expectations(lines, settings.jobs, watches)
            yield from _scheduled(watches)
            yield from _damaged(store)
            yield from alerts(store, settings)
            if path is not None:
                yield _privacy(path)
    except StoreError as error:
        yield Check("store", "error", str(error))
    if kept := spool_sentence(dependent):
        yield Check("spool", "warning", kept)
    for sentence in (refused_sentence(dependent), unreadable_sentence(dependent)):
        if sentence:
            yield Check("spool", "error", sentence)
    yield from changes(dependent.channels_folder)
    dependent.close()
    if settings.store is None and (name := ephemeral_place(os.environ)) is not None:
        yield Check("store", "warning", ephemeral_sentence(name))


def _scheduled(watches: Sequence[Watch]) -> Iterator[Check]:
    unknown = sorted(watch.job for watch in watches if watch.expected.plan is None)
    if unknown:
        more = f" and {plural(len(unknown) - 3, 'other')}" if len(unknown) > 3 else ""  # noqa: PLR2004  # enough to go on
        yield Check(
            "schedule",
            "ok",
            f"nobody states when {', '.join(unknown[:3])}{more} should start, so a run that never"
            " starts goes unseen; what cron starts wants a schedule",
        )


def _damaged(store: Store) -> Iterator[Check]:
    for table, row, problem, _ in store.damaged():
        yield Check(
            "rows",
            "error",
            f"{table} has a row {row} that is not as cronguard writes it: {problem}; the other jobs"
            " go on without it: correct it, or delete it (cronguard forget, for a job)",
        )


def _expected(watches: Sequence[Watch]) -> Iterator[Expected]:
    usual = Expectations()._asdict()
    for watch in watches:
        for key, value in watch.expected._asdict().items():
            source = watch.sources.get(key)
            if source is not None and (source.origin != "code" or value != usual[key]):
                said = stated_by(source.origin)
                yield Expected(watch.job, key, option_text(key, value), said, source.since)


def _to_be_made(path: Path) -> Check:
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return Check("store", "ok", f"{path} will be created by the first run")
    return Check(
        "store",
        "error",
        f"{path} is not there and cannot be created, since {folder} is closed to this user: set"
        " CRONGUARD_STORE, or correct the folder",
    )


def _privacy(path: Path) -> Check:
    found = path.stat()
    if hasattr(os, "geteuid") and found.st_uid not in (os.geteuid(), 0):
        return Check("permissions", "warning", f"{path} belongs to another user")
    if os.name == "posix" and stat.S_IMODE(found.st_mode) & 0o077:
        return Check("permissions", "warning", f"others can read {path}: chmod 600 {path}")
    return Check("permissions", "ok", f"{path} is its owner's alone")


# --- the rest -------------------------------------------------------------------------------------


def _plugins() -> Iterator[Check]:
    from cronguard.settings.plugins import CHANNELS, SECRETS, STORES, describe

    for group in (CHANNELS, STORES, SECRETS):
        for info in describe(group):
            if info.error and info.installed:
                yield Check("plugin", "warning", info.error)


# --- values ---------------------------------------------------------------------------------------


def _values(settings: Settings) -> Iterator[Value]:
    sources = settings.sources

    def value(key: str, shown: object) -> Value:
        return Value(key, str(shown), sources.get(key, "default"))

    yield value("store", "default file" if settings.store is None else _address(settings))
    described = [channel.name for channel in settings.channels if channel.default]
    yield value("channels", ", ".join(described))
    yield value("store_timeout", f"{settings.store_timeout:g} s")
    redact = settings.redact
    yield value("redact", redact if isinstance(redact, str) else "a function")
    if settings.redact_keep:
        yield value("redact_keep", ", ".join(settings.redact_keep))
    if settings.proxy is not None:
        yield value("proxy", settings.proxy)
    yield value("test_mode", "on" if settings.test_mode else "off")
    for channel in settings.channels:
        for key, given in channel.options.items():
            shown = str(given) if isinstance(given, SecretRef) else "set"
            yield value(f"channel.{channel.name}.{key}", shown)
        if channel.threshold:
            yield value(f"channel.{channel.name}.threshold", channel.threshold)
        if channel.has_realert:
            yield value(f"channel.{channel.name}.realert_every", channel.realert_every or "never")
    for job, options in settings.jobs.items():
        for key, given in options.items():
            yield value(f"job.{job}.{key}", option_text(key, given))


def _address(settings: Settings) -> str:
    from cronguard.settings.store_url import parse_store

    store = settings.store
    if isinstance(store, SecretRef):
        return str(store)
    if not isinstance(store, str):
        return type(store).__name__
    target = parse_store(store)
    return target.location if target.scheme == "sqlite" else target.scheme
