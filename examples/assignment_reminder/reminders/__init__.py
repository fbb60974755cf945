"""A job that reminds peer mentors whose assignment has had no contact for too long.

Read `job` first, then `dispatch`; `repository` says what a database must do for them, and
`sql/` holds the rules that the database itself keeps.
"""
