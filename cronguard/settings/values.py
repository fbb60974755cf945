"""Checks of single values in settings: from a value as written to a valid one, or ConfigError.

First the top-level keys, then the options of channels. They are pure functions, except that some
look up the names of plugins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from cronguard.core.errors import ConfigError
from cronguard.core.model import Option, SecretRef
from cronguard.core.text import may_be_secret, show, suggest
from cronguard.settings.job_values import (
    as_number,
    check_channel_name,
    check_count,
    check_flag,
    check_span,
)
from cronguard.settings.types import SCHEMES, Layer, parse_reference

if TYPE_CHECKING:
    from cronguard.core.interfaces import Redact

KEYS = (
    *("store", "channels", "channel", "job"),
    *("store_timeout", "test_mode", "redact", "redact_keep", "proxy"),
)
"""The keys of a settings file, and the keywords of `cronguard.configure`."""

_MAX_STORE_TIMEOUT_SECONDS = 60.0
_MAX_WORD_CHARS = 200
_REDACT_MODES = ("strict", "scrub")
PROXY_WORDS = ("env", "off")
_NEVER_WORDS = ("never", "none", "off")
_MAX_OPTION_CHARS = 2000
_FLAG_WORDS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
_NAME_OF_A_SECRET = {
    "env": "the name of the environment variable that holds it",
    "vault": "a name that cronguard vault list shows",
}


def check_channels(layer: Layer, value: object) -> list[object]:
    """Return the checked ``channels``: names, and objects from code.

    Whether there is a channel of each name is checked later.
    """
    if layer.label == "environment":
        value = [name.strip() for name in str(value).split(",") if name.strip()]
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, Sequence):
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


def check_channel(_layer: Layer, value: object) -> dict[str, dict[str, Any]]:
    """Return the checked ``channel`` of `cronguard.configure`; options are checked later."""
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
    """Return the checked ``store_timeout`` in seconds: above 0 and at most a minute."""
    if layer.label == "environment":  # where a number is text
        with suppress(TypeError, ValueError):
            value = float(cast("str", value))
    seconds = check_span("store_timeout", value)
    if seconds > _MAX_STORE_TIMEOUT_SECONDS:
        raise ConfigError(
            f"store_timeout is {seconds:g} seconds, for which every job would wait: "
            f"give at most {_MAX_STORE_TIMEOUT_SECONDS:g}"
        )
    return seconds


def check_test_mode(layer: Layer, value: object) -> bool:
    """Return the checked ``test_mode``; in a variable it is 1 or 0."""
    if layer.label == "environment" and isinstance(value, str):
        if value.lower() not in _FLAG_WORDS:
            raise ConfigError(f"test_mode is {show(value)}: give 1 or 0")
        return _FLAG_WORDS[value.lower()]
    return check_flag("test_mode", value)


def check_proxy(layer: Layer, value: object) -> SecretRef | str:
    """Return the checked ``proxy``: ``env``, ``off`` or a reference to an address.

    An address from a variable is kept as the variable's name, since it may hold a password.
    """
    if isinstance(value, SecretRef):
        return value
    text = value.strip() if isinstance(value, str) else ""
    if text.lower() in PROXY_WORDS:
        return text.lower()
    if ref := parse_reference(text):
        return ref
    if text and layer.label == "environment":
        return SecretRef("env", "CRONGUARD_PROXY")
    raise ConfigError(
        "proxy is not written here, since its address may hold a password: give 'env' for what"
        " HTTPS_PROXY says, the name of a secret that holds the address, such as 'env:OUR_PROXY',"
        " or 'off'"
    )


def check_redact(layer: Layer, value: object) -> Redact:
    """Return the checked ``redact``: a mode, or a function if it comes from code."""
    if value in _REDACT_MODES or (layer.label == "configure()" and callable(value)):
        return cast("Redact", value)
    raise ConfigError(
        f"redact is {show(value)}{suggest(value, _REDACT_MODES)}: give 'strict' or 'scrub'"
        + ("" if layer.is_file else ", or a function to configure()")
    )


def check_redact_keep(_layer: Layer, value: object) -> tuple[str, ...]:
    """Return the checked ``redact_keep``: words, sentences and ``re:`` patterns."""
    if isinstance(value, str) or not isinstance(value, Sequence | set | frozenset):
        raise ConfigError("redact_keep is not a list of words: write redact_keep = ['widget']")
    for word in value:
        if (
            not isinstance(word, str)
            or not 0 < len(word) <= _MAX_WORD_CHARS
            or not word.isprintable()
            or (not word.startswith("re:") and may_be_secret(word))
        ):
            raise ConfigError(
                f"redact_keep holds {show(word)}: give words or sentences of up to "
                f"{_MAX_WORD_CHARS} letters, or re:PATTERN, and no secrets"
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
    """Return the name of a channel object: its ``name``, else ``pager`` for a PagerChannel."""
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
    """Return the checked value of a channel's option from a file or from code.

    A secret must be a reference; a value that looks like a secret is refused for every option.

    Args:
        option: The option.
        value: The value as written.
        variable: The variable that could hold the value instead, for the message.

    Raises:
        ConfigError: The value cannot be used. The message never quotes a secret.
    """
    if isinstance(value, SecretRef):
        return value
    text = _as_text(option.name, value)
    if ref := parse_reference(text):
        return ref
    _check_reference_name(option, text)
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
    """Return the checked value of a channel's option from a variable.

    For a secret this is a reference to the variable.
    """
    if ref := parse_reference(value):
        return ref
    _check_reference_name(option, value)
    if option.secret or may_be_secret(value):
        return SecretRef("env", variable)
    return _as_text(option.name, value)


def check_rule(key: str, value: object, *, from_text: bool = False) -> int | None:
    """Return a channel's checked ``threshold`` or ``realert_every``; None for never again."""
    if from_text:
        value = as_number(value)
    if key == "realert_every" and (
        value is None or (isinstance(value, str) and value in _NEVER_WORDS)
    ):
        return None
    return check_count(key, value)


def _as_text(name: str, value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return ", ".join(_as_text(name, item) for item in value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ConfigError(f"{name} is {show(value)}: give a text")
    text = str(value).strip()
    if not text or len(text) > _MAX_OPTION_CHARS or not text.isprintable():
        raise ConfigError(f"{name} is empty, too long, or holds control characters: correct it")
    return text


def _check_reference_name(option: Option, text: str) -> None:
    """Refuse a reference without a valid name, which would otherwise pass as a plain value."""
    scheme, colon, rest = text.strip().partition(":")
    if option.secret and colon and scheme in SCHEMES and not rest.startswith("//"):
        raise ConfigError(
            f"{option.name} begins with {scheme}: but no name of a secret follows: write "
            f"{scheme}:NAME, with {_NAME_OF_A_SECRET[scheme]}"
        )


def _has_other_scheme(text: str) -> bool:
    # True for aws:name, not for https://… or a plain key. Metadata is read only for the former.
    return re.fullmatch(r"[a-z][a-z0-9_-]*:(?!//).+", text) is not None
