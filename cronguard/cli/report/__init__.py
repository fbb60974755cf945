"""``cronguard report``: every job on one page."""

__all__ = ["command", "contents"]
