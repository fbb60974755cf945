"""What this host keeps for a store that was out of reach: shown, replayed, sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from cronguard.cli.output.lines import plural, say
from cronguard.core.errors import StoreError

if TYPE_CHECKING:
    from cronguard.core.interfaces import Store
    from cronguard.runtime.runtime import Runtime
    from cronguard.stores.spooled import SpooledStore

_OF_THE_STORE = frozenset(
    {
        *("schema_missing", "schema_older", "schema_newer", "legacy_job_missing"),
        *("key_refused", "wrong_encoding"),
    }
)
"""Why a store took nothing at all: asking it says whether that still holds."""


def _spooled(store: Store) -> tuple[SpooledStore | None, int]:
    """Return the store, if it has a spool before it, and how many outcomes wait there."""
    from cronguard.stores.spooled import SpooledStore

    if not isinstance(store, SpooledStore):
        return None, 0
    try:
        return store, store.waiting()
    except StoreError:
        return store, 0


def spool_sentence(store: Store) -> str | None:
    """Say where outcomes wait for a store that was down, and when they go; None for none."""
    spooled, waiting = _spooled(store)
    if spooled is None or not waiting:
        return None
    runs = "1 run waits" if waiting == 1 else f"{waiting:,} runs wait"
    return f"{runs} in {spooled.spool_path} to be recorded: the next run, check or deliver does it"


def refused_sentence(store: Store) -> str | None:
    """Say whose outcomes the store refused, and what to do; None for nobody's."""
    spooled, _ = _spooled(store)
    queues = spooled.refused() if spooled is not None else []
    queues = [queue for queue in queues if queue.refused not in _OF_THE_STORE]
    if spooled is None or not queues:
        return None
    jobs = ", ".join(f"{queue.job} ({queue.refused})" for queue in queues)
    return (
        f"the store refuses outcomes of {jobs}: they wait in {spooled.spool_path}, with all that"
        " came after them, and are tried again; see that no rule of the database's own refuses the"
        " row, and that cronguard is of one version on every host"
    )


def unreadable_sentence(store: Store) -> str | None:
    """Say where outcomes are that cannot be read any more, and whose; None for none."""
    spooled, _ = _spooled(store)
    if spooled is None or not (jobs := spooled.unreadable()):
        return None
    return (
        f"{plural(len(jobs), 'run')} of {', '.join(sorted(set(jobs)))} in {spooled.spool_path}"
        " cannot be read any more, and cannot be recorded: the table waiting there has them, with a"
        " seq below 0"
    )


def replay(store: Store, *, quiet: bool = False) -> None:
    """Replay what this host has kept for the store. Raises StoreError if it does not answer."""
    spooled, waiting = _spooled(store)
    if spooled is None or not waiting:
        return
    from cronguard.cli.output.lines import progress

    with progress("recording kept runs") as advance:
        done = spooled.replay(advance)
    if not quiet:
        say(f"Recorded {plural(done, 'run')} that had been kept here.")


@contextmanager
def kept_alerts_sent(runtime: Runtime) -> Iterator[None]:
    """Send what this host has decided itself if the store does not answer in the block."""
    try:
        yield
    except StoreError:
        spooled, _ = _spooled(runtime.store)
        if spooled is not None and spooled.has_alerts():
            with suppress(StoreError):
                runtime.dispatcher.deliver_all(force=False)
        raise
