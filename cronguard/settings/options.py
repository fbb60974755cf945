"""The options of a guarded job: how they are written, checked and resolved. Pure functions."""

# No `from __future__ import annotations` here: with it, a NamedTuple compiles each annotation from
# text, which costs every cron process more than the rest of this module.

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypedDict, cast

from cronguard.core.errors import ConfigError
from cronguard.core.model import Expectations, Origin, Overlap, SecretRef, Statement
from cronguard.core.text import is_secret, show, suggest
from cronguard.process.signals import tolerate

_DURATIONS = frozenset({"max_runtime", "grace"})
_NONE_IS_ABSENT = frozenset({"job", "realert_every", "channels", "schedule", "runbook"})
_TAKES_NONE = frozenset({"realert_every", "schedule", "runbook", "max_runtime"})

OFF = "off"
"""The text that turns ``max_runtime`` off."""
NONE = "none"
DEFAULT = "default"
"""The texts, in settings and on the command line, that take an expectation back."""
_NAME_FIRST = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_JOB_LETTERS = _NAME_FIRST | frozenset("._:-")
_CHANNEL_LETTERS = _NAME_FIRST | frozenset("_-")
_MAX_JOB_CHARS = 100
_MAX_CHANNEL_CHARS = 64
_MAX_DURATION_SECONDS = 10 * 366 * 86400.0
_MAX_COUNT = 1_000_000
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
    """A job's resolved options: durations in seconds, defaults filled in."""

    job: str
    stated: tuple[Statement, ...] = ()
    """What is expected of the job, as far as anybody here says so."""
    expected: Expectations = Expectations()
    """The same with the defaults for the rest: what holds until a store says more."""
    channels: tuple[str, ...] | None = None
    """None for the default channels of the settings."""
    overlap: Overlap = "skip"
    ignore: tuple[type[BaseException], ...] = ()
    test_mode: bool = False
    heartbeat_url: SecretRef | None = None
    """The address to ping after each ended run; set in settings only. None for none."""


def check_option(key: str, value: object, *, from_file: bool = False) -> object:
    """Return one option's value, checked and normalised; ``from_file`` as in `check_options`."""
    if key not in JobOptions.__annotations__:
        known = JobOptions.__annotations__
        meant = suggest(key, known) or f": use one of {', '.join(known)}"
        raise ConfigError(f"unknown option {show(key)}{meant}")
    if key in Expectations._fields and value in (DEFAULT, NONE):
        takes_none = value == NONE and key in _TAKES_NONE
        return None if takes_none else Expectations._field_defaults[key]
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
    """Check a job's options and normalise them; return those given.

    Durations become seconds, ``channels`` a tuple of names, ``ignore`` a tuple of types. A None
    that means "not given" is left out.

    Args:
        given: The options as written.
        from_file: Whether they come from settings, where durations may be text such as ``"30m"``
            and ``ignore`` is refused.

    Raises:
        ConfigError: An option is unknown or wrong. The message is one line.
    """
    return {
        key: check_option(key, value, from_file=from_file)
        for key, value in given.items()
        if value is not None or key not in _NONE_IS_ABSENT
    }


def resolve_job(
    given: Mapping[str, Any],
    configured: Mapping[str, Any],
    origin: Origin = "code",
    *,
    unclear: Collection[str] = (),
) -> JobConfig:
    """Return the options of a job: those ``given``, else those ``configured``, else the defaults.

    Code states everything that is expected of its job, defaults included; a command states what its
    options and the job's settings say.

    Args:
        given: The options of the decorator or the command, as `check_options` returned them.
        configured: The options in settings, likewise. One of the two must hold ``job``.
        origin: Who gives the options: ``code`` or ``command``; ``settings`` if nothing but the
            settings speaks.
        unclear: Options that settings give a wrong value: no default is stated for them.
    """
    usual = dict(Expectations._field_defaults) if origin == "code" else {}
    for name in unclear:
        usual.pop(name, None)
    merged: dict[str, Any] = {**usual, **configured, **given}
    stated = tuple(
        Statement(
            name,
            merged.pop(name),
            origin if name in given or name not in configured else "settings",
        )
        for name in Expectations._fields
        if name in merged
    )
    values: Any = {name: value for name, value, _ in stated}
    return JobConfig(**merged, stated=stated, expected=Expectations()._replace(**values))


# --- one value each: (option's name, value as written) → value, or ConfigError --------------------


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
    """Return the seconds in a duration such as ``45``, ``90s``, ``30m``, ``1h30m`` or ``90 days``.

    Units are s, m, h, d and w, or words for them; a number without a unit is seconds.

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
    elif re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", compact):
        seconds = float(compact)
    else:
        seconds = _MAX_DURATION_SECONDS + 1
    if seconds > _MAX_DURATION_SECONDS:
        raise ConfigError(
            (f"{key} is {show(text)}, which" if key else show(text))
            + " is not a duration of up to ten years: write a number and a unit, "
            "such as 45s, 30m, 2h or 90d" + (f", or {OFF}" if key == "max_runtime" else "")
        )
    return seconds


def _check_job(_key: str, value: object) -> str:
    return check_job_name(value)


def check_count(key: str, value: object) -> int:
    """Return the value if it is a whole number of 1 or more, else raise ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_COUNT:
        why = ", which counts no failures" if isinstance(value, int) and value < 1 else ""
        raise ConfigError(
            f"{key} is {show(value)}{why}: give a whole number from 1 to {_MAX_COUNT:,}"
        )
    return value


def check_flag(key: str, value: object) -> bool:
    """Return the value if it is a bool, else raise ConfigError."""
    if not isinstance(value, bool):
        raise ConfigError(f"{key} is {show(value)}: it is either on or off, give true or false")
    return value


def check_names(key: str, value: object) -> tuple[str, ...]:
    """Return channel names in their order without duplicates, or raise ConfigError."""
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


def _check_overlap(key: str, value: object) -> Overlap:
    if value not in ("skip", "allow"):
        raise ConfigError(f"{key} is {show(value)}: give 'skip' or 'allow'")
    return value


def check_seconds(key: str, value: object) -> float:
    """Return a duration of 0 or more in seconds, or raise ConfigError."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{key} is {show(value)}: give a timedelta or a number of seconds")
    if not 0 <= value <= _MAX_DURATION_SECONDS:  # false for NaN
        raise ConfigError(f"{key} is {show(value)} seconds: give a duration from 0 to ten years")
    return float(value)


def check_span(key: str, value: object) -> float:
    """Return a duration above 0 in seconds, or raise ConfigError."""
    seconds = check_seconds(key, value)
    if not seconds:
        raise ConfigError(f"{key} is 0 seconds, which is over at once: give a longer time")
    return seconds


def _check_max_runtime(key: str, value: object) -> float | None:
    if value is None or value == OFF:
        return None
    return check_span(key, value)


def _check_schedule(key: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT_CHARS:
        raise ConfigError(f"{key} is {show(value)}: give a cron expression such as '0 6 * * *'")
    cron = _CRON_NICKNAMES.get(value.strip().lower(), " ".join(value.split()))
    from cronsim import CronSim, CronSimError  # few jobs have a schedule

    try:
        next(CronSim(cron, datetime.now(UTC)))
    except (CronSimError, StopIteration, ValueError, TypeError, AssertionError):
        raise ConfigError(
            f"{key} is {show(value)}, no cron expression that ever comes due: "
            "give minute, hour, day, month and weekday, such as '0 6 * * *'"
        ) from None
    return cron


def _check_timezone(key: str, value: object) -> str:
    if value == "UTC":
        return "UTC"
    if isinstance(value, str) and 0 < len(value) <= _MAX_TEXT_CHARS:
        from zoneinfo import ZoneInfo  # few jobs have a time zone

        with tolerate(KeyError, ValueError, OSError):
            return ZoneInfo(value).key
        if _looks_like_zone(value) and not _has_zone_database():
            return value
    raise ConfigError(
        f"{key} {show(value)} is not known: give a name of the IANA time zone database, "
        "such as 'Europe/Oslo'"
    )


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


def _check_ignore(key: str, value: object) -> tuple[type[BaseException], ...]:
    kinds = tuple(value) if isinstance(value, tuple | list | set | frozenset) else (value,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ConfigError(
                f"{key} holds {show(kind)}: give exception classes, as ignore=(Skip,)"
            )
    return cast("tuple[type[BaseException], ...]", kinds)


def _check_runbook(key: str, value: object) -> str:
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
        f"{key} is {show(value)}: give an https:// link without a user, a password or a key, "
        "since it is shown in alerts"
    )


def _holds_credential(parameters: str) -> bool:
    """Tell whether one of the parameters ``a=1&b=2`` has the name of a credential."""
    for parameter in parameters.replace(";", "&").split("&"):
        name, _, value = parameter.lower().replace("-", "").replace("_", "").partition("=")
        if value and (name.endswith(_CREDENTIAL_NAME_ENDS) or name in _CREDENTIAL_NAMES):
            return True
    return False


CHECKS: dict[str, Callable[[str, object], object]] = {
    "job": _check_job,
    "threshold": check_count,
    "realert_every": check_count,
    "channels": check_names,
    "overlap": _check_overlap,
    "max_runtime": _check_max_runtime,
    "schedule": _check_schedule,
    "timezone": _check_timezone,
    "grace": check_seconds,
    "notify_recovery": check_flag,
    "ignore": _check_ignore,
    "runbook": _check_runbook,
    "test_mode": check_flag,
}
"""Option → function that checks and normalises its value."""
