"""The report's contents as plain values: the axis, the lanes, what is said of each job."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cronguard.cli.report.axis import WIDTH, fitting_window, make_axis
from cronguard.cli.report.contents import Fact, make_report
from cronguard.cli.report.lanes import SLOTS, make_lane
from cronguard.cli.report.reading import Readings, read
from cronguard.core.expectations import statements
from cronguard.core.health import Health
from cronguard.core.model import (
    Activity,
    AlertRecord,
    AlertRule,
    ChannelRule,
    Expectations,
    Failure,
    Outcome,
    Owner,
    Run,
    RunRecord,
)
from cronguard.testing import MemoryStore

pytestmark = pytest.mark.one_python

NOW = datetime(2026, 11, 30, 14, 30, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AXIS = make_axis(NOW, DAY)


def health(job="nightly", state="ok", **changes):
    found = Health(job, state, "why it is so", None, (state,), 0, 2, Expectations())
    return found._replace(**changes)


def run(job="nightly", ago=HOUR, status="success", took=5.0, **changes):
    started = NOW - ago
    ended = None if status == "running" else started + timedelta(seconds=took)
    return RunRecord(f"id-{ago}", job, status, started, ended, took, **changes)


def ran(ago, status="success", number=1, longest=5.0, job="nightly"):
    return Activity(job, status, number, NOW - ago, NOW - ago, longest)


def lane(activity=(), runs=(), found=None, since=None, axis=AXIS):
    return make_lane(axis, found or health(), activity, runs, since)


def report_of(*healths, limit=10, axis=AXIS, **readings):
    names = ("runs", "activity", "alerts", "scheduled_since")
    mappings = {name: readings.get(name, {}) for name in names}
    return make_report(Readings(axis, healths, **mappings), "here", limit=limit)


# --- the axis -----------------------------------------------------------------------------------


def test_axis_says_what_it_shows():
    """The window behind, a little ahead; every moment has its place, or the nearest end."""
    assert (AXIS.window, AXIS.zone_name) == ("24 hours", "UTC")
    assert AXIS.at(AXIS.since) == 0
    assert AXIS.at(NOW - 3 * DAY) == 0
    assert AXIS.at(NOW + 3 * DAY) == WIDTH
    assert 900 < AXIS.at(NOW) < 950
    assert AXIS.at(NOW - 12 * HOUR) == pytest.approx(AXIS.at(NOW) / 2, abs=0.1)


@pytest.mark.parametrize("window", [timedelta(minutes=10), HOUR, DAY, 7 * DAY, 30 * DAY, 366 * DAY])
def test_axis_ticks_are_whole_and_few(window):
    """A handful, in order, at whole minutes, hours or days of the zone."""
    axis = make_axis(NOW, window, {"Europe/Oslo"})
    ticks = axis.ticks
    assert 4 <= len(ticks) <= 11
    assert [tick.at for tick in ticks] == sorted({tick.at for tick in ticks})
    if window >= 7 * DAY:
        assert all(tick.is_day for tick in ticks)


def test_axis_through_a_clock_change():
    """Ticks stand at the wall clock's hours on both sides of it."""
    spring = datetime(2026, 3, 29, 10, tzinfo=UTC)  # at 01:00 UTC, Oslo goes from 02:00 to 03:00
    axis = make_axis(spring, DAY, {"Europe/Oslo"})
    labels = [tick.label for tick in axis.ticks]
    assert labels == [
        "12:00",
        "15:00",
        "18:00",
        "21:00",
        "Sun 29",
        "03:00",
        "06:00",
        "09:00",
        "12:00",
    ]
    midnight = datetime(2026, 3, 29, tzinfo=ZoneInfo("Europe/Oslo"))
    assert axis.ticks[4].at == axis.at(midnight.astimezone(UTC))
    assert axis.ticks[5].at == axis.at(midnight.astimezone(UTC) + 2 * HOUR)
    short = make_axis(spring - 6 * HOUR, 6 * HOUR, {"Europe/Oslo"})
    assert [tick.label for tick in short.ticks] == [
        *("Sun 29", "01:00", "03:00", "04:00", "05:00", "06:00")
    ]


@pytest.mark.parametrize(
    ("zones", "name"),
    [
        ((), "UTC"),
        ({"Europe/Oslo"}, "Europe/Oslo"),
        ({"Europe/Oslo", "UTC"}, "UTC"),
        ({"Nowhere/At_all"}, "UTC"),
    ],
)
def test_axis_zone(zones, name):
    """The jobs' own if they have one in common and it is known here, else UTC."""
    axis = make_axis(NOW, DAY, zones)
    assert axis.zone_name == name
    assert axis.text(NOW) == ("2026-11-30 15:30:00" if name != "UTC" else "2026-11-30 14:30:00")


@pytest.mark.parametrize(
    ("ages", "is_whole", "window"),
    [
        ([HOUR / 4, HOUR / 2], False, DAY),
        ([DAY / 2, DAY * 1.5], False, 7 * DAY),
        ([5 * DAY, 12 * DAY], False, 30 * DAY),
        ([90 * DAY, 180 * DAY], False, 30 * DAY),
        ([HOUR / 4, HOUR / 2], True, HOUR),
        ([HOUR / 4, 4 * HOUR], True, 6 * HOUR),
        ([HOUR / 4], True, HOUR),
        ([], True, DAY),
    ],
)
def test_fitting_window(ages, is_whole, window):
    """As far back as most jobs show two runs; less than a day only if the log is that young."""
    runs = {"job": [run(ago=ago) for ago in ages]} if ages else {}
    assert fitting_window(runs, NOW, is_whole=is_whole) == window


def test_fitting_window_goes_by_most_jobs():
    """One job that runs once a month does not make the others' lanes a line."""
    often = {f"job{n}": [run(ago=HOUR), run(ago=2 * HOUR)] for n in range(5)}
    runs = often | {"monthly": [run(ago=20 * DAY), run(ago=50 * DAY)]}
    assert fitting_window(runs, NOW, is_whole=False) == DAY


# --- lanes --------------------------------------------------------------------------------------


def test_lane_shows_when_and_how_long():
    """A bar from the start of a run to its end; what is wrong is drawn last."""
    found = lane([ran(6 * HOUR, "failure"), ran(3 * HOUR, longest=3600.0)])
    success, failure = found.bars
    assert (success.kind, success.start) == ("success", AXIS.at(NOW - 3 * HOUR))
    assert success.end == pytest.approx(AXIS.at(NOW - 2 * HOUR), abs=0.1)
    assert failure.words == "2026-11-30 08:30:00: failure after 5.0 s"
    assert found.words == "2 runs in the last 24 hours: 1 failure"


def test_lane_runs_that_go_on():
    """To the present; one whose process is gone is a crash, whatever its row says."""
    going, gone = run(status="running"), run(ago=2 * HOUR, status="crashed")
    gone = gone._replace(finished_at=None, duration=None)
    activity = [ran(2 * HOUR, "running"), ran(HOUR, "running")]
    found = lane(activity, [going, gone], health(running=(going,), dead=(gone,)))
    assert found.words == "2 runs in the last 24 hours: 1 crashed, 1 running"
    assert [(bar.kind, bar.start, bar.end) for bar in found.bars] == [
        ("running", AXIS.at(going.started_at), AXIS.at(NOW)),
        ("crashed", AXIS.at(gone.started_at), AXIS.at(NOW)),
    ]


def test_lane_runs_that_the_store_has_not_taken_yet():
    """One that looks open there has ended, and one that is not known there met its due time."""
    ended, met = run(status="failure"), run(ago=timedelta(hours=2, minutes=30))
    plan = Expectations(schedule="0 12 * * *")
    found = lane([ran(HOUR, "running")], [ended, met], health(kept=(met, ended), expected=plan))
    assert [(bar.kind, bar.end) for bar in found.bars] == [
        ("success", AXIS.at(met.finished_at)),
        ("failure", AXIS.at(ended.finished_at)),
    ]
    assert not found.missed
    assert found.words == "2 runs in the last 24 hours: 1 failure"


def test_lane_runs_from_before():
    """A run that began before the axis does is shown for what it reaches into it."""
    long, over = run(ago=30 * HOUR, took=8 * 3600.0), run(ago=40 * HOUR)
    (bar,) = lane([], [long, over]).bars
    assert (bar.start, bar.end) == (0, AXIS.at(NOW - 22 * HOUR))


def test_lane_joins_what_would_touch():
    """A run a minute is one bar of its kind, and a failure among them stands out."""
    step = DAY / SLOTS
    activity = [ran(DAY - n * step, "failure" if n == 100 else "success", 4) for n in range(SLOTS)]
    bars = lane(activity).bars
    assert [(bar.kind, bar.words) for bar in bars[:2]] == [
        ("success", "2026-11-29 14:30:00: success, 400 runs from then on"),
        ("success", f"{AXIS.text(activity[101].first)}: success, 1,036 runs from then on"),
    ]
    assert bars[2].kind == "failure"
    assert len(bars) == 3


def test_lane_with_many_bars_words_the_worst():
    """No page of tooltips; those of what is wrong stay."""
    activity = [
        ran(DAY - n * 15 * timedelta(minutes=1), "failure" if n % 9 == 0 else "success")
        for n in range(96)
    ]
    bars = lane(activity).bars
    assert len(bars) == 96
    assert sum(bool(bar.words) for bar in bars) == 40
    assert all(bar.words for bar in bars if bar.kind == "failure")


def daily(hour=6, **changes):
    return Expectations(schedule=f"0 {hour} * * *")._replace(**changes)


def test_lane_marks_what_nobody_ran():
    """A due time is met from a little before it until its grace is over; others are missed."""
    hourly = health(expected=Expectations(schedule="0 * * * *", grace=300.0))
    due = NOW.replace(minute=0)
    activity = [
        ran(NOW - (due - 6 * HOUR - timedelta(seconds=9))),
        ran(NOW - (due - 5 * HOUR + timedelta(seconds=300))),
        ran(NOW - (due - 3 * HOUR + timedelta(seconds=301))),
        ran(NOW - (due - timedelta(seconds=11))),
    ]
    found = lane(activity, found=hourly, since=due - 7 * HOUR)
    assert len(found.due) == 26
    assert found.due[-1] > AXIS.at(NOW)
    assert [(bar.start, bar.end) for bar in found.missed] == [
        (AXIS.at(due - 7 * HOUR),) * 2,
        (AXIS.at(due - 4 * HOUR), AXIS.at(due)),
    ]
    assert found.missed[1].words == "due 5 times from 2026-11-30 10:00:00: nothing started"
    assert found.words == "4 runs in the last 24 hours: 6 missed"


def test_lane_misses_nothing_too_soon():
    """Not within the grace, not before the schedule was stated, not while a run goes on."""
    assert not lane(found=health(expected=daily(14, grace=3600.0))).missed
    assert not lane(found=health(expected=daily(6)), since=NOW - HOUR).missed
    going = run(ago=10 * HOUR, status="running")
    assert not lane(found=health(expected=daily(6), running=(going,))).missed
    assert lane(found=health(expected=daily(6))).missed


def test_lane_due_too_often():
    """Its due times would be a line: a job that is late is shown from where it began to be."""
    late = health(state="late", since=NOW - 2 * HOUR, missed=119)
    found = lane(found=late._replace(expected=Expectations(schedule="* * * * *")))
    assert not found.due
    assert [(bar.start, bar.end) for bar in found.missed] == [
        (AXIS.at(NOW - 2 * HOUR), AXIS.at(NOW))
    ]
    assert found.words == "0 runs in the last 24 hours: 119 missed"


@pytest.mark.parametrize("cron", ["not at all", "0 0 30 2 *"])
def test_lane_of_a_schedule_that_cannot_be(cron):
    """No due times, and no error."""
    assert not lane(found=health(expected=Expectations(schedule=cron))).due


# --- what is said of jobs -----------------------------------------------------------------------


def test_worst_first_and_snoozed_last():
    """Those that need attention above, by state; the others below, a warning first."""
    found = report_of(
        health("fine"),
        health("warned", "warning", failures=1),
        health("late", "late", since=NOW - HOUR),
        health("snoozed", "failing", snoozed_until=NOW + HOUR, failures=3),
        health("undelivered", alerts_given_up=1),
        health("zfailing", "failing", failures=2),
    )
    assert [job.name for job in found.wrong] == ["zfailing", "snoozed", "late", "undelivered"]
    assert [job.name for job in found.well] == ["warned", "fine"]
    assert found.headline == "2 failing, 1 late, 1 to look at of 6 jobs"
    assert not found.is_well
    assert [(figure.number, figure.label) for figure in found.figures] == [
        *((2, "failing"), (0, "stuck"), (1, "late"), (1, "warning"), (0, "new"), (2, "ok")),
        *((1, "snoozed"), (1, "alerts given up")),
    ]


def test_nothing_wrong():
    """It says what was looked for."""
    found = report_of(*(health(f"job{n}") for n in range(3)))
    assert (found.headline, found.is_well) == ("3 jobs, none failing, stuck or late", True)
    assert not found.wrong


def test_few_jobs_are_not_folded():
    """A page of six jobs that are well is not an empty one."""
    assert not report_of(*(health(f"job{n}") for n in range(6))).is_folded
    assert report_of(*(health(f"job{n}") for n in range(50))).is_folded


def test_an_alert_that_does_not_go_out():
    """Waiting for a minute it may be under way; longer than that somebody must look."""
    soon = health("soon", alerts_waiting=1, waiting_since=NOW - timedelta(seconds=30))
    long = health("long", alerts_waiting=1, waiting_since=NOW - 3 * HOUR)
    found = report_of(soon, long)
    (job,) = found.wrong
    assert (job.name, job.alerts, job.has_undelivered) == ("long", "1 waiting", True)
    assert job.notes == ["an alert waits for 3 h to be sent"]
    assert [each.alerts for each in found.well] == ["1 waiting"]


def test_what_is_said_of_a_failing_job():
    """Why, since when, the error, p50 and p95, next due, alerts, whom it tells, the runbook."""
    failure = Failure("app.GatewayError", "503", "no answer", "app/send.py:4 in send")
    runs = [run(ago=n * HOUR, status="failure", failure=failure) for n in (1, 2)]
    runs += [run(ago=n * HOUR, took=float(n)) for n in range(3, 23)]
    sent = AlertRecord("a", "nightly", "slack", "failing", "sent", 1, NOW - HOUR)
    old = sent._replace(created_at=NOW - 2 * DAY)
    expected = daily(6, runbook="https://wiki.example/a?b=1&c=<2>", timezone="Europe/Oslo")
    found = report_of(
        health(
            *("nightly", "failing"),
            since=NOW - 2 * HOUR,
            failures=2,
            last_run=runs[0],
            last_success_at=NOW - 3 * HOUR,
            next_due=NOW + 16 * HOUR,
            expected=expected,
            rules=(AlertRule("slack", 2), AlertRule("pager", 5)),
            alerts_waiting=1,
        ),
        runs={"nightly": runs},
        alerts={"nightly": [sent, old]},
        limit=3,
    )
    (job,) = found.wrong
    assert job.since == "since 2026-11-30 12:30:00, 2 h ago"
    assert job.error == "app.GatewayError (503) at app/send.py:4 in send: no answer"
    assert (job.last, job.due, job.alerts) == ("60m ago", "in 16h", "1 sent, 1 waiting")
    assert (job.usual, job.slow) == ("12.0 s", "21.0 s")
    assert [row.status for row in job.rows] == ["failure", "failure", "success"]
    assert [row.fate for row in job.alert_rows] == ["sent", "sent"]
    facts = {fact.label: fact for fact in job.facts}
    assert (
        facts["Usually takes"].text == "12.0 s; 95 of 100 within 21.0 s (of the last 20 successes)"
    )
    assert facts["Next due"].text == "2026-12-01 06:30:00 (in 16 h)"
    assert facts["Notifies"].text == "slack at 2 failures; pager at 5 failures"
    assert facts["Streak"].text == "2 failures in a row; alerts from 2"
    assert facts["Runbook"] == Fact("Runbook", expected.runbook, expected.runbook)


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "http://wiki.example/",
        "//wiki.example/",
        "https://user:secret@wiki.example/",
        "https://wiki.example\\@evil.example/",
        " https://wiki.example/",
        "https://",
        "data:text/html,x",
    ],
)
def test_runbook_that_is_no_https_link(address):
    """It is text: a row may hold what no setting would have taken."""
    (job,) = report_of(health(expected=Expectations(runbook=address))).well
    (fact,) = [fact for fact in job.facts if fact.label == "Runbook"]
    assert fact.link is None


def test_names_that_are_no_names():
    """A job of another program's may be called anything: each has an anchor of its own."""
    found = report_of(*(health(name) for name in ("<b>", "a b", "ok.1:x-y", "\x1b[31m\u202e")))
    anchors = {job.name: job.anchor for job in found.well}
    assert anchors["ok.1:x-y"] == "job-ok.1:x-y"
    assert len(set(anchors.values())) == 4
    assert all(anchor.isascii() and " " not in anchor for anchor in anchors.values())
    assert not any("\x1b" in name or "\u202e" in name for name in anchors)


# --- reading ------------------------------------------------------------------------------------


class Counted:
    """A store that counts what is asked of it."""

    def __init__(self, store):
        self.store, self.asked = store, []

    def __getattr__(self, name):
        self.asked.append(name)
        return getattr(self.store, name)


def test_read_asks_as_often_for_all_as_for_one():
    """Four questions, however many jobs there are; and nothing of jobs that were not asked for."""
    store = MemoryStore()
    for job in ("a", "b", "c"):
        for _ in range(3):
            row = Run(
                *(f"{job}{_}", job, datetime.now(UTC), Owner("here", 1)),
                channels=(ChannelRule("told"),),
                stated=statements(schedule="0 6 * * *", timezone="Europe/Oslo"),
            )
            store.start_run(row, is_dead=lambda _: False)
            store.finish_run(row, Outcome("failure", datetime.now(UTC), 1.0), started=True)
    counted = Counted(store)
    expected = Expectations(schedule="0 6 * * *", timezone="Europe/Oslo")
    found = read(counted, [health(job, expected=expected) for job in "ab"], datetime.now(UTC))
    assert sorted(counted.asked) == ["activity", "alerts", "recent", "watches"]
    assert sorted(found.runs) == sorted(found.activity) == sorted(found.alerts) == ["a", "b"]
    assert [each.runs for each in found.activity["a"]] == [3]
    assert (found.axis.window, found.axis.zone_name) == ("hour", "Europe/Oslo")
    assert found.scheduled_since["a"] <= found.axis.now
    store.close()


def test_read_without_a_database():
    """Jobs that settings declare are shown all the same."""
    found = read(None, [health(state="new")], NOW)
    assert (found.axis.window, found.runs) == ("24 hours", {})
