"""Decide which tests run here, and in how many processes."""

import os
from pathlib import Path

import pytest

COLLECTED = pytest.StashKey()
"""Every test that was collected, those included that `-m` and `-k` left out."""


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config, items):
    """Note what there is before anything is left out."""
    config.stash[COLLECTED] = list(items)
    return (yield)


def pytest_runtest_setup(item):
    """Leave out what only root may do, and say what that is."""
    marker = item.get_closest_marker("needs_root")
    if marker and os.geteuid():
        pytest.skip(f"needs root: it {marker.args[0]}; CI runs it as root")


def pytest_xdist_auto_num_workers(config):
    """Return how many processes ``-n auto`` stands for: one on each processor.

    0, which is this process itself, where files or tests are named and where output is not to be
    captured: starting workers would take longer than most tests do, and hide what they print.
    """
    named = any(Path(each.partition("::")[0]).is_file() for each in config.args)
    if named or config.option.capture == "no":
        return 0
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
