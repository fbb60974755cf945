"""Two sides of a comparison, taking turns in one run, and what comes of it."""

import os
import statistics
import subprocess
import time
from subprocess import DEVNULL
from typing import NamedTuple


class Cost(NamedTuple):
    """Seconds that one unit took: of wall clock, and of processor (user and system)."""

    wall: float
    cpu: float

    def less(self, other):
        """Without another one."""
        return Cost(self.wall - other.wall, self.cpu - other.cpu)


class Comparison(NamedTuple):
    """Pairs of (ours, theirs), one a round."""

    pairs: list

    def median(self, side):
        """The median `Cost` of a side, 0 for ours."""
        costs = [pair[side] for pair in self.pairs]
        return Cost(*map(statistics.median, zip(*costs, strict=True)))

    def ratios(self, each):
        """(lower quartile, median, upper quartile) of the pairs' ratios; 0 is wall clock."""
        return statistics.quantiles([ours[each] / theirs[each] for ours, theirs in self.pairs], n=4)


def compare(ours, theirs, rounds):
    """Let two sides take turns."""
    return Comparison(take_turns((ours, theirs), rounds))


def take_turns(sides, rounds):
    """Let every side do its unit in turn, in changing order, after one each that is not counted.

    A side is a function that does some work and returns its `Cost`; a round is a list of those.
    """
    for side in sides:
        side()
    found = []
    for turn in range(rounds):
        order = sides[turn % len(sides) :] + sides[: turn % len(sides)]
        costs = {side: side() for side in order}
        found.append([costs[side] for side in sides])
    return found


def process(command, **options):
    """A side that is a whole process, from its start to its end."""

    def side():
        begun = time.perf_counter()
        running = subprocess.Popen(command, stdout=DEVNULL, stderr=DEVNULL, **options)
        _, status, used = os.wait4(running.pid, 0)
        wall = time.perf_counter() - begun
        running.returncode = os.waitstatus_to_exitcode(status)
        assert running.returncode == 0, f"{command} ended with {running.returncode}"
        return Cost(wall, used.ru_utime + used.ru_stime)

    return side
