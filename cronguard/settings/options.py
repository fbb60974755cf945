"""The options of a guarded job: how they are written, checked and resolved. Pure."""

# No `from __future__ import annotations` here: a NamedTuple compiles every annotation that is text,
# which costs each cron process more than all the rest of this module.

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypedDict, cast

from cronguard.core.errors import ConfigError
from cronguard.core.model import Overlap, Schedule, SecretRef
from cronguard.core.text import is_secret, show, suggest

_DURATIONS = frozenset({"max_runtime", "grace"})
_NONE_IS_ABSENT = frozenset({"job", "realert_every", "channels", "schedule", "runbook"})

DEFAULT_THRESHOLD = 2
DEFAULT_GRACE = 300.0
DEFAULT_MAX_RUNTIME = 1800.0

OFF = "off"
"""How text says that there is no ``max_runtime``."""
_NAME_FIRST = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_JOB_LETTERS = _NAME_FIRST | frozenset("._:-")
_CHANNEL_LETTERS = _NAME_FIRST | frozenset("_-")
_JOB_LENGTH = 100
_CHANNEL_LENGTH = 64
_LONGEST = 10 * 366 * 86400.0
_LARGEST = 1_000_000
_RUNBOOK_LENGTH = 2000
_KEY_ENDS = ("token", "secret", "password", "passwd", "apikey", "accesskey", "signature")
_KEY_NAMES = frozenset({"auth", "sig", "pwd"})
_SHORT = 100
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


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


# --- one value each: (name, value as written) → value, or ConfigError -----------------------------


def check_job_name(name: object) -> str:
    """The name itself if it can be a job's; otherwise ConfigError."""
    if not isinstance(name, str):
        raise ConfigError(f"a job's name is text, not {show(name)}: pass job='nightly_export'")
    if len(name) > _JOB_LENGTH:
        raise ConfigError(
            f"a job's name of {len(name)} characters is too long: use 1 to {_JOB_LENGTH}"
        )
    if not name or name[0] not in _NAME_FIRST or not _JOB_LETTERS.issuperset(name):
        raise ConfigError(
            f"job name {show(name)} cannot be used, since it appears in alerts as an identifier: "
            "use letters, digits and . _ : - only, beginning with a letter or a digit"
        )
    return name


def check_channel_name(name: object) -> str:
    """The name itself if it can be a channel's; otherwise ConfigError."""
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= _CHANNEL_LENGTH
        or name[0] not in _NAME_FIRST
        or not _CHANNEL_LETTERS.issuperset(name)
    ):
        raise ConfigError(
            f"a channel cannot be named {show(name)}: use the name of a channel, such as 'slack' "
            "(letters, digits, _ and -)"
        )
    return name


def parse_duration(text: str, key: str = "") -> float:
    """Seconds in a duration as people write it: ``45``, ``90s``, ``30m``, ``1h30m``, ``90d``.

    Units are s, m, h, d and w; a bare number is seconds. Raises ConfigError for anything else; it
    names ``key`` if that is known.
    """
    compact = text.lower().replace(" ", "")[: _SHORT + 1]
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)([smhdw])", compact)
    if parts and "".join(map("".join, parts)) == compact:
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    elif re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", compact):
        seconds = float(compact)
    else:
        seconds = _LONGEST + 1
    if seconds > _LONGEST:
        raise ConfigError(
            (f"{key} is {show(text)}, which" if key else show(text))
            + " is not a duration of up to ten years: write a number and a unit, "
            "such as 45s, 30m, 2h or 90d" + (f", or {OFF}" if key == "max_runtime" else "")
        )
    return seconds


def _job(_key: str, value: object) -> str:
    return check_job_name(value)


def check_count(key: str, value: object) -> int:
    """A whole number of 1 or more; otherwise ConfigError naming ``key``."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LARGEST:
        why = ", which counts no failures" if isinstance(value, int) and value < 1 else ""
        raise ConfigError(
            f"{key} is {show(value)}{why}: give a whole number from 1 to {_LARGEST:,}"
        )
    return value


def check_flag(key: str, value: object) -> bool:
    """A bool; otherwise ConfigError naming ``key``."""
    if not isinstance(value, bool):
        raise ConfigError(f"{key} is {show(value)}: it is either on or off, give true or false")
    return value


def check_names(key: str, value: object) -> tuple[str, ...]:
    """Channel names without repetition, in their order; otherwise ConfigError naming ``key``."""
    if isinstance(value, str):
        raise ConfigError(f"{key} is one text, not a list of names: write {key}=['slack']")
    if not isinstance(value, Sequence | set | frozenset):
        raise ConfigError(f"{key} is {show(value)}: give a list of channel names, as ['slack']")
    names = tuple(dict.fromkeys(check_channel_name(name) for name in value))
    if not names:
        raise ConfigError(
            f"{key} is empty, so nobody would be told: name a channel, or leave {key} out"
        )
    return names


def _overlap(key: str, value: object) -> Overlap:
    if value not in ("skip", "allow"):
        raise ConfigError(f"{key} is {show(value)}: give 'skip' or 'allow'")
    return value


def check_seconds(key: str, value: object) -> float:
    """A duration of 0 or more as seconds; otherwise ConfigError naming ``key``."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{key} is {show(value)}: give a timedelta or a number of seconds")
    if not 0 <= value <= _LONGEST:  # false for NaN
        raise ConfigError(f"{key} is {show(value)} seconds: give a duration from 0 to ten years")
    return float(value)


def check_span(key: str, value: object) -> float:
    """A duration above 0 as seconds; otherwise ConfigError naming ``key``."""
    seconds = check_seconds(key, value)
    if not seconds:
        raise ConfigError(f"{key} is 0 seconds, which is over at once: give a longer time")
    return seconds


def _max_runtime(key: str, value: object) -> float | None:
    if value is None or value == OFF:
        return None
    return check_span(key, value)


def _schedule(key: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _SHORT:
        raise ConfigError(f"{key} is {show(value)}: give a cron expression such as '0 6 * * *'")
    cron = _NICKNAMES.get(value.strip().lower(), " ".join(value.split()))
    from cronsim import CronSim, CronSimError  # few jobs have a schedule

    try:
        next(CronSim(cron, datetime.now(UTC)))
    except (CronSimError, StopIteration, ValueError, TypeError, AssertionError):
        raise ConfigError(
            f"{key} is {show(value)}, no cron expression that ever comes due: "
            "give minute, hour, day, month and weekday, such as '0 6 * * *'"
        ) from None
    return cron


def _timezone(key: str, value: object) -> str:
    if value == "UTC":
        return "UTC"
    if isinstance(value, str) and 0 < len(value) <= _SHORT:
        from zoneinfo import ZoneInfo  # few jobs have a time zone

        try:
            return ZoneInfo(value).key
        except (KeyError, ValueError, OSError):
            if _looks_like_zone(value) and not _machine_knows_zones():
                return value
    raise ConfigError(
        f"{key} {show(value)} is not known: give a name of the IANA time zone database, "
        "such as 'Europe/Oslo'"
    )


def _looks_like_zone(name: str) -> bool:
    return all(part.replace("_", "").replace("-", "").isalnum() for part in name.split("/"))


def _machine_knows_zones() -> bool:
    # A slim container may have no database at all. The job must still be importable there;
    # whoever evaluates the schedule will say what is missing.
    from zoneinfo import ZoneInfo  # few jobs have a time zone

    try:
        ZoneInfo("Europe/London")
    except (KeyError, ValueError, OSError):
        return False
    return True


def _ignore(key: str, value: object) -> tuple[type[BaseException], ...]:
    kinds = tuple(value) if isinstance(value, tuple | list | set | frozenset) else (value,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ConfigError(
                f"{key} holds {show(kind)}: give exception classes, as ignore=(Skip,)"
            )
    return cast("tuple[type[BaseException], ...]", kinds)


def _runbook(key: str, value: object) -> str:
    if isinstance(value, str) and len(value) <= _RUNBOOK_LENGTH and value.isprintable():
        from urllib.parse import urlsplit  # few jobs have a runbook

        try:
            url = urlsplit(value)
            plain = url.username is None and url.password is None and bool(url.hostname)
            plain = plain and not _holds_key(url.query) and not _holds_key(url.fragment)
        except ValueError:
            plain = False
        else:
            if url.scheme == "https" and plain and " " not in value and not is_secret(value):
                return value
    raise ConfigError(
        f"{key} is {show(value)}: give an https:// link without a user, a password or a key, "
        "since it is shown in alerts"
    )


def _holds_key(parameters: str) -> bool:
    """Whether one of ``a=1&b=2`` is named as what lets its bearer in."""
    for parameter in parameters.replace(";", "&").split("&"):
        name, _, value = parameter.lower().replace("-", "").replace("_", "").partition("=")
        if value and (name.endswith(_KEY_ENDS) or name in _KEY_NAMES):
            return True
    return False


CHECKS: dict[str, Callable[[str, object], object]] = {
    "job": _job,
    "threshold": check_count,
    "realert_every": check_count,
    "channels": check_names,
    "overlap": _overlap,
    "max_runtime": _max_runtime,
    "schedule": _schedule,
    "timezone": _timezone,
    "grace": check_seconds,
    "notify_recovery": check_flag,
    "ignore": _ignore,
    "runbook": _runbook,
    "test_mode": check_flag,
}
"""How each option of a job is checked and normalised."""
