"""``cronguard run``: any command as one guarded run."""

__all__ = ["child", "command", "guarded_command", "stderr"]
