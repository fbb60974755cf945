"""What commands print: lines, tables, times, and what there is to say of jobs and alerts."""

__all__ = ["alerts", "jobs", "layout", "lines", "times"]
