"""The command as a child process on Windows, which knows no signals to pass on."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from typing import Self

from cronguard.cli.run.ended import Ended


class Child:
    """As the `Child` of other systems; Ctrl-C reaches the command by itself."""

    def __init__(self, command: Sequence[str], *, keep_stderr: bool, last_act: bool) -> None:
        del keep_stderr, last_act
        self._command = list(command)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def run(self, variables: dict[str, str], *, keep_stderr: bool) -> Ended:
        """Run the command to its end. Raises OSError if it cannot be started."""
        del keep_stderr
        environ = {**os.environ, **variables}
        with subprocess.Popen(self._command, env=environ) as process:  # noqa: S603  # what we are for
            try:
                return Ended(process.wait())
            except KeyboardInterrupt:
                return Ended(process.wait(), interrupted=True)

    def stderr_tail(self) -> str:
        """Return nothing: standard error is the command's own."""
        return ""

    def wait_until_relayed(self) -> None:
        """Return at once: the command has written by itself."""

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let Ctrl-C raise KeyboardInterrupt, as it does anyway."""
        yield
