"""What happens to one call of a guarded job.

`decorator` and `context_manager` are what users write, `call` makes one call from start to end, and
`recording` is the run as its process sees it. No error inside cronguard reaches the guarded
program.
"""

__all__ = ["call", "context_manager", "decorator", "recording"]
