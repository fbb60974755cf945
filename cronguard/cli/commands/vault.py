"""``cronguard vault``: the secrets of channels in Supabase Vault."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import click
from click.core import ParameterSource

from cronguard.cli.arguments import json_option
from cronguard.cli.groups import Group
from cronguard.cli.opening import (
    db_url_option,
    describe_store,
    load_settings,
    open_database,
    open_store,
)
from cronguard.cli.output.layout import table
from cronguard.cli.output.lines import (
    CommandError,
    SettingsError,
    emit,
    mark,
    plural,
    print_error,
    say,
)
from cronguard.core.clock import rfc3339_or_none
from cronguard.core.errors import StoreConfigError, StoreError
from cronguard.core.model import SecretRef
from cronguard.stores.server.vault import (
    PREFIX,
    UNDECRYPTABLE,
    Vault,
    adopt_command,
    adopt_sql,
    is_secret_name,
    set_command,
    vault_of,
)

if TYPE_CHECKING:
    from cronguard.stores.server.postgres import PostgresStore


def open_vault() -> Vault:
    """Return the vault beside the store of the settings. Raises SettingsError if it has none."""
    store = open_store()
    vault = vault_of(store)
    if vault is None:
        described = describe_store(load_settings().settings, store)
        raise SettingsError(
            f"the store in the settings is {described}, which has no vault: set CRONGUARD_STORE to"
            " supabase, or keep secrets in the environment"
        )
    return vault


def _check_name(_ctx: click.Context, _param: click.Parameter, name: str | None) -> str | None:
    if name is not None and not is_secret_name(name):
        # Not quoted: somebody may have typed the secret itself.
        raise click.BadParameter(
            f"begin it with {PREFIX}, and use A-Z a-z 0-9 _ . : - only, as in"
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
    everybody on the machine could see it. Its plaintext reaches no table or backup, and no log but
    of a server that logs what functions do inside (cronguard/stores/README.md says which). One that
    the vault cannot decrypt any more, as after a restore into another project, is replaced as well.

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
        say(f"{vault.where} keeps no secret of cronguard's. Put one in: {set_command()}")


class Checked(NamedTuple):
    """A secret as ``check`` found it."""

    name: str
    channels: list[str]
    state: str
    error: str | None = None


@command.command("check")
@json_option
def check(*, as_json: bool) -> int:
    """Check that every secret that the settings name can be read.

    A line for each vault:NAME of a channel, with the channels that use it, and one for each secret
    that nobody uses. One that cannot be read does not keep the others from being looked at. Exits 1
    if one that is used cannot be read.

    \b
    Examples:
      cronguard vault check && cronguard test-alert
      cronguard vault check --json

    \b
    --json prints cronguard.vault-check/1; state is ok, missing, undecryptable, unreadable (error
    says why) or unreachable (for its name: see cronguard vault adopt):
      {"schema", "secrets": [{"name", "channels", "state", "error"}]}
    """
    loaded = load_settings(say_problems=True)
    users: dict[str, list[str]] = {}
    for channel in loaded.settings.channels:
        for name in _names(channel.options.values()):
            users.setdefault(name, []).append(channel.name)
    vault = open_vault()
    known = {secret.name for secret in vault.secrets()}
    found = [_looked_at(vault, name, users[name], known) for name in sorted(users)]
    found += [_looked_at(vault, name, [], known) for name in sorted(known - set(users))]
    if as_json:
        emit("vault-check/1", secrets=[each._asdict() for each in found])
    else:
        for each in found:
            say(_line(each))
        if not users:
            say("No channel here has its secret in the vault.")
    if any(each.channels and each.state != "ok" for each in found):
        return 1
    return 2 if loaded.problems else 0


def _looked_at(vault: Vault, name: str, channels: list[str], known: set[str]) -> Checked:
    if not is_secret_name(name):
        return Checked(name, channels, "unreachable")
    try:
        value = vault.get_secret(name) if name in known else None
    except StoreError as error:
        if error.code == UNDECRYPTABLE:
            return Checked(name, channels, "undecryptable")
        return Checked(name, channels, "unreadable", str(error))
    return Checked(name, channels, "ok" if value and value.strip() else "missing")


def _line(found: Checked) -> str:
    from cronguard.core.rendering import plain

    advice = {
        "ok": "",
        "missing": f"not there: {set_command(found.name)}",
        "undecryptable": f"cannot be decrypted: set it again with {set_command(found.name)}",
        "unreadable": f"cannot be read: {found.error}",
        "unreachable": f"its name cannot be reached: rename it with {adopt_command(found.name)}",
    }[found.state]
    name, advice = plain(found.name), plain(advice)
    if not found.channels:
        return f"{mark('warning')} {name}  used by no channel here{advice and ', ' + advice}"
    used = f"used by {', '.join(found.channels)}"
    if found.state == "ok":
        return f"{mark('ok')} {name}  {used}"
    return f"{mark('error')} {name}  {used}, {advice}"


def _names(options: Iterable[object]) -> list[str]:
    """Return what the options name in the vault; an environment variable may name it for them."""
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


@command.command("adopt")
@click.argument("other", metavar="OTHER_NAME")
@click.option(
    "--as",
    "name",
    metavar="NAME",
    callback=_check_name,
    help="Its name from now on; without it: cronguard_OTHER_NAME.",
)
@click.option("--copy", is_flag=True, help="Keep the other one too, for whoever else reads it.")
@click.option("--print", "only_print", is_flag=True, help="Print the SQL, and do nothing else.")
@db_url_option
@click.pass_context
def adopt(
    context: click.Context,
    other: str,
    name: str | None,
    db_url: str | None,
    *,
    copy: bool,
    only_print: bool,
) -> None:
    """Rename a secret of the vault so that cronguard can reach it.

    Whoever has the project's service key can read it over the API from then on, as every secret
    that begins with cronguard_. That key alone is therefore not enough to do this: it takes the
    database, or --print and the dashboard's SQL editor. The secret itself never leaves the vault.
    What reads it by its old name must be told the new one; --copy spares that.

    \b
    Examples:
      SUPABASE_DB_URL=postgresql://postgres:...@host:5432/postgres cronguard vault adopt slack_url
      cronguard vault adopt slack_url --as cronguard_slack_webhook_url --copy
      cronguard vault adopt slack_url --print
    """
    if is_secret_name(other):
        raise click.UsageError("that secret begins with cronguard_ and can be reached as it is")
    name = name or PREFIX + other
    if not is_secret_name(name):
        raise click.UsageError(f"say what to call it: --as {PREFIX}NAME")
    if only_print:
        say(adopt_sql(other, name, copy=copy))
        return
    given = context.get_parameter_source("db_url") is ParameterSource.COMMANDLINE
    store = None if given else _database_of_settings()
    if store is None:
        store = open_database(db_url, "adopt without --print")
        context.call_on_close(store.close)
    _adopt(store, other, name, copy=copy)


def _database_of_settings() -> PostgresStore | None:
    from cronguard.settings.plugins import STORES, load

    store = load_settings().settings.store and open_store()
    postgres = load(STORES, "postgres")
    return store if isinstance(store, postgres) else None  # type: ignore[return-value]


def _adopt(store: PostgresStore, other: str, name: str, *, copy: bool) -> None:
    done = store.adopt_secret(other, name, copy=copy)
    # The other name is not repeated where there is none: it may be a secret, typed in its place.
    if done == "missing":
        raise CommandError(f"the vault of {store.where} has no secret of that name")
    if done == "taken":
        raise CommandError(
            f"the vault of {store.where} has a secret {name} already: choose another name with"
            f" --as, or make room with cronguard vault unset {name}"
        )
    if done == "undecryptable":
        raise CommandError(
            f"the vault of {store.where} cannot decrypt that secret any more: set it again with"
            f" {set_command(name)}"
        )
    remark = (
        "The other one is as it was: when the secret changes, change both."
        if copy
        else "Nothing finds it by its old name any more."
    )
    say(f"{name} is in the vault of {store.where}. {remark} Settings name it vault:{name}")
