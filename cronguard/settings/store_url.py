"""The ``store`` setting: its forms, and where the database is when nobody said."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cronguard.core.errors import ConfigError
from cronguard.core.model import SecretRef
from cronguard.core.text import suggest
from cronguard.settings.types import DEPTH, parse_reference

BUILTIN_SCHEMES = {
    "sqlite": "sqlite",
    "postgresql": "postgres",
    "postgres": "postgres",
    "supabase": "supabase",
}
"""URL scheme → name of the store in the group ``cronguard.stores``."""

_FORMS = "sqlite:///relative.db, sqlite:////absolute.db, supabase, postgresql://… or env:NAME"
_EPHEMERAL = {"GITHUB_ACTIONS": "GitHub Actions", "KUBERNETES_SERVICE_HOST": "Kubernetes"}
_PERSISTENT_TEMP = Path("/var/tmp")  # noqa: S108  # survives a reboot; the folder is checked below


class StoreTarget(NamedTuple):
    """A parsed ``store`` setting."""

    scheme: str
    """``env``: a variable holds the setting. Else a key of `BUILTIN_SCHEMES` or a plugin's name."""
    location: str = ""
    """env: the variable; sqlite: the path as written; others: the whole URL."""

    def __repr__(self) -> str:
        return f"StoreTarget(scheme={self.scheme!r})"  # the rest may hold a password

    @property
    def plugin(self) -> str:
        """The store's name in the entry-point group ``cronguard.stores``."""
        return BUILTIN_SCHEMES.get(self.scheme, self.scheme)

    @property
    def has_password(self) -> bool:
        """Whether the URL holds a credential that does not belong in a file."""
        authority = self.location.partition("://")[2].partition("/")[0]
        user, at, _ = authority.rpartition("@")
        return (bool(at) and ":" in user) or "password=" in self.location.lower()


def parse_store(text: str) -> StoreTarget:
    """Take the setting apart; ConfigError if it has no form that a store could have.

    Whether a plugin answers to an unknown scheme is not looked up here. The error never quotes the
    text, since it may hold a password.
    """
    text = text.strip()
    if text == "supabase":
        return StoreTarget("supabase")
    if ref := parse_reference(text):
        if ref.scheme == "vault":
            raise ConfigError(
                "store cannot be a vault: reference, since the vault lives in that very database: "
                "use env:NAME"
            )
        return StoreTarget("env", ref.name)
    scheme, found, rest = text.partition("://")
    plain = scheme.isascii() and scheme.replace("+", "").replace("-", "").isalnum()
    if not found or not plain or len(scheme) > 30 or not text.isprintable():  # noqa: PLR2004
        hint = suggest(text, ["supabase"]) if text.isalpha() else ""
        raise ConfigError(f"store is no address that cronguard can open{hint}: use {_FORMS}")
    scheme = scheme.lower()
    if scheme != "sqlite":
        return StoreTarget(scheme, text)
    path = rest[1:] if rest.startswith("/") else ""
    if not path or path.endswith("/") or ":memory:" in path:
        raise ConfigError(
            "store names no database file: use sqlite:///relative.db or sqlite:////absolute.db"
        )
    if "?" in path:
        raise ConfigError(
            "store has a ? in it, but a SQLite address takes no options: use"
            " sqlite:///relative.db or sqlite:////absolute.db"
        )
    return StoreTarget("sqlite", path)


def store_target(store: str | SecretRef, environ: Mapping[str, str]) -> StoreTarget:
    """What to open: references to the environment followed, `DEPTH` in a row at most.

    Raises ConfigError for an unset variable or a malformed value; quotes names, never values.
    """
    target = parse_store(store) if isinstance(store, str) else StoreTarget("env", store.name)
    for _ in range(DEPTH):
        if target.scheme != "env":
            return target
        name = target.location
        value = environ.get(name, "").strip()
        if not value:
            raise ConfigError(
                f"store is env:{name}, but that variable is empty: set {name} to the store's "
                "address, or change store"
            )
        try:
            target = parse_store(value)
        except ConfigError as error:
            raise ConfigError(f"environment {name}: {error}") from None
    raise ConfigError(f"store leads from variable to variable: let {target.location} hold it")


def absolute_store(target: StoreTarget, base: Path) -> str:
    """The SQLite target as a setting that no longer depends on the working directory."""
    path = Path(target.location)
    if path.parts and path.parts[0].startswith("~"):
        try:
            path = path.expanduser()
        except RuntimeError:
            raise ConfigError("store begins with ~, but there is no HOME: write the path") from None
    return "sqlite:///" + str(base / path)


def default_store_path(environ: Mapping[str, str]) -> Path:
    """Where the SQLite store is when no setting names one.

    The user's state folder; with no usable HOME (as under some crons and containers) a folder of
    the user's own in the system's persistent temporary directory, made here with mode 0700. Raises
    ConfigError if somebody else holds that name.
    """
    folder = _state_folder(environ)
    return (folder if folder and _can_hold(folder) else _private_temp_folder()) / "cronguard.db"


def ephemeral_place(environ: Mapping[str, str]) -> str | None:
    """The name of an environment that is known to keep no files from run to run; None elsewhere."""
    return next((name for variable, name in _EPHEMERAL.items() if environ.get(variable)), None)


def ephemeral_sentence(place: str) -> str:
    """What the default store means there, and what to do."""
    return (
        f"{place} keeps no files from run to run, so streaks will not last: set CRONGUARD_STORE to"
        " a database"
    )


def _state_folder(environ: Mapping[str, str]) -> Path | None:
    if not sys.platform.startswith("linux"):
        from platformdirs import user_state_path  # only where rules are many

        try:
            return user_state_path("cronguard", appauthor=False)
        except RuntimeError:
            return None
    # What platformdirs answers on Linux (a test compares); importing it costs more than a run.
    state = Path(environ.get("XDG_STATE_HOME", "").strip())
    if state.is_absolute():
        return state / "cronguard"
    home = Path(environ.get("HOME", "").strip())
    if not home.is_absolute() or home == home.parent or not _is_folder(home):
        return None
    return home / ".local" / "state" / "cronguard"


def _is_folder(path: Path) -> bool:
    # Path.is_dir() raises where a folder on the way cannot be entered.
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _can_hold(folder: Path) -> bool:
    """Whether the folder is there, or could be made."""
    if _is_folder(folder):
        return True  # read-only or not: a database may be in it, so it is not passed over
    parent = folder.parent
    while not os.path.lexists(parent) and parent != parent.parent:
        parent = parent.parent
    return _is_folder(parent) and os.access(parent, os.W_OK | os.X_OK)


def _private_temp_folder() -> Path:
    base = _PERSISTENT_TEMP
    if not os.access(base, os.W_OK | os.X_OK):
        import tempfile  # nearly never

        base = Path(tempfile.gettempdir())
    uid = os.geteuid() if hasattr(os, "geteuid") else None
    folder = base / ("cronguard" if uid is None else f"cronguard-{uid}")
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError:
        raise ConfigError(
            f"no place for the database: {folder} cannot be made; set HOME or CRONGUARD_STORE"
        ) from None
    _check_own(folder, uid)
    return folder


def _check_own(folder: Path, uid: int | None) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or (uid is not None and found.st_uid != uid):
        raise ConfigError(
            f"{folder} is not a folder of this user's own, so it is not used for the database: "
            "have it removed, or set HOME or CRONGUARD_STORE"
        )
    if uid is not None and stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(0o700)
