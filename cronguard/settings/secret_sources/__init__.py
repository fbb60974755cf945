"""The built-in sources of secrets: one file for each scheme."""

__all__ = ["env", "vault"]
