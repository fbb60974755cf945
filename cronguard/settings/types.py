"""Settings as values: what `cronguard.settings.loading.load_settings` hands to the rest."""

# No `from __future__ import annotations` here: a NamedTuple compiles every annotation that is text,
# which costs each cron process more than all the rest of this module.

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

from cronguard.core.interfaces import Redact, Store
from cronguard.core.model import SecretRef

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from cronguard.core.interfaces import Channel


CHANNEL_RULES = ("threshold", "realert_every")
"""What every channel can be told besides its own options and its ``type``."""
SCHEMES = ("env", "vault")
"""Schemes of cronguard's own; others come from the entry-point group ``cronguard.secrets``."""
DEPTH = 3
"""How many references in a row are followed."""
DEFAULT_STORE_TIMEOUT = 2.0
DEFAULT_REDACT: Literal["scrub"] = "scrub"
_LINE = 500
_NAME_LENGTH = 200
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_NAME_LETTERS = _LETTERS | frozenset("-./:")
_NOTHING: Mapping[str, Any] = {}


if TYPE_CHECKING:  # making the class costs a cron process more than all its other types here

    class Overrides(TypedDict, total=False):
        """The keywords of `cronguard.configure`. None is the same as leaving one out."""

        store: str | Store | None
        channels: Sequence[str | Channel] | None
        channel: Mapping[str, Mapping[str, object]] | None
        job: Mapping[str, Mapping[str, object]] | None
        store_timeout: timedelta | float | None
        test_mode: bool | None
        redact: Redact | None
        redact_keep: Sequence[str] | None


def _repr(value: NamedTuple, *hidden: str) -> str:
    shown = (f"{key}={item!r}" for key, item in value._asdict().items() if key not in hidden)
    return f"{type(value).__name__}({', '.join(shown)})"


class ChannelSettings(NamedTuple):
    """One channel that alerts can go to. Holds the names of its secrets, never the secrets."""

    name: str
    """What jobs and the outbox call it."""
    type: str
    """The plugin's name in the group ``cronguard.channels``; often the same."""
    options: Mapping[str, str | SecretRef] = _NOTHING
    threshold: int | None = None
    """None for the job's own."""
    realert_every: int | None = None
    has_realert: bool = False
    """Whether ``realert_every`` rules here instead of the job's, None (once) included."""
    default: bool = True
    """Whether it is told about jobs that name no channels."""
    instance: object | None = None
    """A channel object given to `cronguard.configure`, which is used as it is."""

    def __repr__(self) -> str:
        return _repr(self, "instance")  # somebody else's repr may show a secret


class Settings(NamedTuple):
    """Everything that can be set, decided."""

    store: str | SecretRef | Store | None = None
    """None for the SQLite file at `default_store_path`. A `SecretRef` names the environment
    variable that holds the address: see `store_target`."""
    channels: tuple[ChannelSettings, ...] = ()
    """Every channel that is ready for use, those with ``default`` first. Never without one."""
    jobs: Mapping[str, Mapping[str, Any]] = _NOTHING
    """Options of jobs by name, as `cronguard.settings.options.check_options` returns them."""
    store_timeout: float = DEFAULT_STORE_TIMEOUT
    """Seconds that one call to the store may take."""
    redact: Redact = DEFAULT_REDACT
    redact_keep: tuple[str, ...] = ()
    """Words that are never masked, besides cronguard's own vocabulary."""
    test_mode: bool = False
    file: Path | None = None
    """The settings file that was read; None if there was none."""
    sources: Mapping[str, str] = _NOTHING
    """Dotted key → where its value came from: ``configure()``, ``environment CRONGUARD_STORE``,
    ``pyproject.toml``, ``default``."""

    def __repr__(self) -> str:
        hidden = () if self.store is None or isinstance(self.store, str | SecretRef) else ("store",)
        return _repr(self, "redact", *hidden)


class Loaded(NamedTuple):
    """Settings, and what was wrong with them: each one line, saying what to do."""

    settings: Settings
    problems: tuple[str, ...] = ()
    """Errors: exit code 2 of a command, one log line of a guarded run."""
    warnings: tuple[str, ...] = ()
    """What ``doctor`` should mention."""


class Notes:
    """What is learned while settings are loaded."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.sources: dict[str, str] = {}

    def problem(self, text: str) -> None:
        """Something is wrong and was passed over."""
        _add(self.problems, text)

    def warn(self, text: str) -> None:
        """Something is odd, but nothing was passed over."""
        _add(self.warnings, text)


def _add(lines: list[str], text: str) -> None:
    line = "".join(letter if letter.isprintable() else "?" for letter in text)
    if len(line) > _LINE:
        line = line[: _LINE - 1] + "…"
    if line not in lines:
        lines.append(line)


class Layer(NamedTuple):
    """One place that settings come from."""

    label: str
    """``configure()``, ``environment`` or the settings file's name."""
    table: Mapping[str, object]
    is_file: bool = False

    def source(self, key: str) -> str:
        """Where the layer has its value of a top-level key from."""
        return f"environment CRONGUARD_{key.upper()}" if self.label == "environment" else self.label


def parse_reference(text: str, schemes: Collection[str] = SCHEMES) -> SecretRef | None:
    """The reference that ``text`` is, or None if it is a plain value or of another scheme."""
    scheme, colon, name = text.strip().partition(":")
    if not colon or scheme not in schemes:
        return None
    letters = _LETTERS if scheme == "env" else _NAME_LETTERS
    if not 0 < len(name) <= _NAME_LENGTH or name.startswith("//") or not letters.issuperset(name):
        return None
    return SecretRef(scheme, name)
