"""The SQL files beside this module, out of a zip archive as well.

``sqlite`` and ``spool`` have a file for each version of their schema, applied once each, in order.
A host decides by the code of the SQLite store, so its spool has the same tables beside its queue.
Its first three versions were released with those written out again; from version 4 on a file of
``sqlite`` is one of ``spool`` too, and a file of ``spool`` has what is the queue's alone. No two of
them have one number.

``postgres`` has ``versions``, likewise, and ``functions`` as they are now, all of which may be
applied again; `cronguard.stores.server.schema` makes a migration of them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cronguard.process.signals import is_folder

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_SHARED_FROM = "0004"


def sql_files(folder: str) -> list[Traversable]:
    """Return the SQL files of ``folder`` by name, which is the order in which they are applied."""
    place: Traversable = Path(__file__).parent
    if not is_folder(Path(__file__).parent / folder):
        from importlib.resources import files  # it costs more than all of a first run

        place = files("cronguard.stores.sql")
    found = [file for file in (place / folder).iterdir() if file.name.endswith(".sql")]
    if folder == "spool":
        found += [file for file in sql_files("sqlite") if file.name >= _SHARED_FROM]
    return sorted(found, key=lambda file: file.name)


@cache
def sql_texts(folder: str) -> tuple[tuple[str, str], ...]:
    """Return (name, text) of each file of ``folder``, in that order, as they were at first."""
    return tuple((file.name, file.read_text(encoding="utf-8")) for file in sql_files(folder))


__all__ = ["sql_files", "sql_texts"]
