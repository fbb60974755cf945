"""Processes that fail in one job as fast as they can: ``crowd.py STORE PROCESSES FAILURES``.

Prints the counts that the store answered with, as JSON, in no order. STORE is ``supabase`` or an
address as the setting takes it.
"""

import json
import os
import subprocess
import sys


def counts(store, processes, failures, **environ):
    """The counts that so many processes with so many failures each came to."""
    done = subprocess.run(
        [sys.executable, __file__, store, str(processes), str(failures)],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _open(store):
    kind, _, rest = store.partition(":")
    if kind == "sqlite":
        from cronguard.stores.sqlite.store import SQLiteStore

        return SQLiteStore.from_url(store, timeout=60)
    if kind == "supabase":
        from cronguard.stores.server.supabase import SupabaseStore

        return SupabaseStore.from_url(rest, timeout=60)
    from cronguard.stores.server.postgres import PostgresStore

    return PostgresStore.from_url(store, timeout=60)


def _fail(store, number):
    """Start a run and let it fail; the count."""
    from datetime import UTC, datetime

    from cronguard.core.clock import new_id
    from cronguard.core.model import ChannelRule, Failure, Outcome, Owner, Run

    owner, rules = Owner("host", number, f"space {number}"), (ChannelRule("told"),)
    run = Run(new_id(), "crowded", datetime.now(UTC), owner, rules, overlap="allow")
    store.start_run(run, is_dead=lambda _: False)
    outcome = Outcome("failure", datetime.now(UTC), 0.1, Failure("ValueError"))
    return store.finish_run(run, outcome, started=True).consecutive_failure_count


def _main(store, processes, failures):
    _open(store).close()  # its libraries are loaded once, not by each
    readers = []
    for number in range(int(processes)):
        reader, writer = os.pipe()
        if os.fork() == 0:
            opened = _open(store)
            found = [_fail(opened, number) for _ in range(int(failures))]
            with os.fdopen(writer, "w") as out:
                json.dump(found, out)
            os._exit(0)
        os.close(writer)
        readers.append(reader)
    found = []
    for reader in readers:
        with os.fdopen(reader) as file:
            found += json.load(file)
    print(json.dumps(found))  # noqa: T201  # that is how it answers


if __name__ == "__main__":
    _main(*sys.argv[1:])
