"""``cronguard history`` and ``alerts``: what happened, filtered, and what to do about it."""

from datetime import UTC, datetime, timedelta

import pytest
from support.cli import Here

from cronguard.cli.output import layout, lines, times
from cronguard.core.clock import new_id
from cronguard.core.expectations import statements
from cronguard.core.model import ChannelRule, Failure, Outcome, Run, Settlement
from cronguard.process.identity import current_owner

pytestmark = pytest.mark.one_python

TWO = (ChannelRule("slack"), ChannelRule("pager"))


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    return Here(tmp_path, monkeypatch, capsys)


@pytest.fixture
def at_terminal(monkeypatch):
    """Returns a function that makes it a terminal of so many columns."""

    def of(columns):
        for module in (lines, layout, times):
            monkeypatch.setattr(module, "on_terminal", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("NO_COLOR", "1")

    return of


def record_at(here, when, status, *, job="nightly", failure=None, **run):
    """One run that started then and ended a second later."""
    with here.store() as store:
        row = Run(new_id(), job, when, current_owner(), **run)
        store.start_run(row, is_dead=lambda _: False)
        error = (failure or Failure("ValueError")) if status == "failure" else None
        outcome = Outcome(status, when + timedelta(seconds=1), 1.0, error)
        store.finish_run(row, outcome, started=True)


@pytest.mark.parametrize(
    "words",
    [
        ("history", "JOB"),
        ("history", "JOB", "--status", "failure"),
        ("alerts", "JOB"),
        ("status", "JOB"),
        ("unlock", "JOB"),
        ("forget", "JOB"),
        ("snooze", "JOB", "--for", "1h"),
    ],
)
def test_a_job_whose_name_is_no_text(here, words):
    """Bytes of a terminal that are no UTF-8 are no job's name, in any store."""
    record_at(here, datetime.now(UTC), "success")
    done = here(*(word.replace("JOB", "n\udcff") for word in words))
    assert done.returncode == 1
    assert done.stderr == "cronguard: there is no job 'n\\udcff': see cronguard status\n"


def settle(here, channel, settlement):
    """What became of the alerts to a channel."""
    with here.store() as store:
        for claim in store.claim_alerts(channels=[channel]):
            store.settle_alert(claim, settlement)


# --- history --------------------------------------------------------------------------------------


def test_history_is_newest_first(here):
    """Each run with its status, its count and its error; --limit counts from the newest."""
    failure = Failure("psycopg.OperationalError", "57P01", "connection lost", "jobs/n.py:4 in run")
    here.record("nightly", "success", "failure", "failure", failure=failure)
    rows = here("history", "nightly").stdout.splitlines()[1:]
    assert [row.split()[2] for row in rows] == ["failure", "failure", "success"]
    assert "psycopg.OperationalError (57P01) at jobs/n.py:4 in run: connection lost" in rows[0]
    document = here.json("history", "nightly", "--limit", "2")
    assert (document["schema"], document["job"]) == ("cronguard.history/1", "nightly")
    assert [run["consecutive_failure_count"] for run in document["runs"]] == [2, 1]
    assert list(document["runs"][0]) == [
        *("run_id", "status", "started_at", "finished_at", "duration_seconds"),
        *("consecutive_failure_count", "error_type", "error_code", "error_message"),
        *("error_location", "host", "pid"),
    ]


def test_history_of_an_unknown_job(here):
    """Exit 1 and one line, that no job has run if none has."""
    done = here("history", "nightly")
    assert done.returncode == 1
    assert done.stderr == (
        "cronguard: there is no job 'nightly': no job has run yet; see cronguard run --help\n"
    )
    assert here("history", "nightly", "--limit", "0").returncode == 2


def test_history_of_one_status(here):
    """Only those; --limit counts what is left."""
    here.record("nightly", "failure", "success", "failure", "success", "success")
    runs = here.json("history", "nightly", "--status", "failure", "--limit", "1")["runs"]
    assert [run["status"] for run in runs] == ["failure"]
    both = here.json("history", "nightly", "--status", "FAILURE", "--status", "success")["runs"]
    assert len(both) == 5
    assert here("history", "nightly", "--status", "failed").returncode == 2


def test_history_since(here):
    """By a duration, or by a date in the job's time zone, on a terminal and elsewhere alike."""
    now = datetime.now(UTC)
    plan = statements(schedule="0 6 * * *", timezone="Pacific/Kiritimati")  # 14 h ahead
    record_at(here, datetime(2026, 1, 1, 9, tzinfo=UTC), "success", stated=plan)
    record_at(here, datetime(2026, 1, 1, 11, tzinfo=UTC), "failure", stated=plan)
    record_at(here, now - timedelta(hours=1), "success", stated=plan)

    def counted(since):
        return len(here.json("history", "nightly", "--since", since)["runs"])

    assert counted("2h") == 1
    assert counted("2026-01-02") == 2
    assert counted("2026-01-01T10:00Z") == 2
    assert counted("2026-01-01T08:00Z") == 3
    document = here.json("history", "nightly", "--since", "2h", "--status", "failure")
    assert document["runs"] == []


def test_history_that_nothing_fits(here):
    """It is no error, and says how to see the others; an unknown job still is one."""
    here.record("nightly", "success")
    done = here("history", "nightly", "--status", "crashed")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "No run of nightly is like that. Without --status and --since: cronguard history nightly\n"
    )
    assert here("history", "nighly", "--status", "crashed").returncode == 1


def test_history_says_that_there_is_more(here):
    """Where --limit cut it off."""
    here.record("nightly", "success", "success", "success")
    assert "The newest 2; --limit shows more." in here("history", "nightly", "-n", "2").stdout
    assert "newest" not in here("history", "nightly").stdout


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_history_fits_the_terminal(here, at_terminal, columns):
    """Error and place are readable at 80 columns; wide characters keep the table in shape."""
    at_terminal(columns)
    failure = Failure(
        "reminders.gateway.GatewayError",
        "503",
        "no reminder for ‹…›: 通知できませんでした: HTTP 503",
        "reminders/gateway.py:82 in send",
    )
    plan = statements(schedule="0 6 * * *", timezone="Europe/Oslo")
    record_at(here, datetime.now(UTC), "failure", failure=failure, stated=plan)
    text = here("history", "nightly").stdout
    assert "STARTED (Europe/Oslo)" in text
    words = " ".join(text.split())
    for part in ("reminders.gateway.GatewayError (503)", "reminders/gateway.py:82 in send"):
        assert part in words
    from cronguard.cli.output.layout import width

    if columns >= 80:
        assert max(width(line.rstrip()) for line in text.splitlines()) <= columns


# --- alerts ---------------------------------------------------------------------------------------


def test_alerts_of_an_empty_log(here):
    """No error: where alerts would be seen, and how to see one."""
    done = here("alerts")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "No alert was decided yet. Try the way to your team: cronguard test-alert\n"
    )
    assert not here.path.exists()
    assert here.json("alerts") == {"schema": "cronguard.alerts/1", "alerts": []}


def test_alerts_and_what_became_of_them(here):
    """A line each, newest first; what waits and what was given up says what to do."""
    here.record("nightly", "failure", "failure", channels=TWO)
    here.record("weekly", "failure", "failure", channels=(ChannelRule("mail"),))
    settle(here, "slack", Settlement("dead", "slack_no_service"))
    settle(here, "mail", Settlement("sent"))
    done = here("alerts")
    assert done.returncode == 0
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["DECIDED", "(UTC)", "JOB", "KIND", "CHANNEL", "STATE"]
    assert [row.split()[2:6] for row in rows[:3]] == [
        ["weekly", "failing", "mail", "sent"],
        *sorted(
            (
                ["nightly", "failing", "pager", "waiting,"],
                ["nightly", "failing", "slack", "given"],
            ),
            key=lambda row: [r.split()[2:6] for r in rows].index(row),
        ),
    ]
    assert "given up after 1 try: slack_no_service" in done.stdout
    assert rows[3:] == [
        (
            "1 alert waits for a channel that is not set up here (pager):"
            " cronguard deliver sends it where it is."
        ),
        "1 alert to slack was given up, slack_no_service: the webhook was deleted: make a new one.",
        "Once cronguard test-alert --channel slack arrives: cronguard deliver --given-up",
    ]


def test_alerts_as_json(here):
    """``cronguard.alerts/1``: every key, the words of --state, times in RFC 3339."""
    here.record("nightly", "failure", "failure", channels=TWO)
    settle(here, "slack", Settlement("pending", "http_503", retry_in=600))
    alerts = here.json("alerts")["alerts"]
    slack = next(alert for alert in alerts if alert["channel"] == "slack")
    for key in ("created_at", "next_attempt_at"):
        assert slack.pop(key).endswith("Z")
    assert len(slack.pop("alert_id")) == 36
    assert slack == {
        "job": "nightly",
        "kind": "failing",
        "channel": "slack",
        "state": "waiting",
        "attempts": 1,
        "settled_at": None,
        "error_code": "http_503",
    }


def test_alerts_can_be_chosen(here):
    """By job, by state, since when, and how many; a mistyped job is answered."""
    for job in ("nightly", "weekly"):
        here.record(job, "failure", "failure", channels=TWO)
    settle(here, "slack", Settlement("dead", "http_404"))

    def chosen(*args):
        return {(each["job"], each["state"]) for each in here.json("alerts", *args)["alerts"]}

    assert chosen("nightly") == {("nightly", "waiting"), ("nightly", "given-up")}
    assert chosen("--state", "given-up") == {("nightly", "given-up"), ("weekly", "given-up")}
    assert chosen("weekly", "--state", "sent") == set()
    assert len(chosen("--since", "1h")) == 4
    assert chosen("--since", "2099-01-01") == set()
    assert len(here.json("alerts", "-n", "3")["alerts"]) == 3
    assert "The newest 3; --limit shows more." in here("alerts", "-n", "3").stdout
    assert "No alert of weekly was sent" in here("alerts", "weekly", "--state", "sent").stdout
    assert "did you mean 'weekly'?" in here("alerts", "wekly").stderr


def test_alerts_on_a_terminal(here, at_terminal):
    """When, in the job's time zone, and how long ago; when the next try is."""
    at_terminal(200)
    plan = statements(schedule="0 6 * * *", timezone="Europe/Oslo", threshold=1)
    here.record("nightly", "failure", channels=TWO[:1], stated=plan)
    settle(here, "slack", Settlement("pending", "http_503", retry_in=7200))
    text = here("alerts", "nightly").stdout
    assert "DECIDED (Europe/Oslo)" in text
    assert "next try in 2 h, after 1 try: http_503" in text or "next try in 1 h 59 min" in text
