"""Plugins by name: cronguard's own by their modules, third-party ones through entry points.

There are three groups: ``cronguard.channels``, ``cronguard.stores`` and ``cronguard.secrets``. A
built-in is the one class of its kind in its module: the channel ``email-smtp`` is in the module
``email_smtp`` of ``cronguard.channels``, and `_MODULES` lists the modules of stores and secret
sources. So built-ins are found without package metadata, which takes longer to read than a run and
is missing in a zipapp or a source tree.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from cronguard.core.errors import PluginError
from cronguard.core.interfaces import Channel, SecretSource, Store
from cronguard.core.model import Option
from cronguard.core.text import show, suggest
from cronguard.process.signals import tolerate
from cronguard.settings.types import CHANNEL_RULES

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Group: TypeAlias = Literal["cronguard.channels", "cronguard.stores", "cronguard.secrets"]

CHANNELS: Group = "cronguard.channels"
STORES: Group = "cronguard.stores"
SECRETS: Group = "cronguard.secrets"

_PROTOCOLS: dict[str, type] = {CHANNELS: Channel, STORES: Store, SECRETS: SecretSource}
_CONSTRUCTORS = {STORES: "from_url"}
_NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
_OPTION_NAME_PATTERN = r"[a-z][a-z0-9_]{0,39}"
_GENERATOR_FLAGS = 0x20 | 0x200
"""``inspect.CO_GENERATOR`` and ``CO_ASYNC_GENERATOR``: calling such a function runs no code yet."""
_MAX_IMPORT_SECONDS = 5.0
_NOUNS = {CHANNELS: "channel", STORES: "store", SECRETS: "secret source"}
_OWN_NAME = "cronguard"
_MODULES: dict[str, dict[str, str]] = {
    STORES: {
        "postgres": "cronguard.stores.server.postgres",
        "sqlite": "cronguard.stores.sqlite.store",
        "supabase": "cronguard.stores.server.supabase",
    },
    SECRETS: {
        "env": "cronguard.settings.secret_sources.env",
        "vault": "cronguard.settings.secret_sources.vault",
    },
}
"""Group → name → module. A channel's module has the channel's name."""

_loaded: dict[tuple[str, str], type | PluginError] = {}
_entry_points: dict[str, dict[str, list[EntryPoint]]] = {}


class MissingExtraError(PluginError):
    """A built-in plugin lacks packages of the extra that it needs."""


class PluginInfo(NamedTuple):
    """One plugin, as ``cronguard channels`` and ``cronguard doctor`` show it."""

    name: str
    distribution: str | None
    """``name version``; None if package metadata is missing."""
    module: str
    error: str | None = None
    """One line if it cannot be used, or if another plugin has its name; None if it works."""
    installed: bool = True
    """False if only its extra is missing, which is no error until a setting names the plugin."""


def load(group: Group, name: str) -> type:
    """Return the plugin's class; the result, or the error, is kept as long as the process lives.

    Raises:
        PluginError: It cannot be used. The message is one line that names it and its distribution.
    """
    known = _loaded.get((group, name))
    if known is None:
        try:
            known = builtin(group, name) or _load_third_party(group, name)
        except PluginError as error:
            known = error
        _loaded[group, name] = known
    if isinstance(known, PluginError):
        raise type(known)(str(known))
    return known


def options_of(channel: type) -> Sequence[Option]:
    """Return the options that a channel's class declares, for a class that `load` returned."""
    declared: Sequence[Option] = channel.OPTIONS  # type: ignore[attr-defined]  # see `fault`
    return declared


def builtin(group: Group, name: str) -> type | None:
    """Return the built-in of that name, or None. Package metadata is never read.

    Raises:
        PluginError: There is one but it cannot be used, for example without its extra.
    """
    path = _module_of(group, name)
    if path is None:
        return None
    try:
        module = import_module(path)
    except ModuleNotFoundError as error:
        if error.name == path:
            return None
        raise MissingExtraError(
            f"{_NOUNS[group]} {show(name)} needs the module {error.name!r}: " + _what_to_do(name)
        ) from None
    except Exception as error:  # noqa: BLE001  # one broken module must not stop the others
        raise PluginError(
            f"{_NOUNS[group]} {show(name)} cannot be loaded: {type(error).__name__} in {path}; "
            + _what_to_do()
        ) from None
    found = [
        value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == path
        and not key.startswith("_")
        and fault(group, value) is None
    ]
    return found[0] if len(found) == 1 else None


def _module_of(group: Group, name: str) -> str | None:
    if group != CHANNELS:
        return _MODULES[group].get(name)
    module_name = name.replace("-", "_")
    named = module_name.isidentifier() and not module_name.startswith("_")
    return f"{group}.{module_name}" if named else None


def _what_to_do(extra: str | None = None) -> str:
    """Return how to install an extra; without one, how to reinstall cronguard."""
    try:
        from cronguard.core import install  # only when something is missing
    except Exception:  # noqa: BLE001  # a deploy may have removed all of cronguard
        return "install cronguard afresh"
    return install.how_to_install(extra) if extra else install.how_to_reinstall()


def names(group: Group) -> tuple[str, ...]:
    """Return all plugins' names in the group, sorted, working or not. Metadata is read."""
    return tuple(sorted({*_entry_points_of(group), *builtin_names(group)}))


def foreign_names(group: Group) -> tuple[str, ...]:
    """Return the names that third-party distributions provide, sorted. Metadata is read."""
    points = _entry_points_of(group).items()
    return tuple(sorted(name for name, found in points if not all(map(_is_own, found))))


def describe(group: Group) -> list[PluginInfo]:
    """Return all plugins in the group, loaded and checked.

    Of several with one name only the first is used; the others have that as their error.
    """
    infos: list[PluginInfo] = []
    builtins = builtin_names(group)
    for name in names(group):
        error: str | None = None
        installed = True
        try:
            path = load(group, name).__module__
        except PluginError as problem:
            path, error = "", str(problem)
            installed = not isinstance(problem, MissingExtraError)
        points = _entry_points_of(group).get(name, [])
        own = name in builtins or any(_is_own(point) for point in points)
        if own:
            infos.append(PluginInfo(name, _own_distribution(), path or group, error, installed))
        others = [point for point in points if not _is_own(point)]
        for index, point in enumerate(others):
            winner = _OWN_NAME if own else _distribution(others[0])
            passed_over = (
                f"{_NOUNS[group]} {show(name)} of {_distribution(point)} is passed over: "
                f"{winner} has this name too"
                if own or index
                else error
            )
            module = point.value.partition(":")[0]
            infos.append(PluginInfo(name, _distribution(point), module, passed_over))
    return infos


def fault(group: Group, kind: object) -> str | None:
    """Return why something cannot be a plugin of the group, or None if it can."""
    try:
        return next(_faults(group, kind), None)
    except Exception as error:  # noqa: BLE001  # reading a third-party class may run its code
        return f"cannot be looked at ({type(error).__name__})"


def _faults(group: Group, kind: object) -> Iterator[str]:
    if not isinstance(kind, type):
        yield "is not a class"
    duties = [name for name, duty in vars(_PROTOCOLS[group]).items() if callable(duty)]
    for duty in (*duties, *filter(None, [_CONSTRUCTORS.get(group)])):
        if not duty.startswith("_") and not callable(getattr(kind, duty, None)):
            yield f"has no {duty}()"
    if group != CHANNELS:
        return
    send = getattr(getattr(kind, "send", None), "__code__", None)
    if getattr(send, "co_flags", 0) & _GENERATOR_FLAGS:
        yield "has a send() with yield in it, which would never run"
    options = getattr(kind, "OPTIONS", None)
    if (
        isinstance(options, str)
        or not isinstance(options, Sequence)
        or not all(isinstance(option, Option) for option in options)
    ):
        yield "has no OPTIONS, a sequence of cronguard.core.model.Option"
        return
    names: set[str] = set()
    for name, _, secret, _, default in options:
        if not isinstance(name, str) or not re.fullmatch(_OPTION_NAME_PATTERN, name):
            yield f"has an option {show(name)}: names are lower-case letters, digits and _"
        if name in (*CHANNEL_RULES, "type"):
            yield f"has an option {name}, which every channel has already"
        if name in names:
            yield f"has the option {name} twice"
        if default is not None and (secret or not isinstance(default, str)):
            yield f"has a default for {name}, which is {'a secret' if secret else 'no text'}"
        names.add(name)


def forget() -> None:
    """Forget what was looked up, so that it is looked up again next time."""
    _loaded.clear()
    _entry_points.clear()


def _load_third_party(group: Group, name: str) -> type:
    points = [point for point in _entry_points_of(group).get(name, []) if not _is_own(point)]
    if not points:
        raise PluginError(
            f"there is no {_NOUNS[group]} {show(name)}{suggest(name, names(group))}: "
            f"install the plugin that provides it, or use one of {', '.join(names(group))}"
        )
    point = points[0]
    kind, wrong = _load_and_check_in_time(group, point)
    if not wrong and not re.fullmatch(_NAME_PATTERN, name):
        wrong = "has a name that is more than letters, digits, _ and -"
    if wrong:
        whose = f"{_NOUNS[group]} {show(name)} of {_distribution(point)}"
        raise PluginError(f"{whose} {wrong}; update or remove that package")
    checked: type = kind
    return checked


def _load_and_check_in_time(group: Group, point: EntryPoint) -> tuple[Any, str | None]:
    """Do `_load_and_check` in a thread with a timeout: a third-party import may never end."""
    from cronguard.process.workers import (  # few have such plugins
        Failed,
        NoThread,
        Overdue,
        TimeoutPool,
    )

    work = partial(_load_and_check, group, point)
    try:
        return TimeoutPool(most_late=1).call(work, _MAX_IMPORT_SECONDS)
    except Overdue:
        return None, f"cannot be loaded: its import takes longer than {_MAX_IMPORT_SECONDS:g} s"
    except NoThread:
        return work()
    except Failed as failed:
        problem = failed.error
    raise problem


def _load_and_check(group: Group, point: EntryPoint) -> tuple[Any, str | None]:
    """Return what an entry point leads to, and why it cannot be a plugin, or None if it can."""
    try:
        kind = point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # third-party code
        return None, f"cannot be loaded: {_describe_load_error(point, error)}"
    wrong = fault(group, kind)
    return kind, f"cannot be used: {point.value} {wrong}" if wrong else None


def _describe_load_error(point: EntryPoint, error: BaseException) -> str:
    """Return what went wrong by names only, since the error's own text may hold anything."""
    if not point.pattern.match(point.value):
        return f"its entry point {show(point.value)} is not of the form module:name"
    what = type(error).__name__
    if isinstance(error, ModuleNotFoundError):
        return f"{what} (module {error.name!r})"
    module = sys.modules.get(point.module)
    first = point.attr.partition(".")[0]
    if isinstance(error, AttributeError) and module is not None and first not in vars(module):
        return f"there is no {first} in {point.module}"
    return what


def _entry_points_of(group: Group) -> dict[str, list[EntryPoint]]:
    """Return the group's entry points by name, cronguard's own included, in a stable order."""
    known = _entry_points.get(group)
    if known is None:
        from importlib.metadata import entry_points  # costs more than a run

        known = {}
        try:
            points = sorted(entry_points(group=group), key=_distribution)
        except Exception:  # noqa: BLE001  # one damaged package must not stop cronguard
            points = []
        for point in points:
            known.setdefault(point.name, []).append(point)
        _entry_points[group] = known
    return known


def _distribution(point: EntryPoint) -> str:
    found = point.dist
    return f"{found.name} {found.version}" if found else "an unknown package"


def _is_own(point: EntryPoint) -> bool:
    from cronguard.core.install import (
        DISTRIBUTION,  # only after metadata has been read
    )

    found = point.dist
    return found.name.lower() == DISTRIBUTION if found else False


def _own_distribution() -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # rarely needed

    from cronguard.core.install import DISTRIBUTION

    try:
        return f"{DISTRIBUTION} {version(DISTRIBUTION)}"
    except PackageNotFoundError:
        return None


def builtin_names(group: Group) -> list[str]:
    """Return the built-ins' names, with those whose extra is missing. Nothing is loaded."""
    if group != CHANNELS:
        return list(_MODULES[group])
    folders = (sys.modules.get(group) or import_module(group)).__path__
    files: list[str] = []
    with tolerate(OSError):  # in an archive
        files = os.listdir(folders[0])  # noqa: PTH208  # light
    modules = [name.removesuffix(".py") for name in files if name.endswith(".py")]
    if not modules:
        from pkgutil import iter_modules  # takes longer than a run

        modules = [module.name for module in iter_modules(folders) if not module.ispkg]
    return sorted(name.replace("_", "-") for name in modules if not name.startswith("_"))


def hook_dirs() -> list[str]:
    """Return where PyInstaller finds ``hook-cronguard.py``, which names the built-ins to it."""
    return [os.path.join(os.path.dirname(__file__), "pyinstaller")]  # noqa: PTH118, PTH120  # light


__all__ = [
    "CHANNELS",
    "SECRETS",
    "STORES",
    "Group",
    "MissingExtraError",
    "PluginInfo",
    "builtin",
    "builtin_names",
    "describe",
    "fault",
    "foreign_names",
    "forget",
    "hook_dirs",
    "load",
    "names",
    "options_of",
]
