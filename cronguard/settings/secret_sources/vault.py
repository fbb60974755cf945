"""``vault:NAME``: secrets in Supabase Vault, read through the store's own connection."""

from __future__ import annotations

from typing import Protocol, cast

from cronguard.core.errors import ConfigError, SecretError, StoreError

PREFIX = "cronguard_"
"""Only secrets whose names begin so can be reached."""


class SecretStore(Protocol):
    """A store that reaches a vault: `PostgresStore` and `SupabaseStore` do."""

    def get_secret(self, name: str) -> str | None:
        """The secret, None if there is none of that name. Raises `StoreError`."""
        ...


class VaultSecrets:
    """A `cronguard.core.interfaces.SecretSource` that asks the store.

    Without ``store``: the project that ``SUPABASE_URL`` and its key name.
    """

    def __init__(self, store: object | None = None) -> None:
        self._store = store

    @classmethod
    def from_store(cls, store: object) -> VaultSecrets:
        """Ask the vault of this store; the environment's project if it is of a kind without one."""
        return cls(store if hasattr(store, "get_secret") else None)

    def get(self, name: str) -> str:
        """The secret of that name, read afresh.

        Raises `SecretError`: ``secret_missing`` if the vault has none, ``secret_unreadable`` if the
        vault cannot be asked.
        """
        if not name.startswith(PREFIX):
            raise SecretError(
                "secret_missing", detail=f"vault:{name} does not begin with {PREFIX}: rename it"
            )
        caught: str
        try:
            value = self._reached().get_secret(name)
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

    def _reached(self) -> SecretStore:
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
