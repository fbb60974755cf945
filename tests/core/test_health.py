"""How a job is doing: the worst that applies, since when, and in which words."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from cronguard.core.health import (
    STATES,
    by_urgency,
    explain,
    has_undelivered,
    judge,
    judged,
    needs_attention,
    with_kept,
)
from cronguard.core.model import (
    AlertRule,
    Expectations,
    Failure,
    JobStatus,
    KeptRun,
    Outcome,
    Owner,
    Run,
    RunRecord,
    Watch,
)

pytestmark = pytest.mark.one_python

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
EXPECTED = Expectations("0 * * * *", grace=300.0, max_runtime=1800.0, threshold=2)
OWNER = Owner("one", 7, "space", "1")


def row(run_id="a", status="success", started=NOW - HOUR, **changes):
    ended = None if status == "running" else started + timedelta(minutes=1)
    return RunRecord(run_id, "job", status, started, ended)._replace(**changes)


LAST = row()
WELL = JobStatus(
    "job", 0, LAST, last_success_at=LAST.finished_at, last_start_at=NOW - timedelta(seconds=5)
)


def watch(*running, judged=NOW - timedelta(days=9), **expected):
    return Watch("job", EXPECTED._replace(**expected), judged_until=judged, running=tuple(running))


def failing(count, **changes):
    failed = row(status="failure", failure=Failure("OSError", "ENOSPC"))
    return WELL._replace(
        consecutive_failure_count=count, failing_since=NOW - 3 * HOUR, last_run=failed, **changes
    )


OPEN = row("b", "running", NOW - timedelta(minutes=10), owner=OWNER)
STUCK = OPEN._replace(started_at=NOW - HOUR)
QUIET = WELL._replace(last_start_at=NOW - 4 * HOUR + timedelta(seconds=1))
NEVER = JobStatus("job", 0)

CASES = {
    # name: (status, watch, dead, state, since, why)
    "ok": (WELL, watch(), (), "ok", None, "last worked at 2026-11-30 11:01:00 UTC"),
    "new": (NEVER, watch(schedule=None), (), "new", None, "never ran"),
    "new, due": (
        NEVER,
        watch(judged=NOW - timedelta(minutes=1)),
        (),
        "new",
        None,
        "never ran; due at 2026-11-30 12:00:00 UTC",
    ),
    "never ran, late": (
        NEVER,
        watch(judged=NOW - HOUR - timedelta(seconds=1)),
        (),
        "late",
        NOW - HOUR,
        "no run started for 0 * * * * (UTC) at 2026-11-30 11:00:00 UTC",
    ),
    "late": (
        QUIET,
        watch(),
        (),
        "late",
        NOW - 3 * HOUR,
        (
            "no run started at 3 times of 0 * * * * (UTC), from 2026-11-30 09:00:00 UTC to"
            " 2026-11-30 11:00:00 UTC"
        ),
    ),
    "not late while a run is open": (QUIET, watch(OPEN), (), "ok", None, WELL),
    "late, its open run being dead": (QUIET, watch(OPEN), ("b",), "late", NOW - 3 * HOUR, None),
    "stuck": (
        WELL,
        watch(STUCK),
        (),
        "stuck",
        NOW - timedelta(minutes=30),
        "still running after 1 h, longer than its max_runtime of 30 min",
    ),
    "no limit": (WELL, watch(STUCK, max_runtime=None), (), "ok", None, WELL),
    "warning": (
        failing(1),
        watch(),
        (),
        "warning",
        NOW - 3 * HOUR,
        "1 failure, the last OSError (ENOSPC); alerts from 2",
    ),
    "failing": (
        failing(2),
        watch(),
        (),
        "failing",
        NOW - 3 * HOUR,
        "2 failures in a row, the last OSError (ENOSPC); last worked at 2026-11-30 11:01:00 UTC",
    ),
    "announced below the threshold": (
        failing(1, announced=frozenset({"slack"})),
        watch(),
        (),
        "failing",
        NOW - 3 * HOUR,
        None,
    ),
    "a crash that nobody counted": (
        WELL,
        watch(OPEN),
        ("b",),
        "warning",
        OPEN.started_at,
        (
            "1 failure, the last a crash that nobody has counted yet: its process is gone;"
            " alerts from 2"
        ),
    ),
    "such a crash at the threshold": (
        failing(1),
        watch(OPEN),
        ("b",),
        "failing",
        NOW - 3 * HOUR,
        None,
    ),
    "a dead run is not stuck": (WELL, watch(STUCK), ("b",), "warning", STUCK.started_at, None),
    "failing, stuck and late": (
        failing(2, last_start_at=NOW - 4 * HOUR),
        watch(STUCK),
        (),
        "failing",
        NOW - 3 * HOUR,
        None,
    ),
    "late before a warning": (
        failing(1, last_start_at=NOW - 4 * HOUR),
        watch(),
        (),
        "late",
        NOW - 4 * HOUR + HOUR,
        None,
    ),
    "a schedule that cannot be": (
        WELL,
        watch(schedule="0 0 99 * *"),
        (),
        "warning",
        None,
        "it cannot be judged: its schedule 0 0 99 * * (UTC) cannot be evaluated on this host",
    ),
    "a row that cannot be": (
        WELL,
        watch(threshold=0),
        (),
        "warning",
        None,
        "it cannot be judged: threshold is below 1",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_state_is_the_worst_that_applies(name):
    """With since when, and why in one sentence."""
    status, expected, dead, state, since, why = CASES[name]
    found = judge(status, expected, dead=dead, now=NOW)
    assert (found.state, found.since) == (state, since)
    assert found.states[0] == found.state
    if isinstance(why, str):
        assert found.why == why
    assert "\n" not in found.why


@pytest.mark.parametrize("name", CASES)
def test_why_in_another_zone(name):
    """Every time in the sentence is written as whoever shows it asks for; the rest stays."""
    status, expected, dead, *_ = CASES[name]
    found = judge(status, expected, dead=dead, now=NOW)
    there = explain(found, NOW, lambda when: "<then>")
    times = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:Z| UTC)"
    assert there == re.sub(times, "<then>", found.why)


def test_all_that_applies_is_told():
    """Worst first; `new` and `ok` stand alone."""
    status = failing(2, last_start_at=NOW - 4 * HOUR)
    assert judge(status, watch(STUCK), now=NOW).states == ("failing", "stuck")
    assert judge(status, watch(), now=NOW).states == ("failing", "late")
    assert judge(failing(1), watch(), now=NOW).states == ("warning",)
    assert judge(WELL, watch(), now=NOW).states == ("ok",)


def test_the_lowest_threshold_of_the_rules_counts():
    """The pager's 5 does not hide that Slack was told at 2."""
    rules = (AlertRule("pager", 5), AlertRule("slack", 3))
    assert judge(failing(2), watch(), rules=rules, now=NOW).state == "warning"
    found = judge(failing(3), watch(), rules=rules, now=NOW)
    assert (found.state, found.threshold, found.failures) == ("failing", 3, 3)


def test_next_due_is_what_may_still_be_met():
    """Passed already while it is waited for; also of a job that runs now."""
    a_minute = timedelta(minutes=1)
    assert judge(WELL, watch(), now=NOW - 2 * a_minute).next_due == NOW + HOUR
    status = WELL._replace(last_start_at=NOW - HOUR)
    assert judge(status, watch(), now=NOW + a_minute).next_due == NOW
    assert judge(status, watch(), now=NOW + 10 * a_minute).next_due == NOW + HOUR
    assert judge(WELL, watch(OPEN), now=NOW).next_due == NOW + HOUR
    assert judge(WELL, watch(schedule=None), now=NOW).next_due is None


def test_check_fails_for_what_is_wrong_and_not_snoozed():
    """And for alerts that nobody gets, snoozed or not."""

    def fails(status, *running, **expected):
        return needs_attention(judge(status, watch(*running, **expected), now=NOW), NOW)

    assert fails(failing(2))
    assert fails(QUIET)
    assert fails(WELL, STUCK)
    assert fails(WELL, threshold=0)
    assert not fails(failing(1))
    assert not fails(WELL)
    assert not fails(NEVER, schedule=None)
    asleep = {"snoozed_until": NOW + HOUR}
    assert not fails(failing(2, **asleep))
    assert fails(failing(2, snoozed_until=NOW))
    assert fails(WELL._replace(alerts_dead=1, **asleep))
    waiting = WELL._replace(alerts_pending=1, pending_since=NOW - timedelta(seconds=60))
    assert not fails(waiting)
    assert fails(waiting._replace(pending_since=NOW - timedelta(seconds=61)))
    assert not has_undelivered(judge(waiting, watch(), now=NOW), NOW)


def test_jobs_are_shown_by_urgency():
    """The worst first, snoozed ones behind their like, then by name."""
    known = [WELL, failing(2), failing(2, snoozed_until=NOW + HOUR), NEVER, QUIET, failing(1)]
    found = [
        judge(status._replace(job=f"{place}"), watch(), now=NOW)
        for place, status in enumerate([*known, failing(2)])
    ]
    order = by_urgency(found)
    assert [each.job for each in order] == ["1", "6", "2", "3", "4", "5", "0"]
    assert [STATES.index(each.state) for each in order] == sorted(
        STATES.index(each.state) for each in order
    )


def kept(run_id, status=None, started=NOW - timedelta(minutes=3)):
    run = Run(run_id, "job", started, OWNER)
    if status is None:
        return KeptRun(run)
    failure = Failure("OSError") if status == "failure" else None
    return KeptRun(run, Outcome(status, started + timedelta(minutes=1), 60.0, failure))


@pytest.mark.parametrize(
    ("runs", "state", "failures"),
    [
        ([kept("x", "failure")], "warning", 1),
        ([kept("x", "failure"), kept("y", "crashed")], "failing", 2),
        ([kept("x", "failure"), kept("y", "success"), kept("z", "cancelled")], "ok", 0),
        ([kept("x", "failure"), kept("y", "skipped")], "warning", 1),
        ([kept("b", "failure")], "warning", 1),
        ([kept("x")], "ok", 0),
        ([], "ok", 0),
    ],
)
def test_what_this_host_keeps_is_counted_in(runs, state, failures):
    """In its order; a run that it says has ended is open no more."""
    status, expected = with_kept(WELL._replace(running=1), watch(OPEN), runs)
    found = judge(status, expected, now=NOW)
    assert (found.state, found.failures) == (state, failures)
    ids = {run.run.run_id for run in runs if run.outcome}
    going_on = {run.run.run_id for run in runs if run.outcome is None}
    assert {run.run_id for run in found.running} == ({"b"} - ids) | going_on
    assert status.running == len(found.running)


COUNTED = Failure("Crashed")


@pytest.mark.parametrize(
    ("last", "end", "state", "failures"),
    [
        ("x", "failure", "warning", 1),
        ("x", "success", "ok", 0),
        ("later", "failure", "warning", 1),
        ("later", "success", "warning", 1),
    ],
)
def test_the_kept_end_of_a_run_counted_as_crashed_is_not_counted_twice(last, end, state, failures):
    """Another host did while this one was cut off: a success takes that back, unless the job was
    counted since; a failure only says why."""
    status = failing(1)
    record = status.last_run._replace(run_id=last, status="crashed", failure=COUNTED)
    late = kept("x", end)._replace(started=True)
    status, expected = with_kept(status._replace(last_run=record), watch(), [late])
    found = judge(status, expected, now=NOW)
    assert (found.state, found.failures) == (state, failures)


def test_an_outcome_whose_answer_was_lost_counts_once():
    """The store has it already, and it still waits to be told."""
    status = failing(1)
    status = status._replace(last_run=status.last_run._replace(run_id="x"))
    status, expected = with_kept(status, watch(), [kept("x", "failure")])
    assert judge(status, expected, now=NOW).failures == 1


def test_runs_are_shown_as_what_became_of_them():
    """A row that looks open is what its run came to; a run that the store does not know is there
    too, at its place; and a row that has ended stays as it is."""
    open_rows = [
        row(name, "running", NOW - timedelta(minutes=minutes), owner=OWNER)
        for name, minutes in (("going", 1), ("dead", 2), ("kept", 3))
    ]
    going, dead, ended = open_rows
    old = row("old", started=NOW - 5 * HOUR)
    failed = ended._replace(status="failure", failure=Failure("OSError"))
    unknown = row("unknown", started=NOW - 2 * HOUR)
    begun = row("begun", "running", NOW - timedelta(seconds=5))
    found = judge(
        WELL._replace(last_run=dead),
        watch(going, dead, begun),
        dead=("dead",),
        kept=(unknown, failed),
        now=NOW,
    )
    assert (found.last_run.run_id, found.last_run.status) == ("dead", "crashed")
    shown = judged([*open_rows, LAST, old], found, limit=20)
    assert [(run.run_id, run.status) for run in shown] == [
        ("begun", "running"),
        ("going", "running"),
        ("dead", "crashed"),
        ("kept", "failure"),
        ("a", "success"),
        ("unknown", "success"),
        ("old", "success"),
    ]
    assert shown[2].failure.error_message.startswith("its process is gone")
    assert shown[2].finished_at is shown[2].consecutive_failure_count is None
    page = judged([going, dead], found, limit=2)
    assert [run.run_id for run in page] == ["begun", "going"], "nothing older than a full page"
    assert judged([], found._replace(running=(), dead=(), kept=()), limit=20) == []
