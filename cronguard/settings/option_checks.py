"""Values of options, one by one: (name, value as written) → value, or ConfigError. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import cast

from cronguard.core.errors import ConfigError
from cronguard.core.model import Overlap
from cronguard.core.text import is_secret, show

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
