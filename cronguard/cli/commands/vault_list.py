"""``cronguard vault list``."""

from __future__ import annotations

import click

from cronguard.cli._arguments import json_option
from cronguard.cli._say import emit, say
from cronguard.cli._table import table
from cronguard.cli._vault import open_vault
from cronguard.times import rfc3339_or_none


@click.command()
@json_option
def command(*, as_json: bool) -> None:
    """Show which secrets are in the vault.

    Names and dates, never values.

    \b
    Examples:
      cronguard vault list
      cronguard vault list --json

    \b
    --json prints cronguard.vault/1:
      {"schema", "secrets": [{"name", "created_at", "updated_at"}]}
    """
    vault = open_vault()
    found = vault.secrets()
    if as_json:
        emit(
            "vault/1",
            secrets=[
                {
                    "name": secret.name,
                    "created_at": rfc3339_or_none(secret.created_at),
                    "updated_at": rfc3339_or_none(secret.updated_at),
                }
                for secret in found
            ],
        )
    elif found:
        table(
            ("NAME", "CREATED", "CHANGED"),
            [
                (
                    secret.name,
                    f"{secret.created_at:%Y-%m-%d %H:%M} UTC",
                    f"{secret.updated_at:%Y-%m-%d %H:%M} UTC",
                )
                for secret in found
            ],
        )
    else:
        say(f"{vault.where} keeps no secret of cronguard's. Put one in: cronguard vault set NAME")
