"""The helper: a second small process beside the command, in the same process group.

It has two duties. It tells a signal that the whole group got, the command included, from one that
was sent to us alone: it holds signals back and says, when asked, whether one has arrived there too.
And it reads the command's standard error, in a process of its own, so that somebody does for as
long as anybody writes there: when the command has left others behind, and when we are killed.

The two sides talk over two pipes. A request is one byte: a signal's number, or `_ENDED`. A reply is
a byte that repeats it, two bytes of length, and what is asked for.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from typing import NoReturn

from cronguard.cli.run.stderr import Relay, tail_text, wait_for
from cronguard.process.lifecycle import fork

_ENDED = 0
"""A request: the command has ended, so take what it has left in the pipe. Replied with its end."""
_RELAYED = 255
"""A reply to no request: what there was at the command's end is written, and whether that
is all."""
_STANDARD = 3
_MOST_DESCRIPTORS = 1024
"""How many are looked at where they cannot be listed."""
_REPLY_SECONDS = 5.0
"""How long the helper may take on a busy machine, before it counts as lost."""
_TAIL_SECONDS = 1.0
"""The same at the command's end, when it may be busy writing to a reader that does not read."""


class Helper:
    """Our side: start the helper and ask it."""

    def __init__(self, *, reads_stderr: bool) -> None:
        """Fork the helper, with the signals that it is asked for held back.

        ``reads_stderr`` makes the pipe `stderr`, for the command to write to.

        Raises:
            OSError: There are no descriptors or no processes left.
        """
        with contextlib.ExitStack() as undo:

            def pipe() -> tuple[int, int]:
                ends = os.pipe()
                for end in ends:
                    undo.callback(os.close, end)
                return ends

            requests, self._requests = pipe()
            self._replies, replies = pipe()
            source: int | None = None
            self.stderr: int | None = None
            if reads_stderr:
                source, self.stderr = pipe()
            self.pid = fork()
            if not self.pid:
                _become_helper(requests, replies, source)
            undo.pop_all()
        self._ends_at_once = True
        """Whether it ends as soon as its pipes are closed: nobody else writes to standard error."""
        for end in (requests, replies, source):
            if end is not None:
                os.close(end)

    def has_received(self, number: int) -> bool:
        """Tell whether a signal has reached the helper too since it was last asked for."""
        return self._ask(number, _REPLY_SECONDS) == b"\1"

    def close_stderr(self) -> None:
        """Close our copy of the command's end of the pipe: it has its own, or never will."""
        if self.stderr is not None:
            os.close(self.stderr)
            self.stderr = None

    def stderr_tail(self) -> str:
        """Return the end of what the ended command wrote to standard error."""
        self._ends_at_once = False
        return tail_text(self._ask(_ENDED, _TAIL_SECONDS) or b"")

    def wait_until_relayed(self) -> None:
        """Wait, however long it takes, until what the command wrote is written; after the tail."""
        self._ends_at_once = self._receive(_RELAYED, None) == b"\1"

    def close(self) -> None:
        """Let the helper end, as soon as nobody writes to standard error any more."""
        self.close_stderr()
        for end in (self._requests, self._replies):
            os.close(end)
        with contextlib.suppress(OSError):
            os.waitpid(self.pid, 0 if self._ends_at_once else os.WNOHANG)

    def _ask(self, request: int, seconds: float) -> bytes | None:
        try:
            os.write(self._requests, bytes([request]))
        except OSError:  # it was killed
            return None
        return self._receive(request, seconds)

    def _receive(self, wanted: int, seconds: float | None) -> bytes | None:
        """Return the reply; None if there is none in time. Late ones to others are skipped."""
        while wait_for((self._replies, select.POLLIN), seconds=seconds):
            head = os.read(self._replies, 3)
            if not head:
                return None
            size = int.from_bytes(head[1:], "big")
            data = os.read(self._replies, size) if size else b""
            if head[0] == wanted:
                return data
        return None


# --- the helper's side ----------------------------------------------------------------------------


def _become_helper(requests: int, replies: int, source: int | None) -> NoReturn:
    """Serve until nobody is left who asks or writes."""
    try:
        _close_inherited({2, requests, replies, source})
        _serve(requests, replies, Relay(source, 2))
    finally:
        os._exit(0)


def _close_inherited(kept: set[int | None]) -> None:
    """Close what would outlive the command in this process: its output, locks, folders."""
    os.chdir("/")
    if None in kept:  # nothing is relayed
        kept = kept - {2}
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in _open_descriptors():
        if descriptor < _STANDARD:
            if descriptor not in kept:
                os.dup2(nowhere, descriptor)
        elif descriptor not in kept:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _open_descriptors() -> list[int]:
    for folder in "/proc/self/fd", "/dev/fd":
        with contextlib.suppress(OSError):
            return [int(name) for name in os.listdir(folder)]  # noqa: PTH208  # light
    return list(range(_MOST_DESCRIPTORS))


def _serve(requests: int | None, replies: int, relay: Relay) -> None:
    command_ended = False
    while True:
        if command_ended and not relay.waiting:
            command_ended = False
            _reply(replies, _RELAYED, bytes([not relay.wanted()]))
        wanted = relay.wanted()
        if requests is not None:
            wanted.append((requests, select.POLLIN))
        elif not wanted:
            return
        if requests is None or requests not in wait_for(*wanted):
            relay.step()
            continue
        request = os.read(requests, 1)
        if not request:  # whoever asks is gone
            requests = None
        elif request[0] == _ENDED:
            _reply(replies, _ENDED, relay.take_what_is_left())
            command_ended = True
        else:
            _reply(replies, request[0], bytes([_was_pending(request[0])]))


def _reply(replies: int, kind: int, data: bytes = b"") -> None:
    with contextlib.suppress(OSError):  # whoever asked is gone
        os.write(replies, bytes([kind]) + len(data).to_bytes(2, "big") + data)


def _was_pending(number: int) -> bool:
    """Tell whether the signal has arrived, and forget it."""
    if number not in signal.sigpending():
        return False
    signal.sigwait({number})
    return True
