"""Celery's prefork children end by `os._exit`, which waits for no thread: they wait before it.

Each does after ``worker_max_tasks_per_child`` tasks, so with 1 after every task, with the alert
about it still on its way: it would have to wait for somebody who lives longer.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from cronguard.core.model import DELIVERY_SECONDS


def watch(at_exit: Callable[[], None]) -> None:
    """When a child ends, wait and call ``at_exit``; in this process and in those that it forks."""
    signals = sys.modules.get("celery.signals")
    if signals is None:
        return

    def before_exit(**_: object) -> None:
        _wait()
        at_exit()

    signals.worker_process_shutdown.connect(before_exit, weak=False, dispatch_uid=__name__)


def _wait() -> None:
    """As the interpreter would, for threads of ours that are no daemons."""
    give_up = time.monotonic() + DELIVERY_SECONDS
    for thread in threading.enumerate():
        if thread.name.startswith("cronguard-") and not thread.daemon:
            thread.join(max(0.0, give_up - time.monotonic()))
