"""Names that a database vouches for: it says them itself when a constraint of its is violated."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cronguard.privacy.error_code import read, text_of

ATTRIBUTES = ("constraint_name", "table_name", "column_name", "schema_name")
_VIOLATIONS = ("23", "SQLITE_CONSTRAINT")
"""Class 23 of the SQLSTATEs. Of a name that does not exist it would only repeat the statement."""
_NAME = r"[A-Za-z_][A-Za-z0-9_$]{0,62}"
_QUOTED = re.compile(rf'(?:constraint|relation|table|column) \\?"({_NAME})\\?"')
_LISTED = re.compile(rf"(?:Key \(|constraint failed: )({_NAME}(?:[.,] ?{_NAME}){{0,20}})")
_PLAIN = re.compile(_NAME)


def schema_names(error: BaseException, code: str) -> Iterator[str]:
    """Return the constraints, tables and columns that the error names, if its code says so."""
    if not code.startswith(_VIOLATIONS):
        return
    # psycopg has them on its diagnostics, asyncpg on the error
    found = (read(read(error, "diag") or error, attribute) for attribute in ATTRIBUTES)
    yield from (name for name in found if isinstance(name, str) and _PLAIN.fullmatch(name))
    text = text_of(error)
    yield from _QUOTED.findall(text)
    for names in _LISTED.findall(text):
        yield from (names, *_PLAIN.findall(names))
