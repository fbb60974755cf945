"""Where alerts can go: one file a channel.

A channel declares its options and sends one message; the deadline, retries, redaction and threads
are the runtime's business. To add one: a file here, and a line of entry points. Nothing is listed
here, since a channel is loaded by its name.
"""

__all__ = []
