"""``cronguard vault set``."""

from __future__ import annotations

import sys

import click

from cronguard.cli._say import CommandError, say
from cronguard.cli._vault import name_argument, open_vault

MOST = 64 * 1024


@click.command()
@name_argument
def command(name: str) -> None:
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
