"""How channels hand an alert over: every byte under one deadline, every error as a code."""

__all__ = ["handlers", "http", "mail", "proxy", "smtp", "sockets"]
