"""Where runs, streaks and the outbox are kept.

``sqlite`` is the embedded default, ``server`` the two that share SQL functions (PostgreSQL and
Supabase). `spooled` stands before each of them and is what runs talk to; ``spool`` is what it
keeps on the host when a store does not take it. Tables are in ``sql``.
"""

__all__ = ["server", "spool", "spooled", "sql", "sqlite", "timeouts"]
