"""``cronguard vault unset``."""

from __future__ import annotations

import click

from cronguard.cli._say import CommandError, say
from cronguard.cli._vault import name_argument, open_vault


@click.command()
@name_argument
def command(name: str) -> None:
    """Delete a secret from the vault.

    Alerts for channels that use it stay pending until it is there again.

    \b
    Example:
      cronguard vault unset cronguard_slack_webhook_url
    """
    vault = open_vault()
    if not vault.unset_secret(name):
        raise CommandError(f"{vault.where} has no secret {name}: see cronguard vault list")
    say(f"{name} is gone from {vault.where}.")
