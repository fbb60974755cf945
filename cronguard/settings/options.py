"""The options of a guarded job: how they are written, checked and resolved. Pure."""

# No `from __future__ import annotations` here: a NamedTuple compiles every annotation that is text,
# which costs each cron process more than all the rest of this module.

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypedDict

from cronguard.core.errors import ConfigError
from cronguard.core.model import Overlap, Schedule, SecretRef
from cronguard.core.text import show, suggest
from cronguard.settings.option_checks import CHECKS, OFF, check_job_name, parse_duration

_DURATIONS = frozenset({"max_runtime", "grace"})
_NONE_IS_ABSENT = frozenset({"job", "realert_every", "channels", "schedule", "runbook"})

DEFAULT_THRESHOLD = 2
DEFAULT_GRACE = 300.0
DEFAULT_MAX_RUNTIME = 1800.0


class JobOptions(TypedDict, total=False):
    """The keywords of `cron_guarded` and `guard`, as users write them.

    Durations are `timedelta` or seconds. None in ``realert_every``, ``channels``, ``schedule`` and
    ``runbook`` is the same as leaving the option out; ``max_runtime=None`` turns the overrun alert
    off.
    """

    job: str | None
    threshold: int
    realert_every: int | None
    channels: Sequence[str] | None
    overlap: Overlap
    max_runtime: timedelta | float | None
    schedule: str | None
    timezone: str
    grace: timedelta | float
    notify_recovery: bool
    ignore: type[BaseException] | Sequence[type[BaseException]]
    runbook: str | None
    test_mode: bool


class JobConfig(NamedTuple):
    """A job's options with everything decided: durations in seconds, defaults filled in."""

    job: str
    threshold: int = DEFAULT_THRESHOLD
    realert_every: int | None = None
    """Again at threshold + N, + 2N …; None for once an incident."""
    channels: tuple[str, ...] | None = None
    """None for the channels of the settings."""
    overlap: Overlap = "skip"
    max_runtime: float | None = DEFAULT_MAX_RUNTIME
    """None for no overrun alert."""
    schedule: Schedule | None = None
    notify_recovery: bool = False
    ignore: tuple[type[BaseException], ...] = ()
    runbook: str | None = None
    test_mode: bool = False
    heartbeat_url: SecretRef | None = None
    """Whom to ping after each ended run; in settings only. None for nobody."""


def check_option(key: str, value: object, *, from_file: bool = False) -> object:
    """One option's value, checked for shape and normalised. ``from_file`` as in `check_options`."""
    if key not in JobOptions.__annotations__:
        known = JobOptions.__annotations__
        meant = suggest(key, known) or f": use one of {', '.join(known)}"
        raise ConfigError(f"unknown option {show(key)}{meant}")
    if from_file:
        if key == "ignore":
            raise ConfigError(
                "ignore lists exception classes, which a settings file cannot name: "
                "pass ignore=(...) to @cron_guarded"
            )
        if key in _DURATIONS and isinstance(value, str) and value != OFF:
            value = parse_duration(value, key)
    return CHECKS[key](key, value)


def check_options(given: Mapping[str, object], *, from_file: bool = False) -> dict[str, Any]:
    """Check the shape of a job's options and normalise them; only given ones come back.

    Durations become seconds, ``channels`` a tuple of names, ``ignore`` a tuple of types. A None
    that means "not given" is left out. ``from_file`` allows durations such as ``"30m"`` and refuses
    ``ignore``. Raises ConfigError, one line.
    """
    return {
        key: check_option(key, value, from_file=from_file)
        for key, value in given.items()
        if value is not None or key not in _NONE_IS_ABSENT
    }


def resolve_job(given: Mapping[str, Any], configured: Mapping[str, Any]) -> JobConfig:
    """The options in force: ``given`` to the decorator, else ``configured``, else the default.

    Both are results of `check_options`; one of them must hold ``job``.
    """
    merged: dict[str, Any] = {**_present(configured), **_present(given)}
    timezone = merged.pop("timezone", "UTC")
    grace = merged.pop("grace", DEFAULT_GRACE)
    cron = merged.pop("schedule", None)
    return JobConfig(**merged, schedule=Schedule(cron, timezone, grace) if cron else None)


def _present(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if value is not None or key == "max_runtime"}


__all__ = [
    "JobConfig",
    "JobOptions",
    "check_job_name",
    "check_option",
    "check_options",
    "parse_duration",
    "resolve_job",
]
