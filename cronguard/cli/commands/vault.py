"""``cronguard vault``: the secrets of channels in Supabase Vault."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, cast

import click

from cronguard.cli.arguments import json_option
from cronguard.cli.groups import Group
from cronguard.cli.opening import describe_store, load_settings, open_store
from cronguard.cli.output.lines import (
    CommandError,
    SettingsError,
    emit,
    mark,
    plural,
    print_error,
    say,
)
from cronguard.cli.output.table import table
from cronguard.core.clock import rfc3339_or_none
from cronguard.core.errors import StoreConfigError
from cronguard.core.model import SecretRef

if TYPE_CHECKING:
    from cronguard.stores.server.vault import SecretRecord


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
        described = describe_store(load_settings().settings, store)
        raise SettingsError(
            f"the store in the settings is {described}, which has no vault: set CRONGUARD_STORE to"
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


@click.group(cls=Group, no_args_is_help=False)
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


@command.command("setup")
def setup() -> int:
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
            return print_error(
                f"{vault.where} has no Vault: enable it under Integrations in the project's"
                " dashboard, or with: create extension supabase_vault"
            )
        return print_error(str(error))
    say(f"{mark('ok')} {vault.where} keeps {plural(len(found), 'secret')} of cronguard's")
    return 0


MOST = 64 * 1024


@command.command("set")
@name_argument
def set_secret(name: str) -> None:
    """Put a secret into the vault, or replace it.

    Asked for without showing it, or read from standard input; never from the command line, where
    everybody on the machine could see it. Its plaintext reaches no table, log or backup.

    \b
    Examples:
      cronguard vault set cronguard_slack_webhook_url
      cronguard vault set cronguard_smtp_password < password.txt
    """
    vault = open_vault()
    vault.set_secret(name, _value(name))
    say(f"{name} is in the vault of {vault.where}. Settings name it vault:{name}")


def _value(name: str) -> str:
    stream = sys.stdin
    if stream is None or stream.closed:
        raise CommandError("there is nothing to read the secret from: pipe it in")
    if stream.isatty():
        value = click.prompt(f"Secret for {name}", hide_input=True, err=True)
    else:
        try:
            value = stream.read(MOST + 1)
        except UnicodeDecodeError:
            raise CommandError("standard input holds no text: give the secret as UTF-8") from None
    value = str(value).strip("\r\n")
    if not value.strip():
        raise CommandError("the secret is empty: nothing was changed")
    if len(value) > MOST or "\0" in value:
        raise CommandError("that is no secret of a channel's: it is too long or binary")
    return value


@command.command("list")
@json_option
def list_secrets(*, as_json: bool) -> None:
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


@command.command("check")
def check() -> int:
    """Check that every secret that the settings name can be read.

    A line for each vault:NAME of a channel, with the channels that use it, and one for each secret
    that nobody uses. Exits 1 if one that is used cannot be read.

    \b
    Example:
      cronguard vault check && cronguard test-alert
    """
    loaded = load_settings()
    for problem in loaded.problems:
        print_error(problem)
    users: dict[str, list[str]] = {}
    for channel in loaded.settings.channels:
        for name in _names(channel.options.values()):
            users.setdefault(name, []).append(channel.name)
    vault = open_vault()
    known = {secret.name for secret in vault.secrets()}
    bad = [name for name in users if name not in known or not vault.get_secret(name)]
    for name in sorted(users):
        whose = ", ".join(users[name])
        if name in bad:
            say(f"{mark('error')} {name}  not there (used by {whose}): cronguard vault set {name}")
        else:
            say(f"{mark('ok')} {name}  used by {whose}")
    for name in sorted(known - set(users)):
        say(f"{mark('warning')} {name}  used by no channel here")
    if not users:
        say("No channel here has its secret in the vault.")
    return 1 if bad else 2 if loaded.problems else 0


def _names(options: Iterable[object]) -> list[str]:
    """What the options name in the vault; an environment variable may name it for them."""
    from cronguard.settings.types import DEPTH, parse_reference

    found = []
    for option in options:
        ref = option if isinstance(option, SecretRef) else None
        for _ in range(DEPTH):
            if ref is None or ref.scheme != "env":
                break
            ref = parse_reference(os.environ.get(ref.name, ""))
        if ref is not None and ref.scheme == "vault":
            found.append(ref.name)
    return found


@command.command("unset")
@name_argument
def unset(name: str) -> None:
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
