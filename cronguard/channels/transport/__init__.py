"""How channels reach the network: every byte under one deadline, every error as a code."""

__all__ = ["http", "mail", "smtp", "sockets"]
