"""Where runs, streaks and the outbox are kept.

``sqlite`` is the embedded default, ``server`` the two that share SQL functions (PostgreSQL and
Supabase). `spooled` stands before each of them and is what runs talk to; ``spool`` is what it
keeps on the host when a store does not take it. Tables are in ``sql``.
"""

SCHEMA_VERSIONS = {"postgres": 5, "spool": 3, "sqlite": 3}
"""Folder of SQL files → the number of its last version. Written down, since every process would
list the folder otherwise; tests hold it against the files."""

__all__ = ["server", "spool", "spooled", "sql", "sqlite", "timeouts"]
