"""Checks of a job's options: from a value as written to a valid one, or ConfigError.

Each takes the option's name, for the message, and the value. They are pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias, cast, get_args

from cronguard.core.errors import ConfigError
from cronguard.core.model import SecretRef
from cronguard.core.text import is_secret, show, suggest
from cronguard.process.signals import tolerate
from cronguard.settings.types import parse_reference

OFF = "off"
"""The text that turns ``max_runtime`` off."""
OverlapOption: TypeAlias = Literal["skip", "raise", "allow"]
OVERLAPS: tuple[str, ...] = get_args(OverlapOption)
_NAME_FIRST = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_JOB_LETTERS = _NAME_FIRST | frozenset("._:-")
_CHANNEL_LETTERS = _NAME_FIRST | frozenset("_-")
_MAX_JOB_CHARS = 100
_MAX_CHANNEL_CHARS = 64
_MAX_DURATION_SECONDS = 10 * 366 * 86400.0
_NO_DURATION = float("inf")
_MAX_COUNT = 1_000_000
_MAX_DIGITS = 9
_MAX_RUNBOOK_CHARS = 2000
_CREDENTIAL_NAME_ENDS = (
    "token",
    "secret",
    "password",
    "passwd",
    "apikey",
    "accesskey",
    "signature",
)
_CREDENTIAL_NAMES = frozenset({"auth", "sig", "pwd"})
_MAX_TEXT_CHARS = 100
_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_UNIT = "(s|m|h|d|w)(?:ec(?:ond)?s?|in(?:ute)?s?|ours?|rs?|ays?|eeks?)?"
"""A unit, or a word that begins with it."""
_CRON_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def check_job_name(name: object) -> str:
    """Return the name if it can be a job's, else raise ConfigError."""
    if not isinstance(name, str):
        raise ConfigError(f"a job's name is text, not {show(name)}: pass job='nightly_export'")
    if len(name) > _MAX_JOB_CHARS:
        raise ConfigError(
            f"a job's name of {len(name)} characters is too long: use 1 to {_MAX_JOB_CHARS}"
        )
    if not name or name[0] not in _NAME_FIRST or not _JOB_LETTERS.issuperset(name):
        raise ConfigError(
            f"job name {show(name)} cannot be used, since it appears in alerts as an identifier: "
            "use letters, digits and . _ : - only, beginning with a letter or a digit"
        )
    return name


def check_channel_name(name: object) -> str:
    """Return the name if it can be a channel's, else raise ConfigError."""
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= _MAX_CHANNEL_CHARS
        or name[0] not in _NAME_FIRST
        or not _CHANNEL_LETTERS.issuperset(name)
    ):
        raise ConfigError(
            f"a channel cannot be named {show(name)}: use the name of a channel, such as 'slack' "
            "(letters, digits, _ and -)"
        )
    return name


def parse_duration(text: str, key: str = "") -> float:
    """Return the seconds in a duration such as ``90s``, ``30m``, ``1h30m`` or ``90 days``.

    Units are s, m, h, d and w, or words for them. A number without one is refused: whoever typed 5
    may have meant minutes. 0 is 0.

    Args:
        text: The duration.
        key: The option's name for the error message; empty if unknown.

    Raises:
        ConfigError: The text is no duration, or one of more than ten years.
    """
    compact = text.lower().replace(" ", "")[: _MAX_TEXT_CHARS + 1]
    one = rf"([0-9]+(?:\.[0-9]+)?){_UNIT}"
    if re.fullmatch(f"(?:{one})+", compact):
        parts = re.findall(one, compact)
        seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
    elif re.fullmatch(_NUMBER, compact):
        seconds = float(compact)
        if 0 < seconds <= _MAX_DURATION_SECONDS:
            raise ConfigError(
                (f"{key} {compact}" if key else compact)
                + f" has no unit: write {compact}s, {compact}m, {compact}h or {compact}d"
            )
    else:
        seconds = _NO_DURATION
    if seconds > _MAX_DURATION_SECONDS:
        fault = "not a duration" if seconds == _NO_DURATION else "longer than ten years"
        raise ConfigError(
            (f"{key} {show(text)}" if key else show(text))
            + f" is {fault}: write a number and a unit, such as 45s, 30m, 2h or 90d"
            + (f", or {OFF}" if key == "max_runtime" else "")
        )
    return seconds


def check_job(_key: str, value: object) -> str:
    """Return a job's name, or raise ConfigError."""
    return check_job_name(value)


def check_count(key: str, value: object) -> int:
    """Return the value if it is a whole number of 1 or more, else raise ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_COUNT:
        why = ", which counts no failures" if isinstance(value, int) and value < 1 else ""
        raise ConfigError(
            f"{key} is {show(value)}{why}: give a whole number from 1 to {_MAX_COUNT:,}"
        )
    return value


def as_number(value: object) -> object:
    """Return a text of digits as the number that it is, anything else as it is."""
    if isinstance(value, str) and len(value) <= _MAX_DIGITS and value.removeprefix("-").isdecimal():
        return int(value)
    return value


def check_flag(key: str, value: object) -> bool:
    """Return the value if it is a bool, else raise ConfigError."""
    if not isinstance(value, bool):
        raise ConfigError(f"{key} is {show(value)}: it is either on or off, give true or false")
    return value


def check_names(key: str, value: object) -> tuple[str, ...]:
    """Return one name or several, in their order without duplicates, or raise ConfigError."""
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, Sequence | set | frozenset):
        raise ConfigError(f"{key} is {show(value)}: give a list of channel names, as ['slack']")
    names = tuple(dict.fromkeys(check_channel_name(name) for name in value))
    if not names:
        raise ConfigError(
            f"{key} is empty, so nobody would be told: name a channel, or leave {key} out"
        )
    return names


def check_overlap(key: str, value: object) -> str:
    """Return one of `OVERLAPS`, or raise ConfigError."""
    if not isinstance(value, str) or value not in OVERLAPS:
        raise ConfigError(f"{key} is {show(value)}: give 'skip', 'raise' or 'allow'")
    return value


def check_seconds(key: str, value: object) -> float:
    """Return a duration of 0 or more in seconds, or raise ConfigError."""
    if isinstance(value, str):
        return parse_duration(value, key)
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(
            f"{key} is {show(value)}: give a timedelta, a text such as '30m', or seconds"
        )
    if not 0 <= value <= _MAX_DURATION_SECONDS:  # false for NaN
        raise ConfigError(f"{key} is {show(value)} seconds: give a duration from 0 to ten years")
    return float(value)


def check_span(key: str, value: object) -> float:
    """Return a duration above 0 in seconds, or raise ConfigError."""
    seconds = check_seconds(key, value)
    if not seconds:
        raise ConfigError(f"{key} is 0 seconds, which is over at once: give a longer time")
    return seconds


def check_max_runtime(key: str, value: object) -> float | None:
    """Return a duration above 0 in seconds, None for `OFF`, or raise ConfigError."""
    if value is None or value == OFF:
        return None
    return check_span(key, value)


def check_schedule(key: str, value: object) -> str:
    """Return a cron expression in its plain form, or raise ConfigError."""
    if not isinstance(value, str) or len(value) > _MAX_TEXT_CHARS:
        raise ConfigError(f"{key} is {show(value)}: give a cron expression such as '0 6 * * *'")
    cron = _CRON_NICKNAMES.get(value.strip().lower(), " ".join(value.split()))
    try:
        from cronsim import CronSim, CronSimError  # few jobs have a schedule
    except ImportError:  # the job must be importable all the same
        return cron
    try:
        next(CronSim(cron, datetime.now(UTC)))
    except (CronSimError, StopIteration, ValueError, TypeError, AssertionError):
        raise ConfigError(
            f"{key} {show(value)} is not a cron expression that ever comes due: "
            "give minute, hour, day, month and weekday in quotes, such as '0 6 * * *'"
        ) from None
    return cron


def check_timezone(key: str, value: object) -> str:
    """Return the name of a time zone, or raise ConfigError."""
    if value == "UTC":
        return "UTC"
    if isinstance(value, str) and 0 < len(value) <= _MAX_TEXT_CHARS:
        from zoneinfo import ZoneInfo  # few jobs have a time zone

        with tolerate(KeyError, ValueError, OSError):
            return ZoneInfo(value).key
        if _looks_like_zone(value) and not _has_zone_database():
            return value
    raise ConfigError(
        f"{key} {show(value)} is not known{_zone_meant(value)}: "
        "give the name of a time zone, such as 'Europe/Oslo'"
    )


def _zone_meant(value: object) -> str:
    from zoneinfo import available_timezones  # only when something is wrong

    with tolerate(OSError):
        return suggest(value, available_timezones())
    return ""


def _looks_like_zone(name: str) -> bool:
    return all(part.replace("_", "").replace("-", "").isalnum() for part in name.split("/"))


def _has_zone_database() -> bool:
    # A slim container may have no time zone database. The job must still be importable there;
    # `cronguard check`, which evaluates the schedule, will report what is missing.
    from zoneinfo import ZoneInfo  # few jobs have a time zone

    with tolerate(KeyError, ValueError, OSError):
        ZoneInfo("Europe/London")
        return True
    return False


def check_ignore(key: str, value: object) -> tuple[type[BaseException], ...]:
    """Return exception types, or raise ConfigError."""
    kinds = tuple(value) if isinstance(value, tuple | list | set | frozenset) else (value,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ConfigError(
                f"{key} holds {show(kind)}: give exception classes, as ignore=(Skip,)"
            )
    return cast("tuple[type[BaseException], ...]", kinds)


def check_runbook(key: str, value: object) -> str:
    """Return a link that may be shown, or raise ConfigError."""
    if isinstance(value, str) and len(value) <= _MAX_RUNBOOK_CHARS and value.isprintable():
        from urllib.parse import urlsplit  # few jobs have a runbook

        try:
            url = urlsplit(value)
            plain = url.username is None and url.password is None and bool(url.hostname)
            plain = (
                plain and not _holds_credential(url.query) and not _holds_credential(url.fragment)
            )
        except ValueError:
            plain = False
        else:
            if url.scheme == "https" and plain and " " not in value and not is_secret(value):
                return value
    raise ConfigError(
        f"{key} cannot be shown in alerts: give a link that begins with https:// "
        "and holds no user, password or key"
    )


def _holds_credential(parameters: str) -> bool:
    """Tell whether one of the parameters ``a=1&b=2`` has the name of a credential."""
    for parameter in parameters.replace(";", "&").split("&"):
        name, _, value = parameter.lower().replace("-", "").replace("_", "").partition("=")
        if value and (name.endswith(_CREDENTIAL_NAME_ENDS) or name in _CREDENTIAL_NAMES):
            return True
    return False


def check_secret_name(key: str, value: object) -> SecretRef:
    """Return a reference to a secret, or raise ConfigError."""
    ref = parse_reference(value) if isinstance(value, str) else None
    if ref is None:
        raise ConfigError(
            f"{key} is not written here, since it is a secret: name where it is, as in"
            f' {key} = "env:NIGHTLY_HEARTBEAT_URL"'
        )
    return ref
