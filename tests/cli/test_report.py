"""``cronguard report``: one page, harmless whatever the rows hold, and replaced in one step."""

import html.parser
import json
import sys

import pytest
from support.alerts import NASTY
from support.cli import Here

from cronguard.cli.report import page
from cronguard.core.expectations import statements
from cronguard.core.install import how_to_install
from cronguard.core.model import ChannelRule, Failure

pytestmark = pytest.mark.one_python


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
    assert "1 failing of 3 jobs · cronguard" in page.text
    assert page.text.index("broken") < page.text.index("fine") < page.text.index("going")
    for words in (
        "0 6 * * * (Europe/Oslo)",
        "Times are Europe/Oslo",
        "2 failures in a row, the last app.GatewayError (503); never worked",
        "slack at 2 failures",
        "app.GatewayError (503) at app/send.py:4 in send: no answer from ‹…›",
        str(here.path),
        "1 waiting",
        "running: for",
    ):
        assert words in page.text
    assert {("href", "#job-broken"), ("id", "job-broken"), ("id", "job-fine")} <= {*page.attributes}


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
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    names = {name for name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on") or name == "src"}
    links = {value for name, value in page.attributes if name == "href"}
    assert not {link for link in links if not link.startswith(("#", "data:image/svg+xml,"))}
    assert "{{7*7}}" in page.text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "default-src 'none'" in text


def test_jobs_that_settings_declare(here):
    """They are expected though nothing of them was recorded, and no database is made for it."""
    (here.folder / "cronguard.toml").write_text('[job.nightly]\nschedule = "0 6 * * *"\n')
    page = Page(written(here))
    assert "1 job, none failing, stuck or late" in page.text
    assert "never ran" in page.text
    assert not here.path.exists()


def test_how_far_back(here):
    """As asked, and said on the page; what is no time or no stretch that one can see is refused."""
    here.record("job", "success")
    assert "The last hour" in Page(written(here)).text
    assert "The last 7 days" in Page(written(here, "--since", "7 days")).text
    for value in ("7", "5s", "1000d", "yesterday"):
        done = here("report", "-o", "report.html", "--since", value)
        assert done.returncode == 2
        assert "--since" in done.stderr


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
    page._template.cache_clear()
    done = here("report", "-o", "x.html")
    assert done.returncode == 2
    assert how_to_install("report") in done.stderr
