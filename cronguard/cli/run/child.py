"""The command as a child process: started, sent the signals that were meant for it, seen to end.

It stays in our session and process group, so that what is sent to the group reaches it, and a
terminal's job control works as without us. Signals are not handled but held back and waited for.
One that the helper, in the same group, has got too was sent to the group, so the command has it
already; any other was sent to us alone, and is passed on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn, Self

from cronguard.cli.run.ended import Ended
from cronguard.cli.run.forwarding import Forwarding, signals_to_hold, wait_for_signal
from cronguard.cli.run.held import HeldCommand
from cronguard.cli.run.helper import Helper
from cronguard.process.identity import stand_for

_LEAVE_AT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""What hastens our own end once the command has ended."""
_LOOK_SECONDS = 2.0
"""Another thread of a program that calls us may have been given the SIGCHLD."""
_INIT = 1


class Child:
    """A context in which signals are held back, and one command can be run.

    The command's process is there from the beginning, and is the owner of this process's runs. This
    context is entered before most is loaded: every page of a process that forks costs.
    """

    def __init__(self, command: Sequence[str], *, keep_stderr: bool, last_act: bool) -> None:
        """Prepare for a command.

        Args:
            command: Its words.
            keep_stderr: Whether the end of its standard error may be wanted.
            last_act: Whether this process ends afterwards: signals then stay held back, so that
                none can replace its exit code.
        """
        self._words = command
        self._keep_stderr = keep_stderr
        self._last_act = last_act
        self._mask: set[int] = set()
        self._held: set[int] = set()
        self._helper: Helper | None = None
        self._command: HeldCommand | None = None
        self._problem: OSError | None = None
        self._reads_stderr = False

    def __enter__(self) -> Self:
        _take_standard_streams()
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._held = signals_to_hold()
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._held)
        with contextlib.suppress(OSError):  # none left: the command comes first
            self._helper = Helper(reads_stderr=self._keep_stderr)
        try:
            pipe = self._helper.stderr if self._helper else None
            self._command = HeldCommand(self._words, self._mask, pipe)
            stand_for(self._command.pid)
        except OSError as error:
            self._problem = error
        return self

    def __exit__(self, *_: object) -> None:
        if self._command is not None:
            self._command.abandon()
            with contextlib.suppress(OSError):
                os.waitpid(self._command.pid, 0)
        if self._helper is not None:
            self._helper.close()
        stand_for(None)
        if not self._last_act:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def run(self, variables: dict[str, str], *, keep_stderr: bool) -> Ended:
        """Run the command to its end, after which it is a zombie until this context is left.

        Args:
            variables: What its environment has besides ours.
            keep_stderr: Whether the end of its standard error is wanted.

        Raises:
            OSError: It cannot be started; without a number if its words cannot be a command's.
        """
        if self._command is None:
            raise self._problem or OSError
        helper = self._helper
        self._reads_stderr = keep_stderr and helper is not None and helper.stderr is not None
        try:
            self._command.go(variables, to_pipe=self._reads_stderr)
        finally:
            if helper is not None:
                helper.close_stderr()
        forwarding = Forwarding(self._command.pid, helper)
        interrupted = False
        while True:
            received = wait_for_signal(self._held, min(_LOOK_SECONDS, forwarding.seconds_left()))
            if received is not None and received.number != signal.SIGCHLD:
                interrupted = interrupted or received.number == signal.SIGINT
                forwarding.received(received)
            code = self._exit_code(self._command.pid)
            if code is not None:
                return Ended(code, interrupted)
            forwarding.pass_on_due()

    @staticmethod
    def _exit_code(pid: int) -> int | None:
        """Return how the command ended, None while it runs. It stays a zombie, see `is_dead`."""
        if not hasattr(os, "waitid"):
            ended, status = os.waitpid(pid, os.WNOHANG)
            return os.waitstatus_to_exitcode(status) if ended else None
        if os.getpid() == _INIT:
            _reap_orphans(pid)
        result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if result is None:
            return None
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status

    def stderr_tail(self) -> str:
        """Return the end of what the ended command wrote to standard error, if it was wanted."""
        return self._helper.stderr_tail() if self._helper and self._reads_stderr else ""

    def wait_until_relayed(self) -> None:
        """Wait until what the command wrote to standard error is written; after the tail."""
        if self._helper and self._reads_stderr:
            self._helper.wait_until_relayed()

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a signal that asks for our end raise KeyboardInterrupt in the block."""
        numbers = {each for each in _LEAVE_AT if signal.getsignal(each) is not signal.SIG_IGN}
        if threading.current_thread() is not threading.main_thread():
            numbers = set()  # which only the main thread may handle
        before = {each: signal.signal(each, _interrupt) for each in numbers}
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
            if not self._last_act:
                for number, handler in before.items():
                    signal.signal(number, handler or signal.SIG_DFL)


def _take_standard_streams() -> None:
    """Open descriptors 0 to 2 on nothing where they are closed, for this process alone.

    Otherwise the next file opened would become one of them: the database could end up as standard
    error. The command finds them closed, as it would without us.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _reap_orphans(command: int) -> None:
    """Reap processes that were left to us, as to the first process of a container."""
    while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
        if ended.si_pid == command:
            return
        os.waitpid(ended.si_pid, 0)
