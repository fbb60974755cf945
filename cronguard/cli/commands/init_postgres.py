"""``cronguard init postgres``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from cronguard.cli._open import describe_store, load_settings, open_store
from cronguard.cli._say import SettingsError, say

if TYPE_CHECKING:
    from cronguard.stores.postgres import PostgresStore

legacy_option = click.option(
    "--legacy-job",
    metavar="NAME",
    help="Whose the rows are that an existing cron_execution_logs has without a job.",
)
print_option = click.option(
    "--print", "only_print", is_flag=True, help="Print the SQL, and do nothing else."
)


@click.command()
@legacy_option
@print_option
def command(legacy_job: str | None, *, only_print: bool) -> None:
    """Create or upgrade the tables and functions in PostgreSQL.

    In the database that the settings name, as the role that the jobs connect as, in one
    transaction. A cron_execution_logs that is there already is upgraded and keeps its rows. Doing
    it again changes nothing. Behind a transaction pooler it works as well.

    \b
    Examples:
      export CRONGUARD_STORE=postgresql://jobs:...@db.internal/jobs
      cronguard init postgres
      cronguard init postgres --print | psql -1 "$ADMIN_URL"
    """
    from cronguard._plugins import STORES, load
    from cronguard.stores._sql_schema import migration_sql

    if only_print:
        say(migration_sql(legacy_job), nl=False)
        return
    store = open_store()
    if not isinstance(store, load(STORES, "postgres")):
        told = describe_store(load_settings().settings, store)
        raise SettingsError(
            f"the store in the settings is {told}, not PostgreSQL: set CRONGUARD_STORE to"
            " postgresql://user:password@host:5432/database"
        )
    postgres = cast("PostgresStore", store)
    before = postgres.schema_version()
    if postgres.migrate(legacy_job):
        did = "brought up to date" if before else "tables and functions created"
        say(f"{postgres.where}: {did}.")
    else:
        say(f"{postgres.where} is up to date.")
