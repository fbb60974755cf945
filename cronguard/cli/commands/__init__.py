"""The commands, one a module; those that belong together share one."""

__all__ = [
    "alerts",
    "channels",
    "check",
    "deliver",
    "history",
    "init",
    "redact_check",
    "test_alert",
    "upkeep",
    "vault",
]
