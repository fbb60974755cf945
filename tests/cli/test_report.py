"""``cronguard report``: one page, harmless whatever the rows hold, and replaced in one step."""

import html.parser
import json
import subprocess
import sys

import pytest
from support.alerts import NASTY
from support.cli import Here
from support.debian import program

from cronguard.core.expectations import statements
from cronguard.core.install import how_to_install
from cronguard.core.model import ChannelRule, Failure

pytestmark = pytest.mark.one_python

CHROMIUM = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    return Here(tmp_path, monkeypatch, capsys)


class Page(html.parser.HTMLParser):
    """The page's elements and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def written(here, *args):
    done = here("report", "-o", "report.html", *args)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return (here.folder / "report.html").read_text(encoding="utf-8")


def test_every_job_is_there(here):
    """Trouble first; streak, success, schedule, whom it tells, runs with their errors, alerts."""
    here.record("fine", "success")
    failure = Failure("app.GatewayError", "503", "no answer from ‹…›", "app/send.py:4 in send")
    plan = statements(schedule="0 6 * * *", timezone="Europe/Oslo", grace=300.0)
    rules = (ChannelRule("slack", 2),)
    here.record("broken", "failure", "failure", failure=failure, channels=rules, stated=plan)
    here.record("going", "running")
    page = Page(written(here))
    assert "3 jobs: 1 failing, 2 ok; 1 running" in page.text
    assert page.text.index("broken") < page.text.index("fine") < page.text.index("going")
    for words in (
        "0 6 * * * (Europe/Oslo)",
        "slack at 2",
        "app.GatewayError (503) at app/send.py:4 in send: no answer from ‹…›",
        str(here.path),
        "never",
        "waiting",
    ):
        assert words in page.text


def test_before_the_first_run(here):
    """It says so, and makes no database."""
    assert "No job has run yet" in Page(written(here)).text
    assert not here.path.exists()


def test_some_jobs_only(here):
    """The named ones; an unknown name is one line, exit 1."""
    here.record("one", "success")
    here.record("two", "success", "success", "success")
    page = Page(written(here, "two", "--limit", "2"))
    assert "one" not in page.text.split()
    assert page.tags.count("tr") == 1 + 2
    assert here("report", "three", "-o", "x.html").returncode == 1


def test_the_same_text_in_row_alert_history_and_report(here):
    """What is kept is what is shown, everywhere."""
    here.setenv("CRONGUARD_CHANNELS", "console")
    script = "echo 'no mail for Ola' >&2; exit 3"
    here("run", "nightly", "--threshold", "1", "--", "sh", "-c", script)
    (run,) = json.loads(here("history", "nightly", "--json").stdout)["runs"]
    message = run["error_message"]
    assert message
    with here.store() as store:
        assert store.history("nightly")[0].failure.error_message == message
    assert message in Page(written(here)).text
    assert "Ola" not in written(here)


def test_hostile_text_is_text(here):
    """No element, no attribute, no address comes from a row."""
    nasty = (
        NASTY.replace("\ud800", "")
        + "</td></table><img src=x onerror=alert(1)>\"'><a href='javascript:x'>{{7*7}}"
    )
    here.record("job", "failure", failure=Failure(nasty, nasty, nasty, nasty))
    text = written(here)
    page, plain = Page(text), Page(text.replace(nasty, ""))
    assert set(page.tags) == set(plain.tags)
    assert not {"script", "img", "a"} & set(page.tags)
    names = {name for name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on")} | ({"href", "src"} & names)
    assert "{{7*7}}" in page.text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "default-src 'none'" in text


@pytest.mark.long
def test_a_browser_shows_it_and_runs_nothing(here, tmp_path):
    """Chromium itself, with a message that would change the title if it ran."""
    here.record("job", "failure", failure=Failure("<script>document.title='owned'</script>"))
    written(here)
    done = subprocess.run(
        [
            *(
                program("chromium"),
                *CHROMIUM,
                f"--user-data-dir={tmp_path / 'profile'}",
                "--dump-dom",
            ),
            f"file://{here.folder / 'report.html'}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    page = Page(done.stdout)
    assert "cronguard: 1 job, 1 failing, 0 running" in done.stdout
    assert "owned" not in done.stdout.partition("</title>")[0]
    assert "<script>document.title='owned'</script>" in page.text


def test_it_is_replaced_in_one_step(here, monkeypatch):
    """A write that fails leaves the old page, and nothing beside it."""
    here.record("job", "success")
    before = written(here)
    here.record("job", "failure")

    def full(self, *_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    done = here("report", "-o", "report.html")
    assert done.returncode == 1
    assert done.stderr == (
        "cronguard: report.html cannot be written (no space left on device):"
        " name another file with -o\n"
    )
    assert (here.folder / "report.html").read_text(encoding="utf-8") == before
    assert [path.name for path in here.folder.glob("*report*")] == ["report.html"]


@pytest.mark.parametrize("where", ["missing/report.html", "."])
def test_places_that_cannot_be_written(here, where):
    """One line that says why, exit 1."""
    done = here("report", "-o", where)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot be written" in done.stderr


def test_on_standard_output(here):
    """The page alone."""
    assert here("report", "-o", "-").stdout.startswith("<!DOCTYPE html>")


def test_without_its_extra(here, monkeypatch):
    """One line that says what to install."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = here("report", "-o", "x.html")
    assert done.returncode == 1
    assert how_to_install("report") in done.stderr
