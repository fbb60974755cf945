"""``cronguard vault setup``."""

from __future__ import annotations

import click

from cronguard.cli._say import complain, mark, plural, say
from cronguard.cli._vault import open_vault
from cronguard.errors import StoreConfigError


@click.command()
def command() -> int:
    """Check that secrets can be kept in the vault, and say what is missing.

    It takes the extension supabase_vault, which new projects have, and cronguard's functions, which
    `cronguard init supabase` makes. In a PostgreSQL store the functions are added here and now.

    \b
    Example:
      CRONGUARD_STORE=supabase cronguard vault setup
    """
    vault = open_vault()
    migrate = getattr(vault, "migrate", None)
    if migrate is not None and migrate():
        say(f"{mark('ok')} functions added to {vault.where}")
    try:
        found = vault.secrets()
    except StoreConfigError as error:
        if error.code == "vault_missing":
            return complain(
                f"{vault.where} has no Vault: enable it under Integrations in the project's"
                " dashboard, or with: create extension supabase_vault"
            )
        return complain(str(error))
    say(f"{mark('ok')} {vault.where} keeps {plural(len(found), 'secret')} of cronguard's")
    return 0
