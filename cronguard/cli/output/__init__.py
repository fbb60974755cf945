"""What commands print: lines, tables, times, progress."""

__all__ = ["alerts", "attempts", "facts", "lines", "progress", "runs", "table", "times", "width"]
