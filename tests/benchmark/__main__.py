"""``python -m tests.benchmark [NAME …]``: every figure a ratio, sides taking turns in one run.

Machines are noisy, so a row shows the median of the pairwise ratios and their quartiles; nothing
here passes or fails. ``--rounds N`` (default 21) sets how often the sides take turns.
"""

import argparse
import contextlib
import importlib.util
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmark import raw

ROOT = Path(__file__).parents[2]


def pairs(ours, theirs, rounds):
    """(our median, their median, ratio's median, lower and upper quartile)."""
    ours()
    theirs()
    a, b = [], []
    for turn in range(rounds):
        for side, out in ((ours, a), (theirs, b)) if turn % 2 else ((theirs, b), (ours, a)):
            out.append(side())
    ratios = [x / y for x, y in zip(a, b, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return statistics.median(a), statistics.median(b), middle, low, high


def timed(function, times):
    """A side that calls a function so many times; seconds a call."""

    def side():
        start = time.perf_counter()
        for _ in range(times):
            function()
        return (time.perf_counter() - start) / times

    return side


def show(name, figures, limit):
    ours, theirs, ratio, low, high = figures
    print(
        f"{name:<44} {ours * 1e6:>12,.0f} µs {theirs * 1e6:>12,.0f} µs"
        f"   {ratio:.2f} ({low:.2f}-{high:.2f})   {limit}",
        flush=True,
    )


def fresh(folder, name):
    """An empty log's path."""
    from cronguard.stores.sqlite import SQLiteStore

    path = Path(folder) / name
    store = SQLiteStore(path)
    store.migrate()
    store.close()
    return path


def fill(path, rows, job="nightly"):
    """Give a log a long past."""
    db = raw.connect(path)
    db.execute("PRAGMA synchronous = OFF")
    db.execute("BEGIN")
    from cronguard.ids import new_id

    db.executemany(
        "INSERT INTO cron_execution_logs (id, job, status, started_at, finished_at, duration_ms,"
        " consecutive_failure_count, host, pid) VALUES (?, ?, 'success', ?, ?, 1, 0, 'host', 1)",
        ((new_id(), job, raw.now(), raw.now()) for _ in range(rows)),
    )
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def guarded(path, function, **options):
    """The function guarded on that log."""
    import cronguard

    cronguard.configure(store=f"sqlite:///{path}", channels=["log"])
    return cronguard.cron_guarded(job="nightly", **options)(function)


def nothing():
    pass


def bad():
    raise ValueError("the export is incomplete")


def quiet(function):
    def call():
        with contextlib.suppress(ValueError):
            function()

    return call


def bench_call(folder, rounds):
    db = raw.connect(fresh(folder, "raw.db"))
    ours = guarded(fresh(folder, "ours.db"), nothing)
    show(
        "guarded no-op call / raw",
        pairs(timed(ours, 300), timed(lambda: raw.run(db, "nightly", nothing), 300), rounds),
        "at most 1.3",
    )
    failing = quiet(guarded(Path(folder) / "ours.db", bad, threshold=1_000_000))
    show(
        "guarded failing call / raw",
        pairs(timed(failing, 200), timed(lambda: raw.run(db, "nightly", bad), 200), rounds),
        "at most 5",
    )


def bench_size(folder, rounds):
    small, large = fresh(folder, "small.db"), fresh(folder, "large.db")
    fill(small, 1_000)
    fill(large, 1_000_000)
    from cronguard import _runtime

    small_job = guarded(small, nothing)
    small_job()
    small_runtime = _runtime._current
    _runtime._current = None
    large_job = guarded(large, nothing)
    large_job()
    large_runtime = _runtime._current

    def on(runtime, job):
        side = timed(job, 300)

        def call():
            _runtime._current = runtime
            return side()

        return call

    show(
        "a run at 10⁶ rows / at 10³",
        pairs(on(large_runtime, large_job), on(small_runtime, small_job), rounds),
        "at most 1.25",
    )


STANDARD = (
    "import contextvars, functools, inspect, os, random, socket, sqlite3, sys, threading, time,"
    " typing, uuid; from datetime import UTC, datetime; from pathlib import Path"
)


def process(code, environment):
    """A side that runs a whole interpreter; seconds."""

    def side():
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, cwd=ROOT)
        return time.perf_counter() - start

    return side


def bench_process(folder, rounds):
    path, other = fresh(folder, "process.db"), fresh(folder, "process-raw.db")
    env = {**os.environ, "CRONGUARD_STORE": f"sqlite:///{path}"}
    ours = "from cronguard import cron_guarded\n@cron_guarded\ndef nightly(): pass\nnightly()"
    by_hand = (
        f"{STANDARD}\nimport wrapt\nfrom tests.benchmark import raw\n"
        f"db = raw.connect({str(other)!r})\nraw.run(db, 'nightly', lambda: None)\ndb.close()"
    )
    show(
        "one-run process / raw (wrapt in both)",
        pairs(process(ours, env), process(by_hand, env), rounds),
        "at most 1.25 without wrapt",
    )
    show(
        "import cronguard / bare interpreter",
        pairs(process("import cronguard", env), process("pass", env), rounds),
        "25 ms more at most",
    )
    click = (
        "import click\n@click.group()\n@click.version_option('1')\ndef m(): pass\nm(['--version'])"
    )
    version = "import sys; sys.argv[1:] = ['--version']\nfrom cronguard.cli import main\nmain()"
    show(
        "cronguard --version / bare click",
        pairs(process(version, env), process(click, env), rounds),
        "at most 1.2",
    )
    if importlib.util.find_spec("sentry_sdk"):
        theirs = (
            "import sentry_sdk\nfrom sentry_sdk.crons import monitor\n"
            "sentry_sdk.init('http://k@127.0.0.1:9/1')\n"
            "@monitor(monitor_slug='nightly')\ndef nightly(): pass\nnightly()"
        )
        show(
            "one-run process / sentry-sdk",
            pairs(process(ours, env), process(theirs, env), max(5, rounds // 3)),
            "below 1",
        )


def _hammer(path, runs, by_hand):
    if by_hand:
        db = raw.connect(path)
        for _ in range(runs):
            raw.run(db, "nightly", nothing)
        return
    job = guarded(path, nothing, overlap="allow")
    for _ in range(runs):
        job()


def bench_many(folder, rounds):
    processes, runs = 32, 200
    context = multiprocessing.get_context("fork")
    paths = []

    def side(by_hand):
        def call():
            path = fresh(folder, f"many-{by_hand}-{len(paths)}.db")
            paths.append(path)
            workers = [
                context.Process(target=_hammer, args=(path, runs, by_hand))
                for _ in range(processes)
            ]
            start = time.perf_counter()
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            spent = time.perf_counter() - start
            rows = raw.connect(path).execute(
                "SELECT count(*) FROM cron_execution_logs WHERE status = 'success'"
            )
            found = rows.fetchone()[0]
            if found != processes * runs:
                print(f"  {processes * runs - found} runs are missing from {path.name}")
            return spent / (processes * runs)

        return call

    show(
        f"{processes} processes on one file / raw",
        pairs(side(False), side(True), max(5, rounds // 4)),
        "at most 1.25 (0.8 of its throughput)",
    )


def bench_syncs(folder, rounds):
    if not shutil.which("strace"):
        print("fdatasync calls: strace is not here")
        return
    path, other = fresh(folder, "syncs.db"), fresh(folder, "syncs-raw.db")
    env = {**os.environ, "CRONGUARD_STORE": f"sqlite:///{path}"}
    ours = "from cronguard import cron_guarded\n@cron_guarded\ndef nightly(): pass\nnightly()"
    by_hand = (
        f"from tests.benchmark import raw\ndb = raw.connect({str(other)!r})\n"
        "raw.run(db, 'nightly', lambda: None)\ndb.close()"
    )
    counts = []
    for code in (ours, by_hand):
        found = subprocess.run(
            ["strace", "-f", "-e", "trace=fdatasync,fsync", sys.executable, "-c", code],
            env=env,
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        )
        counts.append(found.stderr.count("sync("))
    print(f"{'fdatasync calls of a one-run process':<44} {counts[0]} against {counts[1]}")


def main():
    benches = {
        name.removeprefix("bench_"): bench
        for name, bench in globals().items()
        if name.startswith("bench_")
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*benches, []], metavar="NAME")
    parser.add_argument("--rounds", type=int, default=21)
    asked = parser.parse_args()
    print(f"{'':<44} {'ours':>15} {'theirs':>15}   ratio (quartiles)   promised", flush=True)
    for name in asked.names or benches:
        with tempfile.TemporaryDirectory() as folder:
            benches[name](folder, asked.rounds)


if __name__ == "__main__":
    main()
