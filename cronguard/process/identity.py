"""Who is running, and is somebody else still alive? Linux can tell; elsewhere the lease decides.

A pid means something only inside its process space: one boot of one kernel, one pid namespace.
There, a start time tells a process from a later one that got the same pid.
"""

from __future__ import annotations

import os
import socket
import sys

from cronguard.core.model import Owner
from cronguard.process import forks

_me: Owner | None = None


def current_owner() -> Owner:
    """This process, looked up once and again after a fork."""
    global _me  # noqa: PLW0603  # a cache of one value a process
    if _me is None:
        pid = os.getpid()
        _me = Owner(_host(), pid, _space(), _start_time(pid)[0])
    return _me


def _forget() -> None:
    global _me  # noqa: PLW0603  # likewise
    _me = None


forks.register("process", after_in_child=_forget)  # asking for the pid each time costs more


def is_dead(owner: Owner) -> bool:
    """Whether an owner in this process's own space is certainly gone.

    Dead means: no such process, a zombie, or another process with its pid. What cannot be known
    (a process of another user under hidepid, say) counts as alive.
    """
    if owner.space is None or owner.space != current_owner().space:
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # it exists and is not ours to signal
    except OverflowError:
        return True  # no process was ever called that
    started, zombie = _start_time(owner.pid)
    if zombie:
        return True
    return started is not None and owner.started is not None and started != owner.started


def _host() -> str:
    try:
        name = socket.gethostname()[:200]
    except OSError:
        name = ""
    return "".join(each for each in name if each.isprintable()) or "unknown"


def _space() -> str | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123  # on every run's path
            boot = file.read().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115  # likewise
    except (OSError, ValueError):
        return None


def _start_time(pid: int) -> tuple[str | None, bool]:
    """(when a process started, in ticks since boot; whether it is a zombie); None if unreadable.

    Fields 22 and 3 of proc(5)'s ``/proc/pid/stat``; the second field may hold spaces and brackets.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  # on every run's path
            fields = file.read().rpartition(b")")[2].split()
        return fields[19].decode("ascii"), fields[0] in (b"Z", b"X")
    except (OSError, IndexError, ValueError):
        return None, False
