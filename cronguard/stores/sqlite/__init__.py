"""The embedded default: one SQLite file, exact under any number of writers on one machine.

`store` is the adapter; `runs`, `outbox`, `restating`, `expectations` and `views` are what it does
inside a transaction; `file` opens the file and makes the transactions, `memory` a database without
a file.
"""

__all__ = [
    "expectations",
    "file",
    "forks",
    "memory",
    "outbox",
    "restating",
    "runs",
    "store",
    "views",
]
