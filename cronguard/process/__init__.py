"""How cronguard lives as a guest in somebody else's process.

Its logger, its threads, and what it does when the program forks, gets a signal or ends. It also
identifies this process, and finds out whether another one is still alive.
"""

__all__ = ["celery", "forks", "identity", "log", "net", "quiet", "signals", "stderr", "workers"]
