"""A Supabase project's database itself, for what its API is not to do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from cronguard.cli.output.lines import SettingsError

if TYPE_CHECKING:
    from cronguard.stores.server.postgres import PostgresStore

DATABASE_VARIABLE = "SUPABASE_DB_URL"

db_url_option = click.option(
    "--db-url",
    metavar="URL",
    envvar=DATABASE_VARIABLE,
    help=f"The database, or env:NAME; without it: {DATABASE_VARIABLE}.",
)


def open_database(url: str | None, purpose: str) -> PostgresStore:
    """Open the database of ``--db-url``; ``purpose`` is what needs it. The caller closes it."""
    from cronguard.settings.plugins import STORES, load

    found = _dereferenced(url)
    if not found:
        raise click.UsageError(
            f"{purpose} needs a database: set {DATABASE_VARIABLE} to the project's connection"
            " string"
        )
    store: PostgresStore = load(STORES, "postgres").from_url(found)  # type: ignore[attr-defined]  # a store class's duty
    return store


def _dereferenced(url: str | None) -> str | None:
    if url is None or not url.startswith("env:"):
        return url
    name = url.removeprefix("env:")
    value = os.environ.get(name, "").strip()
    if not value:
        raise SettingsError(f"--db-url is env:{name}, but that variable is empty: set it")
    return value
