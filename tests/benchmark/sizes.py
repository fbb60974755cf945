"""A run's cost in a log with a long past."""

from tests.benchmark import by_hand_sqlite, table
from tests.benchmark.turns import compare

FILL = """
    INSERT INTO cron_execution_logs (id, job, status, started_at, finished_at, duration_ms,
        consecutive_failure_count, host, pid)
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
    SELECT printf('%08x-%04x-7000-8000-%012x', n >> 16, n & 65535, n), 'nightly', 'success',
        '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:01.000000Z', 1000.0, 0, 'host', 1
    FROM numbers"""


def filled(bench, rows):
    """A log of so many runs of one job."""
    path = bench.log()
    db = by_hand_sqlite.connect(path)
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA cache_size = -400000")
    db.execute(FILL, (rows,))
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    return path


def sizes(bench):
    """A call at 10⁶ rows, and where it is asked for at 10⁷, against one at 10³."""
    small = bench.worker("cronguard", store=filled(bench, 1_000))
    for power in (6, 7) if bench.large else (6,):
        large = bench.worker("cronguard", store=filled(bench, 10**power))
        found = compare(large.side(300), small.side(300), bench.rounds)
        table.row(f"a run at 10^{power} rows / at 10^3", found, "at most 1.25")
