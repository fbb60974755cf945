"""The ``store`` setting: its forms, and the place of the database if it is not set."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from cronguard.core.errors import ConfigError
from cronguard.core.model import SecretRef
from cronguard.core.text import may_be_secret, show, suggest
from cronguard.process.signals import is_folder, is_there, tolerate
from cronguard.settings.types import DEPTH, Layer, parse_reference

if TYPE_CHECKING:
    from cronguard.core.interfaces import Store

BUILTIN_SCHEMES = {
    "sqlite": "sqlite",
    "postgresql": "postgres",
    "postgres": "postgres",
    "supabase": "supabase",
}
"""URL scheme → name of the store in the group ``cronguard.stores``."""

_NAME_LETTERS = frozenset("@/: ")
"""What a database's name in an address cannot hold unless something before it was cut off."""
_ADDRESS_LETTERS = frozenset("0123456789abcdefABCDEF:.%")
_FORMS = "sqlite:///relative.db, sqlite:////absolute.db, supabase, postgresql://… or env:NAME"
_EPHEMERAL_PLACES = {"GITHUB_ACTIONS": "GitHub Actions", "KUBERNETES_SERVICE_HOST": "Kubernetes"}
_PERSISTENT_TEMP = Path("/var/tmp")  # noqa: S108  # survives a reboot; the folder is checked below


class StoreTarget(NamedTuple):
    """A parsed ``store`` setting."""

    scheme: str
    """``env`` if a variable holds the setting; else in `BUILTIN_SCHEMES`, or a plugin's name."""
    location: str = ""
    """The variable for ``env``, the path as written for ``sqlite``, else the whole URL."""

    def __repr__(self) -> str:
        return f"StoreTarget(scheme={self.scheme!r})"  # the rest may hold a password

    @property
    def plugin(self) -> str:
        """Return the store's name in the entry-point group ``cronguard.stores``."""
        return BUILTIN_SCHEMES.get(self.scheme, self.scheme)

    @property
    def has_password(self) -> bool:
        """Tell whether the URL holds a password, which does not belong in a file."""
        before, at, _ = self.location.partition("://")[2].partition("?")[0].rpartition("@")
        return (bool(at) and ":" in before) or "password=" in self.location.lower()


def check_store(layer: Layer, value: object, base: Path | None) -> str | SecretRef | Store:
    """Return the checked ``store``.

    An address from a variable is kept as the variable's name, since it may hold a password. From
    anywhere else, an address with a password is refused.

    Args:
        layer: Where the value comes from.
        value: The address, a reference to it, or a store object.
        base: The folder for a relative SQLite path; None if there is none.
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


def parse_store(text: str) -> StoreTarget:
    """Parse the setting. Whether there is a plugin for its scheme is not looked up here.

    Raises:
        ConfigError: It has no valid form. The message never quotes it, since it may hold a
            password.
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
    if BUILTIN_SCHEMES.get(scheme) == "postgres" and not _splits(rest):
        raise ConfigError(
            "store is an address that cannot be taken apart into user, password, host, port and"
            " name, so nothing of it is shown: percent-encode what is special in the password (@ as"
            " %40, / as %2F, : as %3A, # as %23, ? as %3F, % as %25)"
        )
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


def _splits(rest: str) -> bool:
    """Tell whether what follows ``://`` leaves nothing of a password in host, port or name.

    Takes it apart as libpq does, which ends a password at the first ``@`` or ``/``.
    """
    authority, _, path = rest.partition("/")
    hosts, _, options = authority.partition("@")[2 * ("@" in authority)].partition("?")
    name, _, more = path.partition("?")
    pairs = [each for each in f"{options}&{more}".split("&") if each]
    return (
        _NAME_LETTERS.isdisjoint(name)
        and all("=" in each and "@" not in each for each in pairs)
        and all(_is_host(each) for each in hosts.split(","))
    )


def _is_host(text: str) -> bool:
    if text.startswith("["):
        host, end, port = text[1:].partition("]")
        good = bool(end) and set(host) <= _ADDRESS_LETTERS and port[:1] in ("", ":")
        port = port[1:]
    else:
        host, _, port = text.partition(":")
        good = all(each.isalnum() or each in "-._%~" for each in host)
    return good and (not port or (port.isascii() and port.isdigit()))


def store_target(store: str | SecretRef, environ: Mapping[str, str]) -> StoreTarget:
    """Return the store to open; follow at most `DEPTH` references to variables in a row.

    Raises:
        ConfigError: A variable is unset or its value malformed. The message quotes names, never
            values.
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
    """Return the SQLite target as a setting that does not depend on the working directory."""
    path = Path(target.location)
    if path.parts and path.parts[0].startswith("~"):
        try:
            path = path.expanduser()
        except RuntimeError:
            raise ConfigError("store begins with ~, but there is no HOME: write the path") from None
    return "sqlite:///" + str(base / path)


def default_store_path(environ: Mapping[str, str]) -> Path:
    """Return the path of the SQLite store for when no setting names a store.

    It is in the user's state folder. Without a usable HOME (as under some crons and containers) it
    is in a folder of the user's own in the system's persistent temporary directory, which is made
    here with mode 0700.

    Raises:
        ConfigError: That folder belongs to another user or cannot be made.
    """
    folder = _state_folder(environ)
    return (
        folder if folder and _exists_or_can_be_made(folder) else _private_temp_folder()
    ) / "cronguard.db"


def describe_default_store(environ: Mapping[str, str]) -> str:
    """Return the path of the default store as text, or what stands for it where there is none."""
    with tolerate(ConfigError, OSError):
        return str(default_store_path(environ))
    return "this process alone"


def ephemeral_place(environ: Mapping[str, str]) -> str | None:
    """Return the name of the environment if it keeps no files between runs, else None."""
    return next(
        (name for variable, name in _EPHEMERAL_PLACES.items() if environ.get(variable)), None
    )


def ephemeral_sentence(place: str) -> str:
    """Return a sentence on what the default store means there, and what to do."""
    return (
        f"{place} keeps no files from run to run, so streaks will not last: set CRONGUARD_STORE to"
        " a database"
    )


def _state_folder(environ: Mapping[str, str]) -> Path | None:
    """Return where state of the user's belongs, as platformdirs finds it (a test compares).

    Importing that takes longer than a run.
    """
    if sys.platform == "win32":
        local = Path(environ.get("LOCALAPPDATA", "").strip())
        return local / "cronguard" if local.is_absolute() else None
    state = Path(environ.get("XDG_STATE_HOME", "").strip())
    if state.is_absolute():
        return state / "cronguard"
    home = Path(environ.get("HOME", "").strip())
    if not home.is_absolute() or home == home.parent or not is_folder(home):
        return None
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "cronguard"
    return home / ".local" / "state" / "cronguard"


def _exists_or_can_be_made(folder: Path) -> bool:
    """Tell whether the folder exists or can be made."""
    if is_folder(folder):
        return True  # even if read-only, since the database may be in it
    parent = folder.parent
    while not is_there(parent, follow=False) and parent != parent.parent:
        parent = parent.parent
    return is_folder(parent) and os.access(parent, os.W_OK | os.X_OK)


def _private_temp_folder() -> Path:
    base = _PERSISTENT_TEMP
    if not os.access(base, os.W_OK | os.X_OK):
        import tempfile  # rarely needed

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
    _check_owner(folder, uid)
    return folder


def _check_owner(folder: Path, uid: int | None) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or (uid is not None and found.st_uid != uid):
        raise ConfigError(
            f"{folder} is not a folder of this user's own, so it is not used for the database: "
            "have it removed, or set HOME or CRONGUARD_STORE"
        )
    if uid is not None and stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(0o700)
