"""``cronguard init``: the tables of each kind of store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import click

from cronguard.cli.groups import Group
from cronguard.cli.opening import (
    db_url_option,
    describe_store,
    is_there,
    load_settings,
    open_database,
    open_runtime,
    open_store,
)
from cronguard.cli.output.lines import CommandError, SettingsError, print_error, say
from cronguard.core.errors import CronguardError

if TYPE_CHECKING:
    from cronguard.stores.server.postgres import PostgresStore


@click.group(cls=Group, no_args_is_help=False)
def command() -> None:
    """Create the tables, or bring them up to date.

    The SQLite store does this by itself at a job's first run; doing it beforehand shows that the
    place is right. PostgreSQL and Supabase need it once, and again after an upgrade that says so.

    \b
    Examples:
      cronguard init sqlite
      cronguard init supabase && supabase db push --remote
    """


@command.command("sqlite")
def sqlite() -> None:
    """Create or upgrade the SQLite file.

    The file is the one that the settings name, else the default one. It is made readable and
    writable for its owner alone. Doing it again changes nothing.

    \b
    Examples:
      cronguard init sqlite
      CRONGUARD_STORE=sqlite:////var/lib/jobs/cronguard.db cronguard init sqlite
    """
    from cronguard.runtime.store_factory import without_spool
    from cronguard.stores.sqlite.store import SQLiteStore

    runtime = open_runtime()
    store = without_spool(runtime.store)
    if not isinstance(store, SQLiteStore):
        raise SettingsError(
            f"the store in the settings is {describe_store(runtime.settings, store)}, not a SQLite"
            " file: unset CRONGUARD_STORE, or set it to sqlite:////path/to/cronguard.db"
        )
    existed = is_there(store)
    changed = store.migrate()
    if not changed:
        say(f"{store.path} is up to date.")
    else:
        say(f"{store.path} {'brought up to date' if existed else 'created'}.")


legacy_option = click.option(
    "--legacy-job",
    metavar="NAME",
    help="Take over a cron_execution_logs that is not cronguard's, its rows as runs of this job.",
)
print_option = click.option(
    "--print", "only_print", is_flag=True, help="Print the SQL, and do nothing else."
)


@command.command("postgres")
@legacy_option
@print_option
def postgres(legacy_job: str | None, *, only_print: bool) -> None:
    """Create or upgrade the tables and functions in PostgreSQL.

    In the database that the settings name, as the role that the jobs connect as, in one
    transaction: all of it, or what has changed since the version that is there. Doing it again
    changes nothing. A cron_execution_logs that is not cronguard's is upgraded and keeps its rows
    with --legacy-job. Behind a transaction pooler it works as well.

    \b
    Examples:
      export CRONGUARD_STORE=postgresql://jobs:...@db.internal/jobs
      cronguard init postgres
      cronguard init postgres --print | psql -1 "$ADMIN_URL"
    """
    from cronguard.settings.plugins import STORES, load
    from cronguard.stores.server.schema import migration_sql

    if only_print:
        say(migration_sql(legacy_job), nl=False)
        return
    store = open_store()
    if not isinstance(store, load(STORES, "postgres")):
        described = describe_store(load_settings().settings, store)
        raise SettingsError(
            f"the store in the settings is {described}, not PostgreSQL: set CRONGUARD_STORE to"
            " postgresql://user:password@host:5432/database"
        )
    postgres = cast("PostgresStore", store)
    before = postgres.schema_version()
    if postgres.migrate(legacy_job):
        did = (
            f"brought up to date from schema {before}" if before else "tables and functions created"
        )
        say(f"{postgres.where}: {did}.")
    else:
        say(f"{postgres.where} is up to date.")


@command.command("supabase")
@legacy_option
@print_option
@click.option("--apply", is_flag=True, help="Apply it to the database of --db-url now.")
@db_url_option
def supabase(legacy_job: str | None, db_url: str | None, *, only_print: bool, apply: bool) -> int:
    """Write the migration that makes cronguard's tables and functions, or upgrades them.

    It goes to supabase/migrations, where the Supabase CLI picks it up, of the nearest folder that
    has a supabase folder, else of this one. Where a cronguard of an earlier version wrote one, the
    new one holds what has changed since. Where SUPABASE_URL and a key are set, the project is asked
    for its schema first; one that is newer than this cronguard's is left alone.

    A cron_execution_logs that is there already, and is not cronguard's, is upgraded and keeps its
    rows with --legacy-job; without it the migration stops there and says so. Where it has stopped,
    the option replaces the file.

    \b
    Examples:
      cronguard init supabase && supabase db push --remote
      cronguard init supabase --legacy-job assignment_reminder
      SUPABASE_DB_URL=postgresql://postgres:...@host:5432/postgres cronguard init supabase --apply
    """
    from cronguard.stores.server.schema import migration_sql

    if only_print and apply:
        raise click.UsageError("choose one of --print and --apply")
    if only_print or legacy_job:
        text = migration_sql(legacy_job)  # which refuses what is no job's name
    if only_print:
        say(text, nl=False)
        return 0
    if apply:
        return _apply(db_url, legacy_job)
    project = _ask_project()
    _write(project, legacy_job)
    return _describe(project)


def _apply(db_url: str | None, legacy_job: str | None) -> int:
    store = open_database(db_url, "--apply")
    try:
        if store.migrate(legacy_job):
            say(f"{store.where}: tables and functions made or brought up to date.")
        else:
            say(f"{store.where} is up to date.")
    finally:
        store.close()
    return 0


class Project(NamedTuple):
    """The project that the environment names."""

    where: str
    version: int | None = None
    """Its schema's version; 0 for none, None if it did not say."""
    error: str = ""


def _ask_project() -> Project | None:
    """Ask the project that the environment names, if any, for its schema.

    Raises StoreConfigError if that is newer than this cronguard's.
    """
    if not os.environ.get("SUPABASE_URL", "").strip():
        return None
    from cronguard.settings.plugins import STORES, load
    from cronguard.stores.server.schema import SCHEMA_VERSION

    try:
        store = load(STORES, "supabase")()
        try:
            version = store.schema_version()
            problem = store.schema_problem() if version > SCHEMA_VERSION else None
        finally:
            store.close()
    except CronguardError as error:
        return Project("", error=str(error))
    if problem is not None:
        raise problem
    return Project(store.where, version)


def _write(project: Project | None, legacy_job: str | None) -> None:
    """Write the file that is missing, and say what was done."""
    from cronguard.cli.migrations import write

    folder = _root() / "supabase" / "migrations"
    version = project.version if project else None
    try:
        done = write(folder, legacy_job=legacy_job, project_version=version)
    except OSError as error:
        raise CommandError(
            f"{_shown(folder)} cannot be written ({type(error).__name__}): check it, or use --print"
        ) from None
    if done.replaced:
        known = "" if version == 0 else "; where it has been applied already, that changes nothing"
        say(
            f"Replaced {_shown(done.replaced.path)}: it takes over an existing cron_execution_logs,"
            f" its rows as runs of {legacy_job}{known}."
        )
    elif legacy_job and version:
        say("The project's cron_execution_logs is cronguard's: --legacy-job is not needed.")
    what = f"{_shown(done.newest.path)} holds it already"
    if done.added:
        since = done.added.from_version
        what = f"Wrote {_shown(done.added.path)}" + (
            f", an upgrade from schema {since}" if since else ""
        )
    say(
        f"{what}. Apply it with:"
        " supabase db push --remote (before version 3 of the Supabase CLI: supabase db push)"
    )


def _root() -> Path:
    here = Path.cwd()
    return next((root for root in (here, *here.parents) if (root / "supabase").is_dir()), here)


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _describe(project: Project | None) -> int:
    """Say whether the project is up to date; 1 if it did not say."""
    from cronguard.stores.server.schema import SCHEMA_VERSION

    if project is None:
        return 0
    if project.version is None:
        return print_error(f"whether the project is up to date is not known: {project.error}")
    if project.version == SCHEMA_VERSION:
        say(f"{project.where} is up to date (schema {project.version}).")
    elif project.version:
        say(f"{project.where} has schema {project.version}; this one is {SCHEMA_VERSION}.")
    else:
        say(f"{project.where} does not have it yet.")
    return 0
