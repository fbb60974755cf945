"""``cronguard status``: how every job is doing, what is wrong first; or all about one."""

__all__ = ["command", "detail", "overview", "watching"]
