"""The embedded default: one SQLite file, exact under any number of writers on one machine.

`store` is the adapter; `runs`, `outbox`, `expectations` and `views` are what it does inside a
transaction; `file` opens the file and makes the transactions.
"""

__all__ = ["expectations", "file", "forks", "outbox", "runs", "store", "views"]
