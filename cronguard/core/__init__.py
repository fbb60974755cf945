"""What a run, an alert and a job are, and who is alerted when.

Values, rules and protocols only: no I/O, no threads, no third-party module but cronsim. All that a
plugin's author reads is here; everything else of cronguard is built on it.
"""

__all__ = [
    "alert_rule",
    "clock",
    "damage",
    "errors",
    "expectations",
    "install",
    "interfaces",
    "model",
    "payload",
    "rendering",
    "schedule",
    "text",
]
