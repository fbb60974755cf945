"""Leases, the watchdog, check, delivery."""

from ..runner import Change, Entry

SCOPES = "tests/process/test_lock_scopes.py"
WATCHDOG = "cronguard/runtime/watchdog.py"
CHECK = "cronguard/runtime/check.py"

ENTRIES = (
    Entry(
        "no lease is renewed",
        (
            Change(
                WATCHDOG,
                "self._store.heartbeat(run_ids, lease=LEASE_SECONDS)",
                "del run_ids",
            ),
        ),
        ("tests/runtime/test_watchdog.py::test_leases_are_renewed_in_time",),
    ),
    Entry(
        "a loop stands in the try that gives the lock back",
        (
            Change(
                "cronguard/stores/spool/backlog.py",
                "            return take(held, self._going_on) and self._catch_up(job, deadline)\n",
                "            for run in self.dead() if take(held, self._going_on) else ():\n"
                "                self.forget_run(run)\n"
                "            return bool(held) and self._catch_up(job, deadline)\n",
            ),
        ),
        (f"{SCOPES}::test_no_loop_runs_in_the_try_that_gives_a_lock_back",),
    ),
    Entry(
        "does not rest between beats",
        (Change(WATCHDOG, "alarm.wait(pause)", "alarm.wait(0)"),),
        ("tests/runtime/test_watchdog.py::test_it_rests_between_beats",),
    ),
    Entry(
        "reads no start",
        (Change(CHECK, "        yield from page\n", "        yield from ()\n"),),
        ("tests/runtime/test_check.py::test_a_skipped_start_is_no_missed_one",),
    ),
    Entry(
        "reads one page of starts",
        (
            Change(
                CHECK,
                "        if len(page) < _STARTS_PER_PAGE:\n",
                "        if page is not None:\n",
            ),
        ),
        ("tests/runtime/test_check.py::test_many_starts_are_read_page_by_page",),
    ),
    Entry(
        "the text of any error is kept",
        (
            Change(
                "cronguard/runtime/retries.py",
                "return str(error) if isinstance(error, CronguardError) else type(error).__name__",
                "return str(error)",
            ),
        ),
        ("tests/runtime/test_delivery.py::test_whatever_a_channel_raises",),
    ),
)
