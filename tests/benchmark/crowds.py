"""Many processes on one log."""

from tests.benchmark import by_hand_sqlite, table
from tests.benchmark.turns import Cost, compare
from tests.support import crowd
from tests.support.stack.client import Stack
from tests.support.stack.fixtures import Prepared

PROCESSES = 32
CALLS = 210
"""Each process's in a round: in 15 rounds and one before them the crowd makes over 100,000."""


class Crowd:
    """Workers on one log, each with a job of its own."""

    def __init__(self, bench, tool):
        self.store = bench.log()
        self.made = 0
        self._workers = [
            bench.worker(tool, store=self.store, job=f"job{number}") for number in range(PROCESSES)
        ]

    def side(self):
        """All together make their calls: what one takes, when so many are at it."""
        for worker in self._workers:
            worker.begin(CALLS)
        costs = [worker.cost() for worker in self._workers]
        self.made += PROCESSES * CALLS
        longest = max(cost.wall for cost in costs)
        used = sum(cost.cpu for cost in costs)
        return Cost(longest / (PROCESSES * CALLS), used / (PROCESSES * CALLS))

    def recorded(self):
        """How many of the calls are recorded as having ended well."""
        db = by_hand_sqlite.connect(self.store)
        query = "SELECT count(*) FROM cron_execution_logs WHERE status = 'success'"
        (found,) = db.execute(query).fetchone()
        db.close()
        return found


def crowds(bench):
    """Throughput of 32 processes on one file, and whether anything is missing."""
    ours, by_hand = Crowd(bench, "cronguard"), Crowd(bench, "sqlite")
    found = compare(ours.side, by_hand.side, bench.rounds)
    table.row(f"a run, {PROCESSES} processes on one file / by hand", found, "at most 1.25")
    table.count("… recorded, of those made", f"{ours.recorded():,}", f"{ours.made:,}", "all")


def counts(bench):
    """32 processes with 100 failures each of one job, on every store: how many distinct counts?"""
    stack = Stack(bench.folder / "counted")
    bench.closing.callback(stack.close)
    project = Prepared(stack).project("legacy")
    of_project = {"SUPABASE_URL": project.url, "SUPABASE_SECRET_KEY": project.secret_key}
    for name, store in (
        ("SQLite", f"sqlite:///{bench.log()}"),
        ("PostgreSQL", project.database.url),
        ("a pooler", project.database.pooler_url),
        ("Supabase", "supabase"),
    ):
        project.database.empty()
        found = set(crowd.counts(store, PROCESSES, 100, **of_project))
        what = f"{PROCESSES} x 100 failures on {name}: distinct counts, the highest"
        table.count(what, f"{len(found):,}, {max(found):,}", "", "3,200, 3,200")
