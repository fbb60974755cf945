"""The numbered SQL files beside this module, out of a zip archive as well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def sql_files(schema: str) -> list[Traversable]:
    """Those of the folder ``schema``, in the order in which they are to be applied."""
    folder: Traversable = Path(__file__).parent / schema
    if not folder.is_dir():
        from importlib.resources import files  # it costs more than all of a first run

        folder = files("cronguard.stores.sql") / schema
    found = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return sorted(found, key=lambda file: file.name)


__all__ = ["sql_files"]
