"""The identity of this process, and whether another process is still alive.

On Linux that can be looked up; elsewhere only the lease decides. A pid has a meaning only inside
its process space: one boot of one kernel, one pid namespace. In it, the start time tells a process
from a later one with the same pid.
"""

from __future__ import annotations

import os
import socket
import sys
from itertools import pairwise

from cronguard.core.model import Owner
from cronguard.process import lifecycle
from cronguard.process.signals import tolerate

_current: Owner | None = None


def current_owner() -> Owner:
    """Return this process, looked up once and again after a fork."""
    global _current  # noqa: PLW0603  # a cache, one value a process
    if _current is None:
        pid = os.getpid()
        _current = Owner(_host_name(), pid, _process_space(), _look_up(pid)[0])
    return _current


def stand_for(child: int | None) -> None:
    """Have the runs of this process belong to a child that does their work; None ends that.

    The run then lives as long as the child, whatever becomes of this process.
    """
    global _current  # noqa: PLW0603  # likewise
    _current = None
    if child is not None:
        _current = current_owner()._replace(pid=child, started=_look_up(child)[0])


def _forget_current() -> None:
    global _current  # noqa: PLW0603  # likewise
    _current = None


lifecycle.register("process", in_child=_forget_current)  # cheaper than comparing pids on each call


def is_dead(owner: Owner) -> bool:
    """Tell whether an owner in this process's own space is certainly gone.

    Dead means: no such process, a zombie, or another process with its pid. A process that cannot be
    examined (one of another user under hidepid, for example) counts as alive, as does one in
    another process space.
    """
    if owner.space is None or owner.space != current_owner().space:
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it exists, but we may not signal it
    except OverflowError:
        return True  # no process can have such a pid
    started, zombie, parent = _look_up(owner.pid)
    if started is not None and owner.started is not None and started != owner.started:
        return True
    return zombie and not _is_run_command(parent)


def _is_run_command(pid: int) -> bool:
    """Tell whether a process is a ``cronguard run``, by its command line.

    It keeps its ended command as a zombie until the outcome is recorded: such a run is over, but
    has not crashed.
    """
    words: list[bytes] = []
    with tolerate(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123  # light
        words = file.read().split(b"\0")
    return any(
        word == b"run" and before.rpartition(b"/")[2].startswith(b"cronguard")
        for before, word in pairwise(words)
    )


def _host_name() -> str:
    name = ""
    with tolerate(OSError):
        name = socket.gethostname()[:200]
    if not name.isprintable():
        from cronguard.core.rendering import plain  # no host is called so

        name = plain(name)
    return name or "unknown"


def _process_space() -> str | None:
    if not sys.platform.startswith("linux"):
        return None
    with (
        tolerate(OSError, ValueError),
        open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file,  # noqa: PTH123  # on every run's path
    ):
        return f"{file.read().strip()}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115  # likewise
    return None


def _look_up(pid: int) -> tuple[str | None, bool, int]:
    """Return when a process started, in ticks since boot, whether it is a zombie, and its parent.

    These are fields 22, 3 and 4 of ``/proc/pid/stat``, see proc(5). Field 2, the name, is skipped
    by its last bracket, since it may hold spaces and brackets. If unreadable, the time is None.
    """
    with (
        tolerate(OSError, IndexError, ValueError),
        open(f"/proc/{pid}/stat", "rb") as file,  # noqa: PTH123  # on every run's path
    ):
        fields = file.read().rpartition(b")")[2].split()
        return fields[19].decode("ascii"), fields[0] in (b"Z", b"X"), int(fields[1])
    return None, False, 0
