"""A wall-clock bound around every call to a store that does not bound its calls itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from cronguard._workers import Bound, Busy, Failed, NoThread, Overdue
from cronguard.errors import StoreError
from cronguard.interfaces import Store

_MOST_LATE = 3
_MOST_AT_ONCE = 8
"""Calls that one process makes at a time: each has a connection, and a server has few to give."""
_UNBOUNDED = frozenset({"migrate", "prune", "sweep", "watches"})
"""Asked for by a person who waits; they may take their time."""


def bounded_store(store: Store, timeout: float) -> Store:
    """A store like this one, whose every call ends within ``timeout`` seconds.

    Late answers are thrown away; every write of a store can be repeated. While several calls hang,
    further ones fail at once, so that a dead store costs its budget once and not at every run.
    """
    return cast("Store", _BoundedStore(store, timeout))


class _BoundedStore:
    bounded = True

    def __init__(self, store: Store, timeout: float) -> None:
        self._store = store
        self._timeout = timeout
        self._bound = Bound(_MOST_LATE, _MOST_AT_ONCE)

    def __repr__(self) -> str:
        return repr(self._store)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name in _UNBOUNDED or not callable(found):
            return found
        return partial(self._call, found)

    def _call(self, method: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        problem: BaseException
        try:
            return self._bound.call(partial(method, *args, **keywords), self._timeout)
        except Failed as failed:
            error = failed.error
            kind = type(error).__name__
            told = isinstance(error, StoreError)
            problem = error if told else StoreError(f"the store failed with {kind}")
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
                return method(*args, **keywords)
            problem = StoreError("no thread could be started for the store", code="no_thread")
        raise problem
