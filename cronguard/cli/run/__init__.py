"""``cronguard run``: any command as one guarded run."""

__all__ = [
    "child",
    "child_windows",
    "command",
    "ended",
    "forwarding",
    "guarded_command",
    "held",
    "helper",
    "options",
    "stderr",
    "unstarted",
]
