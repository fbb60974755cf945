"""Alerts in words: complete, true, and harmless wherever they are shown."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.alerts import ALERTS, BARE, FAILING, KINDS, NASTY, hostile_alerts, of_kind

from cronguard.core import rendering

pytestmark = pytest.mark.one_python


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("failing", "assignment_reminder is failing: 2 failures in a row"),
        ("still_failing", "assignment_reminder is still failing: 2 failures in a row"),
        ("recovered", "assignment_reminder has recovered: the last run succeeded"),
        ("overrun", "assignment_reminder is running too long: 4.2 s so far"),
        ("missed", "assignment_reminder did not run when it should have"),
        ("test", "[TEST] Test alert for assignment_reminder"),
    ],
)
def test_the_title_names_job_kind_and_streak(kind, title):
    """One line tells which job, what happened and how often."""
    assert rendering.title(of_kind(kind)) == title


def test_the_streak_of_one_and_of_nobody_knows():
    """Grammar for one; honesty for None."""
    assert rendering.title(FAILING._replace(consecutive_failure_count=1)).endswith(": 1 failure")
    unknown = FAILING._replace(consecutive_failure_count=None)
    assert rendering.title(unknown).endswith(": length of the streak unknown")
    assert dict(rendering.facts(unknown))["Failures in a row"] == "unknown"


def test_every_fact_is_told():
    """What the payload holds, a person reads, in this order."""
    assert rendering.facts(FAILING) == [
        ("Job", "assignment_reminder"),
        ("Failures in a row", "2 (threshold 2)"),
        ("Error", "psycopg.errors.UniqueViolation (23505)"),
        ("Message", "duplicate key value violates unique constraint ‹…›"),
        ("Where", "reminders/send.py:42 in send_all"),
        ("Last successful run", "2026-11-20 06:00:04 UTC"),
        ("Started", "2026-11-22 06:00:00 UTC"),
        ("Finished", "2026-11-22 06:00:04 UTC"),
        ("Duration", "4.2 s"),
        ("Host", "worker-1"),
        ("Runbook", "https://wiki.example/runbooks/reminder?a=1&b=2"),
        ("Run", "0199a1b2-0000-7000-8000-000000000002"),
    ]


def test_last_success_is_a_time_or_never():
    """Null is "never", but without any memory of the job it is "unknown"."""
    assert rendering.last_success(FAILING._replace(last_success_at=None)) == "never"
    assert rendering.last_success(BARE) == "unknown"
    assert rendering.last_success(BARE._replace(consecutive_failure_count=1)) == "never"
    known = BARE._replace(last_success_at="2026-11-20T06:00:04Z")
    assert rendering.last_success(known) == "2026-11-20 06:00:04 UTC"
    assert rendering.last_success(FAILING._replace(last_success_at="soon")) == "soon"
    in_oslo = FAILING._replace(last_success_at="2026-07-01T08:00:00+02:00")
    assert rendering.last_success(in_oslo) == "2026-07-01 06:00:00 UTC"


@pytest.mark.parametrize("kind", KINDS)
def test_a_test_says_so_everywhere(kind):
    """Title and facts; and it is never counted as bad news."""
    alert = of_kind(kind)._replace(test=True)
    assert rendering.title(alert).startswith("[TEST] ")
    assert "This is a test alert" in dict(rendering.facts(alert))["Note"]
    assert not rendering.is_bad(alert)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_news_is_told_from_good(kind):
    """A recovery needs nobody to get up, nor does a test."""
    assert rendering.is_bad(of_kind(kind)) == (kind not in ("recovered", "test"))


def test_degraded_is_said():
    """A reader knows when the numbers are only what one host remembers."""
    assert "Degraded" in rendering.text(BARE)
    assert "Degraded" not in rendering.text(FAILING)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, None),
        (0.0, "0 ms"),
        (0.0123, "12 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.95, "1 min"),
        (59.96, "1 min"),
        (61.0, "1 min 1 s"),
        (3600.0, "1 h"),
        (7830.0, "2 h 10 min"),
        (100_000.0, "1 d 3 h"),
    ],
)
def test_durations_for_people(seconds, text):
    """Two units at most."""
    assert rendering.duration(seconds) == text


def test_plain_neutralises():
    """Escape sequences go, breaks become a space, what hides or reverses text becomes visible."""
    assert rendering.plain("a\x1b[31mb\x1b[0mc") == "abc"
    assert rendering.plain("a\x1b]8;;https://evil\x1b\\b") == "ab"
    assert rendering.plain("a\x9b2Jb") == "ab"
    assert rendering.plain("a\r\n\tb\u2028c") == "a b c"
    assert rendering.plain("a\u202eb\x00c\ud800d\u200be") == "a\ufffdb\ufffdc\ufffdd\ufffde"
    assert rendering.plain("naïve 北京 ‹…› 😀") == "naïve 北京 ‹…› 😀"
    assert rendering.plain("abcdef", 4) == "abc…"
    assert rendering.plain("abcd", 4) == "abcd"
    assert rendering.plain("abcd", 1) == "…"


@given(st.text(st.characters()))
def test_plain_is_one_line_of_visible_text(text):
    """Whatever comes in, what goes out can be printed, encoded and split into one line."""
    line = rendering.plain(text)
    line.encode()
    assert len(line.splitlines()) <= 1
    assert not {unicodedata.category(char) for char in line} & {"Cc", "Cs", "Zl", "Zp"}
    assert not [char for char in line if unicodedata.bidirectional(char) in DIRECTION]
    assert rendering.plain(line) == line


DIRECTION = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(hostile_alerts)
def test_hostile_alerts_render(alert):
    """Every alert has words, each on a line of its own."""
    assert len(rendering.title(alert).splitlines()) == 1
    for line in rendering.lines(alert):
        assert len(line.splitlines()) <= 1
        assert "\x1b" not in line
    rendering.text(alert).encode()


def test_nothing_of_hostile_text_survives_but_text():
    """The worst message of all, as shown."""
    shown = rendering.text(FAILING._replace(error_message=NASTY))
    assert not set("\x1b\x00\r\u202e\u2028\ud800") & set(shown)
    assert "red" in shown


@pytest.mark.parametrize("alert", [*ALERTS, BARE])
def test_the_text_is_title_and_facts(alert):
    """One label, one line."""
    first, blank, *rest = rendering.lines(alert)
    assert (first, blank) == (rendering.title(alert), "")
    assert [line.split(":")[0] for line in rest] == [label for label, _ in rendering.facts(alert)]
    assert rendering.text(alert).endswith("\n")
