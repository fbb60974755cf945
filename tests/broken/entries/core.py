"""The rule of alerts, schedules, and who is alive."""

from ..runner import Change, Entry

CONTRACT = "tests/stores/test_contract.py"
NOTIFIED = "test_who_was_told_of_how_an_incident_began_is_not_told_of_it_again"
RULE = "cronguard/core/alert_rule.py"

ENTRIES = (
    Entry(
        "a crash does not count",
        (
            Change(
                "cronguard/core/model.py",
                '"crashed": "grow",',
                '"crashed": "keep",',
            ),
        ),
        (
            f"{CONTRACT}::TestMemoryStore::test_a_dead_process_is_counted_at_the_next_start",
            "tests/stores/test_histories.py::test_a_history_in_memory",
        ),
    ),
    Entry(
        "each failure is an incident of its own",
        (Change(RULE, "incident_id=state.incident_id or run_id,", "incident_id=run_id,"),),
        (f"{CONTRACT}::TestSQLiteStore::{NOTIFIED}",),
    ),
    Entry(
        "all incidents of a job are one",
        (Change(RULE, "incident_id=state.incident_id or run_id,", "incident_id=job,"),),
        (f"{CONTRACT}::TestSQLiteStore::test_each_incident_has_a_recovery_of_its_own",),
    ),
    Entry(
        "an occurrence that is not later than the last look is not passed over",
        (
            Change(
                "cronguard/core/schedule.py",
                "        if moment > after:\n            yield moment",
                "        yield moment",
            ),
        ),
        ("tests/core/test_schedule.py::test_a_look_within_the_hour_that_comes_twice",),
    ),
    Entry(
        "a process that may not be signalled is dead",
        (
            Change(
                "cronguard/process/identity.py",
                "    except PermissionError:\n        pass  # it exists, but we may not signal it",
                "    except PermissionError:\n        return True",
            ),
        ),
        ("tests/system/test_spaces.py::test_a_process_that_is_hidden",),
    ),
)
