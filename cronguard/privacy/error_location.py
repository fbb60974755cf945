"""Where an error happened: the innermost frame of the user's own code, without private paths."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from types import CodeType, FrameType, TracebackType
from typing import Any

from cronguard.privacy.mask import MASK
from cronguard.process.signals import attempt

_MAX_FRAMES = 20_000
_MAX_REMEMBERED = 2_000
_MAX_LENGTH = 240
_MAX_PART = 64
_HOMES = ("home", "Users", "users", "Documents and Settings")
_HOME = re.compile(rf"\A(?:.*?/)??(?:{'|'.join(_HOMES)})/[^/]*/")
_CRONGUARD, _LIBRARY, _MADE, _USER = range(4)
_GENERATED = ("<string>", "<stdin>")
_PACKAGES = ("/site-packages/", "/dist-packages/")

_traceback: Any = BaseException.__dict__["__traceback__"].__get__
_ranks: dict[str, int] = {}
_shown: dict[str, str] = {}


def error_location(error: BaseException) -> str | None:
    """Return ``package/module.py:42 in function``; None for an error never raised.

    The user's own code is what lies neither in the standard library, nor among installed packages,
    nor in cronguard. Where there is none of it, the package of the outermost frame counts as the
    user's; where that fails too, the innermost frame is shown.
    """
    first = _traceback(error)
    rank, tb = _innermost(first)
    if tb is None:
        return None
    if rank == _LIBRARY:
        tb = _innermost_of_outermost_package(first) or tb
    code = tb.tb_frame.f_code
    path = _shown.get(code.co_filename)
    if path is None:
        _make_room(_shown)
        path = _shown[code.co_filename] = _show(tb.tb_frame)
    return f"{path}:{tb.tb_lineno or 0} in {_function(code)}"[:_MAX_LENGTH]


def is_generated(code: CodeType) -> bool:
    """Tell whether it was made of a text at run time, such as by `exec`, data included.

    ``python -c`` runs its program under the same name as `exec`.
    """
    name = code.co_filename
    return name.startswith("<") and name != "<stdin>" and not name.startswith("<frozen ")


def walk(tb: TracebackType | None) -> Iterator[TracebackType]:
    """Yield the traceback from the outermost frame inwards, within bounds."""
    left = _MAX_FRAMES
    while tb is not None and left:
        yield tb
        tb = tb.tb_next
        left -= 1


def _innermost(first: TracebackType | None) -> tuple[int, TracebackType | None]:
    best, found = -1, None
    for tb in walk(first):
        filename = tb.tb_frame.f_code.co_filename
        rank = _ranks.get(filename)
        if rank is None:
            _make_room(_ranks)
            rank = _ranks[filename] = _rank(filename)
        if rank >= best:
            best, found = rank, tb
    return best, found


def _innermost_of_outermost_package(first: TracebackType | None) -> TracebackType | None:
    package, found = None, None
    for tb in walk(first):
        filename = tb.tb_frame.f_code.co_filename
        if _rank(filename) == _LIBRARY:
            package = package or _package(filename)
            if _package(filename) == package:
                found = tb
    return found


def _make_room(memory: dict[str, Any]) -> None:
    if len(memory) >= _MAX_REMEMBERED:
        memory.clear()


def _rank(filename: str) -> int:
    if filename.startswith("<"):
        return _MADE if filename in _GENERATED else _LIBRARY
    path = _slashed(filename)
    package = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120  # pathlib costs
    if path.startswith(_slashed(package) + "/"):
        return _CRONGUARD
    if any(mark in path for mark in _PACKAGES):
        return _CRONGUARD if "/site-packages/wrapt/" in path else _LIBRARY
    if path.startswith(_standard_library()):
        return _LIBRARY
    return _USER


def _standard_library() -> tuple[str, ...]:
    home = _slashed(os.path.dirname(os.__file__))  # noqa: PTH120  # pathlib costs
    return (f"{home}/", f"{home}.zip/")


def _package(filename: str) -> str:
    """Return the folder of the installed top-level package (or of the standard library)."""
    path = _slashed(filename)
    for mark in _PACKAGES:
        head, found, tail = path.rpartition(mark)
        if found:
            return head + found + tail.partition("/")[0]
    return "standard library"


def _show(frame: FrameType) -> str:
    filename = frame.f_code.co_filename
    if filename.startswith("<"):
        module = filename.partition(" ")[2].rstrip(">")
        if filename.startswith("<frozen ") and module.replace(".", "").replace("_", "").isalnum():
            return filename[:_MAX_PART]
        return filename if filename in _GENERATED else "<generated>"
    parts = _relative(_slashed(filename), frame.f_globals.get("__name__")).split("/")
    return "/".join(_part(part) for part in parts if part not in {"", ".", ".."}) or MASK


def _relative(path: str, module: object) -> str:
    """Return the path below the folder it was imported from; never one from a root."""
    if not path.startswith("/") and path[1:3] != ":/":
        return _HOME.sub("", path)
    for mark in _PACKAGES:
        if mark in path:
            return path.rpartition(mark)[2]
    best = ""
    for base in (*_standard_library(), *_bases()):
        if len(best) < len(base) and path.startswith(base):
            best = base
    if best:
        return path[len(best) :]
    depth = module.count(".") if isinstance(module, str) else 0
    return "/".join(path.split("/")[-min(depth, 8) - 1 :])


def _bases() -> list[str]:
    here = attempt(os.getcwd) or ""  # it may be gone
    path: list[object] = [here, *sys.path]
    entries = [entry for entry in path if isinstance(entry, str)]
    bases = [_slashed(entry).rstrip("/") for entry in entries]
    # below the root or the folder of the homes, a path would begin with somebody's name
    return [f"{base}/" for base in bases if base and base.rpartition("/")[2] not in _HOMES]


def _part(part: str) -> str:
    plain = part.replace("_", "").replace("-", "").replace(".", "").replace("+", "")
    if not plain.isalnum() or len(part) > _MAX_PART or part in _users():
        return MASK
    digits = sum(character.isdigit() for character in part)
    return part if digits <= 8 else MASK  # noqa: PLR2004  # a date in a name, and no more


def _users() -> set[str]:
    names = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME")}
    names.add(_slashed(os.environ.get("HOME", "")).rstrip("/").rpartition("/")[2])
    return names - {""}


def _function(code: CodeType) -> str:
    name = code.co_name
    if len(name) > _MAX_PART:
        return MASK
    plain = name[1:-1] if name[:1] == "<" and name[-1:] == ">" else name
    if is_generated(code) and plain == name:
        from cronguard.privacy.vocabulary import vocabulary  # hardly ever needed

        return name if vocabulary().knows_name(name) else MASK
    return name if plain.isidentifier() else MASK


def _slashed(path: str) -> str:
    return path.replace("\\", "/")
