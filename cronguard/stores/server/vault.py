"""What is true of secrets in Supabase Vault, for stores, settings and the command alike.

The SQL side is ``stores/sql/postgres/functions/vault.sql``; its pattern of names is held against
`is_secret_name` by a test.
"""

from __future__ import annotations

import re
import shlex
from datetime import datetime
from typing import Literal, NamedTuple, Protocol, cast

PREFIX = "cronguard_"
"""Only secrets whose names begin with this can be reached."""

UNDECRYPTABLE = "secret_undecryptable"
"""`StoreError.code` of a secret that was encrypted under another root key, or is damaged."""

NAME_PATTERN = PREFIX + r"[A-Za-z0-9_.:-]{1,180}"
_NAME = re.compile(NAME_PATTERN)


RENAME = (
    "select vault.update_secret(id, new_name => {name}) from vault.secrets where name = {other}"
)
COPY = (
    "select vault.update_secret("
    "vault.create_secret('placeholder', {name}, description), decrypted_secret)"
    " from vault.decrypted_secrets where name = {other}"
)
"""What takes over a secret of another name: one statement, in which its value never leaves Vault.

No function of ours does it: whoever has the service key may call those over the project's API, and
could then read every secret that the project keeps.
"""

Adopted = Literal["adopted", "missing", "taken", "undecryptable", "no_vault"]
"""What became of it; ``taken``: there is a secret of the new name already."""


class SecretRecord(NamedTuple):
    """A secret in Vault, to be listed: never its value."""

    name: str
    created_at: datetime
    updated_at: datetime


class Vault(Protocol):
    """The part of `PostgresStore` and `SupabaseStore` that is about secrets.

    Every method raises `StoreError`; with the code `UNDECRYPTABLE` if that is what is wrong.
    """

    @property
    def where(self) -> str:
        """Return the database that the vault is in, without credentials."""
        ...

    def get_secret(self, name: str) -> str | None:
        """Return the secret, or None if there is none of that name."""
        ...

    def set_secret(self, name: str, value: str) -> None:
        """Put a secret into the vault, or replace it, be it decryptable or not."""
        ...

    def unset_secret(self, name: str) -> bool:
        """Delete a secret; False if there was none."""
        ...

    def secrets(self) -> list[SecretRecord]:
        """Return cronguard's secrets by name."""
        ...


def vault_of(store: object) -> Vault | None:
    """Return the store as its vault; None if it has none."""
    return cast("Vault", store) if hasattr(store, "get_secret") else None


def is_secret_name(name: str) -> bool:
    """Return whether a secret of that name can be reached."""
    return _NAME.fullmatch(name) is not None


def adopt_sql(other: str, name: str, *, copy: bool) -> str:
    """Return the statement that takes over a secret, to be run by hand."""
    statement = COPY if copy else RENAME
    return statement.format(name=_literal(name), other=_literal(other)) + ";"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def set_command(name: str = "NAME") -> str:
    """Return the command that puts a secret into the vault, or replaces it."""
    return f"cronguard vault set {name}"


def adopt_command(name: str = "OTHER_NAME") -> str:
    """Return the command that makes a secret of another name reachable."""
    return f"cronguard vault adopt {shlex.quote(name)}"


__all__ = [
    "COPY",
    "NAME_PATTERN",
    "PREFIX",
    "RENAME",
    "UNDECRYPTABLE",
    "Adopted",
    "SecretRecord",
    "Vault",
    "adopt_command",
    "adopt_sql",
    "is_secret_name",
    "set_command",
    "vault_of",
]
