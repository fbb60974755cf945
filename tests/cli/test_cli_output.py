"""How commands show texts, times and runs: widths, cuts, distances, strips."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import click
import pytest

from cronguard.cli.output import jobs, layout, lines, times
from cronguard.core.model import RunRecord

pytestmark = pytest.mark.one_python

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("日本語", 6), ("é", 1), ("e\u0301", 1), ("가", 2), ("…", 1)]
)
def test_width_of_wide_characters(text, columns):
    """As a terminal counts it: two for a wide one, none for an accent of its own."""
    assert layout.width(text) == columns


@pytest.mark.parametrize("room", range(1, 30))
def test_wrap_and_cut_stay_in_their_room(room):
    """Whatever is in the text; wrapping loses no letter."""
    text = "no reminder for 日本語日本語: HTTP 503 in averyveryverylongword"
    assert layout.width(layout.cut(text, room)) <= room
    lines = layout.wrap(text, room)
    if room > 1:
        assert max(map(layout.width, lines)) <= room
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_cut_says_that_it_cut():
    """With an ellipsis, and only then."""
    assert layout.cut("nightly", 7) == "nightly"
    assert layout.cut("nightly", 6) == "night…"
    assert layout.cut("日本語", 5) == "日本…"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (45, "45s ago"),
        (-45, "in 45s"),
        (5400, "90m ago"),
        (4 * 3600, "4h ago"),
        (-50 * 3600, "in 2d"),
        (400 * 86400, "400d ago"),
    ],
)
def test_distances_fit_a_column(seconds, text):
    """One unit, the one that options take too; eight characters for most of a year."""
    assert times.short_distance(NOW - timedelta(seconds=seconds), NOW) == text


def test_times_are_the_jobs_on_a_terminal(monkeypatch):
    """In its zone and with how long ago; elsewhere in UTC, and the same every time."""
    when = NOW - timedelta(hours=3)
    monkeypatch.setattr(times, "on_terminal", lambda: True)
    assert times.times_of("Europe/Oslo", NOW).at(when) == "2026-11-25 10:00:00 (3 h ago)"
    assert times.times_of("No/Where", NOW).name == "UTC"
    monkeypatch.setattr(times, "on_terminal", lambda: False)
    assert times.times_of("Europe/Oslo", NOW).at(when) == "2026-11-25 09:00:00"


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("7 days", NOW - timedelta(days=7)),
        ("2026-11-24", datetime(2026, 11, 23, 23, tzinfo=UTC)),
        ("2026-11-24T08:00", datetime(2026, 11, 24, 7, tzinfo=UTC)),
        ("2026-11-24T08:00Z", datetime(2026, 11, 24, 8, tzinfo=UTC)),
    ],
)
def test_since_is_a_duration_or_a_date(value, moment):
    """A date without a zone is one of the job's."""
    since = times.to_since(None, None, value)
    assert times.since_moment(since, NOW, ZoneInfo("Europe/Oslo")) == moment


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("30", "30 has no unit: write 30s, 30m, 30h or 30d"),
        ("yesterday", "neither a duration such as 2h or 7d, nor a date"),
        ("--json", "neither a duration"),
    ],
)
def test_since_that_is_neither_is_refused(value, sentence):
    """With what may be written instead."""
    with pytest.raises(click.BadParameter, match=sentence):
        times.to_since(None, None, value)


def test_a_date_before_all_dates_is_refused():
    """By a sentence."""
    with pytest.raises(click.UsageError, match="too long ago"):
        times.since_moment(times.to_since(None, None, "0001-01-01"), NOW, ZoneInfo("Asia/Tokyo"))


def _record(status, duration=None):
    return RunRecord("id", "nightly", status, NOW, NOW, duration)


def test_usual_durations_are_of_successes():
    """The nearest rank; no 95th of a handful, nothing of none."""
    assert jobs.usual([_record("failure", 3.0), _record("running")]) is None
    assert jobs.usual([_record("success", 1.0), _record("success", 2.0)]) == (1.0, None, 2)
    hundred = [_record("success", float(number)) for number in range(1, 101)]
    assert jobs.usual(hundred) == (50.0, 95.0, 100)


def test_strip_has_the_newest_on_the_right():
    """A sign a run, and below it what those signs mean that are there."""
    newest_first = [_record(s) for s in ("running", "crashed", "failure", "skipped", "success")]
    assert jobs.strip(newest_first) == "▪~✗!▸"
    assert jobs.legend(newest_first[1:3]) == "✗ failure  ! crashed"


def test_strip_where_there_is_no_unicode(monkeypatch):
    """Signs of ASCII."""

    class Ascii:
        encoding = "ascii"

    monkeypatch.setattr(lines.sys, "stdout", Ascii())
    assert [jobs.sign(status) for status in ("success", "failure")] == [".", "x"]
