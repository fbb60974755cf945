"""A file that is deleted, moved away or restored under a living process; few ever are.

`following` lets go of the old file and opens what is at the path, `carrying` takes over what must
not be lost, and `leftovers` clears away the journal that another file of the name has left.
"""

__all__ = ["carrying", "following", "leftovers"]
