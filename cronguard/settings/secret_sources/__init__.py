"""Where secrets are read: one scheme a file."""

__all__ = ["env", "vault"]
