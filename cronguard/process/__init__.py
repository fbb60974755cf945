"""How cronguard lives as a guest in somebody's process.

Its logger, its threads, and what it does when the program forks, is signalled or ends. It knows who
this process is, and whether another one is still alive.
"""

__all__ = ["celery", "forks", "identity", "log", "signals", "stderr", "workers"]
