"""What happens to one call of a guarded job.

`decorator` and `context_manager` are the faces, `call` is one call from its start to its end,
`recording` is the run as its process sees it. Nothing here raises to the guarded program.
"""

__all__ = ["call", "context_manager", "decorator", "recording"]
