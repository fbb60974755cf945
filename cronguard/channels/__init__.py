"""Where alerts can go: one file a channel.

A channel declares its options and sends one message; the deadline, retries, redaction and threads
are the runtime's business. To add one: a file here, and a line of entry points.
"""

__all__ = [
    "apprise",
    "console",
    "email_postmark",
    "email_resend",
    "email_smtp",
    "log",
    "slack",
    "transport",
    "webhook",
]
