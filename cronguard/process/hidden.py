"""Python's own modules and the packages that cronguard needs, where files of the program hide them.

A `random.py` beside the job is found before Python's `random`, also by what cronguard needs, and
`httpx.py` before the package. In a block of `python_first` such a name means Python's own module or
the package, and the program's file is not run; outside, everything is as it would be without
cronguard.

Loaded only where there is such a file. It needs no module but those that Python has loaded before
any program, since others may be hidden.
"""

from __future__ import annotations

import _imp
import _thread
import os
import sys
from _frozen_importlib_external import PathFinder

from cronguard.core import PACKAGES
from cronguard.process.stderr import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_WAIT_SECONDS = 1.0
"""How long a thread waits for another one's block; it may hold what that one waits for."""
_INIT = "__init__.py"
# fmt: off
_NEEDED = frozenset({
    "array", "ast", "asyncio", "base64", "binascii", "bisect", "bz2", "calendar", "collections",
    "colorsys", "concurrent", "contextlib", "contextvars", "copy", "copyreg", "csv", "ctypes",
    "dataclasses", "datetime", "decimal", "difflib", "dis", "email", "encodings", "enum",
    "fcntl", "fnmatch", "fractions", "functools", "gettext", "glob", "grp", "hashlib", "heapq",
    "hmac", "html", "http", "importlib", "inspect", "ipaddress", "json", "keyword", "linecache",
    "locale", "logging", "lzma", "math", "mimetypes", "mmap", "numbers", "opcode", "operator",
    "pathlib", "pickle", "pkgutil", "platform", "queue", "quopri", "random", "re", "reprlib",
    "resource", "select", "selectors", "shlex", "shutil", "signal", "smtplib", "socket",
    "sqlite3", "ssl", "string", "stringprep", "struct", "subprocess", "tempfile", "textwrap",
    "threading", "token", "tokenize", "tomllib", "traceback", "types", "typing", "unicodedata",
    "urllib", "uuid", "warnings", "weakref", "zipfile", "zlib", "zoneinfo",
})
# fmt: on
"""What cronguard imports, and what is loaded up to a first alert; all else is the program's own."""
_files: dict[str, str] = {}
"""Name of a hidden module → the file that hides it."""
_own: dict[str, ModuleType] = {}
"""Python's own modules of these names, and those inside, as cronguard uses them."""
_lock = _thread.RLock()
_needed: set[str] = set()
_told: set[str] = set()


def hiding_files() -> dict[str, str]:
    """Return the files that hide modules that cronguard needs: name of the module → path.

    There are none in a bundle, which has everything in one folder.
    """
    found: dict[str, str] = {}
    first = 0 if hasattr(sys, "frozen") else _first_of_library()
    for folder in sys.path[:first]:
        for name in (_NEEDED | PACKAGES).difference(found):
            if name not in PACKAGES and not _is_a_file(name):
                continue
            spec = PathFinder.find_spec(name, [folder])
            if spec is None or spec.origin is None:  # nothing, or a mere folder
                continue
            if name not in PACKAGES or _hides_package(folder, name, sys.path[first:]):
                found[name] = os.path.abspath(spec.origin)  # noqa: PTH100  # pathlib may be hidden
    return found


def _hides_package(folder: str, name: str, library: Sequence[str]) -> bool:
    """Tell whether the package is in the library too, and not installed in this very folder."""
    try:
        entries = os.listdir(folder or os.curdir)  # noqa: PTH208  # pathlib may be hidden
    except OSError as caught:
        if caught.errno is None:
            raise  # a time limit of the program's
        entries = []
    if any(each.startswith(f"{name}-") and each.endswith("-info") for each in entries):
        return False
    return PathFinder.find_spec(name, library) is not None


def _is_a_file(name: str) -> bool:
    """Tell whether Python looks for it in folders: what is built in or frozen comes first."""
    return name not in sys.builtin_module_names and not _imp.is_frozen(name)


def look_in_library_first() -> None:
    """Find Python's own modules and packages before what hides them, from now on.

    For a program of ours, which no file of those is part of.
    """
    if hiding_files():
        first = _first_of_library()
        sys.path[:] = sys.path[first:] + sys.path[:first]


def _first_of_library() -> int:
    """Return the first place of Python's own on its path; 0 if that is unknown."""
    library = os.path.dirname(getattr(os, "__file__", ""))  # noqa: PTH120  # likewise
    return sys.path.index(library) if library in sys.path else 0


class python_first:  # noqa: N801  # used like a function
    """A block in which hidden names mean Python's own modules, for imports of this thread.

    Says once of each file that it is in the way.
    """

    _in_block: python_first | None = None

    def __init__(self, files: Mapping[str, str] | None = None) -> None:
        """Make a block; ``files`` are those that hide modules, besides those known already."""
        _files.update(files or {})

    def __enter__(self) -> None:
        self._thread = _thread.get_ident()
        self._held = _lock.acquire(timeout=_WAIT_SECONDS)
        self._is_outermost = self._held and python_first._in_block is None
        if self._is_outermost:
            python_first._in_block = self
            self._theirs = _take(name for name in list(sys.modules) if _is_theirs(name))
            self._before = set(sys.modules)
            for name, module in _own.items():
                sys.modules.setdefault(name, module)
            sys.meta_path = [self, *sys.meta_path]  # another thread may be going through it

    def __exit__(self, *_: object) -> None:
        if self._is_outermost:
            python_first._in_block = None
            sys.meta_path = [each for each in sys.meta_path if each is not self]
            new = (name for name in list(sys.modules) if name not in self._before)
            _own.update(_take(name for name in new if _is_hidden(name) and not _is_theirs(name)))
            sys.modules.update(self._theirs)
        if self._held:
            _lock.release()
        if self._is_outermost:
            _say()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module itself; None for one that is not hidden, or for another thread."""
        if path is not None or name not in _files or _thread.get_ident() != self._thread:
            return None
        _needed.add(name)
        return PathFinder.find_spec(name, sys.path[_first_of_library() :])


def hides() -> bool:
    """Tell whether any file hides a module."""
    return bool(_files)


def own(name: str) -> ModuleType | None:
    """Return Python's own module of a hidden name, if cronguard has loaded it."""
    return _own.get(name)


def _take(names: Iterable[str]) -> dict[str, ModuleType]:
    """Take modules out of Python's table and return them."""
    return {name: sys.modules.pop(name) for name in list(names) if name in sys.modules}


def _is_hidden(name: str) -> bool:
    return name.partition(".")[0] in _files


def _is_theirs(name: str) -> bool:
    """Tell whether a module in Python's table is the program's file, or inside its package."""
    hiding = _files.get(name.partition(".")[0])
    if hiding is None:
        return False
    file = os.path.abspath(getattr(sys.modules.get(name), "__file__", None) or "")  # noqa: PTH100  # likewise
    folder = hiding.removesuffix(_INIT)
    return file == hiding or (folder != hiding and file.startswith(folder))


def _say() -> None:
    new = sorted(_needed - _told)
    _told.update(new)
    for name in new if sys.stderr is not None else ():
        try:
            write(f"cronguard: {_sentence(name)}\n")
        except (OSError, ValueError, LookupError) as caught:  # nobody is left to be told
            if isinstance(caught, OSError) and caught.errno is None:
                raise  # as above
            return


def _sentence(name: str) -> str:
    folder = _files[name].removesuffix(_INIT)
    what, path = ("file", folder) if folder == _files[name] else ("folder", folder[:-1])
    if name in PACKAGES:
        return f"{path} hides the package {name}, which cronguard needs: rename that {what}"
    return (
        f"{path} hides Python's own module {name}, which cronguard and others need: rename that"
        f" {what}"
    )


__all__ = ["hides", "hiding_files", "look_in_library_first", "own", "python_first"]
