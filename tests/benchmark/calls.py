"""A guarded call in a process that stays: against the same rows by hand, and against the peers."""

import re

from tests.benchmark import by_hand_sqlite, table
from tests.benchmark.turns import compare

PEERS = {"sentry": "sentry-sdk's", "cronwatch": "cronwatch-sdk's", "cronitor": "cronitor's"}


def calls(bench):
    """A call that does nothing, and one that fails."""
    for how, name, times, promised in (
        ("ok", "no-op call", 300, "at most 1.3"),
        ("fail", "failing call", 150, "at most 5"),
    ):
        ours, by_hand = bench.worker("cronguard", how), bench.worker("sqlite", how)
        found = compare(ours.side(times), by_hand.side(times), bench.rounds)
        table.row(f"guarded {name} / by hand", found, promised)
        for tool, whose in PEERS.items():
            theirs = bench.worker(tool, how)
            found = compare(ours.side(times // 3), theirs.side(times // 3), bench.rounds)
            theirs.end()
            table.row(f"guarded {name} / {whose}", found, "below 1" if how == "fail" else "")


def rapid(bench):
    """500 calls, one after the other: what is recorded as finished when the process has ended?"""
    store = bench.log()
    bench.sink.seen.clear()
    for tool in ("cronguard", "sentry"):
        worker = bench.worker(tool, store=store)
        worker.begin(500)
        worker.cost()
        worker.end()
    db = by_hand_sqlite.connect(store)
    found = db.execute("SELECT count(*) FROM cron_execution_logs WHERE status = 'success'")
    theirs = len(re.findall(r'"status": ?"ok"', bench.sink.text()))
    table.count("500 rapid calls, finished / sentry-sdk's", *found.fetchone(), theirs, "500")
    db.close()
