"""Commands that are started and, whatever happens, ended."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO


@contextmanager
def started(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    stdout: int | IO[str] | None = None,
    stderr: int | IO[str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Start a command, for the main thread; it is gone when this is left, after Ctrl-C too.

    `subprocess` alone loses a command that is being started when Ctrl-C comes: here that ends the
    command, and is raised once it is gone.
    """
    processes: list[subprocess.Popen[str]] = []
    interrupted = False

    def end(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        for process in processes:
            process.kill()

    usual = signal.signal(signal.SIGINT, end)
    try:
        with subprocess.Popen(  # noqa: S603  # our own commands
            command, env=environment, text=True, stdout=stdout, stderr=stderr
        ) as process:
            processes.append(process)
            try:
                if interrupted:
                    process.kill()
                yield process
            except BaseException:
                process.kill()
                raise
    finally:
        signal.signal(signal.SIGINT, usual)
        if interrupted:
            raise KeyboardInterrupt
