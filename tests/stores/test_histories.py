"""Random histories give what a plain reference gives, on every store."""

import pytest
from support.histories import History

from cronguard.stores.sqlite.store import SQLiteStore
from cronguard.testing import FrozenClock

STEPS = 60


class EveryStart(SQLiteStore):
    """Judges at every start: it saves no look at runs that were alive a moment ago."""

    def _time_to_sweep(self, job):
        return True


@pytest.mark.parametrize("seed", range(30))
def test_sqlite(tmp_path, seed):
    """Every answer, row, alert and expectation."""
    clock = FrozenClock()
    store = EveryStart(tmp_path / "log.db", clock=clock)
    History(store, lambda now: setattr(clock, "now", now), seed).play(STEPS)
    store.close()
