"""Whether another distribution has brought a ``cronguard`` too, and what that has done to ours."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import NamedTuple

from cronguard.core.install import DISTRIBUTION, how_to_reinstall
from cronguard.core.text import show

_NAME = "cronguard"
_STARTS = (f"{_NAME}/", f"{_NAME}.py,")
"""How a line of RECORD begins: a file of the package, or a module in its place."""
_HARMLESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,59}")


class Other(NamedTuple):
    """Another distribution that brings a ``cronguard``."""

    name: str
    version: str
    folder: str
    brings: str
    """``files in cronguard/``, ``the command cronguard`` or both."""


def others() -> list[Other]:
    """Return every other distribution on the path that brings a ``cronguard``, in its order.

    What cannot be read is passed over: it is not cronguard's, and doctor must not fail for it.
    """
    found: dict[Other, None] = {}
    with suppress(Exception):  # a finder that somebody else has put on `sys.meta_path`
        for each in distributions():
            with suppress(Exception):  # one damaged distribution
                if other := _looked_at(each):
                    found[other] = None
    return list(found)


def is_ours() -> bool:
    """Return whether ``import cronguard`` finds this package's own ``__init__.py``."""
    return "cron_guarded" in getattr(sys.modules[_NAME], "__all__", ())


def explain_other(other: Other) -> str:
    """Return what is wrong where there is another distribution, and what to do."""
    whose = " ".join(filter(None, (other.name, other.version)))
    return (
        f"{whose} in {other.folder} is not cronguard's, but brings {other.brings} too: whichever of"
        " the two is installed or updated last overwrites the other, and jobs may stop. Remove it"
        f" with python -m pip uninstall {other.name}, which takes shared files along; then,"
        f" {how_to_reinstall()}"
    )


def explain_damage() -> str:
    """Return what is wrong where `is_ours` is false, and what to do."""
    file = getattr(sys.modules[_NAME], "__file__", None)
    what = f"{file} is not cronguard's own" if file else f"{_NAME}/__init__.py is missing"
    first = "remove what is not cronguard's (see above), then, " if others() else ""
    return f"{what}, so no job can import cron_guarded: {first}{how_to_reinstall()}"


def _looked_at(distribution: Distribution) -> Other | None:
    folder = str(distribution.locate_file(""))
    brings = " and ".join(_brought(distribution, folder))
    if not brings:
        return None  # without its name having been read, which takes longest
    facts = distribution.metadata
    name, number = (
        facts[key] if key in facts else ""  # noqa: SIM401  # it is no dict, and has no get
        for key in ("Name", "Version")
    )
    if not name or re.sub(r"[-_.]+", "-", name).lower() == DISTRIBUTION:
        return None
    return Other(_plain(name), _plain(number), folder, brings)


def _brought(distribution: Distribution, folder: str) -> Iterator[str]:
    tops = distribution.read_text("top_level.txt")
    if _NAME in tops.split() if tops else _has_package(folder) and _lists_files(distribution):
        yield f"files in {_NAME}/"
    if _NAME in (distribution.read_text("entry_points.txt") or ""):
        points = distribution.entry_points
        if any(point.name == _NAME and point.group.endswith("_scripts") for point in points):
            yield f"the command {_NAME}"


@cache
def _has_package(folder: str) -> bool:
    """Return whether files can lie there at all: otherwise no RECORD of the folder is read."""
    place = Path(folder, _NAME)
    return place.exists() or place.with_suffix(".py").exists()


def _lists_files(distribution: Distribution) -> bool:
    lines = "\n" + (distribution.read_text("RECORD") or "")
    return any(f"\n{start}" in lines for start in _STARTS)  # ten times as quick as to parse it


def _plain(text: str) -> str:
    """Return a name or a version as a command line may repeat it."""
    return text if not text or _HARMLESS.fullmatch(text) else show(text)


__all__ = ["Other", "explain_damage", "explain_other", "is_ours", "others"]
