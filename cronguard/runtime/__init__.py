"""What the guarded runs of a process share.

`composition` is the one place where settings become a store, channels, delivery and a watchdog;
`runtime` is what it builds. `watchdog` sees to the runs that are open, `preparation` loads what a
failure would need. `delivery` sends what is in the outbox, `retries` says when what failed is tried
again; `health` reads how every job is doing, and `check` finds failures that no process saw.
"""

__all__ = [
    "channel_factory",
    "channel_threads",
    "check",
    "composition",
    "delivery",
    "delivery_codes",
    "health",
    "heartbeat_ping",
    "known_channels",
    "preparation",
    "retries",
    "runtime",
    "store_factory",
    "watchdog",
]
