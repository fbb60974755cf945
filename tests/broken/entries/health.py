"""How a job is doing, and what is told of a schedule that nobody kept."""

from ..runner import Change, Entry

HEALTH = "cronguard/core/health.py"
READER = "cronguard/runtime/health.py"
SCHEDULE = "cronguard/core/schedule.py"
RULE = "cronguard/core/alert_rule.py"
RUNS = "cronguard/stores/sqlite/runs.py"
STARTING = "cronguard/stores/sqlite/starting.py"
SILENCES = "cronguard/stores/sqlite/silences.py"
EXPECTED = "cronguard/stores/sqlite/expectations.py"
SQL = "cronguard/stores/sql/postgres/functions"
STATE = "tests/core/test_health.py::test_the_state_is_the_worst_that_applies"
FACES = ("tests/system/test_health_faces.py::test_every_face_says_the_same_word",)
CASES = "tests/stores/test_contract.py::TestSQLiteStore"
ON_SERVER = "tests/stores/test_contract_sql.py::TestPostgresStore"
ENDS_SQL = (
    "        _job := public.cronguard_end_silence("
    "_job, (_request ->> 'started_at')::timestamptz);\n    end if;\n\n    if _holder"
)


def _entry(name: str, file: str, old: str, new: str, *tests: str) -> Entry:
    return Entry(name, (Change(file, old, new),), tests)


ENTRIES = (
    _entry(
        "a run whose process is gone goes on",
        READER,
        "    return frozenset(run.run_id for run in running if is_over(run))\n",
        "    return frozenset()\n",
        *FACES,
    ),
    _entry(
        "a process that ends while one looks has crashed",
        READER,
        "        seen = _seen(store)\n        dead &= _dead(seen)\n",
        "        pass\n",
        "tests/runtime/test_health.py::test_a_run_that_ends_while_one_looks_is_no_crash",
    ),
    _entry(
        "a kept end is counted on top of the crash that another host saw",
        HEALTH,
        "if last is None or not is_over:",
        "if True:",
        "tests/core/test_health.py"
        "::test_the_kept_end_of_a_run_counted_as_crashed_is_not_counted_twice",
    ),
    _entry(
        "a start that is still to come ends a silence",
        SCHEDULE,
        "takewhile(lambda start: start <= now + early, starts)",
        "iter(starts)",
        "tests/core/test_schedule.py::test_a_start_noted_by_a_clock_ahead_ends_no_silence",
    ),
    _entry(
        "what was missed after a start told late counts as told",
        SILENCES,
        "run.started_at - timedelta(seconds=state.expected.grace)",
        "run.started_at + timedelta(days=1)",
        f"{CASES}::test_what_was_missed_after_a_start_told_late_is_another_silence",
    ),
    _entry(
        "a job that hangs is well",
        HEALTH,
        "total_seconds() >= limit:",
        "total_seconds() < 0:",
        STATE,
    ),
    _entry(
        "a job that missed its times is well",
        HEALTH,
        "is_late = late.since is not None and not health.running",
        "is_late = False",
        STATE,
    ),
    _entry(
        "a damaged row is well",
        HEALTH,
        "    if problem is not None and all(",
        "    if False and all(",
        STATE,
    ),
    _entry(
        "health does not ask for damaged rows",
        "cronguard/runtime/health.py",
        "for each in store.damaged()",
        "for each in ()",
        "tests/runtime/test_health.py::test_a_damaged_row_is_never_green",
    ),
    _entry(
        "damaged alerts are not named",
        EXPECTED,
        "for row in alerts),",
        "for row in ()),",
        "tests/stores/test_contract.py::TestSQLiteStore::test_a_damaged_alert_is_named",
    ),
    _entry(
        "a snoozed job fails the check",
        HEALTH,
        "(wrong and health.snoozed_until is None)",
        "wrong",
        "tests/core/test_health.py::test_check_fails_for_what_is_wrong_and_not_snoozed",
    ),
    _entry(
        "a silence is told of at every look",
        RULE,
        "        if missed.before:\n",
        "        if False:\n",
        "tests/core/test_schedule.py::test_a_silence_is_announced_again_as_its_rule_says",
    ),
    _entry(
        "in Python: a skipped start ends no silence",
        STARTING,
        "    state = end_silence(db, run, state)\n",
        "",
        f"{CASES}::test_a_skipped_start_ends_a_silence",
    ),
    _entry(
        "in Python: a start that was told late ends no silence",
        RUNS,
        "        job = job._replace(state=end_silence(db, run, job.state))\n",
        "",
        f"{CASES}::test_a_start_that_was_told_late_ends_a_silence",
    ),
    _entry(
        "in Python: a start before a silence ends it",
        RULE,
        "    return started_at >= silence.since - timedelta(seconds=EARLY_SECONDS)\n",
        "    return True\n",
        f"{CASES}::test_a_start_ends_a_silence",
    ),
    _entry(
        "in Python: a start meanwhile is not seen",
        EXPECTED,
        "not silence.over and _has_started(",
        "False and _has_started(",
        f"{CASES}::test_a_start_meanwhile_is_no_silence",
    ),
    _entry(
        "in Python: a success leaves the silence",
        RULE,
        "silence=state.silence if ended is None else None,",
        "silence=state.silence,",
        f"{CASES}::test_a_success_after_a_silence_is_told_of_once",
    ),
    _entry(
        "a success told late ends the silence after it",
        RULE,
        "not silence.over or not ends_silence(silence, finished_at)",
        "not silence.over",
        f"{CASES}::test_a_success_from_before_a_silence_tells_of_no_end",
    ),
    _entry(
        "in SQL: a start ends no silence",
        f"{SQL}/runs.sql",
        ENDS_SQL,
        "        null;\n    end if;\n\n    if _holder",
        f"{ON_SERVER}::test_a_start_ends_a_silence",
    ),
    _entry(
        "in SQL: a start meanwhile is not seen",
        f"{SQL}/expected.sql",
        "    if not (_silence ->> 'over')::boolean and exists (",
        "    if false and exists (",
        f"{ON_SERVER}::test_a_start_meanwhile_is_no_silence",
    ),
    _entry(
        "in SQL: a success leaves the silence",
        f"{SQL}/outcomes.sql",
        "            if _ends_silence then\n",
        "            if false then\n",
        f"{ON_SERVER}::test_a_success_after_a_silence_is_told_of_once",
    ),
    _entry(
        "in SQL: another schedule leaves the silence",
        f"{SQL}/common.sql",
        "        known.silence_over := known.silence_since is not null;\n",
        "",
        f"{ON_SERVER}::test_another_schedule_ends_a_silence",
    ),
)
