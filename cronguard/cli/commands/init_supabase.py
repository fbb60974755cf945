"""``cronguard init supabase``."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from cronguard.cli._say import CommandError, SettingsError, complain, say
from cronguard.cli.init_postgres import legacy_option, print_option
from cronguard.errors import CronguardError

DATABASE_VARIABLE = "SUPABASE_DB_URL"


@click.command()
@legacy_option
@print_option
@click.option("--apply", is_flag=True, help="Apply it to the database of --db-url now.")
@click.option(
    "--db-url",
    metavar="URL",
    envvar=DATABASE_VARIABLE,
    help=f"The database, or env:NAME; without it: {DATABASE_VARIABLE}.",
)
def command(legacy_job: str | None, db_url: str | None, *, only_print: bool, apply: bool) -> int:
    """Write the migration that makes cronguard's tables and functions.

    It goes to supabase/migrations, where the Supabase CLI picks it up, of the nearest folder that
    has a supabase folder, else of this one. A cron_execution_logs that is there already is upgraded
    and keeps its rows. Where SUPABASE_URL and a key are set, the command also says whether the
    project's schema is up to date.

    \b
    Examples:
      cronguard init supabase && supabase db push --remote
      cronguard init supabase --legacy-job assignment_reminder
      SUPABASE_DB_URL=postgresql://postgres:...@host:5432/postgres cronguard init supabase --apply
    """
    from cronguard.stores._sql_schema import migration_sql

    if only_print and apply:
        raise click.UsageError("choose one of --print and --apply")
    text = migration_sql(legacy_job)
    if only_print:
        say(text, nl=False)
        return 0
    if apply:
        return _apply(db_url, legacy_job)
    path, written = _write(text)
    say(
        f"{f'Wrote {path}' if written else f'{path} holds it already'}. Apply it with:"
        " supabase db push --remote (before version 3 of the Supabase CLI: supabase db push)"
    )
    return _look_at_project()


def _apply(db_url: str | None, legacy_job: str | None) -> int:
    from cronguard._plugins import STORES, load

    url = _dereferenced(db_url)
    if not url:
        raise click.UsageError(
            f"--apply needs a database: set {DATABASE_VARIABLE} to the project's connection string"
        )
    store = load(STORES, "postgres").from_url(url)  # type: ignore[attr-defined]  # a store class's duty
    try:
        if store.migrate(legacy_job):
            say(f"{store.where}: tables and functions made or brought up to date.")
        else:
            say(f"{store.where} is up to date.")
    finally:
        store.close()
    return 0


def _dereferenced(url: str | None) -> str | None:
    if url is None or not url.startswith("env:"):
        return url
    name = url.removeprefix("env:")
    value = os.environ.get(name, "").strip()
    if not value:
        raise SettingsError(f"--db-url is env:{name}, but that variable is empty: set it")
    return value


def _write(text: str) -> tuple[Path, bool]:
    """(where the migration is, whether it was written now); the same text is not written twice."""
    from cronguard.stores._sql_schema import migration_file_name

    folder = _root() / "supabase" / "migrations"
    try:
        for known in sorted(folder.glob("*_cronguard.sql"), reverse=True)[:1]:
            if known.read_text(encoding="utf-8") == text:
                return _shown(known), False
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / migration_file_name(datetime.now(UTC))
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(
            f"{_shown(folder)} cannot be written ({type(error).__name__}): check it, or use --print"
        ) from None
    return _shown(path), True


def _root() -> Path:
    here = Path.cwd()
    return next((root for root in (here, *here.parents) if (root / "supabase").is_dir()), here)


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _look_at_project() -> int:
    """Say whether the project that the environment names is up to date; 1 if it could not tell."""
    if not os.environ.get("SUPABASE_URL", "").strip():
        return 0
    from cronguard._plugins import STORES, load
    from cronguard.stores._sql_schema import SCHEMA_VERSION

    try:
        store = load(STORES, "supabase")()
        try:
            version = store.schema_version()
        finally:
            store.close()
    except CronguardError as error:
        return complain(f"whether the project is up to date is not known: {error}")
    if version >= SCHEMA_VERSION:
        say(f"{store.where} is up to date (schema {version}).")
    elif version:
        say(f"{store.where} has schema {version}; this one is {SCHEMA_VERSION}.")
    else:
        say(f"{store.where} does not have it yet.")
    return 0
