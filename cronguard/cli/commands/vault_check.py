"""``cronguard vault check``."""

from __future__ import annotations

import os
from collections.abc import Iterable

import click

from cronguard.cli._open import load_settings
from cronguard.cli._say import complain, mark, say
from cronguard.cli._vault import open_vault
from cronguard.model import SecretRef


@click.command()
def command() -> int:
    """Check that every secret that the settings name can be read.

    A line for each vault:NAME of a channel, with the channels that use it, and one for each secret
    that nobody uses. Exits 1 if one that is used cannot be read.

    \b
    Example:
      cronguard vault check && cronguard test-alert
    """
    loaded = load_settings()
    for problem in loaded.problems:
        complain(problem)
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
    from cronguard._secrets import DEPTH, parse_reference

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
