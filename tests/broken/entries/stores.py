"""What is kept: in SQLite, in the spool, on a server."""

from ..runner import Change, Entry

FILE = "cronguard/stores/sqlite/file.py"
CONNECTIONS = "cronguard/stores/sqlite/connections.py"
MEMORY = "cronguard/stores/sqlite/memory.py"
RUNS = "cronguard/stores/sqlite/runs.py"
SPOOLED = "cronguard/stores/spooled.py"
BACKLOG = "cronguard/stores/spool/backlog.py"
QUEUE = "cronguard/stores/spool/queue.py"
CONNECTION = "cronguard/stores/server/connection.py"
POSTGRES = "cronguard/stores/server/postgres.py"
SQL = "cronguard/stores/sql/postgres"
IN_MEMORY = "tests/stores/test_sqlite_memory.py"
SCHEMA = "cronguard/stores/server/schema.py"
FOLDER = "cronguard/cli/migrations.py"
ON_SQLITE = "tests/stores/test_contract.py::TestSQLiteStore"
COUNTS = "tests/system/test_counts.py"
ON_POSTGRES = "tests/stores/test_contract_sql.py::TestPostgresStore"
LATE = "test_crashed_then_success_after_a_later_outcome_changes_only_its_row"
SPOOL = "tests/stores/test_spool.py"
UPGRADE = "tests/stores/test_sql_upgrade.py"
MIGRATIONS = "tests/cli/test_cli_migrations.py"
GUARD = "tests/stores/test_sql_guard.py"
UPGRADED = "tests/stores/test_sqlite_upgraded.py"
REPLACED = "tests/stores/test_sqlite_replaced.py"
CARRYING = "cronguard/stores/sqlite/carrying.py"
LEFTOVERS = "cronguard/stores/sqlite/leftovers.py"
FOLLOW = "cronguard/stores/sqlite/replaced.py"
STORE = "cronguard/stores/sqlite/store.py"
WAITS = "tests/stores/test_postgres_waits.py"

SQLITE = (
    Entry(
        "a file that was upgraded meanwhile is written to",
        (
            Change(
                FILE,
                "        refuse_newer(db, self._schema, self.path, was_open=True)\n",
                "",
            ),
        ),
        (f"{UPGRADED}::test_an_upgrade_between_two_transactions",),
    ),
    Entry(
        "an upgrade does not show to those who have the file open",
        (Change(CONNECTIONS, "        _mark_changed(path)\n", "        pass\n"),),
        (f"{UPGRADED}::test_an_upgrade_between_two_transactions",),
    ),
    Entry(
        "a replaced file is written to until the process ends",
        (
            Change(
                FILE, "                if self._is_replaced(db):\n", "                if False:\n"
            ),
        ),
        (f"{REPLACED}::test_a_success_in_the_new_file_ends_the_streak",),
    ),
    Entry(
        "the streak of a replaced file is forgotten",
        (Change(CARRYING, "            _carry_job(new, job, known, now)\n", "            pass\n"),),
        (f"{REPLACED}::test_between_two_runs",),
    ),
    Entry(
        "the alerts of a replaced file are forgotten",
        (Change(CARRYING, "            _carry_alert(new, alert)\n", "            pass\n"),),
        (
            f"{REPLACED}::test_an_alert_that_waits_is_carried_over",
            f"{REPLACED}::test_an_alert_of_a_backup_that_was_sent_since",
        ),
    ),
    Entry(
        "what was counted in the new file is forgotten",
        (Change(CARRYING, "count + since,", "count,"),),
        (f"{REPLACED}::test_failures_in_the_new_file_are_counted_on_top",),
    ),
    Entry(
        "whatever is found in the new file is overruled",
        (
            Change(
                CARRYING,
                "    if after is not None and (before is None or after > before):\n"
                "        return None\n",
                "",
            ),
        ),
        (f"{REPLACED}::test_a_success_in_the_new_file_ends_the_streak",),
    ),
    Entry(
        "an open run is not carried over",
        (
            Change(
                CARRYING,
                "                _insert(new, _LOG, found.runs[run.run_id])\n",
                "                pass\n",
            ),
        ),
        (f"{REPLACED}::test_a_run_that_is_open_holds_its_job_in_the_new_file",),
    ),
    Entry(
        "a run of the old file is taken for a pruned one",
        (
            Change(
                STORE,
                "started=started and not elsewhere,",
                "started=started,",
            ),
        ),
        (f"{REPLACED}::test_an_outcome_that_waited_is_recorded_in_the_new_file",),
    ),
    Entry(
        "a log that went back is believed",
        (
            Change(
                STORE,
                "        if last is None or rows.has_counted(db, last):\n",
                "        if True:\n",
            ),
        ),
        (f"{REPLACED}::test_during_a_run[restore_by_sqlite-wait]",),
    ),
    Entry(
        "the journal of a deleted file stays beside a new one",
        (
            Change(
                LEFTOVERS,
                "        if not is_there(path):\n            remove_leftovers(path)\n",
                "        if not is_there(path):\n",
            ),
        ),
        (f"{REPLACED}::test_between_two_runs[delete]",),
    ),
    Entry(
        "the journal of a file that was replaced is used with the new one",
        (
            Change(
                LEFTOVERS,
                "            if _used_without(path):\n                remove_leftovers(path)\n",
                "            pass\n",
            ),
        ),
        (f"{REPLACED}::test_who_starts_beside_the_journal_of_another_file",),
    ),
    Entry(
        "a backup that is written over the file is mixed with its journal",
        (
            Change(
                FILE,
                "        if self.was_overwritten():\n            return True\n",
                "",
            ),
        ),
        (f"{REPLACED}::test_a_backup_written_over_a_merged_log_is_no_mixture",),
    ),
    Entry(
        "the log that was moved away lacks what was in its journal",
        (
            Change(
                FOLLOW,
                '            old.execute("PRAGMA wal_checkpoint(PASSIVE)")\n',
                "            pass\n",
            ),
        ),
        (f"{REPLACED}::test_the_log_that_was_moved_away_is_whole",),
    ),
    Entry(
        "opening a file gives up the locks that the process has on it",
        (
            Change(
                CONNECTIONS,
                "    number = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)\n",
                "    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)\n",
            ),
        ),
        (f"{REPLACED}::test_opening_gives_up_no_lock",),
    ),
    Entry(
        "no transaction",
        (
            Change(
                FILE,
                "                db.execute(begin)\n"
                "                if self._is_replaced(db):\n"
                "                    self._follow(db)\n"
                "                    continue\n"
                "                result = work(db)\n"
                "                if db is not self.connection:\n"
                "                    _refuse_parents(self.path)\n"
                '                db.execute("COMMIT")\n',
                "                result = work(db)\n",
            ),
        ),
        ("tests/system/test_races.py::test_a_crowd_counts_each_failure_once",),
    ),
    Entry(
        "a child commits the transaction that its parent was in",
        (
            Change(
                FILE,
                "                if db is not self.connection:\n"
                "                    _refuse_parents(self.path)\n",
                "",
            ),
        ),
        (
            "tests/process/test_forks.py::test_a_child_that_comes_back_into_a_transaction",
            f"{IN_MEMORY}::test_a_signal_handler_that_forks_in_a_transaction",
        ),
    ),
    Entry(
        "a memory is closed when its store is",
        (
            Change(
                MEMORY,
                "    def close(self) -> None:\n"
                '        """Do nothing: all would be lost, and the store may be used again."""\n\n',
                "",
            ),
        ),
        (f"{IN_MEMORY}::test_a_memory_may_be_used_after_close",),
    ),
    Entry(
        "a memory is closed at a fork",
        (
            Change(
                MEMORY,
                "    def before_fork(self) -> None:\n"
                '        """Do nothing: the child goes on with a copy."""\n\n',
                "",
            ),
        ),
        (f"{IN_MEMORY}::test_a_child_has_its_parents_memory",),
    ),
    Entry(
        "a child uses a memory that a thread was inside of",
        (
            Change(
                MEMORY,
                "        if inside != threading.get_ident():\n            return None\n",
                "        if inside != threading.get_ident():\n            return connection\n",
            ),
        ),
        (f"{IN_MEMORY}::test_a_child_waits_for_no_transaction_that_never_ends",),
    ),
    Entry(
        "the disk writes at every commit",
        (Change(CONNECTIONS, "PRAGMA synchronous = NORMAL", "PRAGMA synchronous = FULL"),),
        (f"{COUNTS}::test_a_process_has_the_disk_write_as_often_as_one_connection",),
    ),
    Entry(
        "any OSError means that the file was closed",
        (
            Change(
                CONNECTIONS,
                "        if error.errno != errno.EBADF:\n"
                "            raise  # such as the time limit of the program, struck just now\n",
                "        del error\n",
            ),
        ),
        ("tests/guarding/test_guard_signals.py::test_a_time_limit_is_not_taken_for_a_closed_file",),
    ),
    Entry(
        "an alert is settled whoever claimed it last",
        (
            Change(
                "cronguard/stores/sqlite/outbox.py",
                "WHERE alert_id = ? AND attempts = ? AND state = 'pending'",
                "WHERE alert_id = ? AND ? > 0 AND state = 'pending'",
            ),
        ),
        (f"{ON_SQLITE}::test_only_the_last_claimer_may_settle",),
    ),
    Entry(
        "every lease is over",
        (
            Change(
                "cronguard/core/alert_rule.py",
                "return until is None or not now < until <= now + timedelta(seconds=LONGEST_LEASE)",
                "return True",
            ),
        ),
        (f"{ON_SQLITE}::test_elsewhere_the_lease_decides",),
    ),
    Entry(
        "the dead of this process space are let be",
        (Change(RUNS, "gone = owner in dead", "gone = False"),),
        ("tests/system/test_spaces.py::test_killed_and_started_again",),
    ),
    Entry(
        "the alert is not written with the outcome",
        (Change(RUNS, "    if decision.alerts:\n", "    if not decision:\n"),),
        (f"{ON_SQLITE}::test_alert_on_the_transition_only",),
    ),
    Entry(
        "a snooze never ends",
        (
            Change(
                RUNS,
                "snoozed=is_snoozed(before.snoozed_until, now)",
                "snoozed=before.snoozed_until is not None",
            ),
        ),
        (f"{ON_SQLITE}::test_a_snooze_is_over_when_its_time_is",),
    ),
)

MIGRATING = (
    Entry(
        "the spool has the version of the log",
        (
            Change(
                CONNECTIONS,
                "if _version(connection) < SCHEMA_VERSIONS[schema]:",
                "if _version(connection) < max(SCHEMA_VERSIONS.values()):",
            ),
        ),
        ("tests/stores/test_sqlite_file.py::test_a_version_of_the_log_is_none_of_the_spools",),
    ),
    Entry(
        "a migration runs over a newer schema",
        (Change(f"{SQL}/begin.sql", "if _found > _to then", "if false then"),),
        (f"{UPGRADE}::test_a_newer_schema_is_left_alone",),
    ),
    Entry(
        "a migration runs in any encoding",
        (
            Change(
                f"{SQL}/begin.sql",
                "if current_setting('server_encoding') <> 'UTF8' then",
                "if false then",
            ),
        ),
        (f"{UPGRADE}::test_another_encoding_is_refused",),
    ),
    Entry(
        "an upgrade runs on nothing",
        (Change(f"{SQL}/begin.sql", "if _found < _from then", "if false then"),),
        (f"{UPGRADE}::test_an_upgrade_needs_what_it_upgrades",),
    ),
    Entry(
        "an upgrade leaves out a function that has changed",
        (Change(SCHEMA, "if each.since > since]", "if each.since > since + 1]"),),
        (f"{UPGRADE}::test_an_upgraded_schema_equals_a_fresh_one",),
    ),
    Entry(
        "a function has changed and does not say since when",
        (
            Change(
                f"{SQL}/functions/shown.sql",
                "-- since version 2\ncreate or replace function public.cronguard_snooze",
                "create or replace function public.cronguard_snooze",
            ),
        ),
        (f"{UPGRADE}::test_a_changed_function_says_since_when",),
    ),
    Entry(
        "every migration takes over a log of somebody else's",
        (Change(SCHEMA, "if not since and not adopted:", "if adopted:"),),
        ("tests/stores/test_sql_migration.py::test_a_log_of_somebody_elses_is_left_alone",),
    ),
    Entry(
        "a file that somebody changed is replaced",
        (Change(FOLDER, "elif file.text == migration_sql():", "elif file.text:"),),
        (f"{MIGRATIONS}::test_a_file_that_somebody_changed_is_not_replaced",),
    ),
    Entry(
        "an upgrade starts from the folder's version alone",
        (Change(FOLDER, "lower = min(", "lower = max("),),
        (f"{MIGRATIONS}::test_it_starts_from_the_lower_of_folder_and_project",),
    ),
)

IN_THE_SPOOL = (
    Entry(
        "what somebody must correct is not kept",
        (
            Change(
                SPOOLED,
                "        self._has_kept = True\n        finished = ",
                "        if isinstance(problem, StoreConfigError):\n"
                "            raise problem\n"
                "        finished = ",
            ),
        ),
        (f"{SPOOL}::test_what_somebody_must_correct_is_spooled",),
    ),
    Entry(
        "what waits is not told first",
        (Change(BACKLOG, "if not jobs and not dead:", "if jobs or not dead:"),),
        (f"{SPOOL}::test_down_at_the_finish_only",),
    ),
    Entry(
        "replay does not say who was notified",
        (
            Change(
                "cronguard/stores/spool/telling.py",
                "self._finish(run, form, started=started, notified=notified)",
                "self._finish(run, form, started=started, notified=())",
            ),
        ),
        (f"{SPOOL}::test_the_streak_goes_on_from_what_was_last_known",),
    ),
    Entry(
        "an alert that memory alone has ends with its process",
        (
            Change(
                "cronguard/stores/spool/telling.py",
                "if local.path is None and entry.notified:",
                "if local.path is not local.path and entry.notified:",
            ),
        ),
        (f"{SPOOL}::test_an_alert_that_memory_alone_has",),
    ),
    Entry(
        "what the store answers is not noted",
        (
            Change(
                SPOOLED,
                "        self._note(job, finished.state, keep=True)\n",
                "        del job\n",
            ),
        ),
        (f"{SPOOL}::test_what_was_learned_by_telling_counts_when_the_store_is_gone_again",),
    ),
    Entry(
        "a start that was kept nowhere counts as told",
        (
            Change(
                QUEUE,
                '*(started, ",".join(sorted(notified)) or None),',
                '*(True, ",".join(sorted(notified)) or None),',
            ),
        ),
        (f"{SPOOL}::test_an_outcome_whose_start_was_kept_nowhere_is_told_whole",),
    ),
)

ON_A_SERVER = (
    Entry(
        "what a hand writes into a job's row is not looked at",
        (
            Change(
                f"{SQL}/functions/checks.sql",
                "where value is distinct from _before -> key;",
                "where false;",
            ),
        ),
        (f"{GUARD}::test_a_wrong_value_is_refused",),
    ),
    Entry(
        "a row that is bad already cannot be written to",
        (
            Change(
                f"{SQL}/functions/checks.sql",
                "where value is distinct from _before -> key;",
                "where true;",
            ),
        ),
        (f"{GUARD}::test_a_row_that_is_bad_already_hinders_nobody",),
    ),
    Entry(
        "what each run writes is looked at",
        (
            Change(
                f"{SQL}/end.sql",
                "before insert or update of\n    job,",
                "before insert or update of\n    consecutive_failure_count, job,",
            ),
        ),
        (f"{GUARD}::test_what_a_run_writes_is_not_looked_at",),
    ),
    Entry(
        "the tables are not locked in order",
        (
            Change(
                f"{SQL}/begin.sql",
                "array['cronguard_jobs', 'cron_execution_logs', 'cronguard_alerts']",
                "array['cronguard_alerts', 'cron_execution_logs', 'cronguard_jobs']",
            ),
        ),
        ("tests/stores/test_sql_migration.py::test_applying_it_while_jobs_run",),
    ),
    Entry(
        "a late success resets whatever came since",
        (
            Change(
                f"{SQL}/functions/outcomes.sql",
                "_ends := not late or before.last_counted_run is not distinct from _run_id;",
                "_ends := true;",
            ),
        ),
        (f"{ON_POSTGRES}::{LATE}",),
    ),
    Entry(
        "the job's row is read without its lock",
        (
            Change(
                f"{SQL}/functions/runs.sql",
                "select * into _job from public.cronguard_jobs"
                " where job = _request ->> 'job' for update;",
                "select * into _job from public.cronguard_jobs where job = _request ->> 'job';",
            ),
        ),
        ("tests/stores/test_sql_races.py::test_two_hosts_failing_at_the_same_instant",),
    ),
    Entry(
        "an answer is waited for without an end",
        (
            Change(
                CONNECTION,
                "                    if left <= 0:\n"
                '                        raise Overdue("timeout")\n',
                "",
            ),
        ),
        (f"{WAITS}::test_a_server_that_does_not_answer",),
    ),
    Entry(
        "an answer is waited for as psycopg does",
        (
            Change(
                CONNECTION,
                "(result,) = self._answer(None, give_up)",
                "(result,) = self.wait(self._answering)",
            ),
        ),
        (f"{WAITS}::test_a_server_that_does_not_answer",),
    ),
    Entry(
        "a wait does not look whose process it is",
        (
            Change(
                CONNECTION,
                "if self.pid != os.getpid():  # a signal handler has forked",
                "if self.pid == 0:",
            ),
        ),
        (f"{WAITS}::test_a_child_does_not_read_its_parents_answer",),
    ),
    Entry(
        "a connection that a signal struck is kept",
        (
            Change(
                POSTGRES,
                "            except BaseException:\n                link.close()\n",
                "            except BaseException:\n                self._keep(link)\n",
            ),
        ),
        (f"{WAITS}::test_what_a_signal_handler_raises_ends_the_wait",),
    ),
    Entry(
        "a connection that is late is kept",
        (
            Change(
                POSTGRES,
                "self._run_in_thread(link.drain_and_close, 0.0)",
                "self._keep(link)",
            ),
        ),
        (f"{WAITS}::test_a_late_answer_is_not_the_next_ones",),
    ),
    Entry(
        "calls that hang do not stop others",
        (
            Change(
                "cronguard/process/workers.py",
                "                if len(self._overdue_calls) >= self._most_late:\n"
                "                    raise Overdue\n",
                "",
            ),
        ),
        (f"{WAITS}::test_calls_that_hang_are_few",),
    ),
    Entry(
        "what a signal handler raised is taken for an error of the store's",
        (
            Change(
                "cronguard/stores/timeouts.py",
                "interruption = raised_by_handler(problem)",
                "interruption = raised_by_handler and None",
            ),
        ),
        (f"{WAITS}::test_what_a_signal_handler_raises_ends_the_wait",),
    ),
)

ENTRIES = (*SQLITE, *MIGRATING, *IN_THE_SPOOL, *ON_A_SERVER)
