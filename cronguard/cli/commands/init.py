"""``cronguard init``: a group, one command a kind of store."""

from __future__ import annotations

import click

from cronguard.cli._lazy import LazyGroup

STORES = {
    "sqlite": "Create or upgrade the SQLite file.",
    "postgres": "Create or upgrade the tables and functions in PostgreSQL.",
    "supabase": "Write the migration that makes cronguard's tables and functions.",
}
"""Kind of store → its one-line help; the command is in ``cronguard.cli.init_<kind>``."""


@click.group(cls=LazyGroup, prefix="cronguard.cli.init_", lazy=STORES, no_args_is_help=False)
def command() -> None:
    """Create the tables, or bring them up to date.

    The SQLite store does this by itself at a job's first run; doing it beforehand shows that the
    place is right. PostgreSQL and Supabase need it once, and again after an upgrade that says so.

    \b
    Examples:
      cronguard init sqlite
      cronguard init supabase && supabase db push --remote
    """
