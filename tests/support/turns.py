"""Tests that measure time have the machine to themselves, however many workers there are.

Every test holds a lock that all may share; one that is marked ``alone`` takes it whole. While it
waits for that it keeps the door closed, so that no new test comes in before it.
"""

import contextlib
import fcntl

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Wait for our turn, with the machine to ourselves if the test is to be alone."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    shared = item.config._tmp_path_factory.getbasetemp().parent
    with _locked(shared / "door", fcntl.LOCK_EX) as leave_the_door:
        alone = item.get_closest_marker("alone") is not None
        with _locked(shared / "room", fcntl.LOCK_EX if alone else fcntl.LOCK_SH):
            leave_the_door()
            return (yield)


@contextlib.contextmanager
def _locked(path, how):
    with path.open("w") as file:

        def unlock():  # closing is not enough: a process that was forked meanwhile has it open too
            fcntl.flock(file, fcntl.LOCK_UN)

        fcntl.flock(file, how)
        try:
            yield unlock
        finally:
            unlock()
