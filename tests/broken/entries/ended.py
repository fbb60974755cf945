"""Runs that have ended and whose outcomes the store has not taken yet."""

from ..runner import Change, Entry

RUNS = "cronguard/stores/sqlite/runs.py"
SQL = "cronguard/stores/sql/postgres"
ON_SQLITE = "tests/stores/test_contract.py::TestSQLiteStore"
ON_POSTGRES = "tests/stores/test_contract_sql.py::TestPostgresStore"

ENTRIES = (
    Entry(
        "a run that has ended holds its job, on SQLite",
        (Change(RUNS, "        if run_id in ended:\n", "        if run_id is ended:\n"),),
        (f"{ON_SQLITE}::test_the_start_that_names_a_run_is_the_next_to_run",),
    ),
    Entry(
        "a heartbeat does not say what has ended, on SQLite",
        (
            Change(
                "cronguard/stores/sqlite/store.py",
                "db.executemany(rows.RELEASE, [(until, run_id) for run_id in ended])",
                "",
            ),
        ),
        (f"{ON_SQLITE}::test_an_ended_run_gives_up_its_lease",),
    ),
    Entry(
        "a process is judged for what has ended, on SQLite",
        (
            Change(RUNS, "if row[0] != run.run_id and row[0] not in ended", "if row[0]"),
            Change(
                "cronguard/stores/sqlite/expectations.py",
                "for run_id, *row in found.fetchall() if run_id not in ended",
                "for run_id, *row in found.fetchall()",
            ),
        ),
        (f"{ON_SQLITE}::test_a_call_that_names_a_run_does_not_count_it",),
    ),
    Entry(
        "what has ended is not renewed, on SQLite",
        (
            Change(
                RUNS, "SET holds_lease = 0, lease_expires_at = ?\n", "SET holds_lease = ? IS 0\n"
            ),
        ),
        (f"{ON_SQLITE}::test_nobody_counts_a_run_that_is_renewed",),
    ),
    Entry(
        "a run that has ended holds its job, on a server",
        (
            Change(
                f"{SQL}/functions/outcomes.sql",
                "        if _ended ? _row.run_id::text then\n",
                "        if false then\n",
            ),
        ),
        (f"{ON_POSTGRES}::test_the_start_that_names_a_run_is_the_next_to_run",),
    ),
    Entry(
        "a heartbeat does not say what has ended, on a server",
        (
            Change(
                f"{SQL}/functions/runs.sql",
                "            and not lower(request ->> 'ended')::jsonb ? r.run_id::text,\n",
                "            and true,\n",
            ),
        ),
        (f"{ON_POSTGRES}::test_an_ended_run_gives_up_its_lease",),
    ),
    Entry(
        "a process is judged for what has ended, on a server",
        (
            Change(
                f"{SQL}/functions/runs.sql",
                "            and (_ended ? run_id::text) is not true;\n",
                "            and true;\n",
            ),
        ),
        (f"{ON_POSTGRES}::test_a_call_that_names_a_run_does_not_count_it",),
    ),
    Entry(
        "what has ended is not renewed, on a server",
        (
            Change(
                f"{SQL}/functions/outcomes.sql",
                "_now + make_interval(secs => (request ->> 'lease')::double precision)",
                "lease_expires_at",
            ),
        ),
        (f"{ON_POSTGRES}::test_nobody_counts_a_run_that_is_renewed",),
    ),
    Entry(
        "a heartbeat locks runs in the order in which they started",
        (
            Change(
                f"{SQL}/functions/runs.sql",
                "        order by job, seq\n        for update",
                "        order by seq\n        for update",
            ),
        ),
        ("tests/stores/test_sql_races.py::test_a_heartbeat_locks_in_the_order_of_a_sweep",),
    ),
    Entry(
        "a start that names what has ended is taken for a usual one",
        (Change(f"{SQL}/functions/checks.sql", "'{dead,ended,notified", "'{dead,notified"),),
        ("tests/stores/test_sql_requests.py::test_what_is_usual_is_what_the_rules_accept",),
    ),
)
