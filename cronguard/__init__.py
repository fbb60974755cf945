"""cronguard tells a team, once and in the right place, that a scheduled job is broken.

    from cronguard import cron_guarded

    @cron_guarded(job="assignment_reminder", threshold=2)
    def send_reminders(): ...

Importing this package reads no file, starts no thread and loads no third-party module: what a
name needs is loaded when the name is first used.

For whoever works on cronguard: the words are in ``core/__init__.py``, and this is the house, from
the ground up. Imports only go down.

    core       what a run, an alert and a job are, and who is alerted when; no I/O
    process    living in somebody else's process: log, threads, signals, forks, identity
    privacy    what may leave: an exception goes in, a redacted failure comes out
    stores     where runs, streaks and the outbox are kept: sqlite, server, spool
    channels   where alerts go, one file each; transport is how they get there
    settings   options, files, environment, plugins, secrets
    runtime    the composition root, delivery, watchdog, check
    guarding   what happens to one call: decorator, context manager, call, recording
    testing    what users' tests get: pytest plugin, fakes, contracts
    cli        the commands

The life of a run that fails and alerts, on SQLite, top to bottom:

 1. ``guarding/decorator.py`` wrapped the function when its module was imported.
 2. ``guarding/call.py``: one call. Start, the function, end; its exception goes through as it is.
 3. ``guarding/recording.py``: the run as this process sees it; ``new_recording``, then its
    ``start`` and ``end``.
 4. ``runtime/composition.py``: at the first run only, ``settings/loading.py`` reads what is set,
    ``runtime/store_factory.py`` opens the store and puts ``stores/spooled.py`` before it, which
    decides on this host while the store is away (see below); both become the process's
    ``runtime/runtime.py``, which every run shares.
 5. ``stores/sqlite/store.py``, ``start_run``: in one transaction dead runs of the job are counted
    and the row is inserted as ``running``, or as ``skipped`` if a live run holds the lease
    (``stores/sqlite/runs.py``; ``stores/sqlite/file.py`` makes the transaction).
 6. The function raises. ``privacy/capture.py`` keeps type, code and place of the error,
    ``privacy/redaction.py`` what may be shown of its message.
 7. ``finish_run``, again one transaction: ``core/alert_rule.py`` decides count and alerts,
    ``core/payload.py`` freezes what they say, ``stores/sqlite/outbox.py`` enqueues them.
 8. ``runtime/delivery.py``: in the background and under one deadline, claim, send, settle.
    ``runtime/channel_threads.py`` has a thread for each channel, ``runtime/channel_factory.py``
    builds the channel with its secrets, ``channels/console.py`` or another one sends.

While a run goes on, ``runtime/watchdog.py`` renews its lease, so that nobody takes it for dead, and
watches ``max_runtime``. Runs that no process of theirs could end (killed, hung, never started) are
found by ``runtime/check.py`` and announced once: ``stores/sqlite/expectations.py`` knows what was
announced already. PostgreSQL and Supabase share ``stores/server``.

Whatever the store raises at a start or a finish, ``stores/spool/backlog.py`` keeps it: in
``stores/spool/local.py``, a SQLite store of the host's own that decides meanwhile by what the store
said last, with a queue in each job's order; in memory where there is no disk. A second after a
process's first run began, ``runtime/preparation.py`` loads what a failure would need.

An alert that did not come

    was not decided   the run was not recorded (``new_recording``), or its end is no failure
                      (``end_status``, both in ``guarding/recording.py``), or the rule says no
                      (step 7: below the threshold, announced already, job snoozed), or it was
                      decided for other channels (``settings/channels.py``: where none is ready,
                      ``console``)
    waits             (step 8) in the outbox, with the code of its last attempt, for its next one,
                      or for a process in which its channel is set up; or in the spool
    was given up      since the other side refused it for good (``runtime/retries.py``)

``cronguard status`` says which, ``cronguard doctor`` what to do.

Where a change goes:

    a channel         a file in ``channels``, and its line of entry points in ``pyproject.toml``
    an option of jobs ``settings/options.py`` (its row in the table, its type), its check in
                      ``settings/job_values.py``, and ``guarding/recording.py``, say, which uses it
    who is alerted    ``core/alert_rule.py``, and the same rule in SQL for PostgreSQL and Supabase,
                      ``stores/sql/postgres/functions/outcomes.sql``; one model test holds the two
    an expectation    the places of an option, ``Expectations`` in ``core/model.py``, a column of
                      ``cronguard_jobs``; when it is kept: ``core/expectations.py``, and in SQL
                      ``stores/sql/postgres/functions/common.sql``
    when it may go    ``runtime/retries.py``; a job is muted by a snooze alone, at the decision
    a column          of how a run ended: ``DETAILS`` in ``core/model.py``; of how it began, also
                      ``Run``, and ``stores/sqlite/starting.py`` and ``runs.sql`` that write it;
                      the table, one more file in ``stores/sql/sqlite`` (for the spool too) and one
                      in ``stores/sql/postgres/versions``, their numbers in ``stores/__init__.py``;
                      ``outcomes.sql`` and ``shown.sql`` in ``stores/sql/postgres/functions``
    a run's status    ``core/model.py``, with what it does to the streak; how it is shown:
                      ``core/run_states.py``; the tables' checks, as for a column; ``checks.sql``;
                      ``outcomes.sql``, if it leaves the streak as it is; who ends a run so, such
                      as ``guarding/recording.py``
    an SQL function   ``stores/sql/postgres/functions``, with ``-- since version N`` above it, N the
                      version that is not released yet
    a job's health    (failing, late, …) ``core/health.py``; how it is shown:
                      ``cli/output/layout.py``, ``cli/status``, ``cli/report``
    a settings key    ``settings/types.py``, ``settings/values.py``, ``settings/loading.py``
    lease, deadline   ``core/model.py`` has those of runs and alerts. How long a job waits for a
                      store that is away: ``settings/types.py`` (a call), ``stores/spooled.py``
                      (until it is asked again), ``stores/spool/backlog.py`` (a replay),
                      ``stores/sqlite/store.py``
    redaction         ``privacy/patterns.py`` masks always, ``privacy/words.py`` lets pass
    a command         ``cli/commands``, and its line in ``cli/app.py``
    users' tests      ``testing/harness.py``, and its fixture in ``testing/pytest_plugin.py``
"""

from __future__ import annotations

import os
import sys  # these two are there before any program; what else there is, it may hide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import ModuleType
    from typing import Any, Self

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
_LIBRARY = os.path.dirname(getattr(os, "__file__", ""))  # noqa: PTH120  # pathlib may be hidden
_MANY = 500


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = f"{__name__}.{_HOMES.get(name, 'core.errors')}"
    try:
        value = getattr(_imported(home), _NAMES.get(name, name))
    except (Exception, SystemExit) as error:  # noqa: BLE001  # judged below, in its context
        caught = error
    else:
        globals()[name] = value
        return value
    if name == "__version__" or _is_the_programs(caught):
        raise caught
    return _stand_in(name, caught)


def _imported(home: str) -> ModuleType:
    """Return a module of ours; what it needs of Python's own comes from Python, not the program."""
    if _is_something_hidden():
        from cronguard.process.hidden import hiding_files, python_first

        if files := hiding_files():
            with python_first(files):
                return __import__(home, fromlist=[""])
    return __import__(home, fromlist=[""])


def _is_something_hidden() -> bool:
    """Tell whether something may hide what is needed, such as `random.py` beside the job.

    Python looked for cronguard in the folders before its library and remembers what is in them: to
    read one of 50,000 files again takes a tenth of a second. `hidden` asks it for each name where
    that is many, or not known.
    """
    from cronguard.core import PACKAGES  # which loads nothing else

    for folder in sys.path:
        if folder == _LIBRARY:
            return False
        try:
            finder = sys.path_importer_cache.get(folder or os.getcwd(), "")  # noqa: PTH109  # pathlib may be hidden
            entries = _entries(finder)
        except OSError as caught:  # most often the folder is gone
            if caught.errno is None:
                raise  # a time limit of the program's
            continue
        if entries is None or len(entries) > _MANY:
            return True
        for entry in entries:
            name = entry.partition(".")[0]
            if name in sys.stdlib_module_names or name in PACKAGES:
                return True
    return False


def _entries(finder: Any) -> Collection[str] | None:
    """Return what a finder of Python's remembers of its folder; None where that may not be all."""
    if finder is None:  # Python finds nothing there
        return ()
    known: Collection[str] | None = getattr(finder, "_path_cache", None)
    is_fresh = known is not None and finder._path_mtime == os.stat(finder.path).st_mtime  # noqa: PTH116, SLF001
    return known if is_fresh else None


# --- where cronguard cannot be imported -----------------------------------------------------------

_has_told = False


def _stand_in(name: str, error: BaseException) -> Any:
    """Return what takes the place of a public name: jobs run unguarded, and that is said once."""
    global _has_told  # noqa: PLW0603  # one a process
    if not _has_told:
        _has_told = True
        missing = getattr(error, "name", None)
        _say(
            "cronguard: jobs run unguarded, since cronguard cannot be imported"
            f" ({type(error).__name__}{f': {missing}' if missing else ''}): install it again\n"
        )
    if name == "cron_guarded":
        return lambda func=None, /, **_: (lambda each: each) if func is None else func
    if name == "configure":
        return lambda **_: None
    if name in ("guard", "GuardedRun"):
        return _Unguarded
    return type(name, (Exception,), {"__module__": __name__})


def _say(line: str) -> None:
    write: Callable[[str], object]
    try:
        from cronguard.process.stderr import write
    except Exception:  # noqa: BLE001  # as everything else here
        write = getattr(sys.stderr, "write", str)
    try:
        if sys.stderr is not None:
            write(line)
    except (OSError, ValueError, LookupError) as caught:  # nobody is left to be told
        if isinstance(caught, OSError) and caught.errno is None:
            raise  # as above


class _Unguarded:
    """Both `guard` and the run that it gives."""

    run_id = None

    def __init__(self, name: str | None = None, /, job: str | None = None, **_: object) -> None:
        self.job = name or job

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


def _is_the_programs(error: BaseException) -> bool:
    """Tell whether a signal handler of the program raised it, such as one for a time limit."""
    try:
        from cronguard.process.signals import raised_by_handler

        return raised_by_handler(error) is not None
    except Exception:  # noqa: BLE001  # it may need what cannot be imported
        return False


def __dir__() -> list[str]:
    return sorted(__all__)
