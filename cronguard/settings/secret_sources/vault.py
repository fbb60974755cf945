"""``vault:NAME``: secrets in Supabase Vault, read through the store's own connection."""

from __future__ import annotations

from typing import Protocol, cast

from cronguard.core.errors import ConfigError, SecretError, StoreError

PREFIX = "cronguard_"
"""Only secrets whose names start with this can be read."""


class SecretStore(Protocol):
    """A store with a vault, such as `PostgresStore` and `SupabaseStore`."""

    def get_secret(self, name: str) -> str | None:
        """Return the secret, or None if there is none of that name.

        Raises:
            StoreError: The vault cannot be read.
        """
        ...


class VaultSecrets:
    """A `cronguard.core.interfaces.SecretSource` that reads the store's vault.

    Without ``store`` it is the vault of the project that ``SUPABASE_URL`` and its key name.
    """

    def __init__(self, store: object | None = None) -> None:
        self._store = store

    @classmethod
    def from_store(cls, store: object) -> VaultSecrets:
        """Make a source for the store's vault, or the environment's project if it has none."""
        return cls(store if hasattr(store, "get_secret") else None)

    def get(self, name: str) -> str:
        """Return the secret of that name, read afresh.

        Raises:
            SecretError: With the code ``secret_missing`` if the vault has none of that name, or
                ``secret_unreadable`` if the vault cannot be read.
        """
        if not name.startswith(PREFIX):
            raise SecretError(
                "secret_missing", detail=f"vault:{name} does not begin with {PREFIX}: rename it"
            )
        caught: str
        try:
            value = self._store_with_vault().get_secret(name)
        except StoreError as error:
            caught = error.code
        else:
            if value:
                return value
            raise SecretError(
                "secret_missing",
                detail=f"vault:{name} is not in the vault: cronguard vault set {name}",
            )
        raise SecretError("secret_unreadable", detail=f"vault:{name} cannot be read ({caught})")

    def _store_with_vault(self) -> SecretStore:
        if self._store is None:
            try:
                from cronguard.stores.server.supabase import SupabaseStore  # its client is an extra

                self._store = SupabaseStore()
            except (ImportError, ConfigError):
                pass
        if not hasattr(self._store, "get_secret"):
            raise SecretError(
                "secret_unreadable",
                detail="vault: secrets need a store that is supabase or PostgreSQL with Vault",
            )
        return cast("SecretStore", self._store)


__all__ = ["SecretStore", "VaultSecrets"]
