"""The command's process, forked before it is known whether it may start, and held until then.

It is forked early since its identity is recorded as the run's owner, and before this process has
any thread. It waits at a pipe; at the word it becomes the command.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Collection, Sequence
from typing import NoReturn

from cronguard.process.lifecycle import fork

_SHELL = "/bin/sh"
_GO = b"go"
_GO_WITH_PIPE = b"pipe"
_REPORT_BYTES = 16
_END = b"\n"
"""The last byte of what is said to the held process: without it, we were killed meanwhile."""


class HeldCommand:
    """A command that has a process already but does not run yet."""

    def __init__(self, command: Sequence[str], mask: Collection[int], stderr: int | None) -> None:
        """Fork its process.

        Args:
            command: The words of the command.
            mask: The signals that are blocked in it.
            stderr: The pipe that may become its standard error; None for none.

        Raises:
            OSError: There are no descriptors or no processes left.
        """
        with contextlib.ExitStack() as undo:
            ends = [*os.pipe(), *os.pipe()]
            for end in ends:
                undo.callback(os.close, end)
            word, our_word, our_report, report = ends
            self.pid = fork()
            if not self.pid:
                os.close(our_word)
                _become_command(list(command), mask, stderr, word, report)
            undo.pop_all()
        os.close(word)
        os.close(report)
        self._pipes: tuple[int, int] | None = our_word, our_report
        """Where the word goes and where its answer comes from, until it is said."""

    def go(self, variables: dict[str, str], *, to_pipe: bool) -> None:
        """Let it become the command.

        Args:
            variables: What its environment has besides ours.
            to_pipe: Whether its standard error is the pipe.

        Raises:
            OSError: It cannot be executed; without a number if its words cannot be a command's.
        """
        if self._pipes is None:
            raise RuntimeError("a command is started once")
        words = [_GO_WITH_PIPE if to_pipe else _GO]
        words += [f"{name}={value}".encode() for name, value in variables.items()]
        word, report = self._pipes
        with contextlib.suppress(BrokenPipeError):  # it was killed, which its end will tell
            os.write(word, b"\0".join(words) + _END)
        os.close(word)
        code = os.read(report, _REPORT_BYTES)
        os.close(report)
        self._pipes = None
        if code:
            number = int(code)
            raise OSError(number, os.strerror(number)) if number else OSError

    def abandon(self) -> None:
        """Let it end without having become anything, unless it has."""
        for pipe in self._pipes or ():
            os.close(pipe)
        self._pipes = None


def _become_command(
    command: list[str], mask: Collection[int], stderr: int | None, word: int, report: int
) -> NoReturn:
    try:
        said = _read(word)
        if not said.endswith(_END):
            os._exit(0)
        how, *variables = said.removesuffix(_END).split(b"\0")
        environ = {**os.environb, **dict(each.split(b"=", 1) for each in variables)}
        if how == _GO_WITH_PIPE and stderr is not None:
            os.dup2(stderr, 2)
        _restore_signals(mask)
        _execute([os.fsencode(each) for each in command], environ)
    except OSError as error:
        os.write(report, str(error.errno or 0).encode())
    except BaseException:  # noqa: BLE001  # a null character in a word, say
        os.write(report, b"0")
    finally:
        os._exit(127)


def _read(pipe: int) -> bytes:
    said = b""
    while data := os.read(pipe, 4096):
        said += data
    return said


def _restore_signals(mask: Collection[int]) -> None:
    """Have signals do what they did where we were started; those held back strike now."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    for number in signal.SIGPIPE, signal.SIGXFSZ:  # which Python ignores
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _execute(command: list[bytes], environ: dict[bytes, bytes]) -> NoReturn:
    """Become the command as a shell does: a script without ``#!`` is run by sh as well."""
    name = command[0]
    places = [name]
    if name and b"/" not in name:
        path = environ.get(b"PATH", os.defpath.encode())
        places = [folder + b"/" + name if folder else name for folder in path.split(b":")]
    denied: OSError | None = None
    for place in places:
        try:
            os.execve(place, command, environ)  # noqa: S606  # what we are for
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            denied = denied or error
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            os.execve(_SHELL, [_SHELL.encode(), place, *command[1:]], environ)  # noqa: S606
    raise denied or FileNotFoundError(errno.ENOENT, "")
