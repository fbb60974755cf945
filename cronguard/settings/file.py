"""The settings file: how it is found, read and parsed. Nothing in it can stop a job."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from cronguard.core.text import is_secret, may_be_secret
from cronguard.process.signals import is_there, real_path, tolerate
from cronguard.settings.types import Layer, Notes

_PYPROJECT = "pyproject.toml"
_OWN_FILE = "cronguard.toml"
_MAX_FILE_BYTES = 1_000_000
_LIKENESS = 0.8
"""How like cronguard's a table's name is that is meant to be it: crontab is another tool's."""
_HINT = re.compile(rb"cron|guard")
"""What a pyproject.toml has that is worth parsing: cronguard's table, or one that may be meant."""


def read_settings_file(
    notes: Notes, environ: Mapping[str, str], cwd: Path | None, main: Path | None
) -> tuple[Path, Layer] | None:
    """Return the settings file's path and contents, or None if there is none.

    ``CRONGUARD_CONFIG`` names the file. Otherwise it is the nearest ``cronguard.toml``, or
    ``pyproject.toml`` with a ``[tool.cronguard]``, upward from ``cwd``, then upward from the folder
    of ``main``.
    """
    named = environ.get("CRONGUARD_CONFIG", "").strip()
    if named:
        return _read_named(notes, named, cwd)
    for folder in _folders(cwd, main):
        for name in (_OWN_FILE, _PYPROJECT):
            path = folder / name
            content = _read(notes, path)
            if content is None or (name == _PYPROJECT and not _HINT.search(content)):
                continue
            if _is_untrusted(path):
                notes.problem(
                    f"{path} is not used, since another user owns it in a folder that anybody can "
                    "write to: name it in CRONGUARD_CONFIG if you mean it"
                )
                continue
            table = _table(notes, path, content)
            if table is not None:
                return path, Layer(name, table, is_file=True)
    return None


def _read_named(notes: Notes, named: str, cwd: Path | None) -> tuple[Path, Layer] | None:
    try:
        path = (cwd or Path()) / Path(named).expanduser()
    except (RuntimeError, ValueError):
        path = Path(named)
    shown = f"CRONGUARD_CONFIG names {_quotable(named)}, which"
    content = _read(notes, path, named_as=shown)
    table = None if content is None else _table(notes, path, content)
    if table is not None:
        return path, Layer(path.name, table, is_file=True)
    if content is not None and not notes.problems:
        notes.problem(f"{shown} has no [tool.cronguard]: add one")
    return None


def _quotable(named: str) -> str:
    secret = is_secret(named) or any(may_be_secret(part) for part in named.split("/"))
    return "a file" if secret else named


def _folders(cwd: Path | None, main: Path | None) -> Iterator[Path]:
    starts = [cwd]
    if main is not None:
        script = main if main.is_absolute() else cwd and cwd / main
        if script:
            starts += [script.parent, real_path(script).parent]
    seen: set[Path] = set()
    for start in starts:
        if start is None:
            continue
        for folder in (start, *start.parents):
            if folder in seen:
                break
            seen.add(folder)
            yield folder


def _read(notes: Notes, path: Path, *, named_as: str | None = None) -> bytes | None:
    """Return the file's bytes, or None if it is absent or cannot be read.

    Args:
        notes: Gets a problem, unless the file is simply absent and may be.
        path: The file.
        named_as: The start of the problem's sentence for a file that a setting names; None for a
            file that may be absent.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would block
            if named_as:
                notes.problem(f"{named_as} is not a file: name a file")
            return None
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        if named_as:
            notes.problem(f"{named_as} does not exist: correct or unset it")
        return None
    except OSError as error:
        if not error.errno:
            raise  # a time limit of the program's, raised just now
        if named_as or is_there(path, follow=False):
            reason = os.strerror(error.errno).lower()
            notes.problem(
                f"{named_as or path} cannot be read ({reason}), so its settings are not used: "
                "make it readable for this user"
            )
        return None
    if len(content) > _MAX_FILE_BYTES:
        notes.problem(f"{named_as or path} is larger than a megabyte: make it smaller")
        return None
    return content


def _is_untrusted(path: Path) -> bool:
    """Tell whether another user put the file into a folder open to everybody, such as /tmp.

    Its channel options could send this process's secrets anywhere.
    """
    if not hasattr(os, "geteuid"):
        return False
    with tolerate(OSError):
        anybody = path.parent.stat().st_mode & stat.S_IWOTH
        return bool(anybody) and path.lstat().st_uid not in (0, os.geteuid())
    return True


def _table(notes: Notes, path: Path, content: bytes) -> Mapping[str, object] | None:
    """Return cronguard's table in the file, or None if there is none or it is not valid TOML."""
    import tomllib  # only if there is a file

    try:
        document: object = tomllib.loads(content.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        place = re.search(r"line \d+, column \d+", str(error))  # the rest may quote the file
        at = f" at {place.group()}" if place else ""
        notes.problem(f"{path} is not valid TOML{at}, so its settings are not used: correct it")
        return None
    if path.name != _PYPROJECT:
        return document if isinstance(document, dict) else None
    tools = document.get("tool") if isinstance(document, dict) else None
    table = tools.get("cronguard") if isinstance(tools, dict) else None
    if isinstance(table, dict):
        return table
    if table is not None:
        notes.problem(f"{path}: tool.cronguard is not a table: write [tool.cronguard]")
    elif meant := _mistaken(document, tools):
        notes.problem(f"{path} has [{meant}], which nobody reads: write [tool.cronguard]")
    return None


def _mistaken(document: object, tools: object) -> str | None:
    """Return the name of a table that is meant to be cronguard's; None if there is none."""
    if isinstance(document, dict) and "cronguard" in document:
        return "cronguard"
    from difflib import get_close_matches  # only if a file looks like it

    names = [name for name in tools if isinstance(name, str)] if isinstance(tools, dict) else []
    near = get_close_matches("cronguard", names, n=1, cutoff=_LIKENESS)
    return f"tool.{near[0]}" if near else None
