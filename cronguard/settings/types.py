"""The types of settings: what `cronguard.settings.loading.load_settings` returns."""

# No `from __future__ import annotations` here: with it, a NamedTuple compiles each annotation from
# text, which costs every cron process more than the rest of this module.

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

from cronguard.core.model import SecretRef
from cronguard.core.text import may_be_secret

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from cronguard.core.interfaces import Channel, Redact, Store


CHANNEL_RULES = ("threshold", "realert_every")
"""The options of every channel, besides its own and its ``type``."""
SCHEMES = ("env", "vault")
"""cronguard's own schemes; others come from the entry-point group ``cronguard.secrets``."""
DEPTH = 3
"""The most references in a row that are followed."""
DEFAULT_STORE_TIMEOUT = 2.0
DEFAULT_REDACT: Literal["scrub"] = "scrub"
_MAX_LINE_CHARS = 500
_MAX_NAME_CHARS = 200
_VARIABLE_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_NAME_CHARS = _VARIABLE_CHARS | frozenset("-./:")
_EMPTY: Mapping[str, Any] = {}


if TYPE_CHECKING:  # making this class takes longer than making all the others here

    class Overrides(TypedDict, total=False):
        """The keywords of `cronguard.configure`. None is the same as leaving one out."""

        store: str | Store | None
        channels: str | Sequence[str | Channel] | None
        channel: Mapping[str, Mapping[str, object]] | None
        job: Mapping[str, Mapping[str, object]] | None
        store_timeout: timedelta | float | str | None
        test_mode: bool | None
        redact: Redact | None
        redact_keep: Sequence[str] | None
        proxy: str | None


def _repr(value: NamedTuple, *hidden: str) -> str:
    shown = (f"{key}={item!r}" for key, item in value._asdict().items() if key not in hidden)
    return f"{type(value).__name__}({', '.join(shown)})"


class ChannelSettings(NamedTuple):
    """One channel for alerts. It holds the names of its secrets, never the secrets."""

    name: str
    """Its name in jobs and in the outbox."""
    type: str
    """The plugin's name in the group ``cronguard.channels``; often the same."""
    options: Mapping[str, str | SecretRef] = _EMPTY
    threshold: int | None = None
    """None for the job's own."""
    realert_every: int | None = None
    has_realert: bool = False
    """Whether ``realert_every`` overrides the job's; its None then means once per incident."""
    default: bool = True
    """Whether it is used for jobs that name no channels."""
    instance: object | None = None
    """A channel object given to `cronguard.configure`, used as it is; else None."""

    def __repr__(self) -> str:
        return _repr(self, "instance")  # a third party's repr may show a secret


class Settings(NamedTuple):
    """All settings, resolved."""

    store: "str | SecretRef | Store | None" = None
    """None for the SQLite file at `default_store_path`. A `SecretRef` names the environment
    variable with the address; see `store_target`."""
    channels: tuple[ChannelSettings, ...] = ()
    """Every channel that is ready for use, those with ``default`` first; never empty."""
    jobs: Mapping[str, Mapping[str, Any]] = _EMPTY
    """Options of jobs by name, as `cronguard.settings.options.check_options` returns them."""
    unclear: Mapping[str, frozenset[str]] = _EMPTY
    """Options of jobs that are wrong: nothing is stated for them, not even the default."""
    store_timeout: float = DEFAULT_STORE_TIMEOUT
    """The seconds that one call to the store may take."""
    redact: "Redact" = DEFAULT_REDACT
    redact_keep: tuple[str, ...] = ()
    """Words that are never masked, besides cronguard's own vocabulary."""
    proxy: SecretRef | str | None = None
    """What https requests of channels and heartbeats go through: ``env`` for what the environment
    names, a reference to an address, ``off`` for none; None if nobody says, which means none."""
    test_mode: bool = False
    file: Path | None = None
    """The settings file that was read; None if there was none."""
    sources: Mapping[str, str] = _EMPTY
    """Dotted key → where its value came from: ``configure()``, ``environment CRONGUARD_STORE``,
    ``pyproject.toml``, ``default``."""

    def __repr__(self) -> str:
        hidden = () if self.store is None or isinstance(self.store, str | SecretRef) else ("store",)
        return _repr(self, "redact", *hidden)


class Loaded:
    """Settings, and what is wrong with them: one line each, which says what to do."""

    def __init__(
        self,
        settings: Settings,
        problems: tuple[str, ...] = (),
        warn: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self.settings = settings
        self.problems = problems
        """Errors: a command exits with 2, a guarded run logs each once."""
        self._warn = warn

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what ``cronguard doctor`` shows besides; this takes longer than a run."""
        return tuple(self._warn())


class Notes:
    """Problems, warnings and sources, collected while settings are loaded."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.sources: dict[str, str] = {}

    def problem(self, text: str) -> None:
        """Note that something is wrong and is not used."""
        _add_line(self.problems, text)

    def warn(self, text: str) -> None:
        """Note that something looks like a mistake, though everything is used."""
        _add_line(self.warnings, text)


def _add_line(lines: list[str], text: str) -> None:
    from cronguard.core.rendering import plain  # only when something is wrong

    if (line := plain(text, _MAX_LINE_CHARS)) not in lines:
        lines.append(line)


class Layer(NamedTuple):
    """One source of settings."""

    label: str
    """``configure()``, ``environment`` or the settings file's name."""
    table: Mapping[str, object]
    is_file: bool = False

    def source(self, key: str) -> str:
        """Return a description of where the layer's value of a top-level key comes from."""
        return f"environment CRONGUARD_{key.upper()}" if self.label == "environment" else self.label


def parse_reference(text: str, schemes: Collection[str] = SCHEMES) -> SecretRef | None:
    """Return ``text`` as a reference, or None if it is a plain value or has another scheme."""
    scheme, colon, name = text.strip().partition(":")
    if not colon or scheme not in schemes:
        return None
    letters = _VARIABLE_CHARS if scheme == "env" else _NAME_CHARS
    if (
        not 0 < len(name) <= _MAX_NAME_CHARS
        or "//" in name
        or not letters.issuperset(name)
        or may_be_secret(name)  # pasted where its name belongs
    ):
        return None
    return SecretRef(scheme, name)
