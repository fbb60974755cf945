"""``cronguard vault``: a group, one command a deed."""

from __future__ import annotations

import click

from cronguard.cli._lazy import LazyGroup

DEEDS = {
    "setup": "Check that secrets can be kept in the vault, and say what is missing.",
    "set": "Put a secret into the vault, or replace it.",
    "list": "Show which secrets are in the vault.",
    "check": "Check that every secret that the settings name can be read.",
    "unset": "Delete a secret from the vault.",
}
"""Deed → its one-line help; the command is in ``cronguard.cli.vault_<deed>``."""


@click.group(cls=LazyGroup, prefix="cronguard.cli.vault_", lazy=DEEDS, no_args_is_help=False)
def command() -> None:
    """Keep the secrets of channels in Supabase Vault.

    Settings then say vault:NAME where the secret belongs, and it is read when an alert is sent.
    Only names that begin with cronguard_ can be reached, and only with the project's service key.

    \b
    Example:
      cronguard vault set cronguard_slack_webhook_url
      export CRONGUARD_SLACK_WEBHOOK_URL=vault:cronguard_slack_webhook_url
      cronguard test-alert
    """
