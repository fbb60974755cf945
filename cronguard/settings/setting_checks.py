"""The top-level settings, one by one: (where from, value as written) → value, or ConfigError."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from cronguard.core.errors import ConfigError
from cronguard.core.interfaces import Redact, Store
from cronguard.core.model import SecretRef
from cronguard.core.text import may_be_secret, show, suggest
from cronguard.settings import plugins
from cronguard.settings.channels import instance_name
from cronguard.settings.option_checks import (
    check_channel_name,
    check_flag,
    check_span,
    parse_duration,
)
from cronguard.settings.store_url import BUILTIN_SCHEMES, StoreTarget, absolute_store, parse_store
from cronguard.settings.types import Layer

KEYS = (
    *("store", "channels", "channel", "job"),
    *("store_timeout", "test_mode", "redact", "redact_keep"),
)
"""What a settings file may hold, and the keywords of `cronguard.configure`."""

_LONGEST_TIMEOUT = 60.0
_WORD_LENGTH = 200
_REDACT = ("strict", "scrub")
_SWITCHES = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def check_store(layer: Layer, value: object, base: Path | None) -> str | SecretRef | Store:
    """The ``store``; a relative SQLite path is taken from ``base``, None if there is nothing.

    An address that may hold a password is kept as the variable's name if it came from one, and
    refused elsewhere.
    """
    if isinstance(value, SecretRef) and value.scheme == "env":
        return value
    if not isinstance(value, str):
        if layer.is_file or not callable(getattr(value, "start_run", None)):
            raise ConfigError(f"store is {show(value)}: give an address such as sqlite:///runs.db")
        return cast("Store", value)
    target = parse_store(value)
    if target.scheme == "env":
        return SecretRef("env", target.location)
    if target.scheme == "supabase" and not target.location:
        return "supabase"
    if target.scheme == "sqlite":
        if base is None and not Path(target.location).is_absolute():
            raise ConfigError(
                "store is relative to the working directory, which is gone: "
                "use sqlite:////absolute.db"
            )
        return absolute_store(target, base or Path("/"))
    _check_scheme(target.scheme)
    if layer.label == "environment":
        return SecretRef("env", "CRONGUARD_STORE")
    if _holds_credentials(target):
        raise ConfigError(
            "store holds a password in plain text: put the address into an environment variable "
            'and write store = "env:DATABASE_URL"'
        )
    return value.strip()


def _holds_credentials(target: StoreTarget) -> bool:
    foreign = target.scheme not in BUILTIN_SCHEMES
    return target.has_password or (foreign and may_be_secret(target.location))


def _check_scheme(scheme: str) -> None:
    if scheme in BUILTIN_SCHEMES:
        return
    names = plugins.names(plugins.STORES)
    if scheme not in names:
        known = sorted({*BUILTIN_SCHEMES, *names})
        raise ConfigError(
            f"store scheme {show(scheme)} is not known{suggest(scheme, known)}: "
            f"use one of {', '.join(known)}, or install the plugin that provides it"
        )


def check_channels(layer: Layer, value: object) -> list[object]:
    """The ``channels``: names, and objects from code. Whether a name is known is seen later."""
    if layer.label == "environment":
        value = [name.strip() for name in str(value).split(",") if name.strip()]
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError('channels is not a list of names: write channels = ["slack"]')
    if not value:
        raise ConfigError("channels names nobody to tell: name a channel, or leave channels out")
    for item in value:
        if isinstance(item, str):
            if layer.label == "configure()":
                check_channel_name(item)
        elif layer.is_file or isinstance(item, type) or not callable(getattr(item, "send", None)):
            raise ConfigError(
                f'channels holds {show(item)}: write names, as in channels = ["slack"]'
            )
        else:
            instance_name(item)
    return list(value)


def check_channel_table(value: object) -> dict[str, dict[str, Any]]:
    """``channel`` as `cronguard.configure` takes it. Its options are judged when loaded."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"channel is {show(value)}: give a mapping from a name to its options")
    tables: dict[str, dict[str, Any]] = {}
    for name, table in value.items():
        check_channel_name(name)
        if not isinstance(table, Mapping):
            raise ConfigError(f"channel {name} is {show(table)}: give a mapping of its options")
        for key, item in table.items():
            if isinstance(item, str) and may_be_secret(item):
                raise ConfigError(
                    f"channel {name}: {show(key)} holds a secret in plain text: "
                    "give 'env:NAME' or 'vault:NAME'"
                )
        tables[name] = dict(table)
    return tables


def check_store_timeout(layer: Layer, value: object) -> float:
    """``store_timeout`` in seconds, above 0 and up to a minute."""
    if isinstance(value, str) and (layer.is_file or layer.label == "environment"):
        value = parse_duration(value, "store_timeout")
    seconds = check_span("store_timeout", value)
    if seconds > _LONGEST_TIMEOUT:
        raise ConfigError(
            f"store_timeout is {seconds:g} seconds, for which every job would wait: "
            f"give at most {_LONGEST_TIMEOUT:g}"
        )
    return seconds


def check_test_mode(layer: Layer, value: object) -> bool:
    """``test_mode``; a variable says 1 or 0."""
    if layer.label == "environment" and isinstance(value, str):
        if value.lower() not in _SWITCHES:
            raise ConfigError(f"test_mode is {show(value)}: give 1 or 0")
        return _SWITCHES[value.lower()]
    return check_flag("test_mode", value)


def check_redact(layer: Layer, value: object) -> Redact:
    """``redact``: one of two words, or from code a function (text, exception or None) → text."""
    if value in _REDACT or (layer.label == "configure()" and callable(value)):
        return cast("Redact", value)
    raise ConfigError(
        f"redact is {show(value)}{suggest(value, _REDACT)}: give 'strict' or 'scrub'"
        + ("" if layer.is_file else ", or a function to configure()")
    )


def check_redact_keep(_layer: Layer, value: object) -> tuple[str, ...]:
    """``redact_keep``: words and sentences that may always be shown, and ``re:`` patterns."""
    if isinstance(value, str) or not isinstance(value, Sequence | set | frozenset):
        raise ConfigError("redact_keep is not a list of words: write redact_keep = ['widget']")
    for word in value:
        if (
            not isinstance(word, str)
            or not 0 < len(word) <= _WORD_LENGTH
            or not word.isprintable()
            or (not word.startswith("re:") and may_be_secret(word))
        ):
            raise ConfigError(
                f"redact_keep holds {show(word)}: give words or sentences of up to {_WORD_LENGTH} "
                "letters, or re:PATTERN, and no secrets"
            )
        if word.startswith("re:"):
            _check_pattern(word)
    return tuple(dict.fromkeys(value))


def _check_pattern(word: str) -> None:
    import re  # few settings hold a pattern

    try:
        re.compile(word.removeprefix("re:"))
    except re.error as error:
        raise ConfigError(
            f"redact_keep holds {show(word)}, which is no regular expression ({error.msg} at"
            f" position {error.pos}): mend the pattern"
        ) from None
