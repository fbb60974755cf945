"""The migration: SQL text for a database without cronguard's schema, or with an earlier version.

To change the schema: a released version stays as it is, so the first change after a release begins
the next one, N: its number in `cronguard.stores.SCHEMA_VERSIONS` and a file ``000N_….sql`` in
``sql/postgres/versions``, whose statements may all be repeated (``add column if not exists``). A
function is changed where it is, in ``functions``, and has the line ``-- since version N`` above it.
One that goes, or takes or returns something else, is dropped in the version's file first (``drop
function if exists``). At a release the output of ``cronguard init postgres --print`` becomes
``tests/stores/released/version_N.sql``, and the tests hold every later change against it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from cronguard.core.errors import ConfigError
from cronguard.stores import SCHEMA_VERSIONS
from cronguard.stores.sql import sql_files

SCHEMA_VERSION = SCHEMA_VERSIONS["postgres"]
"""What ``public.cronguard_schema_version()`` answers after the migration. Every request carries
it."""

# Texts, not patterns: every process that records a run would compile them.
_FUNCTION = r"(?ms)(?:^--[^\n]*\n)*^create or replace function public\.(\w+)\(.*?\$\$;$"
_SINCE = r"(?m)^-- since version (\d+)$"
_LEGACY_JOB = r"(_job constant text := )(?:/\*legacy job\*/ null|'[^'\n]*')"
_JOB_NAME = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}"
_TITLE = r"-- cronguard's schema, version (\d+)(?:, from version (\d+))?\. Made by cronguard init"


class Function(NamedTuple):
    """One SQL function."""

    name: str
    text: str
    """Its statement, with the comment above it."""
    since: int
    """The version in which it last changed: the comment's line ``-- since version N``, else 1."""


def functions_of(text: str) -> Iterator[Function]:
    """Yield the functions that are made in an SQL text, in its order."""
    for found in re.finditer(_FUNCTION, text):
        since = re.search(_SINCE, found[0])
        yield Function(found[1], found[0], int(since[1]) if since else 1)


def migration_sql(legacy_job: str | None = None, *, from_version: int | None = None) -> str:
    """Return SQL text that makes the schema, to be applied in one transaction by its owner.

    It may be applied again. Before it changes anything it stops over a newer schema (SQLSTATE
    CG002), in a database whose encoding is not UTF-8 (CG010), and where there is a table
    ``cron_execution_logs`` that is not cronguard's (CG003).

    Args:
        legacy_job: The job whose runs the rows of such a table become; it is upgraded in place. Not
            for an upgrade: where there is a version, the table is cronguard's.
        from_version: The version to upgrade from: the text is what has changed since, and stops
            over an earlier version or none (CG011). None: the whole, which upgrades any version.

    Raises:
        ConfigError: ``legacy_job`` is no job name.
    """
    parts, versions, functions = map(_texts, ("", "/versions", "/functions"))
    adopted = with_legacy_job(parts["existing_log"], legacy_job) if legacy_job is not None else ""
    since = from_version or 0
    of = f"{SCHEMA_VERSION}, from version {since}" if since else str(SCHEMA_VERSION)
    made = [
        f"-- cronguard's schema, version {of}. Made by cronguard init; safe to apply again.\n",
        parts["begin"].replace("/*from version*/ 0", str(since)),
    ]
    if not since and not adopted:
        made.append(parts["refuse_existing_log"])
    made += [
        text.replace("/*existing log*/\n\n", adopted and f"{adopted}\n")
        for name, text in versions.items()
        if int(name.split("_")[0]) > since
    ]
    for text in functions.values():
        changed = [f"{each.text}\n" for each in functions_of(text) if each.since > since]
        made += changed if since else [text]
    made.append(parts["end"])
    return "\n".join(made).replace("/*schema version*/ 0", str(SCHEMA_VERSION))


def _texts(folder: str) -> dict[str, str]:
    """Return the names of a folder's files, without ``.sql``, and their texts, in order."""
    return {
        file.name.removesuffix(".sql"): file.read_text(encoding="utf-8").strip() + "\n"
        for file in sql_files(f"postgres{folder}")
    }


def with_legacy_job(text: str, legacy_job: str) -> str:
    """Return a migration that takes over an existing log with another job for its rows.

    The text itself if it takes none over. Raises ConfigError if ``legacy_job`` is no job name.
    """
    if not re.fullmatch(_JOB_NAME, legacy_job):
        raise ConfigError(
            "a legacy job's name is 1 to 100 of A-Z a-z 0-9 . _ : - and begins with a letter"
            " or digit: choose such a name for --legacy-job"
        )
    return re.sub(_LEGACY_JOB, rf"\g<1>'{legacy_job}'", text)


def takes_over_log(text: str) -> bool:
    """Return whether a migration has the part that takes over an existing log."""
    return re.search(_LEGACY_JOB, text) is not None


def versions_of(text: str) -> tuple[int, int | None] | None:
    """Return (the version, the one it upgrades from if it is not the whole) of a migration's text.

    None if its first line is not one of cronguard's.
    """
    found = re.match(_TITLE, text)
    return (int(found[1]), int(found[2]) if found[2] else None) if found else None


def migration_file_name(now: datetime) -> str:
    """Return the name under which the Supabase CLI expects it in ``supabase/migrations``."""
    return f"{now:%Y%m%d%H%M%S}_cronguard.sql"
