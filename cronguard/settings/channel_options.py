"""One channel option's value, as a file, `configure` or the environment gives it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cronguard.core.errors import ConfigError
from cronguard.core.model import Option, SecretRef
from cronguard.core.text import may_be_secret, show
from cronguard.settings import plugins
from cronguard.settings.option_checks import check_count
from cronguard.settings.secrets import SCHEMES, parse_reference

_NEVER = ("never", "none", "off")
_LENGTH = 2000
_DIGITS = 9


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
