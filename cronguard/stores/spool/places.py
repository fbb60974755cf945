"""Where a host keeps what its store does not take: in a file, else in the memory of a process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from cronguard.core.errors import StoreError
from cronguard.process.signals import raised_by_handler
from cronguard.stores.spool.local import LocalStore

T = TypeVar("T")

UNREADABLE = "the local spool cannot be read"
UNWRITABLE = "the local spool cannot be written"
_IN_MEMORY = "outcomes wait in the memory of this process"


class Places:
    """The databases of a store on this host: in ``path``, and in memory where that fails."""

    def __init__(self, path: Path | None, warn: Callable[[str], None]) -> None:
        """Name the places; neither file nor database library is touched before it is needed.

        Args:
            path: The file of the host's own database; None for none.
            warn: Called with what a person should know.
        """
        self._path = path
        self._warn = warn
        self._databases: dict[Path | None, LocalStore] = {}
        """The file's, and with None the one in memory, once they are needed."""

    @property
    def in_memory(self) -> bool:
        """Tell whether this process had to keep something in memory."""
        return None in self._databases

    def found(self) -> Iterator[LocalStore]:
        """Yield the databases that there are, the older outcomes first."""
        if self._path is not None and os.access(self._path, os.F_OK):
            yield self._database(self._path)
        if self.in_memory:
            yield self._database(None)

    def _database(self, path: Path | None) -> LocalStore:
        """Return the same one to threads that need it first at the same time."""
        return self._databases.get(path) or self._databases.setdefault(path, LocalStore(path))

    def ask(self, ask: Callable[[LocalStore], T]) -> list[T]:
        """Return what each database answers; one that cannot be read is passed over, and said."""
        answers: list[T] = []
        for local in self.found():
            self.attempt(lambda local=local: answers.append(ask(local)), UNREADABLE)  # type: ignore[misc]  # mypy knows no type of a lambda's default
        return answers

    def ask_for_all(self, ask: Callable[[LocalStore], Iterable[T]]) -> list[T]:
        """Return all that `ask` finds, in one list."""
        return [each for found in self.ask(ask) for each in found]

    def attempt(
        self,
        work: Callable[[], object],
        consequence: str,
        errors: type[Exception] = StoreError,
    ) -> bool:
        """Do what may fail here and holds up nothing; return whether it went well.

        Raises what is none of ``errors``, and what a signal handler of the program raises.
        """
        caught: Exception
        try:
            work()
        except errors as error:
            caught = error
        else:
            return True
        interruption = raised_by_handler(caught)
        if interruption is not None:
            raise interruption
        reason = caught if isinstance(caught, StoreError) else type(caught).__name__
        self._warn(f"{consequence}: {reason}")
        return False

    def write(self, job: str, write: Callable[[LocalStore], T]) -> T:
        """Write to the file; to memory where that fails, or where more of the job is already."""
        memory = self._databases.get(None)
        behind = memory is not None and (memory.queue.waits(job) or memory.holds(job))
        if self._path is not None and not behind:
            answers: list[T] = []
            file = self._database(self._path)
            if self.attempt(lambda: answers.append(write(file)), _IN_MEMORY):
                return answers[0]
        return write(self._database(None))

    def waiting_in_memory(self) -> int:
        """Return how many outcomes end with this process."""
        return self._database(None).queue.waiting() if self.in_memory else 0

    def close(self) -> None:
        """Let go of the file."""
        if self._path is not None and self._path in self._databases:
            self._databases[self._path].close()


__all__ = ["UNWRITABLE", "Places"]
