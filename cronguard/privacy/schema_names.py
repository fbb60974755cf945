"""Names that a database vouches for: it says them itself when a constraint of its is violated."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cronguard.privacy.error_code import read

ATTRIBUTES = ("constraint_name", "table_name", "column_name", "schema_name")
_VIOLATIONS = ("23", "SQLITE_CONSTRAINT")
"""Class 23 of the SQLSTATEs. Of a name that does not exist it would only repeat the statement."""
_NAME = r"[A-Za-z_][A-Za-z0-9_$]{0,62}"
_VIOLATION = re.compile(r"violates [a-z -]{5,11} constraint|[A-Z]{4,8} constraint failed: ")
_QUOTED = re.compile(rf'(?:constraint|relation|table|column) \\?"({_NAME})\\?"')
_LISTED = re.compile(rf"(?:Key \(|constraint failed: )({_NAME}(?:[.,] ?{_NAME}){{0,20}})")
_PLAIN = re.compile(_NAME)


def schema_names(error: BaseException, code: str) -> Iterator[str]:
    """Return the constraint, table, column and schema that the error has, if its code says so."""
    if code.startswith(_VIOLATIONS):
        # psycopg has them on its diagnostics, asyncpg on the error
        found = (read(read(error, "diag") or error, attribute) for attribute in ATTRIBUTES)
        yield from (name for name in found if isinstance(name, str) and _PLAIN.fullmatch(name))


def names_in(text: str) -> Iterator[str]:
    """Return the constraints, tables and columns that a database's sentence names."""
    if "constraint" in text and _VIOLATION.search(text):
        yield from _QUOTED.findall(text)
        for names in _LISTED.findall(text):
            yield from (names, *_PLAIN.findall(names))
