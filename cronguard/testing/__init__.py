"""What cronguard's own tests use, for yours: a store in memory, a channel that records, a clock
that stands still, and the contracts that a store or channel plugin must keep.

Guarding a job in a test needs none of this by hand: ask for the ``cronguard`` fixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cronguard.testing.channel import ChannelContract, RecordingChannel
    from cronguard.testing.harness import Harness
    from cronguard.testing.memory import FrozenClock, MemoryStore
    from cronguard.testing.store_contract import StoreContract

__all__ = [
    "ChannelContract",
    "FrozenClock",
    "Harness",
    "MemoryStore",
    "RecordingChannel",
    "StoreContract",
]

_HOMES = {
    "ChannelContract": "channel",
    "FrozenClock": "memory",
    "Harness": "harness",
    "MemoryStore": "memory",
    "RecordingChannel": "channel",
    "StoreContract": "store_contract",  # the one that needs pytest
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # each part is loaded when it is used

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
