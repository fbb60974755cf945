"""The embedded default: one SQLite file, exact under any number of writers on one machine.

`store` is the adapter; `runs`, `outbox`, `restating`, `expectations`, `views` and `activity` are
what it does inside a transaction; `file` opens the file and makes the transactions, `memory` is a
database without a file. `replaced`, `carrying` and `leftovers` are for a file that was deleted,
moved away or restored under a living process.
"""

__all__ = [
    "activity",
    "carrying",
    "expectations",
    "file",
    "forks",
    "leftovers",
    "memory",
    "outbox",
    "replaced",
    "restating",
    "runs",
    "store",
    "views",
]
