"""The composition root: from settings to this process's store, channels, delivery and watchdog.

They are built at the first guarded run, never at import, and again after a fork. `configure`,
before that run or between runs, changes what is built.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from cronguard.process import log
from cronguard.process.lifecycle import expect_end, register
from cronguard.process.signals import tolerate
from cronguard.process.threads import start_after_fork
from cronguard.runtime.runtime import Runtime
from cronguard.settings.loading import Loaded, load_settings

if TYPE_CHECKING:
    from cronguard.settings.types import Overrides

_lock = threading.RLock()  # a signal handler may run a guarded job while it is held
_current: Runtime | None = None
_overrides: Mapping[str, Any] = {}
_inherited_runtimes: list[Runtime] = []
_paused_runtime: Runtime | None = None


def current() -> Runtime:
    """Return the runtime, built on first use."""
    runtime = _current
    return runtime if runtime is not None else _build()


def configure(**overrides: Unpack[Overrides]) -> None:
    """Set options in code; they apply from the next run on.

    They override the environment and the settings file; a decorator's own options override them.
    Each call replaces the one before; a call without arguments resets everything.

    Args:
        store: An address as in settings, or an open store.
        channels: One name or several, and channel objects, which are used as they are for every
            attempt.
        channel: Name of a channel → its options; secrets by reference (``env:NAME``).
        job: Name of a job → its options, as in the settings file.
        store_timeout: How long a call of the store may take; `timedelta`, text or seconds.
        test_mode: Send a test alert at the end of every run.
        redact: ``"scrub"``, ``"strict"``, or a function (text, error or None) → what may be shown.
        redact_keep: Words and sentences that are never masked, and ``re:`` patterns.
        proxy: ``"env"``, ``"off"``, or a reference to a proxy's address (``env:NAME``).

    Raises:
        ConfigError: A keyword is unknown, or a value has the wrong shape.
    """
    global _overrides  # noqa: PLW0603  # one configuration a process
    from cronguard.settings.loading import check_overrides  # not on a run's path

    checked = check_overrides(**overrides)
    with _lock:
        _overrides = checked
    reset()


def overrides() -> Mapping[str, Any]:
    """Return the values that `configure` was last called with."""
    return _overrides


def reset() -> None:
    """Close the runtime; the next run builds a new one."""
    global _current  # one runtime a process
    with _lock:
        if _current is not None and _current.pinned:
            return
        runtime, _current = _current, None
    if runtime is not None:
        runtime.close()


@contextlib.contextmanager
def installed(runtime: Runtime) -> Iterator[Runtime]:
    """Let every guarded run inside the block use this runtime, whatever `configure` says."""
    global _current  # noqa: PLW0603  # one runtime a process
    runtime.pinned = True
    with _lock:
        before, _current = _current, runtime
    try:
        yield runtime
    finally:
        with _lock:
            _current = before


def _build() -> Runtime:
    global _current  # noqa: PLW0603  # one runtime a process
    with _lock:
        if _current is None:
            log.note_stderr()
            expect_end()
            composed = _compose()
            _current = _current or composed  # type: ignore[redundant-expr]  # a signal handler may have built one
        return _current


def _compose() -> Runtime:
    hidden = sys.modules.get("cronguard.process.hidden")
    if hidden is None or not hidden.hides():
        return compose(_overrides, log.warning_once)
    with hidden.python_first():
        composed = compose(_overrides, log.warning_once)
        composed.preload_at_once()
    return composed


def compose(overrides: Mapping[str, Any], say: Callable[..., None]) -> Runtime:
    """Build a runtime from the settings as they are now.

    Wrong settings are reported through ``say``, and the valid ones are used.
    """
    from cronguard.runtime.store_factory import open_store_or_default  # imported when needed
    from cronguard.settings.store_url import ephemeral_place, ephemeral_sentence

    loaded = load(overrides)
    for problem in loaded.problems:
        say("cronguard settings: %s", problem)
    settings = loaded.settings
    if settings.store is None and (place := ephemeral_place(os.environ)) is not None:
        say("%s", ephemeral_sentence(place))
    return Runtime(settings, open_store_or_default(settings, say))


def load(overrides: Mapping[str, Any]) -> Loaded:
    """Return the settings as this process finds them, with the problems in them."""
    return load_settings(overrides, environ=os.environ, cwd=_cwd(), main=_main_script())


def _cwd() -> Path | None:
    with tolerate(OSError):
        return Path.cwd()
    return None


def _main_script() -> Path | None:
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(path) if path and isinstance(path, str | os.PathLike) else None


def _close_runtime() -> None:
    if _current is not None:
        _current.close()


def _end_watchdog() -> None:
    """End the watchdog's thread.

    Python ends a daemon thread that is still there in a way that loads a library, and the process
    is aborted where that cannot be done: with no descriptor left, say.
    """
    if _current is not None:
        _current.open_runs.watchdog.end()


def _pause_watchdog() -> None:
    """End the watchdog's thread: since 3.12 Python warns a program that forks with threads."""
    global _paused_runtime  # noqa: PLW0603  # until the fork is done
    if _current is not None and _current.open_runs.watchdog.pause():
        _paused_runtime = _current


def _resume_watchdog() -> None:
    global _paused_runtime  # the fork is done
    paused, _paused_runtime = _paused_runtime, None
    if paused is not None:
        start_after_fork(paused.open_runs.watchdog.ensure)


def _forget_runtime() -> None:
    """Let the child build a runtime of its own, with its own threads, locks and connections.

    The parent's objects are kept but not used: closing an inherited SQLite connection here would
    drop locks that the parent holds.
    """
    global _current, _lock, _paused_runtime  # noqa: PLW0603  # the child needs its own
    _lock, _paused_runtime = threading.RLock(), None
    if _current is not None:
        _inherited_runtimes.append(_current)
        _current = None


register("outcomes", at_exit=_close_runtime)
register("threads", before_fork=_pause_watchdog, in_parent=_resume_watchdog, at_exit=_end_watchdog)
register("process", in_child=_forget_runtime)
