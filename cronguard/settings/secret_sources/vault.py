"""``vault:NAME``: secrets in Supabase Vault, read through the store's own connection."""

from __future__ import annotations

from cronguard.core.errors import ConfigError, SecretError, StoreError
from cronguard.stores.server.vault import (
    PREFIX,
    UNDECRYPTABLE,
    Vault,
    adopt_command,
    set_command,
    vault_of,
)


class VaultSecrets:
    """A `cronguard.core.interfaces.SecretSource` that reads the store's vault.

    Without ``store`` it is the vault of the project that ``SUPABASE_URL`` and its key name.
    """

    def __init__(self, store: object | None = None) -> None:
        self._store = store

    @classmethod
    def from_store(cls, store: object) -> VaultSecrets:
        """Make a source for the store's vault, or the environment's project if it has none."""
        return cls(vault_of(store))

    def get(self, name: str) -> str:
        """Return the secret of that name, read afresh.

        Raises:
            SecretError: With the code ``secret_missing`` if the vault has none of that name, or
                ``secret_unreadable`` if the vault cannot be read.
        """
        if not name.startswith(PREFIX):
            raise SecretError(
                "secret_missing",
                detail=f"vault:{name} does not begin with {PREFIX}: rename it with"
                f" {adopt_command()}",
            )
        caught: str
        try:
            value = self._vault().get_secret(name)
        except StoreError as error:
            caught = error.code
        else:
            if value:
                return value
            raise SecretError(
                "secret_missing",
                detail=f"vault:{name} is not in the vault: {set_command(name)}",
            )
        if caught == UNDECRYPTABLE:
            raise SecretError(
                "secret_unreadable",
                detail="the vault cannot decrypt this secret any more, so set it again:"
                f" {set_command(name)}",
            )
        raise SecretError("secret_unreadable", detail=f"vault:{name} cannot be read ({caught})")

    def _vault(self) -> Vault:
        if self._store is None:
            try:
                from cronguard.stores.server.supabase import SupabaseStore  # its client is an extra

                self._store = SupabaseStore()
            except (ImportError, ConfigError):
                pass
        vault = vault_of(self._store)
        if vault is None:
            raise SecretError(
                "secret_unreadable",
                detail="vault: secrets need a store that is supabase or PostgreSQL with Vault",
            )
        return vault


__all__ = ["VaultSecrets"]
