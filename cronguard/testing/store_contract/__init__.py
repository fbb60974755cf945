"""The promises of `interfaces.Store`, as tests. Subclass, give `make_store`, run pytest.

They are written against the protocol alone, so they run unchanged on every store.
"""

from __future__ import annotations

from cronguard.testing.store_contract._alerts import Alerts
from cronguard.testing.store_contract._crashes import Crashes
from cronguard.testing.store_contract._damaged import Damages
from cronguard.testing.store_contract._ended import Ended
from cronguard.testing.store_contract._expected import Expected
from cronguard.testing.store_contract._notified import Notified
from cronguard.testing.store_contract._outbox import Outbox
from cronguard.testing.store_contract._overlaps import Overlaps
from cronguard.testing.store_contract._repeats import Repeats
from cronguard.testing.store_contract._shown import Shown
from cronguard.testing.store_contract._silences import Silences
from cronguard.testing.store_contract._streak import Streak


class StoreContract(
    Streak,
    Alerts,
    Repeats,
    Overlaps,
    Crashes,
    Ended,
    Expected,
    Silences,
    Notified,
    Outbox,
    Shown,
    Damages,
):
    """Subclass it, return your store from `make_store`; give `JOB` a prefix if tests share it.

    If others can write to your store's rows, say in `damage` how.
    """


__all__ = ["StoreContract"]
