"""The command as a child process: started, sent the signals that were meant for it, seen to end.

It stays in our session and process group, so that a terminal's job control, Ctrl-C and Ctrl-Z work
as without us. Signals are not handled but held back and waited for, which tells who sent them:
what the terminal sends, the child has got already.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from cronguard.cli.run.stderr import Relay

FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_FROM_KERNEL = 128
"""``si_code`` of a signal that nobody sent: the terminal's keys (SI_KERNEL, sigaction(2))."""
_SHELL = "/bin/sh"
_PATIENCE = 2.0


class Ended(NamedTuple):
    """How a command ended: its exit code, or minus the signal that ended it."""

    code: int
    interrupted: bool = False
    """SIGINT had been seen before."""


def take_standard_streams() -> None:
    """Open descriptors 0 to 2 on nothing where they are closed, for this process alone.

    Otherwise the next file opened would become one of them: the database could end up as standard
    error. The command finds them closed, as it would without us.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


if sys.platform == "win32":

    class Child:
        """Windows knows no signals to forward; Ctrl-C reaches the command by itself."""

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...

        def run(
            self, command: Sequence[str], environ: Mapping[str, str], relay: Relay | None
        ) -> Ended:
            """Run the command to its end. Raises OSError if it cannot be started."""
            import subprocess

            del relay
            with subprocess.Popen(list(command), env=dict(environ)) as process:  # noqa: S603  # what we are for
                try:
                    return Ended(process.wait())
                except KeyboardInterrupt:
                    return Ended(process.wait(), interrupted=True)

else:

    class Child:
        """A context in which signals are held back, and one command can be run."""

        def __init__(self) -> None:
            self._mask: set[int] = set()
            self._held: set[signal.Signals] = set()

        def __enter__(self) -> Self:
            if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._held = {signal.SIGCHLD, *(signal.Signals[name] for name in FORWARDED)}
            self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._held)
            return self

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

        def run(
            self, command: Sequence[str], environ: Mapping[str, str], relay: Relay | None
        ) -> Ended:
            """Run the command to its end. Raises OSError if it cannot be started."""
            pid = self._spawn(list(command), environ, relay)
            interrupted = False
            while True:
                number, from_terminal = _next_signal(self._held)
                interrupted = interrupted or number == signal.SIGINT
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    return Ended(os.waitstatus_to_exitcode(status), interrupted)
                if number != signal.SIGCHLD and not from_terminal:
                    with contextlib.suppress(OSError):  # a command of another user's
                        os.kill(pid, number)

        def _spawn(
            self, command: list[str], environ: Mapping[str, str], relay: Relay | None
        ) -> int:
            files = [(os.POSIX_SPAWN_DUP2, relay.child_end, 2)] if relay else []
            reset = [signal.SIGPIPE, signal.SIGXFSZ]  # which Python ignores

            def spawn(words: list[str]) -> int:
                return os.posix_spawnp(
                    words[0],
                    words,
                    environ,
                    file_actions=files,
                    setsigmask=self._mask,
                    setsigdef=reset,
                )

            try:
                return spawn(command)
            except OSError as error:
                if error.errno != errno.ENOEXEC:
                    raise
                from shutil import which

                path = which(command[0]) or command[0]
                # A script without a first line, which execvp(3) and shells hand to sh.
                return spawn([_SHELL, path, *command[1:]])
            finally:
                if relay:
                    relay.handed_over()

    def _next_signal(wanted: set[signal.Signals]) -> tuple[int, bool]:
        """(the next signal, whether the terminal sent it to our whole group).

        After a while of nothing it is SIGCHLD: another thread of a program that calls us may have
        been given the real one.
        """
        if hasattr(signal, "sigtimedwait"):
            info = signal.sigtimedwait(wanted, _PATIENCE)
            if info is None:
                return signal.SIGCHLD, False
            return info.si_signo, info.si_code == _FROM_KERNEL
        number = signal.sigwait(wanted)
        return number, number in (signal.SIGINT, signal.SIGQUIT) and _in_foreground()

    def _in_foreground() -> bool:
        try:
            return os.tcgetpgrp(0) == os.getpgrp()
        except OSError:
            return False
