"""What the guarded runs of a process share.

`composition` is the one place where settings become a store, channels, delivery and a watchdog;
`runtime` is what it builds. `delivery` empties the outbox; `check` finds what broke unseen.
"""

__all__ = [
    "channel_factory",
    "channel_threads",
    "check",
    "composition",
    "delivery",
    "delivery_codes",
    "heartbeat_ping",
    "runtime",
    "store_factory",
    "watchdog",
]
