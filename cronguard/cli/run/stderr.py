"""A command's standard error: relayed as it comes, byte for byte, and its end kept."""

from __future__ import annotations

import os
import select

from cronguard.core.text import fold_overwritten

TAIL_BYTES = 8 * 1024
"""How much of the end is kept."""
_READ = 64 * 1024
_WRITE = 4096
"""What a pipe that is ready for writing takes without blocking (PIPE_BUF)."""
_MOST_LEFT = 1024 * 1024
"""More than a pipe holds: the command's own last words, and no end of another's."""


class Relay:
    """What carries bytes from the pipe ``source`` to descriptor ``sink``, a step at a time.

    A pipe even where ``sink`` is a terminal, so that the command may leave out colours: a
    pseudo-terminal would make pagers, which ask standard error for the keyboard, wait forever.

    Nothing more is read until what was read is written, so that a reader that does not read holds
    the command up, as it would without us.
    """

    def __init__(self, source: int | None, sink: int) -> None:
        self._source = source
        self._sink = sink
        self._tail = bytearray()
        self.waiting = b""
        """What was read and not written yet."""

    def wanted(self) -> list[tuple[int, int]]:
        """Return the (descriptor, event) to wait for before the next step; nothing at the end."""
        if self.waiting:
            return [(self._sink, select.POLLOUT)]
        return [] if self._source is None else [(self._source, select.POLLIN)]

    def step(self) -> None:
        """Write some of what waits, or read more."""
        if self.waiting:
            self.waiting = self._write(self.waiting)
        else:
            self.waiting = self._read()

    def take_what_is_left(self) -> bytes:
        """Read what is in the pipe now, and return the end of all that came."""
        left = len(self.waiting) + _MOST_LEFT
        while self._source is not None and len(self.waiting) < left:
            if not wait_for((self._source, select.POLLIN), seconds=0):
                break
            self.waiting += self._read()
        return bytes(self._tail)

    def _read(self) -> bytes:
        if self._source is None:
            return b""
        data = os.read(self._source, _READ)
        if not data:
            os.close(self._source)
            self._source = None
        self._tail += data
        if b"\r" in data or b"\x1b" in data:
            self._tail[:] = fold_overwritten(bytes(self._tail))
        del self._tail[:-TAIL_BYTES]
        return data

    def _write(self, data: bytes) -> bytes:
        """Write some of it; return the rest. What cannot be written is dropped."""
        try:
            return data[os.write(self._sink, data[:_WRITE]) :]
        except BlockingIOError:
            return data
        except OSError:
            return b""


def wait_for(*wanted: tuple[int, int], seconds: float | None = None) -> set[int]:
    """Return the descriptors that are ready, or have an error that the next call raises.

    ``seconds`` is how long to wait; None waits forever.
    """
    poller = select.poll()
    for descriptor, event in wanted:
        poller.register(descriptor, event)
    return {descriptor for descriptor, _ in poller.poll(None if seconds is None else seconds * 1e3)}


def tail_text(tail: bytes) -> str:
    """Return the tail as text, without the line that was cut in two."""
    if len(tail) == TAIL_BYTES and b"\n" in tail[:-1]:
        tail = tail.partition(b"\n")[2]
    return tail.decode("utf-8", "replace").strip()
