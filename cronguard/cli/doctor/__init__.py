"""``cronguard doctor``: what is set up, where each value comes from, and what is wrong."""

__all__ = ["channels", "checks", "command", "cron", "crontab", "findings", "installed"]
