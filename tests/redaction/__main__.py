"""``python -m tests.redaction``: what redaction leaks and what it hides, as one table.

Each corpus is a row: how many private values were in it and how much of them was masked (recall);
of what is not private, how many words came through, how many facts that one needs to act, and how
many messages whole. With ``--seed fresh`` other people than ever before.
"""

import argparse
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import redaction_figures


def _share(value):
    return "" if value is None else f"{value:.4f}" if value > 0.99 else f"{value:.3f}"


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.redaction", description=__doc__)
    parser.add_argument("--seed", default="2026", help="of the people; 'fresh' draws one [2026]")
    parser.add_argument("-k", default="", metavar="WORD", help="only corpora called so")
    parser.add_argument("-v", action="store_true", help="also what leaked and what was hidden")
    parser.add_argument("--page", help="write the page of the sixty ordinary failures to this file")
    asked = parser.parse_args()
    seed = asked.seed
    if seed == "fresh":
        seed = str(random.SystemRandom().randrange(10**9))
    print("| corpus | values | recall | words kept | facts kept | whole messages |")  # noqa: T201
    print("|---|---|---|---|---|---|")  # noqa: T201
    for row in redaction_figures.rows(seed, word=asked.k, page=asked.page):
        whole = "{} of {}".format(*row.whole) if row.whole[1] else ""
        shares = [_share(each) for each in (row.recall, row.share("tokens"), row.share("facts"))]
        print("|", " | ".join([row.name, f"{row.values or ''}", *shares, whole]), "|", flush=True)  # noqa: T201
        for each in [*row.leaked, *row.hidden] if asked.v else ():
            print("   ", *map(ascii, each))  # noqa: T201


if __name__ == "__main__":
    main()
