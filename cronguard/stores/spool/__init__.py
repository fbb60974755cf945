"""What a host records and decides by itself while its store does not take it.

`behind` is a store for which something waits; `backlog` is all of that, and `replay` stores it in
each job's order. `places` is where it waits: `local` databases, which are SQLite stores with a
`queue`. `degraded` is what is decided differently without the store, and `refusals` says what its
errors mean. `known` remembers what a remote one said last, `values` are runs and outcomes as text.
"""

__all__ = [
    "backlog",
    "behind",
    "degraded",
    "known",
    "local",
    "places",
    "queue",
    "refusals",
    "replay",
    "values",
]
