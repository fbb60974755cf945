"""The embedded default: one SQLite file, exact under any number of writers on one machine.

`store` is the adapter. Inside a transaction, `runs` starts and ends a run, `starting` is for starts
where that is not all, `silences` and `restating` change a job's row, `outbox` holds the alerts,
`expectations` sweeps, watches and announces, `views` and `activity` show. `file` makes the
transactions, `connections` opens the file and sees that a fork finds none open, `errors` says what
is wrong, `memory` is a database without a file. ``replaced`` is for a file that was deleted, moved
away or restored under a living process.
"""

__all__ = [
    "activity",
    "connections",
    "errors",
    "expectations",
    "file",
    "memory",
    "outbox",
    "replaced",
    "restating",
    "runs",
    "silences",
    "starting",
    "store",
    "views",
]
