"""The rules of streak and alerts exist twice, in Python and in SQL: both must say the same."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from cronguard.core.alert_rule import alert_rules, decide
from cronguard.core.clock import new_id
from cronguard.core.model import (
    ChannelRule,
    Expectations,
    Failure,
    JobState,
    Outcome,
    Owner,
    Run,
    Silence,
)
from cronguard.core.payload import build, encode
from cronguard.stores.server.values import outcome_json, run_json

pytestmark = pytest.mark.one_python

CHANNELS = ("slack", "pager", "mail.team")
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
CHANNEL_SETS = st.lists(
    st.builds(
        ChannelRule,
        st.sampled_from(CHANNELS),
        st.none() | st.integers(1, 6),
        st.none() | st.integers(0, 4),
    ),
    max_size=3,
    unique_by=lambda rule: rule.channel,
)
STATES = st.builds(
    JobState,
    st.integers(0, 12),
    st.none() | st.uuids().map(str),
    st.frozensets(st.sampled_from(CHANNELS)),
    st.none() | MOMENTS,
    st.none() | st.uuids().map(str),
    expected=st.builds(
        Expectations,
        threshold=st.integers(1, 6),
        realert_every=st.none() | st.integers(1, 4),
        notify_recovery=st.booleans(),
        runbook=st.none() | st.just("https://example.org/r?a=1&b=ø"),
    ),
    silence=st.none()
    | st.builds(
        Silence,
        MOMENTS,
        st.integers(1, 9),
        st.booleans(),
        st.frozensets(st.sampled_from(CHANNELS)),
    ),
)
FAILURES = st.builds(Failure, TEXT.filter(bool), *[st.none() | TEXT] * 3)
OUTCOMES = st.builds(
    Outcome,
    st.sampled_from(["success", "failure", "failure", "crashed", "cancelled"]),
    MOMENTS,
    st.none() | st.floats(0, 1e6, allow_nan=False),
    st.none() | FAILURES,
)


@st.composite
def decisions(draw):
    """(state, run, outcome, snoozed, late, told): late is a success of a run that was counted
    crashed, told are channels that know already."""
    state, outcome = draw(STATES), draw(OUTCOMES)
    if state.incident_id is None:
        state = state._replace(announced=frozenset())
    late = outcome.status == "success" and draw(st.booleans())
    run_id = new_id()
    if late and draw(st.booleans()):
        state = state._replace(last_counted_run=run_id)
    run = Run(
        run_id,
        "nightly.export",
        draw(MOMENTS),
        Owner(draw(TEXT), 7),
        channels=tuple(draw(CHANNEL_SETS)),
        test_mode=draw(st.booleans()),
    )
    notified = draw(st.just([]) | st.lists(st.sampled_from(CHANNELS), unique=True))
    return state, run, outcome, draw(st.booleans()), late, notified


@pytest.fixture
def db(database):
    with database.connect() as connection:
        yield connection


@pytest.mark.parametrize(
    "examples", [50, pytest.param(250, marks=pytest.mark.long)], ids=["few", "many"]
)
def test_every_decision_is_the_same_in_sql(db, examples):
    """State, count, alerts, keys and payloads, field for field, equal `alert_rule.decide`'s."""

    @settings(max_examples=examples)
    @given(case=decisions())
    def holds(case):
        check_decision(db, case)

    holds()


def silence_row(silence):
    if silence is None:
        return None, 0, False, []
    return silence.since, silence.missed, silence.over, sorted(silence.announced)


def check_decision(db, case):
    state, run, outcome, snoozed, late, notified = case
    request = run_json(run) | ({"notified": notified} if notified else {})
    db.execute("delete from cronguard_alerts where true")
    db.execute("delete from cron_execution_logs where true")
    db.execute("delete from cronguard_jobs where true")
    db.execute(
        "insert into cronguard_jobs (job, consecutive_failure_count, incident_id, announced,"
        " last_success_at, last_counted_run, snoozed_until, threshold, realert_every,"
        " notify_recovery, runbook, silence_since, silence_missed, silence_over,"
        " silence_announced) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            run.job,
            state.consecutive_failure_count,
            state.incident_id,
            sorted(state.announced),
            state.last_success_at,
            state.last_counted_run,
            datetime.now(UTC) + timedelta(hours=1) if snoozed else None,
            *state.expected[4:],
            *silence_row(state.silence),
        ),
    )
    db.execute("select cronguard_insert_running(%s)", (Jsonb(run_json(run)),))

    count = db.execute(
        "select cronguard_commit(j, %s, %s, %s) from cronguard_jobs j",
        (Jsonb(request), Jsonb(outcome_json(outcome)), late),
    ).fetchone()[0]

    expected = decide(
        state,
        outcome,
        job=run.job,
        run_id=run.run_id,
        rules=alert_rules(run.channels, state.expected),
        snoozed=snoozed,
        late=late,
        test_mode=run.test_mode,
        notified=notified,
    )
    assert count == expected.consecutive_failure_count
    kept = db.execute(
        "select silence_since, silence_missed, silence_over, silence_announced from cronguard_jobs"
    ).fetchone()
    assert kept == silence_row(expected.state.silence)
    row = db.execute(
        "select consecutive_failure_count, incident_id::text, announced, last_success_at,"
        " last_counted_run::text from cronguard_jobs"
    ).fetchone()
    after = expected.state
    assert row[:2] == (after.consecutive_failure_count, after.incident_id)
    assert (frozenset(row[2]), row[3], row[4]) == (
        after.announced,
        after.last_success_at,
        after.last_counted_run,
    )
    found = db.execute(
        "select alert_key, channel, kind, alert_id::text, payload from cronguard_alerts"
        " order by seq"
    ).fetchall()
    assert [tuple(alert[:3]) for alert in found] == [
        (due.key, due.channel, due.kind) for due in expected.alerts
    ]
    for due, alert in zip(expected.alerts, found, strict=True):
        wanted = build(due, alert_id=alert[3], run=run, outcome=outcome, before=state, count=count)
        assert json.loads(alert[4]) == json.loads(encode(wanted))
        assert next(iter(json.loads(alert[4]))) == "schema"
    shown = db.execute(
        "select status, finished_at, consecutive_failure_count, error_type, error_message,"
        " duration_ms, holds_lease from cron_execution_logs"
    ).fetchone()
    failure = outcome.failure
    assert shown[:3] == (outcome.status, outcome.finished_at, count)
    assert shown[3:5] == ((failure.error_type, failure.error_message) if failure else (None, None))
    assert shown[5] == pytest.approx(
        None if outcome.duration is None else outcome.duration * 1000, abs=0.01
    )
    assert shown[6] is False
