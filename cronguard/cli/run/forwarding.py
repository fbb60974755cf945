"""Signals that this process got: which of them the command has not got, and is to get."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cronguard.cli.run.helper import Helper

_NOT_OURS = (
    "SIGKILL SIGSTOP SIGSEGV SIGBUS SIGFPE SIGILL SIGTRAP SIGSYS SIGPIPE SIGXFSZ SIGURG"
    " SIGTSTP SIGTTIN SIGTTOU SIGCONT"
)
"""Faults of our own, what nobody can hold back, and what stops and continues a job."""
_KEYBOARD = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
"""What a terminal sends, always to a whole group."""
_FROM_KERNEL = 128
"""``si_code`` of a signal that no process sent (SI_KERNEL, sigaction(2))."""
_INIT_OR_OUTSIDE = (0, 1)
"""Senders that signal each process of a service or a container by itself."""
_SAME_EVENT_SECONDS = 0.1
"""How far apart the signals of one event come: some send them one by one, to us first."""
_POLL_SECONDS = 0.02


def signals_to_hold() -> set[int]:
    """Return every signal that a command may be sent through us, and SIGCHLD."""
    left = {getattr(signal, name, None) for name in _NOT_OURS.split()}
    return {int(each) for each in signal.valid_signals() if each not in left}


class Received(NamedTuple):
    """A signal that this process got."""

    number: int
    sender: int | None = None
    """The sender's process id; 0 for one outside of our pid namespace, None if unknown."""
    from_kernel: bool = False


def wait_for_signal(held: set[int], seconds: float) -> Received | None:
    """Return the next of the signals held back; None if none comes in time."""
    if hasattr(signal, "sigtimedwait"):
        info = signal.sigtimedwait(held, seconds)
        if info is None:
            return None
        return Received(info.si_signo, info.si_pid, info.si_code == _FROM_KERNEL)
    give_up = time.monotonic() + seconds
    while not (pending := signal.sigpending() & held):
        if time.monotonic() >= give_up:
            return None
        time.sleep(_POLL_SECONDS)
    return Received(signal.sigwait(pending))


class Forwarding:
    """Passes on what was sent to us alone, once.

    A signal is judged a moment after it came: `timeout` signals its child first and then the
    group, and systemd goes from process to process.
    """

    def __init__(self, command: int, helper: Helper | None) -> None:
        self._command = command
        self._helper = helper
        self._undecided: dict[int, tuple[float, Received]] = {}
        self._group_got: dict[int, float] = {}
        """Signal → when it was found to be the whole group's."""

    def received(self, signal_received: Received) -> None:
        """Note a signal; the same one again within a moment belongs to the same event."""
        now, number = time.monotonic(), signal_received.number
        if now - self._group_got.get(number, -math.inf) > _SAME_EVENT_SECONDS:
            self._undecided.setdefault(number, (now + _SAME_EVENT_SECONDS, signal_received))

    def seconds_left(self) -> float:
        """Return the seconds until there is something to decide; infinite if nothing is open."""
        due = min((due for due, _ in self._undecided.values()), default=math.inf)
        return max(0.0, due - time.monotonic())

    def pass_on_due(self) -> None:
        """Decide on each signal whose moment is over."""
        now = time.monotonic()
        for number, (due, each) in list(self._undecided.items()):
            if due > now:
                continue
            del self._undecided[number]
            if self._command_has(each):
                self._group_got[number] = now
            else:
                with contextlib.suppress(OSError):  # a command of another user's
                    os.kill(self._command, number)

    def _command_has(self, each: Received) -> bool:
        if self._helper is None:
            return each.from_kernel and each.number in _KEYBOARD
        if not self._helper.has_received(each.number):
            return False
        # The command may have left the group: then only what went from process to process, and
        # what the keyboard sent, which it must not get, is not passed on.
        return self._is_in_our_group() or each.from_kernel or each.sender in _INIT_OR_OUTSIDE

    def _is_in_our_group(self) -> bool:
        try:
            return os.getpgid(self._command) == os.getpgrp()
        except OSError:
            return True
