"""A run whose log is in PostgreSQL or in a Supabase project: against the two bare calls."""

import sys

from tests.benchmark import table
from tests.benchmark.turns import compare
from tests.support.stack.client import Stack
from tests.support.stack.fixtures import Prepared


def servers(bench):
    """A call that does nothing, in a process that stays."""
    stack = Stack(bench.folder / "stack")
    bench.closing.callback(stack.close)
    project = Prepared(stack).project("legacy")
    of_project = {"SUPABASE_URL": project.url, "SUPABASE_SECRET_KEY": project.secret_key}
    for kind, name, store, times, promised in (
        ("postgres", "PostgreSQL", project.database.url, 50, "at most 1.2"),
        ("supabase", "Supabase", "supabase", 20, "at most 1.15"),
    ):
        options = {"store": store, "python": sys.executable, **of_project}
        ours = bench.worker("cronguard", **options)
        bare = bench.worker(kind, job="by_hand", **options)
        found = compare(ours.side(times), bare.side(times), bench.rounds)
        table.row(f"a run on {name} / two bare calls", found, promised)
