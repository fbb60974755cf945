"""A wall-clock bound around every call to a store that does not bound its calls itself."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any, cast

from cronguard.core.errors import StoreError
from cronguard.core.interfaces import Store
from cronguard.process.signals import raised_by_handler
from cronguard.process.workers import Busy, Failed, NoThread, Overdue, TimeoutPool

_MOST_LATE = 3
_MOST_AT_ONCE = 8
"""Calls that one process makes at a time: each has a connection, and a server has few to give."""
_WITHOUT_TIMEOUT = frozenset(
    {"activity", "damaged", "migrate", "prune", "recent", "sweep", "watches"}
)
"""Asked for by a person who waits; they may take their time."""


def with_timeouts(store: Store, timeout: float) -> Store:
    """Return a store like this one, whose every call ends within ``timeout`` seconds.

    Late answers are thrown away; every write of a store can be repeated. While several calls hang,
    further ones fail at once, so that a dead store costs its budget once and not at every run.
    """
    return cast("Store", _StoreWithTimeouts(store, timeout))


class _StoreWithTimeouts:
    bounded = True

    def __init__(self, store: Store, timeout: float) -> None:
        self._store = store
        self._timeout = timeout
        self._within = getattr(store, "within", None)
        self._bound = TimeoutPool(_MOST_LATE, _MOST_AT_ONCE)

    def __repr__(self) -> str:
        return repr(self._store)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name in _WITHOUT_TIMEOUT or not callable(found):
            return found
        return partial(self._call, name)

    def _call(self, name: str, *args: Any, **keywords: Any) -> Any:
        problem: BaseException
        try:
            return self._bound.turn(partial(self._make, name, args, keywords), self._timeout)
        except Failed as failed:
            problem = failed.error
        except Overdue:
            words = f"the store did not answer within {self._timeout:g} s"
            problem = StoreError(words, code="timeout")
        except Busy:
            words = (
                f"the store's answers to {_MOST_AT_ONCE} other runs took all of {self._timeout:g} s"
            )
            problem = StoreError(words, code="busy")
        except NoThread:
            if threading.current_thread().daemon:  # nobody waits for this one to end
                return getattr(self._store, name)(*args, **keywords)
            problem = StoreError("no thread could be started for the store", code="no_thread")
        except Exception as error:  # noqa: BLE001  # judged below, where its context can be seen
            problem = error
        if not isinstance(problem, StoreError):
            interruption = raised_by_handler(problem)
            problem = interruption or StoreError(f"the store failed with {type(problem).__name__}")
        raise problem

    def _make(self, name: str, args: Any, keywords: Any, seconds: float) -> Any:
        """Make a call: here, if the store can end it in time by itself, else in a thread."""
        if self._within is None:
            work = partial(getattr(self._store, name), *args, **keywords)
            return self._bound.run_in_thread(work, seconds)
        return getattr(self._within(seconds, self._bound.run_in_thread), name)(*args, **keywords)
