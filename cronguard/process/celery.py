"""What Celery's prefork children do at their end: wait for cronguard's threads.

They end by `os._exit`, which waits for no thread. With ``worker_max_tasks_per_child=1`` that
happens after every task, while the alert about it is still being sent; without waiting, it would be
left to some later process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from cronguard.core.model import DELIVERY_SECONDS
from cronguard.process.forks import wait_for_our_threads


def watch(at_exit: Callable[[], None]) -> None:
    """Have Celery's children wait for our threads and call ``at_exit`` when they end.

    It works for this process and for those that it forks. Without Celery it does nothing.
    """
    signals = sys.modules.get("celery.signals")
    if signals is None:
        return

    def before_exit(**_: object) -> None:
        wait_for_our_threads(DELIVERY_SECONDS)
        at_exit()

    signals.worker_process_shutdown.connect(before_exit, weak=False, dispatch_uid=__name__)
