"""The identity of this process, and whether another process is still alive.

On Linux that can be looked up; elsewhere only the lease decides. A pid has a meaning only inside
its process space: one boot of one kernel, one pid namespace. In it, the start time tells a process
from a later one with the same pid.
"""

from __future__ import annotations

import os
import socket
import sys

from cronguard.core.model import Owner
from cronguard.process import forks

_current: Owner | None = None


def current_owner() -> Owner:
    """Return this process, looked up once and again after a fork."""
    global _current  # noqa: PLW0603  # a cache, one value a process
    if _current is None:
        pid = os.getpid()
        _current = Owner(_host_name(), pid, _process_space(), _start_time(pid)[0])
    return _current


def _forget_current() -> None:
    global _current  # noqa: PLW0603  # likewise
    _current = None


forks.register(
    "process", after_in_child=_forget_current
)  # cheaper than comparing the pid on each call


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
    except OSError:
        pass  # it exists, but we may not signal it
    except OverflowError:
        return True  # no process can have such a pid
    started, zombie = _start_time(owner.pid)
    if zombie:
        return True
    return started is not None and owner.started is not None and started != owner.started


def _host_name() -> str:
    try:
        name = socket.gethostname()[:200]
    except OSError:
        name = ""
    if not name.isprintable():
        from cronguard.core.rendering import plain  # no host is called so

        name = plain(name)
    return name or "unknown"


def _process_space() -> str | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123  # on every run's path
            boot = file.read().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115  # likewise
    except (OSError, ValueError):
        return None


def _start_time(pid: int) -> tuple[str | None, bool]:
    """Return when a process started, in ticks since boot, and whether it is a zombie.

    These are fields 22 and 3 of ``/proc/pid/stat``, see proc(5). Field 2, the name, is skipped by
    its last bracket, since it may hold spaces and brackets. If unreadable, the time is None.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  # on every run's path
            fields = file.read().rpartition(b")")[2].split()
        return fields[19].decode("ascii"), fields[0] in (b"Z", b"X")
    except (OSError, IndexError, ValueError):
        return None, False
