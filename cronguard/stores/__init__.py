"""Where runs, streaks and the outbox are kept.

``sqlite`` is the embedded default, ``server`` the two that share SQL functions (PostgreSQL and
Supabase), ``spool`` what a host keeps while one of those is out of reach. Tables are in ``sql``.
"""

__all__ = ["server", "spool", "sql", "sqlite", "timeouts"]
