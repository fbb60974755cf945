"""The replay of what waits: each outcome once, in its job's order, in a form that the store takes.

An outcome that the store refuses holds up no other job's. What has been stored and cannot be taken
out of the queue is not replayed again by this process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial

from cronguard.core.errors import StoreError
from cronguard.core.model import Finished, Outcome, Run
from cronguard.stores.spool.local import LocalStore
from cronguard.stores.spool.places import UNWRITABLE, Places
from cronguard.stores.spool.queue import LONGEST_REPLAY_PAUSE, PAGE, Entry
from cronguard.stores.spool.refusals import forms, is_away, is_refusal

_PATIENCE = 3
"""So often an outcome is refused by something that does not say why, such as a proxy, before it is
stored with less text."""
_MAY_HAVE_ARRIVED = ("timeout", "connection_closed", "connection_reset", "empty_answer", "gateway")
"""`StoreError.code` where only the answer may have been lost."""
_SHORT_PAUSE = 60.0
"""Seconds that it waits at most before it is tried again: it may be no fault of the outcome's."""


class Replay:
    """Stores what waits in `Places`."""

    def __init__(
        self,
        finish: Callable[..., Finished],
        places: Places,
        on_stored: Callable[[str, Finished], None],
        warn: Callable[[str], None],
    ) -> None:
        """Store what is in ``places`` by ``finish``; see `Backlog` for these."""
        self._finish = finish
        self._places = places
        self._on_stored = on_stored
        self._warn = warn
        self._stored: dict[tuple[int, int], tuple[LocalStore, Entry]] = {}
        """What has been stored, and could not be taken out of its queue."""
        self._maybe_notified: dict[tuple[int, int], set[str]] = {}
        """Outcome → the channels of which the store may have noted that they were notified."""

    @property
    def is_tidy(self) -> bool:
        """Tell whether all that has been stored is taken out."""
        return not self._stored

    def tidy(self) -> None:
        """Take out what has been stored; what cannot be written now is left for the next time."""
        for local, entry in list(self._stored.values()):
            if not self._drop(local, entry):
                return

    def replay(self, job: str) -> Iterator[None]:
        """Store the outcomes of one job, each at a step; end at one that the store refuses."""
        for local in list(self._places.found()):
            shorten = local.queue.tries(job) >= _PATIENCE
            after, limit = 0, 1  # most often the store still does not answer
            while entries := local.queue.entries(job, after=after, limit=limit):
                limit = PAGE
                for entry in entries:
                    after = entry.seq
                    if entry.seq in self.stored_in(local):
                        continue
                    if not self._replay_entry(local, entry, shorten=shorten):
                        return
                    shorten = False
                    yield

    def _replay_entry(self, local: LocalStore, entry: Entry, *, shorten: bool) -> bool:
        """Store one outcome; return False if the store refuses it."""
        run, started = entry.run, entry.started
        held = self._hold_alerts(local, entry)
        notified = set(entry.notified) - held
        try:
            self.store_outcome(
                run, entry.outcome, started=started, notified=notified, shorten=shorten
            )
        except StoreError as error:
            caught = error
        else:
            self._release_alerts(local, entry, held, forget=True)
            self._drop(local, entry)
            return True
        self._release_alerts(local, entry, held, forget=False)
        if notified and caught.code in _MAY_HAVE_ARRIVED:
            self._maybe_notified.setdefault((id(local), entry.seq), set()).update(notified)
        if is_away(caught):
            raise caught
        refuses = is_refusal(caught)
        longest = LONGEST_REPLAY_PAUSE if refuses else _SHORT_PAUSE
        code = caught.code
        self._places.attempt(lambda: local.queue.refuse(run.job, code, longest=longest), UNWRITABLE)
        if not refuses:
            raise caught
        self._warn(
            f"the store refuses an outcome of {run.job}, which waits with those after it and is"
            f" tried again: {caught}"
        )
        return False

    def _hold_alerts(self, local: LocalStore, entry: Entry) -> set[str]:
        """Leave alerts that would end with this process to the store; return their channels.

        Where they wait in memory only, the store decides them anew. Not those of which it may have
        heard as notified, when it took the outcome and its answer was lost: those are sent here.
        """
        held: set[str] = set()
        if local.path is None and entry.notified:
            run_id = entry.run.run_id
            self._places.attempt(
                lambda: held.update(local.hold_alerts(run_id)), UNWRITABLE, Exception
            )
            ours = held & self._maybe_notified.get((id(local), entry.seq), set())
            self._release_alerts(local, entry, ours, forget=False)
            held -= ours
        return held

    def _release_alerts(
        self, local: LocalStore, entry: Entry, held: Collection[str], *, forget: bool
    ) -> None:
        if held:
            release = partial(local.release_alerts, entry.run.run_id, held, forget=forget)
            self._places.attempt(release, UNWRITABLE, Exception)

    def stored_in(self, local: LocalStore) -> set[int]:
        """Return the places of what a database still holds though it has been stored."""
        return {entry.seq for place, entry in self._stored.values() if place is local}

    def _drop(self, local: LocalStore, entry: Entry) -> bool:
        key = id(local), entry.seq
        is_out = self._places.attempt(lambda: local.queue.drop(entry), UNWRITABLE, Exception)
        if is_out:
            self._stored.pop(key, None)
            self._maybe_notified.pop(key, None)
        else:  # another process stores it once more, which changes nothing
            self._stored[key] = local, entry
        return is_out

    def store_outcome(
        self,
        run: Run,
        outcome: Outcome,
        *,
        started: bool,
        notified: Collection[str] = (),
        shorten: bool = False,
    ) -> Finished:
        """Do `Store.finish_run`; what is refused is tried again with less text.

        ``shorten`` does so too where it is not known to be refused for what it is.

        Raises:
            StoreError: The store did not take it in any form.
        """
        for form, is_last in forms(outcome):
            try:
                finished = self._finish(run, form, started=started, notified=notified)
            except StoreError as error:
                if is_last or not (is_refusal(error) or (shorten and not is_away(error))):
                    raise
            else:
                self._on_stored(run.job, finished)
                return finished
        raise AssertionError  # the last form returns or raises


__all__ = ["Replay"]
