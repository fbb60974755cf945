"""Fixtures that several test files share; each is defined in ``support``."""

import itertools
import signal

import hypothesis
import pytest
from support.selection import (
    pytest_collection_modifyitems,
    pytest_runtest_setup,
    pytest_xdist_auto_num_workers,
)
from support.stack.fixtures import (
    _prepared,
    any_project,
    database,
    newer_project,
    project,
    project_of_regime,
    regime,
    stack,
)
from support.turns import pytest_runtest_protocol

from cronguard.runtime import composition

# A busy machine is no failure; a fixture that all examples share is meant to be shared.
hypothesis.settings.register_profile(
    "unhurried",
    deadline=None,
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.function_scoped_fixture,
    ],
)
hypothesis.settings.load_profile("unhurried")

# A shell's background job ignores these, nohup's command too; so would every process of a test.
for _number, _default in (
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _default)


def pytest_addoption(parser):
    group = parser.getgroup("redaction", "how redaction is measured")
    group.addoption(
        "--redaction-seed",
        default="2026",
        metavar="SEED",
        help="the seed of the corpus of people's data; 'fresh' draws one [2026]",
    )
    group.addoption(
        "--redaction-each",
        type=int,
        default=1,
        metavar="N",
        help="so many times as many cases of each form [1]",
    )


_homes = itertools.count()


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory, monkeypatch):
    """Every test has a state folder of its own, made when something is put there, and leaves no
    runtime of its settings to the next."""
    folder = tmp_path_factory.getbasetemp() / f"state-{next(_homes)}"
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    yield
    composition.reset()


__all__ = [
    "_prepared",
    "any_project",
    "database",
    "newer_project",
    "project",
    "project_of_regime",
    "pytest_collection_modifyitems",
    "pytest_runtest_protocol",
    "pytest_runtest_setup",
    "pytest_xdist_auto_num_workers",
    "regime",
    "stack",
]
