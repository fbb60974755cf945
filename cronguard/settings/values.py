"""Values in settings, one by one: value as written → value, or ConfigError. Pure.

First the top-level keys, then the options of channels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from cronguard.core.errors import ConfigError
from cronguard.core.interfaces import Redact, Store
from cronguard.core.model import Option, SecretRef
from cronguard.core.text import may_be_secret, show, suggest
from cronguard.settings.options import (
    check_channel_name,
    check_count,
    check_flag,
    check_span,
    parse_duration,
)
from cronguard.settings.store_url import BUILTIN_SCHEMES, StoreTarget, absolute_store, parse_store
from cronguard.settings.types import SCHEMES, Layer, parse_reference

KEYS = (
    *("store", "channels", "channel", "job"),
    *("store_timeout", "test_mode", "redact", "redact_keep"),
)
"""What a settings file may hold, and the keywords of `cronguard.configure`."""

_LONGEST_TIMEOUT = 60.0
_WORD_LENGTH = 200
_REDACT = ("strict", "scrub")
_NEVER = ("never", "none", "off")
_LENGTH = 2000
_DIGITS = 9
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
    from cronguard.settings import plugins  # few stores are a third party's

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


def instance_name(channel: object) -> str:
    """What a channel object is called: its ``name``, else its class: PagerChannel, pager."""
    name = getattr(channel, "name", None)
    if not isinstance(name, str) or not name:
        words = type(channel).__name__.removesuffix("Channel") or "channel"
        name = "".join(
            f"-{letter.lower()}" if letter.isupper() and index else letter.lower()
            for index, letter in enumerate(words.strip("_"))
        )
    return check_channel_name(name)


# --- options of channels --------------------------------------------------------------------------


def check_written(option: Option, value: object, variable: str) -> str | SecretRef:
    """A value written in a file or in code. ``variable`` could hold it instead.

    A secret must be a reference; what looks like one is refused whatever the option. Never quotes
    the value. Raises ConfigError.
    """
    if isinstance(value, SecretRef):
        return value
    text = _as_text(option.name, value)
    if ref := parse_reference(text):
        return ref
    _check_names_something(option, text)
    if option.secret and _has_other_scheme(text):
        from cronguard.settings import plugins  # few secrets are a third party's

        if ref := parse_reference(text, plugins.names(plugins.SECRETS)):
            return ref
        raise ConfigError(
            f"{option.name} is neither env:NAME nor vault:NAME, and no plugin reads what it names: "
            f"use one of these, or set {variable}"
        )
    if option.secret or may_be_secret(text):
        raise ConfigError(
            f"{option.name} holds a secret in plain text: set {variable} instead, "
            f'or write {option.name} = "env:NAME" or "vault:NAME"'
        )
    return text


def check_variable(option: Option, value: str, variable: str) -> str | SecretRef:
    """A value in the environment; a secret is held as the variable's name."""
    if ref := parse_reference(value):
        return ref
    _check_names_something(option, value)
    if option.secret or may_be_secret(value):
        return SecretRef("env", variable)
    return _as_text(option.name, value)


def check_rule(key: str, value: object, *, from_text: bool = False) -> int | None:
    """A channel's own ``threshold`` or ``realert_every``; None for never again."""
    if from_text and isinstance(value, str) and len(value) <= _DIGITS and value.isdecimal():
        value = int(value)
    if key == "realert_every" and (value is None or (isinstance(value, str) and value in _NEVER)):
        return None
    return check_count(key, value)


def _as_text(name: str, value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return ", ".join(_as_text(name, item) for item in value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ConfigError(f"{name} is {show(value)}: give a text")
    text = str(value).strip()
    if not text or len(text) > _LENGTH or not text.isprintable():
        raise ConfigError(f"{name} is empty, too long, or holds control characters: correct it")
    return text


def _check_names_something(option: Option, text: str) -> None:
    """A reference without a name, or with one that cannot be, is not the secret itself."""
    scheme, colon, rest = text.strip().partition(":")
    if option.secret and colon and scheme in SCHEMES and not rest.startswith("//"):
        raise ConfigError(
            f"{option.name} begins with {scheme}: but no name of a secret follows: write"
            f" {scheme}:NAME"
        )


def _has_other_scheme(text: str) -> bool:
    # Metadata is read for these alone: aws:name, not https://… and not a bare key.
    return re.fullmatch(r"[a-z][a-z0-9_-]*:(?!//).+", text) is not None
