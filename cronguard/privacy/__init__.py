"""What may leave the process: an exception goes in, a `Failure` without private text comes out.

`capture` is the way in. The message is redacted by `redaction`; the other modules know one kind of
evidence each: what the code says, which words are technical, which shapes are known.
"""

__all__ = [
    "capture",
    "code_text",
    "error_code",
    "error_location",
    "error_type",
    "mask",
    "message",
    "patterns",
    "redaction",
    "schema_names",
    "templates",
    "vocabulary",
    "words",
]
