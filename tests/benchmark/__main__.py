"""``python -m tests.benchmark [NAME …]``: cronguard's figures, as ratios measured in one run.

Machines are noisy: the sides of a comparison take turns, and a row shows medians and quartiles of
the pairs' ratios, by the clock on the wall and by the processor's time. Nothing passes or fails
here. Peers and cronguard itself are installed into a throw-away environment first; servers are the
tests' own.
"""

import argparse
import tempfile

from tests.benchmark import calls, crowds, processes, servers, sizes, table
from tests.benchmark.bench import Bench

MEASUREMENTS = {
    "calls": calls.calls,
    "rapid": calls.rapid,
    "processes": processes.processes,
    "command-line": processes.command_line,
    "syncs": processes.syncs,
    "installed": processes.installed,
    "sizes": sizes.sizes,
    "crowds": crowds.crowds,
    "counts": crowds.counts,
    "servers": servers.servers,
}


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--rounds", type=int, default=15, help="turns for each side [15]")
    parser.add_argument("--large", action="store_true", help="also a log of 10⁷ rows (4 GB)")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(MEASUREMENTS):
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    table.head()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder, asked.rounds, large=asked.large)
        for name in asked.names or MEASUREMENTS:
            with bench.closing:
                MEASUREMENTS[name](bench)


if __name__ == "__main__":
    main()
