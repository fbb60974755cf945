"""Where alerts can go: one file a channel.

A channel declares its options and sends one message; the deadline, retries, redaction and threads
are the runtime's business. To add one: a file here with exactly one public class, a line of entry
points, and in ``runtime/delivery_codes.py`` what its own error codes mean. Nothing is listed here,
since a channel is loaded by its name. A method ``load_late``, where there is one, loads what a
first ``send`` would import.
"""

__all__ = []
