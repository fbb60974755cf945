"""What commands print: lines, tables, times, progress."""

__all__ = [
    "alerts",
    "attempts",
    "expected",
    "facts",
    "lines",
    "progress",
    "runs",
    "table",
    "times",
    "width",
]
