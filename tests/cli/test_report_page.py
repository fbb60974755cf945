"""The report as a page: in a browser, on a phone, in the dark, on paper, by keyboard, by ear."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from support.alerts import NASTY
from support.browser import Browser

from cronguard.cli.report.axis import make_axis
from cronguard.cli.report.contents import make_report
from cronguard.cli.report.page import render
from cronguard.cli.report.reading import Readings, read
from cronguard.core.clock import new_id, rfc3339
from cronguard.core.expectations import statements
from cronguard.core.health import Health
from cronguard.core.model import (
    Activity,
    AlertRecord,
    Expectations,
    Failure,
    RunRecord,
)
from cronguard.runtime.health import read_health
from cronguard.settings.types import Settings
from cronguard.stores.sqlite.store import SQLiteStore

pytestmark = pytest.mark.one_python

HOUR = timedelta(hours=1)
STATES = ("failing", "stuck", "late", "warning", "new", "ok")


@pytest.fixture
def browser(tmp_path):
    return Browser(tmp_path)


def contents(jobs, made=None, name=None, text="no answer from ‹…›"):
    """A report of jobs in every state; most are ok where there are many."""
    now = made or datetime.now(UTC)
    failure = Failure("app.GatewayError", "503", text, "app/send.py:42 in send")
    healths, runs, activity, alerts = [], {}, {}, {}
    for index in range(jobs):
        state = STATES[index % 6] if index < 12 else "ok"
        job = name or f"job-{index}"
        runs[job] = [
            RunRecord(f"{job}/{n}", job, status, at, at, 5.0, 0, broken, f"host-{n % 2}", 1)
            for n in range(20)
            for at in [now - n * HOUR]
            for status in ["failure" if state == "failing" and n < 3 else "success"]
            for broken in [failure if status == "failure" else None]
        ]
        activity[job] = [
            Activity(job, run.status, 1, run.started_at, run.started_at, 5.0)
            for run in reversed(runs[job])
        ]
        alerts[job] = [
            AlertRecord(f"a{n}", job, "slack", "failing", "sent", 1, now) for n in (1, 2)
        ]
        expected = Expectations("0 * * * *", runbook="https://wiki.example/a?b=1&c=2")
        healths.append(
            Health(job, state, text, now - 2 * HOUR, (state,), 3, 2, expected)._replace(
                failures=3 * (state == "failing"), last_run=runs[job][0], next_due=now + HOUR
            )
        )
    readings = Readings(make_axis(now, 24 * HOUR), healths, runs, activity, alerts, {})
    return make_report(readings, "here", limit=10, notes=[text] if name else [])


def page_of(tmp_path, report):
    path = tmp_path / "report.html"
    path.write_text(render(report), encoding="utf-8")
    return path


def test_page_needs_nothing_but_itself():
    """No address is fetched; style and script are those that the policy names."""
    page = render(contents(12))
    assert "default-src 'none'" in page
    assert "unsafe" not in page
    assert " style=" not in page
    assert " src=" not in page
    assert page.count("http-equiv") == 1
    links = {part.partition('"')[0] for part in page.split('href="')[1:]}
    outside = {link for link in links if not link.startswith(("#", "data:image/svg+xml,"))}
    assert outside == {"https://wiki.example/a?b=1&amp;c=2"}


@pytest.mark.long
def test_browser_shows_what_it_is_given(browser, tmp_path):
    """The policy lets our style and script through; nothing is complained of."""
    shown, said = browser.show(page_of(tmp_path, contents(12)))
    assert not said
    assert '<div id="finder" role="search">' in shown  # our script has run
    assert '<p id="stale" class="notice" role="status" hidden' in shown


@pytest.mark.long
def test_hostile_text_does_nothing(browser, tmp_path):
    """Not as a job's name, an error, a note or a reason; in a browser that would do it."""
    hostile = (
        f"<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
        f"</title></svg></textarea>\"'><a href='javascript:1'>{{{{7*7}}}}{{% raw %}}{NASTY}"
    )
    page = page_of(tmp_path, contents(6, name=hostile, text=hostile))
    text = page.read_text(encoding="utf-8")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "{{7*7}}" in text
    found = browser.ask(
        page,
        """return {title: document.title, odd: document.querySelectorAll(
            "img, textarea, iframe, object, form, script ~ script ~ script ~ script").length,
          handlers: [...document.querySelectorAll("*")].flatMap((each) => [...each.attributes])
            .filter((each) => each.name.startsWith("on")).length,
          links: [...document.querySelectorAll("a[href]")].map((each) => each.protocol)}""",
    )
    assert "owned" not in found["title"]
    assert (found["odd"], found["handlers"]) == (0, 0)
    assert set(found["links"]) <= {"https:", "about:", "file:"}


@pytest.mark.long
@pytest.mark.parametrize("dark", [False, True])
def test_accessible(browser, tmp_path, dark):
    """axe finds nothing, folded or not, by daylight and in the dark, on a desk and in a hand."""
    pages = []
    for jobs in 0, 12:
        text = render(contents(jobs)).replace("<details", "<details open")
        page = tmp_path / f"report-{jobs}.html"
        page.write_text(text, encoding="utf-8")
        pages.append(page)
    assert browser.faults(pages, widths=[1280, 390], dark=dark) == [[], [], [], []]


@pytest.mark.long
def test_fits(browser, tmp_path):
    """Nothing is wider than the window, however long a name."""
    page = page_of(tmp_path, contents(12, name="n" * 100, text="e" * 300))
    question = """document.querySelectorAll("details").forEach((each) => { each.open = true; });
        return [document.documentElement.scrollWidth, innerWidth]"""
    widths = [1280, 700, 390, 320]
    found = browser.ask_each([page], question, widths=widths)
    assert [seen for _, seen in found] == widths
    assert all(scrolled <= seen for scrolled, seen in found)


@pytest.mark.long
def test_find_by_typing(browser, tmp_path):
    """By name, state and error; what is folded opens for it and closes again."""
    page = page_of(tmp_path, contents(40))
    question = """
        const field = document.getElementById("find"), fold = document.querySelector(".fold");
        const seen = () => [...document.querySelectorAll("li[data-job]:not([hidden])")].length;
        const answer = [];
        for (const text of ["job-17", "FAILING", "gateway failing", "nothing like it", ""]) {
          field.value = text;
          field.dispatchEvent(new Event("input"));
          answer.push([seen(), fold.open, document.getElementById("found").textContent]);
        }
        document.dispatchEvent(new KeyboardEvent("keydown", {key: "/", bubbles: true}));
        answer.push(document.activeElement === field);
        return answer;
    """
    assert browser.ask(page, question) == [
        [1, True, "1 of 40"],
        [2, False, "2 of 40"],
        [2, False, "2 of 40"],
        [0, False, "0 of 40"],
        [40, False, ""],
        True,
    ]


@pytest.mark.long
def test_an_old_page_says_so(browser, tmp_path):
    """It would say that all is well for ever where the job that writes it has died."""
    shown, _ = browser.show(page_of(tmp_path, contents(3, datetime.now(UTC) - 50 * HOUR)))
    assert "This page is 2 days old: what it shows may not hold any more." in shown


@pytest.mark.long
def test_without_its_script(browser, tmp_path):
    """Everything is there; only what would do nothing is not."""
    page = page_of(tmp_path, contents(40))
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("script-src", "x-script-src"), encoding="utf-8")
    shown, said = browser.show(page)
    assert any("Content Security Policy" in line for line in said)
    assert '<div id="finder" role="search" hidden="">' in shown
    assert all(f'id="job-job-{n}"' in shown for n in range(40))


@pytest.mark.long
def test_anchor_of_a_folded_job(browser, tmp_path):
    """Its address opens what it is folded into."""
    question = """
        const job = document.getElementById("job-job-37");
        const hidden = job.checkVisibility();
        location.hash = "#job-job-37";
        await new Promise((done) => setTimeout(done, 500));
        return [hidden, job.checkVisibility(), job.closest("details").open]
    """
    assert browser.ask(page_of(tmp_path, contents(40)), question) == [False, True, True]


@pytest.mark.long
def test_prints_on_a_few_pages(browser, tmp_path):
    """What is wrong, and the overview; what is folded stays so."""
    assert browser.pages(page_of(tmp_path, contents(200))) <= 4


def large_log(folder):
    """200 jobs and 100,000 runs, as a store has them."""
    path, now = folder / "runs.db", datetime.now(UTC)
    store = SQLiteStore(path)
    jobs = [f"job_{n}" for n in range(200)]
    for n, job in enumerate(jobs):
        cron = ("*/5 * * * *", "*/15 * * * *", f"{n % 60} * * * *", f"{n % 60} 6 * * *")[n % 4]
        store.declare(job, statements("settings", schedule=cron), host="here")
    store.close()
    rows = (
        (new_id(), jobs[n % 200], "success" if n % 97 else "failure", at, at, 1500.0, 0)
        for n in range(100_000)
        for at in [rfc3339(now - timedelta(seconds=1.7 * (100_000 - n)))]
    )
    with sqlite3.connect(path) as db:
        db.executemany(
            """INSERT INTO cron_execution_logs (id, job, status, started_at, finished_at,
               duration_ms, consecutive_failure_count) VALUES (?, ?, ?, ?, ?, ?, ?)""",
            rows,
        )
    db.close()
    return path


@pytest.mark.long
def test_a_large_log_makes_no_large_page(tmp_path):
    """200 jobs and 100,000 runs in less than 2 MB, whose size goes by the jobs, not by the runs."""
    store, now = SQLiteStore(large_log(tmp_path)), datetime.now(UTC)
    healths = read_health(store, Settings(), now=now)
    sizes = {}
    for window in (1, 2):
        readings = read(store, healths, now, window=timedelta(days=window))
        sizes[window] = len(render(make_report(readings, "here", limit=10)).encode())
    store.close()
    assert len(healths) == 200
    assert sum(each.runs for found in readings.activity.values() for each in found) == 100_000
    assert max(sizes.values()) < 2_000_000, sizes
