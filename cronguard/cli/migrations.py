"""The migration files in the folder of a Supabase project: which there are, which is to be written.

A file that was applied once is never read again by the project that has it, so files are added, and
one is only replaced where that changes nothing for whoever has applied it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cronguard.cli.output.lines import CommandError
from cronguard.core.install import how_to_upgrade
from cronguard.stores.server.schema import (
    SCHEMA_VERSION,
    migration_file_name,
    migration_sql,
    takes_over_log,
    versions_of,
    with_legacy_job,
)


class MigrationFile(NamedTuple):
    """A file that ``cronguard init supabase`` wrote, now or earlier."""

    path: Path
    text: str
    version: int
    from_version: int | None
    """The version that it upgrades; None for a whole schema."""


class Written(NamedTuple):
    """What `write` did."""

    added: MigrationFile | None
    """The file that was written; None if the folder held this version."""
    replaced: MigrationFile | None
    """The file that takes over an existing log now, and did not before."""
    newest: MigrationFile
    """The file that makes today's schema."""


def write(folder: Path, *, legacy_job: str | None, project_version: int | None) -> Written:
    """Write what is missing in ``folder`` to make today's schema.

    Where no file of cronguard's is there it is the whole, else an upgrade from the folder's version
    or the project's, whichever is lower. With ``legacy_job``, the file that makes the tables is
    replaced by one that takes over an existing log: it stopped, or would, where there is one. Where
    it was applied there was none, or it is taken over, so nothing is lost by that.

    Args:
        folder: ``supabase/migrations``, whether it is there or not.
        legacy_job: The job whose runs the rows of an existing log become; None to leave one alone.
        project_version: The version in the project; 0 for none, None if it is not known.

    Raises:
        CommandError: The folder holds a newer schema, or the file to replace is not as it was
            written. Nothing has been written.
        OSError: The folder cannot be read or written.
    """
    files = list(_files(folder))
    newest = max(files, key=lambda file: (file.version, file.path.name), default=None)
    if newest is not None and newest.version > SCHEMA_VERSION:
        raise CommandError(
            f"{newest.path.name} makes version {newest.version} of cronguard's schema, newer than"
            f" this cronguard's {SCHEMA_VERSION}: upgrade cronguard here ({how_to_upgrade()})"
        )
    replaced = None
    if legacy_job is not None and files and not project_version:
        replaced = _taking_over(files, legacy_job)
    if replaced is not None:
        replaced.path.write_text(replaced.text, encoding="utf-8")
    if newest is not None and newest.version == SCHEMA_VERSION:
        return Written(None, replaced, newest)
    versions = [newest.version if newest else 0, project_version]
    lower = min(version for version in versions if version is not None)
    text = migration_sql(from_version=lower) if lower else migration_sql(legacy_job)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _name_after(files)
    path.write_text(text, encoding="utf-8")
    added = MigrationFile(path, text, SCHEMA_VERSION, lower or None)
    return Written(added, replaced, added)


def _files(folder: Path) -> Iterator[MigrationFile]:
    for path in sorted(folder.glob("*_cronguard.sql")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if (versions := versions_of(text)) is not None:
            yield MigrationFile(path, text, *versions)


def _name_after(files: list[MigrationFile]) -> str:
    """Return a name for a new file, later than those of the others: they are applied in order."""
    last = max((file.path.name for file in files), default="")
    now = datetime.now(UTC)
    while (name := migration_file_name(now)) <= last:
        try:
            now = datetime.strptime(last[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:  # not a name that cronguard gave
            return name
        now += timedelta(seconds=1)
    return name


def _taking_over(files: list[MigrationFile], legacy_job: str) -> MigrationFile | None:
    """Return the file that makes the tables as one that takes over a log; None if it does so."""
    whole = [file for file in files if file.from_version is None]
    if not whole:
        return None
    file = whole[-1]
    if takes_over_log(file.text):  # for another job, or for none, as version 1's files did
        text = with_legacy_job(file.text, legacy_job)
    elif file.text == migration_sql():
        text = migration_sql(legacy_job)
    else:
        raise CommandError(
            f"{file.path.name} is not as this cronguard writes it, so it is not replaced: if it has"
            " not been applied yet, delete it and do this again"
        )
    return file._replace(text=text) if text != file.text else None


__all__ = ["MigrationFile", "Written", "write"]
