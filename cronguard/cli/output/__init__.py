"""What commands print: lines, tables, times, progress."""

__all__ = ["attempts", "facts", "lines", "progress", "runs", "table", "times", "width"]
