"""What is broken, and what must go red: a module for each package of the house, and for its plan.

A new promise belongs here with the test that holds it. `tests/system/test_broken.py` says when an
old text is no longer there, or a test no longer exists.
"""

from . import (
    channels,
    cli,
    core,
    ended,
    expectations,
    forks,
    guarding,
    health,
    house,
    inside,
    privacy,
    report,
    runtime,
    settings,
    stores,
)

ENTRIES = (
    *core.ENTRIES,
    *ended.ENTRIES,
    *expectations.ENTRIES,
    *health.ENTRIES,
    *forks.ENTRIES,
    *privacy.ENTRIES,
    *stores.ENTRIES,
    *channels.ENTRIES,
    *settings.ENTRIES,
    *runtime.ENTRIES,
    *guarding.ENTRIES,
    *inside.ENTRIES,
    *cli.ENTRIES,
    *report.ENTRIES,
    *house.ENTRIES,
)
