"""A run whose log is in PostgreSQL or in a Supabase project: against the two bare calls."""

import sys

from tests.benchmark import table
from tests.benchmark.turns import compare, process
from tests.support.stack.client import Stack
from tests.support.stack.fixtures import Prepared

ONE_RUN = """
from cronguard import cron_guarded

cron_guarded(job="nightly")(lambda: None)()
"""
TWO_CALLS = """
import os
from supabase import create_client

client = create_client(os.environ["SUPABASE_URL"], os.environ["SUPABASE_SECRET_KEY"])
for _ in range(2):
    client.rpc("cronguard_schema_version", {}).execute()
"""


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
    environ = {**bench.environ, **of_project, "CRONGUARD_STORE": "supabase"}
    found = compare(
        process([sys.executable, "-c", ONE_RUN], env=environ),
        process([sys.executable, "-c", TWO_CALLS], env=environ),
        bench.rounds,
    )
    table.row(
        "one-run process on Supabase / its client's two calls", found, "at most 0.6", unit="ms"
    )
