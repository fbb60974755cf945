"""``cronguard init sqlite``."""

from __future__ import annotations

import click

from cronguard.cli._open import describe_store, is_there, open_runtime
from cronguard.cli._say import SettingsError, say


@click.command()
def command() -> None:
    """Create or upgrade the SQLite file.

    The file is the one that the settings name, else the default one. It is made readable and
    writable for its owner alone. Doing it again changes nothing.

    \b
    Examples:
      cronguard init sqlite
      CRONGUARD_STORE=sqlite:////var/lib/jobs/cronguard.db cronguard init sqlite
    """
    from cronguard.stores.sqlite import SQLiteStore

    runtime = open_runtime()
    store = runtime.store
    if not isinstance(store, SQLiteStore):
        raise SettingsError(
            f"the store in the settings is {describe_store(runtime.settings, store)}, not a SQLite"
            " file: unset CRONGUARD_STORE, or set it to sqlite:////path/to/cronguard.db"
        )
    existed = is_there(store)
    changed = store.migrate()
    if not changed:
        say(f"{store.path} is up to date.")
    else:
        say(f"{store.path} {'brought up to date' if existed else 'created'}.")
