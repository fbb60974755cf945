"""A process whose calls are timed: ``worker.py TOOL HOW STORE JOB SINK``.

TOOL is ``cronguard``, ``sqlite``, ``postgres`` or ``supabase`` for the same written by hand, or one
of the peers. HOW is ``ok`` or ``fail``. For each number that is read so many calls are made, and
the seconds that they took are written: wall clock, processor.
"""

import contextlib
import importlib
import os
import sys
import time
from pathlib import Path


def nothing():
    pass


def bad():
    raise ValueError("the export is incomplete")


def call_of(tool, store, job, sink, work):
    """The function whose calls are timed."""
    os.environ |= {"CRONGUARD_STORE": store, "CRONGUARD_CHANNELS": "log"}
    if tool == "cronguard":
        from cronguard import cron_guarded

        return cron_guarded(job=job, threshold=1_000_000)(work)
    if tool == "sqlite":
        return importlib.import_module("by_hand_sqlite").call_of(store, job, work)
    if tool in ("postgres", "supabase"):
        return getattr(importlib.import_module("by_hand_functions"), tool)(store, job, work)
    sys.path.append(str(Path(__file__).parents[1] / "peers"))
    guard, _ = importlib.import_module("tools").guard_with(tool, store, sink, threshold=1_000_000)
    return guard(work)


def main(tool, how, store, job, sink):
    call = call_of(tool, store, job, sink, bad if how == "fail" else nothing)
    for line in sys.stdin:
        times = range(int(line))
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in times:
            with contextlib.suppress(ValueError):
                call()
        print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
