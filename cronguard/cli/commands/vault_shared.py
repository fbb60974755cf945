"""What the commands of ``cronguard vault`` share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol, cast

import click

from cronguard.cli._open import describe_store, load_settings, open_store
from cronguard.cli._say import SettingsError

if TYPE_CHECKING:
    from cronguard.stores._sql_functions import SecretRecord

_NAME = re.compile(r"cronguard_[A-Za-z0-9_.:-]{1,180}")


class Vault(Protocol):
    """The part of `PostgresStore` and `SupabaseStore` that is about secrets."""

    where: str

    def get_secret(self, name: str) -> str | None: ...
    def set_secret(self, name: str, value: str) -> None: ...
    def unset_secret(self, name: str) -> bool: ...
    def secrets(self) -> list[SecretRecord]: ...


def open_vault() -> Vault:
    """The vault beside the store that the settings name. Raises SettingsError if it has none."""
    store = open_store()
    if not hasattr(store, "get_secret"):
        told = describe_store(load_settings().settings, store)
        raise SettingsError(
            f"the store in the settings is {told}, which has no vault: set CRONGUARD_STORE to"
            " supabase, or keep secrets in the environment"
        )
    return cast("Vault", store)


def _check_name(_ctx: click.Context, _param: click.Parameter, name: str) -> str:
    if not _NAME.fullmatch(name):
        # Not quoted: somebody may have typed the secret itself.
        raise click.BadParameter(
            "begin it with cronguard_, and use A-Z a-z 0-9 _ . : - only, as in"
            " cronguard_slack_webhook_url"
        )
    return name


name_argument = click.argument("name", metavar="NAME", callback=_check_name)
