"""How cronguard lives as a guest in somebody else's process.

Its logger, its threads, and what it does when the program forks, gets a signal or ends, for which
`lifecycle` alone registers. It also identifies this process, and finds out whether another one is
still alive. `hidden` is for programs whose files have the names of Python's own modules.
"""

__all__ = [
    "hidden",
    "identity",
    "imports",
    "lifecycle",
    "log",
    "net",
    "signals",
    "stderr",
    "threads",
    "workers",
]
