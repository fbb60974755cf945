"""How channels hand an alert over: every byte under one deadline, every error as a code."""

__all__ = ["http", "mail", "proxy", "smtp", "sockets"]
