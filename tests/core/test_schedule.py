"""When a job is expected, through clock changes, and which of those times nobody kept."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronguard.core import schedule
from cronguard.core.alert_rule import announced_silence, missed_alerts
from cronguard.core.model import (
    AlertRule,
    Expectations,
    Missed,
    Schedule,
    Silence,
    Source,
    Watch,
)
from cronguard.core.schedule import judge, lateness, occurrences, overrun

pytestmark = pytest.mark.one_python

ZONES = ("UTC", "Europe/Oslo", "America/New_York", "Australia/Lord_Howe")
GRACE = timedelta(seconds=300)


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def expected(cron_time, zone, day):
    """The instant of a local time on a day, worked out without any cron library.

    In a gap it is the gap's end; in an hour that comes twice, the first one.
    """
    local = datetime.combine(day, cron_time, ZoneInfo(zone))
    there_and_back = local.astimezone(UTC).astimezone(local.tzinfo)
    if there_and_back.replace(tzinfo=None) == local.replace(tzinfo=None):
        return local.astimezone(UTC)
    low = datetime.combine(day, time(0), local.tzinfo).astimezone(UTC)
    while low.astimezone(local.tzinfo).replace(tzinfo=None) < local.replace(tzinfo=None):
        low += timedelta(minutes=30)
    return low


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("at", [time(0), time(1, 30), time(2), time(2, 30), time(3), time(23, 59)])
@pytest.mark.parametrize("seconds", ["", "0 "], ids=["minutes", "seconds"])
def test_a_daily_job_is_due_once_every_day_of_the_year(zone, at, seconds):
    """Days of clock changes included: never none, never two, at the instant cron picks."""
    plan = Schedule(f"{seconds}{at.minute} {at.hour} * * *", zone, 300.0)
    days = [date(2026, 1, 2) + timedelta(days=n) for n in range(363)]
    begin = expected(at, zone, date(2026, 1, 1))
    found = list(occurrences(plan, begin, expected(at, zone, days[-1])))
    assert found == [expected(at, zone, day) for day in days]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("seconds", ["", "0 "], ids=["minutes", "seconds"])
def test_what_runs_every_ten_minutes_runs_on(zone, seconds):
    """Six an hour of real time, whatever the wall clock does."""
    plan = Schedule(f"{seconds}*/10 * * * *", zone)
    days = [utc("2026-01-01T00:00") + timedelta(days=n) for n in range(366)]
    offsets = [day.astimezone(ZoneInfo(zone)).utcoffset() for day in days]
    changes = [
        day for day, now, then in zip(days, offsets, offsets[1:], strict=False) if now != then
    ]
    assert len(changes) == (0 if zone == "UTC" else 2)
    for day in [*changes, days[0]]:
        found = list(occurrences(plan, day - timedelta(days=1), day + timedelta(days=2)))
        assert len(found) == 3 * 144
        assert {later - former for former, later in pairwise(found)} == {timedelta(minutes=10)}


def test_month_ends():
    """The 31st is skipped in short months, L is the last day, a leap day comes in leap years."""
    begin, end = utc("2027-01-01T00:00"), utc("2028-12-31T23:59")

    def days(cron):
        return [f"{due:%m-%d}" for due in occurrences(Schedule(cron), begin, end)]

    assert days("0 0 31 * *")[:4] == ["01-31", "03-31", "05-31", "07-31"]
    assert days("0 0 L * *")[:3] == ["01-31", "02-28", "03-31"]
    assert days("0 0 L * *")[13] == "02-29"
    assert days("0 0 29 2 *") == ["02-29"]


def test_seconds():
    """Where a sixth field says them, before the others."""
    begin = utc("2026-11-25T05:59:30")
    plan = Schedule("15,45 */30 * * * *")
    found = occurrences(plan, begin, begin + timedelta(hours=1))
    assert [f"{due:%H:%M:%S}" for due in found] == ["06:00:15", "06:00:45", "06:30:15", "06:30:45"]


@given(
    cron=st.sampled_from(
        ["30 2 * * *", "*/20 * * * *", "15 1,2,3 * * *", "0 */2 * * *", "30 1 * * *", "0 3 * * 0"]
    ),
    zone=st.sampled_from(ZONES),
    day=st.sampled_from(["2026-03-08", "2026-03-29", "2026-10-25", "2026-11-01", "2026-04-05"]),
    cuts=st.lists(st.integers(0, 72 * 60), max_size=8),
)
def test_looking_often_finds_the_same_as_looking_once(cron, zone, day, cuts):
    """Wherever the looks fall, in an hour that comes twice too."""
    plan, begin = Schedule(cron, zone), utc(day) - timedelta(days=1)
    end = begin + timedelta(hours=72)
    marks = [begin, *sorted(begin + timedelta(minutes=cut) for cut in cuts), end]
    pieces = [list(occurrences(plan, a, b)) for a, b in pairwise(marks)]
    assert [due for piece in pieces for due in piece] == list(occurrences(plan, begin, end))


@pytest.mark.parametrize("cron", ["30 2 * * *", "15 1,2,3 * * *", "30 1 * * *", "*/20 * * * *"])
@pytest.mark.parametrize(
    ("zone", "day"),
    [("Europe/Oslo", "2026-10-25"), ("America/New_York", "2026-11-01")],
)
def test_a_look_within_the_hour_that_comes_twice(zone, day, cron):
    """From wherever one goes on looking that day, nothing comes again and nothing is left out."""
    plan, begin, end = Schedule(cron, zone), utc(day), utc(day) + timedelta(hours=20)
    whole = list(occurrences(plan, begin, end))
    for minute in range(0, 12 * 60, 5):
        cut = begin + timedelta(minutes=minute)
        assert [*occurrences(plan, begin, cut), *occurrences(plan, cut, end)] == whole


# --- judged ---------------------------------------------------------------------------------------


def watched(cron="0 6 * * *", zone="UTC", since="2026-11-20T00:00", grace=300.0):
    return Watch("job", Expectations(cron, zone, grace), judged_until=utc(since))


def missed_by(watch, starts, now):
    """(number missed, latest) of one judgement."""
    found = judge(watch, iter(starts), now)
    return (found.number, found.latest) if found else None


def test_nothing_is_judged_before_its_grace_is_over():
    """An occurrence may still be met until the last moment of its grace."""
    watch = watched()
    assert judge(watch, [], utc("2026-11-20T06:04:59")) is None
    assert missed_by(watch, [], utc("2026-11-20T06:05")) == (1, utc("2026-11-20T06:00"))


@pytest.mark.parametrize(
    ("start", "met"),
    [
        ("05:59:49", False),
        ("05:59:50", True),
        ("06:00:00", True),
        ("06:05:00", True),
        ("06:05:01", False),
    ],
)
def test_a_start_meets_an_occurrence_within_its_grace(start, met):
    """A little early too: the clocks of two hosts are never quite the same."""
    found = judge(watched(), [utc(f"2026-11-20T{start}")], utc("2026-11-20T07:00"))
    assert found.number == (0 if met else 1)
    assert (found.message is None) is met


def test_a_start_meets_all_that_it_can():
    """Each occurrence whose grace it begins in: the others of a job due every minute are missed."""
    watch = watched("* * * * *", since="2026-11-20T11:59:30", grace=120.0)
    starts = [utc(f"2026-11-20T12:{minute:02}") for minute in range(0, 60, 5)]
    found = judge(watch, starts, utc("2026-11-20T13:00:00"))
    assert found.number == 2 * 11 + 3  # of the last five, 12:59 may still be met


def test_what_was_missed_is_counted_and_the_latest_named():
    """Over a weekend: three, the last one today; and judged only once."""
    watch = watched()
    now = utc("2026-11-22T08:00")
    found = judge(watch, [], now)
    assert (found.number, found.latest) == (3, utc("2026-11-22T06:00"))
    assert found.message == (
        "no run started at 3 times of 0 6 * * * (UTC),"
        " from 2026-11-20 06:00:00 UTC to 2026-11-22 06:00:00 UTC"
    )
    assert (found.silence, found.before) == (Silence(utc("2026-11-20T06:00"), 3), 0)
    later = judged(watch, found)
    assert judge(later, [], now) is None
    assert judge(later, [], utc("2026-11-23T06:04")) is None
    again = judge(later, [], utc("2026-11-23T06:05"))
    assert (again.silence, again.before) == (Silence(utc("2026-11-20T06:00"), 4), 3)
    assert again.message == (
        "no run started at 4 times of 0 6 * * * (UTC),"
        " from 2026-11-20 06:00:00 UTC to 2026-11-23 06:00:00 UTC"
    )
    started = judge(later, [utc("2026-11-22T09:00")], utc("2026-11-23T06:05"))
    assert (started.silence, started.before) == (Silence(utc("2026-11-23T06:00")), 0)
    assert started.message == "no run started for 0 6 * * * (UTC) at 2026-11-23 06:00:00 UTC"


def test_a_clock_put_back_an_hour_judges_nothing_twice():
    """Cron runs nothing twice then, and nothing is missed for it; the next day counts again."""
    watch = watched("0 * * * *", since="2026-11-20T10:30")
    found = judge(watch, [utc("2026-11-20T11:00:01")], utc("2026-11-20T11:30"))
    watch = judged(watch, found)
    assert judge(watch, [], utc("2026-11-20T10:30")) is None
    assert judge(watch, [], utc("2026-11-20T11:30")) is None
    assert missed_by(watch, [], utc("2026-11-20T12:05")) == (1, utc("2026-11-20T12:00"))


def test_a_clock_that_was_days_ahead_does_not_blind():
    """It begins anew from now, and nothing is missed until the next occurrence is."""
    watch = watched(since="2027-01-01T00:00")
    found = judge(watch, [], utc("2026-11-20T12:00"))
    assert (found.number, found.judged_until) == (0, utc("2026-11-20T12:00"))


def test_what_a_clock_that_was_ahead_judged_is_over():
    """No start could end such a silence before its time; it is announced to nobody again."""
    watch = watched(since="2027-01-02T00:00", grace=60.0)
    watch = watch._replace(silence=Silence(utc("2026-12-30T06:00"), 3))
    found = judge(watch, [], utc("2026-11-20T12:00"))
    assert found.silence == watch.silence._replace(over=True)
    assert missed_alerts(found, [AlertRule("slack", 2, 1)]) == ()
    assert late(watch, "2026-11-20T11:00", "2026-11-20T12:00")[0] is None
    open_now = watch._replace(silence=Silence(utc("2026-11-20T06:00"), 3))
    assert judge(open_now, [], utc("2026-11-20T12:00")).silence is None


@pytest.mark.parametrize("ahead", [timedelta(hours=2), timedelta(days=2), timedelta(days=400)])
def test_a_start_noted_by_a_clock_ahead_ends_no_silence(ahead):
    """One alert and a job that is late, not a new silence at every look and a job that is well."""
    watch, begin = watched("*/10 * * * *", since="2026-11-20T12:00", grace=60.0), "2026-11-20T12:0"
    start = utc(f"{begin}1") + ahead
    news = []
    for minute in range(11, 60, 10):
        now = utc(f"2026-11-20T12:{minute:02}")
        found = judge(watch, [start], now)
        news += [found.silence.since] if not found.before else []
        watch = judged(watch, found)
        since, number, _ = late(
            watch, start.replace(tzinfo=None).isoformat(), now.replace(tzinfo=None).isoformat()
        )
        assert (since, number) == (utc("2026-11-20T12:10"), minute // 10)
    assert news == [utc("2026-11-20T12:10")]


def test_a_long_absence_is_judged_in_parts(monkeypatch):
    """Nobody looked for a year: a limited number at a time, none left out."""
    monkeypatch.setattr(schedule, "MOST_OCCURRENCES", 100)
    watch, total = watched("0 * * * *"), 0
    now = utc("2026-12-20T00:30")
    while found := judge(watch, [], now):
        assert found.number <= 100
        total += found.number
        watch = judged(watch, found)
    assert total == watch.silence.missed == 30 * 24


DUE = st.integers(0, 40).map(lambda minutes: utc("2026-11-20T12:00") + timedelta(minutes=minutes))
STARTS = st.lists(
    st.integers(-60, 45 * 60).map(lambda s: utc("2026-11-20T12:00") + timedelta(seconds=s)),
    max_size=30,
    unique=True,  # the same microsecond twice: see `judge`
).map(sorted)


@given(
    starts=STARTS,
    grace=st.sampled_from([0.0, 20.0, 60.0, 150.0, 600.0]),
    looks=st.lists(DUE, max_size=6).map(sorted),
)
def test_a_silence_is_told_of_once_at_any_pace(starts, grace, looks):
    """However often one looks, and each look knows only the starts that there are by then: the
    occurrences that are missed are the same, and each silence is new once at most."""
    watch = watched("*/3 * * * *", since="2026-11-20T11:59", grace=grace)
    end = utc("2026-11-20T12:45")
    news = []
    total = 0
    for now in [*looks, end]:
        known = [s for s in starts if s > schedule.first_start(watch, now) and s <= now]
        found = judge(watch, known, now)
        if found:
            total += found.number
            if found.silence and not found.before:
                news.append(found.silence.since)
            watch = judged(watch, found)
    early, late = timedelta(seconds=schedule.EARLY_SECONDS), timedelta(seconds=grace)
    due = occurrences(watch.expected.plan, utc("2026-11-20T11:59"), end - late)
    missed = [each for each in due if not any(each - early <= s <= each + late for s in starts)]
    assert total == len(missed)
    first = [
        each
        for before, each in pairwise([None, *missed])
        if before is None or any(before - early <= s <= each + late for s in starts)
    ]
    assert set(news) <= set(first)
    assert len(news) == len(set(news))
    assert news[-1:] == first[-1:]


def judged(watch, found):
    """A job after a judgement, as a store keeps it."""
    return watch._replace(
        judged_until=found.judged_until, silence=announced_silence(found, watch.silence, ())
    )


def test_silences_that_nobody_saw_are_told_of_together():
    """By the name of the last one, with how many there were in all."""
    watch = watched()
    starts = [utc("2026-11-20T07:00"), utc("2026-11-21T07:00"), utc("2026-11-22T07:00")]
    found = judge(watch, starts, utc("2026-11-22T08:00"))
    assert (found.silence, found.before) == (Silence(utc("2026-11-22T06:00"), 1, True), 0)
    assert found.message == (
        "no run started at 3 times of 0 6 * * * (UTC),"
        " from 2026-11-20 06:00:00 UTC to 2026-11-22 06:00:00 UTC"
    )


def test_a_start_that_ended_a_silence_unseen_is_noted():
    """By a client that knew of no silences."""
    watch = watched()._replace(
        judged_until=utc("2026-11-20T06:00"), silence=Silence(utc("2026-11-20T06:00"))
    )
    found = judge(watch, [utc("2026-11-21T06:00")], utc("2026-11-21T07:00"))
    assert (found.number, found.silence.over, found.message) == (0, True, None)
    assert missed_alerts(found, [AlertRule("slack", 2, 1)]) == ()


@pytest.mark.parametrize(
    ("before", "missed", "every", "key"),
    [
        (0, 1, None, ""),
        (0, 9, 2, ""),
        (1, 9, None, None),
        (1, 2, 3, None),
        (1, 4, 3, "/4"),
        (1, 9, 3, "/7"),
        (4, 6, 3, None),
        (6, 7, 3, "/7"),
        (1, 2, 1, "/2"),
    ],
)
def test_a_silence_is_announced_again_as_its_rule_says(before, missed, every, key):
    """Not at all, or after every so many further occurrences."""
    since = utc("2026-11-20T06:00")
    news = Missed("job", 1, since, "missed", since, since, Silence(since, missed), before)
    name = "job/silence/2026-11-20T06:00:00.000000Z/slack"
    found = [each.key for each in missed_alerts(news, [AlertRule("slack", 2, every)])]
    assert found == ([] if key is None else [name + key])


def late(watch, last_start, now):
    """(since, how many, next due)."""
    found = lateness(watch, last_start and utc(last_start), utc(now))
    return found.since, found.number, found.next_due


def test_a_job_is_late_until_it_starts():
    """From the end of an occurrence's grace; whoever judged it before, or nobody."""
    sources = {"schedule": Source("code", utc("2026-11-20T00:00"))}
    for judged in ("2026-11-20T00:00", "2026-11-21T06:00", "2026-11-22T06:00"):
        watch = watched(since=judged)._replace(sources=sources)
        first, third = utc("2026-11-20T06:00"), utc("2026-11-22T06:00")
        assert late(watch, None, "2026-11-20T06:04:59") == (None, 0, first)
        assert late(watch, None, "2026-11-22T06:04:59") == (first, 2, third)
        now = "2026-11-22T08:00"
        assert late(watch, None, now) == (first, 3, utc("2026-11-23T06:00"))
        assert late(watch, "2026-11-20T06:03", now)[:2] == (utc("2026-11-21T06:00"), 2)
        assert late(watch, "2026-11-22T05:59:50", now) == (None, 0, utc("2026-11-23T06:00"))
        assert late(watch, "2026-11-22T05:59:49", now)[:2] == (third, 1)
        assert late(watch, "2026-11-22T07:00", now)[0] is None


def test_a_job_is_not_late_for_a_schedule_it_did_not_have():
    """Nor where the clock was ahead when that was stated."""
    watch = watched(since="2026-11-22T08:00")
    assert late(watch, "2026-11-01T06:00", "2026-11-22T09:00")[0] is None
    assert late(watched(since="2027-01-01T00:00"), None, "2026-11-22T09:00")[0] is None
    assert lateness(Watch("job"), None, utc("2026-11-22T09:00")) is None


def test_a_long_absence_is_shown_in_part():
    """Whoever looks is not kept waiting."""
    since, number, _ = late(watched("* * * * *"), None, "2027-11-20T00:00")
    assert (since, number) == (utc("2026-11-20T00:01"), schedule.MOST_SHOWN)


@pytest.mark.parametrize(
    ("elapsed", "step", "text"),
    [
        (59.9, None, ""),
        (60, 1, "still running after its max_runtime of 1 min"),
        (119, 1, "still running after its max_runtime of 1 min"),
        (120, 2, "still running after 2 times its max_runtime of 1 min"),
        (300, 4, "still running after 4 times its max_runtime of 1 min"),
        (10_000, 8, "still running after 8 times its max_runtime of 1 min"),
    ],
)
def test_an_overrun_has_steps(elapsed, step, text):
    """Once, twice, four and eight times as long as it may."""
    news = overrun("id", "job", elapsed, 60.0)
    assert (news and news.step) == step
    assert not news or news.message == text
