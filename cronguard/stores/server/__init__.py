"""A log that several hosts share, in PostgreSQL or in a Supabase project.

Both call the same SQL functions (`functions`), which decide in the database as `alert_rule` decides
in Python; `postgres` and `supabase` differ in how a call gets there.
"""

__all__ = [
    "connection",
    "errors",
    "functions",
    "postgres",
    "rest",
    "schema",
    "supabase",
    "values",
    "vault",
]
