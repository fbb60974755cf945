"""Leases, the watchdog, check, delivery."""

from ..runner import Change, Entry

SCOPES = "tests/process/test_lock_scopes.py"
CHECK = "cronguard/runtime/check.py"

ENTRIES = (
    Entry(
        "no lease is renewed",
        (
            Change(
                "cronguard/runtime/runtime.py",
                "self.store.heartbeat(held, lease=LEASE_SECONDS)",
                "del held",
            ),
        ),
        ("tests/runtime/test_watchdog.py::test_leases_are_renewed_in_time",),
    ),
    Entry(
        "a loop stands in the try that gives the lock back",
        (
            Change(
                "cronguard/runtime/runtime.py",
                "            return bool(held) and self._replay_all(give_up)\n",
                "            for unwritten in list(self._unwritten.values()) if held else ():\n"
                "                if time.monotonic() >= give_up"
                " or not self._replay_one(unwritten):\n"
                "                    return False\n"
                "            return bool(held)\n",
            ),
        ),
        (f"{SCOPES}::test_no_loop_runs_in_the_try_that_gives_a_lock_back",),
    ),
    Entry(
        "does not rest between beats",
        (Change("cronguard/runtime/watchdog.py", "wake.wait(pause)", "wake.wait(0)"),),
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
                "cronguard/runtime/delivery.py",
                "return str(error) if isinstance(error, CronguardError) else type(error).__name__",
                "return str(error)",
            ),
        ),
        ("tests/runtime/test_delivery.py::test_whatever_a_channel_raises",),
    ),
)
