"""Runs that have ended and whose outcomes the store has not taken yet."""

from ..runner import Change, Entry

RUNS = "cronguard/stores/sqlite/runs.py"
STARTING = "cronguard/stores/sqlite/starting.py"
SQL = "cronguard/stores/sql/postgres"
SPOOLED = "cronguard/stores/spooled.py"
BACKLOG = "cronguard/stores/spool/backlog.py"
BEHIND = "cronguard/stores/spool/behind.py"
QUEUE = "cronguard/stores/spool/queue.py"
RESTATING = "cronguard/stores/sqlite/restating.py"
SPOOL = "tests/stores/test_spool.py"
ON_SQLITE = "tests/stores/test_contract.py::TestSQLiteStore"
ON_POSTGRES = "tests/stores/test_contract_sql.py::TestPostgresStore"

ENTRIES = (
    Entry(
        "each of two threads has a backlog of its own",
        (Change(SPOOLED, "    return made[0]\n", "    return another\n"),),
        (f"{SPOOL}::test_threads_that_need_a_place_first_and_together[backlog]",),
    ),
    Entry(
        "a run that has ended holds its job, on SQLite",
        (Change(STARTING, "        if run_id in ended:\n", "        if run_id is ended:\n"),),
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
            Change(STARTING, "if row[0] != run.run_id and row[0] not in ended", "if row[0]"),
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
    Entry(
        "what waits does not say that it has ended",
        (Change(BEHIND, "over = {*ended, *self.backlog.ended(run.job)}", "over = {*ended}"),),
        (f"{SPOOL}::test_refused_outcome_later_ones_queue",),
    ),
    Entry(
        "only starts that were answered may have been stored",
        (
            Change(
                QUEUE,
                "WHERE seq > 0 AND (? IS NULL OR job = ?) ORDER BY NOT started",
                "WHERE seq > 0 AND started AND (? IS NULL OR job = ?) ORDER BY NOT started",
            ),
        ),
        (f"{SPOOL}::test_lost_start_refused_outcome",),
    ),
    Entry(
        "what is no error of the store's is kept nowhere",
        (
            Change(
                SPOOLED,
                "        if not isinstance(caught, StoreError):\n            code =",
                "        if not isinstance(caught, StoreError):\n            raise caught\n"
                "            code =",
            ),
        ),
        (f"{SPOOL}::test_any_fault_is_the_stores",),
    ),
    Entry(
        "a run whose start only this host knows counts as told",
        (
            Change(
                SPOOLED,
                "            started = False\n        try:",
                "            pass\n        try:",
            ),
        ),
        (f"{SPOOL}::test_disk_full_between_start_and_finish",),
    ),
    Entry(
        "what waits is told with the next heartbeat only",
        (Change(SPOOLED, "        self.on_kept()\n", ""),),
        (
            f"{SPOOL}::test_sibling_with_an_outcome_that_waits_in_memory",
            "tests/system/test_unharmed.py::test_what_waits_is_told_before_the_next_heartbeat",
        ),
    ),
    Entry(
        "a lost skip is taken for a start",
        (
            Change(
                BEHIND,
                '.status == "skipped":\n                continue',
                '.status == "":\n                continue',
            ),
        ),
        (f"{SPOOL}::test_lost_answer_of_a_skipped_start",),
    ),
    Entry(
        "what is over is not taken out later",
        (Change(BACKLOG, "        over = list(self._over.values())\n", "        over = []\n"),),
        (f"{SPOOL}::test_disk_full_between_start_and_finish",),
    ),
    Entry(
        "what this process alone knows is overtaken",
        (
            Change(
                SPOOLED,
                "            backlog = self._made_backlog()\n"
                "            self._spool_all(backlog)\n"
                "            return work(backlog)\n",
                "            backlog = self._made_backlog()\n            return work(backlog)\n",
            ),
        ),
        (f"{SPOOL}::test_order_with_an_outcome_only_this_process_knows",),
    ),
    Entry(
        "alerts are claimed before what waits is told",
        (
            Change(
                SPOOLED,
                "            if not self._has_caught_up(job):\n                return here\n",
                "",
            ),
        ),
        (f"{SPOOL}::test_lost_answer_delivered_before_the_next_run",),
    ),
    Entry(
        "what a start found is not noted for other processes",
        (Change(SPOOLED, "state.consecutive_failure_count > 0\n", "False\n"),),
        (f"{SPOOL}::test_crash_found_at_a_start_is_known_here",),
    ),
    Entry(
        "one job's unexplained refusal holds up every job",
        (Change(BACKLOG, "if each == job or failed or is_away(error):", "if error:"),),
        (f"{SPOOL}::test_unexplained_refusal_holds_no_other_job",),
    ),
    Entry(
        "a late statement is taken for one that was kept",
        (Change(RESTATING, "text=None if late else text)", "text=text)"),),
        ("tests/stores/test_contract.py::TestSQLiteStore::test_statement_after_a_late_one",),
    ),
)
