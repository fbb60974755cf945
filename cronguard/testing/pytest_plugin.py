"""The pytest plugin: guarded jobs in your tests touch neither your store nor your channels.

Every test runs against a cronguard in memory of its own. Ask for the ``cronguard`` fixture to look
at it: ``cronguard.alerts``, ``cronguard.streak("job")``, ``cronguard.fail(job, times=2)``,
``cronguard.clock.advance(3600)``. What runs outside tests, from the first conftest to the end of
the session, goes to one more. ``cronguard_isolation = false`` in pytest's settings turns this off
for tests that do not ask; then nothing of cronguard is imported before one does, so that coverage
sees it all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cronguard.testing.harness import Harness

# A contract's asserts should explain themselves in a plugin author's tests as they do in ours.
pytest.register_assert_rewrite("cronguard.testing.channel", "cronguard.testing.store_contract")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare ``cronguard_isolation``."""
    parser.addini(
        "cronguard_isolation",
        "keep guarded jobs in tests away from the real store and channels (default: true)",
        type="bool",
        default=True,
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """Catch what guarded jobs record outside tests: in a conftest, a module or its fixtures."""
    if early_config.getini("cronguard_isolation"):
        isolation = ExitStack()
        isolation.enter_context(_installed())
        early_config.add_cleanup(isolation.close)
    yield


@pytest.fixture(autouse=True)
def _cronguard_isolated(request: pytest.FixtureRequest) -> None:
    """Give each test a memory of its own, whether it asks for it or not."""
    if request.config.getini("cronguard_isolation"):
        request.getfixturevalue("cronguard")


@pytest.fixture
def cronguard() -> Iterator[Harness]:
    """cronguard in memory: guarded jobs record here, alerts are captured, the clock stands still.

    ``cronguard.alerts`` lists what would have been sent, ``cronguard.streak("job")`` counts
    failures in a row, ``cronguard.fail(job, times=2)`` records failures, ``cronguard.runs("job")``
    shows the runs, ``cronguard.clock.advance(seconds)`` moves the time.
    """
    with _installed() as harness:
        yield harness


@contextmanager
def _installed() -> Iterator[Harness]:
    """Install a new one."""
    from cronguard.process.lifecycle import own_modules  # after coverage has started

    with own_modules():
        harness = _harness_type()()
    with harness.installed():
        yield harness


@cache
def _harness_type() -> type[Harness]:
    """Return it, loaded once; what it needs of Python's own is not what lies beside the tests."""
    from cronguard.process.hidden import hiding_files, python_first

    files = hiding_files()
    with python_first(files):
        from cronguard.runtime.composition import current
        from cronguard.testing.harness import Harness

        if files:
            with Harness().installed():
                current().preload_at_once()
    return Harness
