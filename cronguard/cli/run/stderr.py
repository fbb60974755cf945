"""A command's standard error: handed on as it comes, byte for byte, and its end kept."""

from __future__ import annotations

import contextlib
import os
import select
import threading

from cronguard.core.text import fold_overwritten

TAIL_BYTES = 8 * 1024
"""How much of the end is kept."""
_READ = 64 * 1024
_WRITE = 4096
"""What a pipe that is ready for writing takes without blocking (PIPE_BUF)."""
_MOST_LEFT = 1024 * 1024
"""More than a pipe holds: the command's own last words, and no end of another's."""
_PATIENCE = 1.0


class Relay:
    """A pipe between the command and descriptor ``sink``, and the thread that carries the bytes.

    A pipe even where ``sink`` is a terminal, so that the command may leave out colours: a
    pseudo-terminal would make pagers, which ask standard error for the keyboard, wait for ever.

    The thread never blocks on a reader that does not read before it has taken what the command left
    behind: the end of a command is seen at once, whatever happens to its output and whoever else
    still holds its standard error open.
    """

    def __init__(self, sink: int) -> None:
        self._sink = sink
        self._source, self.child_end = os.pipe()
        self._stop, self._stopper = os.pipe()
        self._tail = bytearray()
        self._taken = threading.Event()
        self._still_held = False
        self._thread = threading.Thread(target=self._carry, name="cronguard-stderr", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            for descriptor in (self._source, self.child_end, self._stop, self._stopper):
                os.close(descriptor)
            raise

    def handed_over(self) -> None:
        """The command has its end, or never will: let go of ours."""
        os.close(self.child_end)

    def stop(self) -> str:
        """The command has ended: take what it left behind, and return the end of it all."""
        os.close(self._stopper)
        self._taken.wait(_PATIENCE)
        return _text(bytes(self._tail))

    def finish(self) -> None:
        """Wait until everything is handed on."""
        self._thread.join()
        if self._still_held:
            self._leave_to_cat()

    # --- the thread -----------------------------------------------------------------------------

    def _carry(self) -> None:
        try:
            rest = self._carry_until_the_end()
            self._taken.set()
            while rest:
                _wait_for((self._sink, select.POLLOUT))
                rest = self._write(rest)
        finally:
            self._taken.set()

    def _carry_until_the_end(self) -> bytes:
        """Carry until the command has ended or closed its end; returns what was not written yet."""
        waiting = b""
        while True:
            if waiting:
                ready = _wait_for((self._sink, select.POLLOUT), (self._stop, select.POLLIN))
            else:
                ready = _wait_for((self._source, select.POLLIN), (self._stop, select.POLLIN))
            if self._stop in ready:
                return waiting + self._what_is_left()
            if waiting:
                waiting = self._write(waiting)
                continue
            waiting = self._read(_READ)
            if not waiting:
                return b""

    def _read(self, count: int) -> bytes:
        data = os.read(self._source, count)
        self._tail += data
        if b"\r" in data or b"\x1b" in data:
            self._tail[:] = fold_overwritten(bytes(self._tail))
        del self._tail[:-TAIL_BYTES]
        return data

    def _write(self, data: bytes) -> bytes:
        """Hand some of it on; returns the rest. What cannot be written is let go."""
        try:
            return data[os.write(self._sink, data[:_WRITE]) :]
        except BlockingIOError:
            return data
        except OSError:
            return b""

    def _what_is_left(self) -> bytes:
        """What was in the pipe when the command ended; more may come from those it left behind."""
        left = b""
        while len(left) < _MOST_LEFT:
            if not _wait_for((self._source, select.POLLIN), seconds=0):
                break
            data = self._read(_READ)
            if not data:
                return left
            left += data
        self._still_held = True
        return left

    def _leave_to_cat(self) -> None:
        """Somebody the command left behind may still write to a pipe whose reader ends now, and
        would be killed for it (SIGPIPE): leave them a reader that ends when they do."""
        import subprocess
        import warnings

        with contextlib.suppress(OSError), warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            subprocess.Popen(
                ["cat"],  # noqa: S607  # wherever it is
                stdin=self._source,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )


def _wait_for(*wanted: tuple[int, int], seconds: float | None = None) -> set[int]:
    """Which of the (descriptor, event) are ready, or in an error that the next call will show."""
    poller = select.poll()
    for descriptor, event in wanted:
        poller.register(descriptor, event)
    return {descriptor for descriptor, _ in poller.poll(None if seconds is None else seconds * 1e3)}


def _text(tail: bytes) -> str:
    """The tail as text, without the line that was cut in two."""
    if len(tail) == TAIL_BYTES and b"\n" in tail[:-1]:
        tail = tail.partition(b"\n")[2]
    return tail.decode("utf-8", "replace").strip()
