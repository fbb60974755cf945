"""``cronguard test-alert``, ``deliver`` and ``snooze``: alerts sent by hand, or held back."""

import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from support.cli import PATIENCE, Cli, Here
from support.hostile import answer, answers, never_answers, read_request, refusing_port, serve
from support.record import SOON

from cronguard.core.model import ChannelRule, Settlement


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    return Here(tmp_path, monkeypatch, capsys)


@pytest.fixture
def hook(here):
    """A webhook that takes everything, as the channel ``webhook``."""
    behave = answers()
    with serve(behave) as server:
        here.setenv("CRONGUARD_WEBHOOK_URL", server.url)
        yield behave


def oncall(here, url):
    """A second webhook, as the channel ``oncall``."""
    here.setenv("CRONGUARD_ONCALL_TYPE", "webhook")
    here.setenv("CRONGUARD_ONCALL_URL", url)


# --- test-alert -----------------------------------------------------------------------------------


def test_a_test_alert_is_sent_for_real(here, hook):
    """One request, marked as a test everywhere; a line with the time it took; exit 0."""
    done = here("test-alert")
    assert done.returncode == 0
    assert re.fullmatch(r"✓ webhook  sent in \d+\.\d\d s\n", done.stdout)
    (request,) = hook.received
    assert (request.json["kind"], request.json["test"]) == ("test", True)
    assert request.json["schema"] == "cronguard.alert/1"


def test_a_mistyped_variable_does_not_look_like_success(here):
    """What nothing reads is said, with what was meant, since the alert then goes elsewhere."""
    here.setenv("CRONGUARD_SLACK_WEBHOOK", "https://example.org/hook")
    done = here("test-alert")
    assert "did you mean 'CRONGUARD_SLACK_WEBHOOK_URL'?" in done.stderr
    assert "example.org" not in done.stderr


@pytest.mark.parametrize(
    ("value", "code", "said"),
    [
        ("env:", 2, "webhook_url begins with env: but no name of a secret follows: write env:NAME"),
        ("env:A B", 2, "webhook_url begins with env: but no name of a secret follows"),
        ("vault:", 2, "webhook_url begins with vault: but no name of a secret follows"),
        ("vault:slack", 1, "vault:slack does not begin with cronguard_: rename it"),
        ("vault:cronguard_slack", 1, "need a store that is supabase or PostgreSQL with Vault"),
    ],
)
def test_a_reference_that_leads_nowhere(here, value, code, said):
    """It is told what is wrong with it, not that the address is."""
    for name in ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEY"):
        here.delenv(name, raising=False)
    here.setenv("CRONGUARD_SLACK_WEBHOOK_URL", value)
    done = here("test-alert", "--channel", "slack")
    assert done.returncode == code
    assert said in done.stdout + done.stderr


def test_two_channels_one_broken(here, hook):
    """A line each, the working one is told all the same, exit 1."""
    oncall(here, f"http://127.0.0.1:{refusing_port()}/hook")
    done = here("test-alert")
    assert done.returncode == 1
    assert sorted(line[:9] for line in done.stdout.splitlines()) == ["✓ webhook", "✗ oncall "]
    assert "connection_refused" in done.stdout
    assert len(hook.received) == 1
    document = here.json("test-alert", code=1)
    assert document["schema"] == "cronguard.test-alert/1"
    assert document["ok"] is False
    assert {(r["channel"], r["ok"], r["error_code"]) for r in document["results"]} == {
        ("webhook", True, None),
        ("oncall", False, "connection_refused"),
    }


def test_channels_are_tried_side_by_side(here):
    """Two endpoints that answer only when both have been asked are both served."""
    both = threading.Barrier(2, timeout=PATIENCE)

    def behave(connection, stop):
        read_request(connection)
        both.wait()
        connection.sendall(answer())

    with serve(behave) as one, serve(behave) as other:
        here.setenv("CRONGUARD_WEBHOOK_URL", one.url)
        oncall(here, other.url)
        assert here("test-alert").returncode == 0


@pytest.mark.long
@pytest.mark.one_python
def test_an_endpoint_that_never_answers_is_given_up(here):
    """After the deadline of a delivery, with the code timeout."""
    with serve(never_answers) as server:
        here.setenv("CRONGUARD_WEBHOOK_URL", server.url)
        done = here("test-alert")
    assert done.returncode == 1
    seconds = float(re.search(r"not sent after (\S+) s: timeout", done.stdout)[1])
    assert 4 < seconds < SOON


def test_some_channels(here, hook):
    """--channel names those to try; one that nobody knows is answered with the nearest name."""
    done = here("test-alert", "--channel", "console")
    assert done.returncode == 0
    assert "✓ console" in done.stdout
    assert "[TEST]" in done.stderr
    assert not hook.received
    done = here("test-alert", "--channel", "webhok")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'webhook'?" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_test_alert_changes_nothing(here, hook):
    """Streak, runs and outbox are as before, and no store is made where there was none."""
    assert here("test-alert").returncode == 0
    assert not here.path.exists()
    here.record("nightly", "success", "failure", "failure", channels=(ChannelRule("webhook"),))
    before = here.json("status"), here.json("history", "nightly")
    assert here("test-alert", "--job", "nightly").returncode == 0
    assert (here.json("status"), here.json("history", "nightly")) == before


def test_a_test_alert_about_a_job_looks_like_one_of_its_own(here, hook):
    """It tells the job's streak and last success; a mistyped job is remarked upon, and sent."""
    here.record("nightly", "success", "failure", "failure", channels=())
    assert here("test-alert", "--job", "nightly").returncode == 0
    facts = hook.received[-1].json
    assert (facts["job"], facts["consecutive_failure_count"]) == ("nightly", 2)
    assert facts["last_success_at"] == here.json("status")["jobs"][0]["last_success_at"]
    done = here("test-alert", "--job", "nighly")
    assert done.returncode == 0
    assert "did you mean 'nightly'?" in done.stderr
    assert here("test-alert", "--job", "a b").returncode == 2


def test_a_test_alert_needs_no_store(here, hook):
    """A database that is down says so and is done without."""
    here.path.mkdir()
    assert here("test-alert").returncode == 0
    done = here("test-alert", "--job", "nightly")
    assert done.returncode == 0
    assert "sending without" in done.stderr
    assert len(hook.received) == 2


def test_no_secret_is_shown(here):
    """Not by a failing test alert, not by doctor, not by channels, in no form."""
    token = "T0123456/B0123456/hunter2hunter2hunter2"
    here.setenv("CRONGUARD_WEBHOOK_URL", f"http://127.0.0.1:{refusing_port()}/{token}")
    here.setenv("CRONGUARD_SLACK_WEBHOOK_URL", f"ftp://hooks.slack.com/services/{token}")
    for args in (["test-alert"], ["doctor"], ["channels"]):
        for form in ([], ["--json"]):
            done = here(*args, *form)
            assert "hunter2" not in done.stdout + done.stderr


# --- deliver --------------------------------------------------------------------------------------


def test_nothing_waits(here):
    """Says so, exits 0, and makes no database."""
    done = here("deliver")
    assert (done.returncode, done.stdout) == (0, "No alert is waiting to be sent.\n")
    assert not here.path.exists()
    assert here("deliver", "--dead").stdout == "No alert was given up.\n"


def test_everything_that_waits_is_sent(here, hook):
    """A line an alert whatever its back-off; afterwards nothing waits; exit 0."""
    for job in ("nightly", "weekly"):
        here.record(job, "failure", "failure", channels=(ChannelRule("webhook"),))
    with here.store() as store:
        for delivery in store.claim_alerts(channels=["webhook"]):
            store.settle_alert(delivery, Settlement("pending", "http_500", retry_in=3600.0))
    done = here("deliver", "--job", "nightly")
    assert done.returncode == 0
    assert [request.json["job"] for request in hook.received] == ["nightly"]
    done = here("deliver")
    assert done.returncode == 0
    assert done.stdout.startswith("✓ weekly, failing → webhook  sent in ")
    assert [request.json["job"] for request in hook.received] == ["nightly", "weekly"]
    assert here("deliver", "--job", "nighly").returncode == 1


def test_what_cannot_be_sent_stays(here):
    """Exit 1 if something is left, for channels that are set up here and for those that are not."""
    with serve(answers(503)) as server:
        here.setenv("CRONGUARD_WEBHOOK_URL", server.url)
        rules = (ChannelRule("webhook"), ChannelRule("pager"), ChannelRule("gone"))
        here.record("nightly", "failure", "failure", channels=rules)
        with here.store() as store:
            (claim,) = store.claim_alerts(channels=["gone"])
            store.settle_alert(claim, Settlement("dead", "http_410"))
        done = here("deliver")
    assert done.returncode == 1
    assert "✗ nightly, failing → webhook  still waiting, http_503" in done.stdout
    assert "2 alerts still waiting, for pager, webhook; set up pager" in done.stdout
    assert done.stderr == ""


def test_rows_of_strangers_do_nothing_to_a_terminal(here):
    """Anybody who can write a row can name a channel and a code; neither moves the cursor."""
    rules = (ChannelRule("page\x1b[2Jr\u202e"), ChannelRule("go\x1b]0;x\x07ne"))
    here.record("nightly", "failure", "failure", channels=rules)
    with here.store() as store:
        for delivery in store.claim_alerts(channels=[rule.channel for rule in rules]):
            store.settle_alert(delivery, Settlement("dead", "http\x1b[1A\r_410"))
    here.record("weekly", "failure", "failure", channels=rules)
    for command in (
        ["deliver"],
        ["doctor"],
        ["status"],
        ["status", "nightly"],
        ["deliver", "--dead"],
    ):
        done = here(*command)
        assert "nightly" in done.stdout or "pager" in done.stdout or "gone" in done.stdout
        for text in (done.stdout, done.stderr):
            assert not [each for each in text if not (each.isprintable() or each == "\n")], command


def test_many_alerts_watched_on_a_terminal(here, hook, monkeypatch):
    """Of a long row only what failed is listed, and a sum."""
    monkeypatch.setattr("cronguard.cli.commands.deliver.on_terminal", lambda: True)
    for number in range(21):
        here.record(f"job{number}", "failure", "failure", channels=(ChannelRule("webhook"),))
    done = here("deliver")
    assert (done.returncode, done.stdout) == (0, "Sent 21 of 21 alerts.\n")
    assert len(hook.received) == 21


def test_of_many_alerts_each_that_failed_is_listed(here, monkeypatch):
    """With why; and a sum."""
    monkeypatch.setattr("cronguard.cli.commands.deliver.on_terminal", lambda: True)
    with serve(answers(503)) as server:
        here.setenv("CRONGUARD_WEBHOOK_URL", server.url)
        for number in range(21):
            here.record(f"job{number}", "failure", "failure", channels=(ChannelRule("webhook"),))
        done = here("deliver")
    assert done.returncode == 1
    assert done.stdout.count("failing → webhook  still waiting, http_503") == 21
    assert "Sent 0 of 21 alerts." in done.stdout


def test_what_is_given_up_now_no_longer_waits(here):
    """It is said; the exit code is about what is left to send, unless --dead was asked for."""
    with serve(answers(410)) as server:
        here.setenv("CRONGUARD_WEBHOOK_URL", server.url)
        here.record("nightly", "failure", "failure", channels=(ChannelRule("webhook"),))
        done = here("deliver")
        assert done.returncode == 0
        assert "✗ nightly, failing → webhook  given up, http_410" in done.stdout
        assert here("deliver", "--dead").returncode == 1


def test_what_was_given_up_can_be_tried_again(here, hook):
    """Dead letters are left alone and count for nothing, unless --dead asks for them."""
    here.record("nightly", "failure", "failure", channels=(ChannelRule("webhook"),))
    with here.store() as store:
        (delivery,) = store.claim_alerts(channels=["webhook"])
        store.settle_alert(delivery, Settlement("dead", "http_410"))
    assert here("deliver").returncode == 0
    assert not hook.received
    assert here("deliver", "--dead").returncode == 0
    assert len(hook.received) == 1
    assert here.json("status")["jobs"][0]["alerts_given_up"] == 0


def test_wrong_settings_do_not_hold_back_the_rest(here, hook):
    """What is valid is delivered, what is not is said, and the exit code is 2."""
    here.record("nightly", "failure", "failure", channels=(ChannelRule("webhook"),))
    here.setenv("CRONGUARD_STORE_TIMEOUT", "soon")
    done = here("deliver")
    assert done.returncode == 2
    assert len(hook.received) == 1
    assert done.stderr.startswith("cronguard: environment CRONGUARD_STORE_TIMEOUT: ")


def test_a_claimed_alert_is_left_to_its_claimant(here, hook):
    """What another process is sending at this moment is not sent twice."""
    here.record("nightly", "failure", "failure", channels=(ChannelRule("webhook"),))
    with here.store() as store:
        assert store.claim_alerts(channels=["webhook"], claim_for=3600)
    assert here("deliver").returncode == 1
    assert not hook.received


def test_an_alert_arrives_before_a_guarded_command_is_over(tmp_path):
    """``cronguard run`` waits for what it has to tell, and exits as its command did."""
    cli = Cli(tmp_path)
    behave = answers()
    with serve(behave) as server:
        cli.environ["CRONGUARD_WEBHOOK_URL"] = server.url
        assert cli("run", "nightly", "--threshold", "1", "--", "sh", "-c", "exit 4").returncode == 4
        assert [request.json["error_code"] for request in behave.received] == ["4"]


# --- snooze ---------------------------------------------------------------------------------------


def snoozed_until(here):
    (job,) = here.json("status")["jobs"]
    return job["snoozed_until"] and datetime.fromisoformat(job["snoozed_until"])


def test_snoozing(here):
    """For a while, until a time, or not any longer."""
    here.record("nightly", "success")
    assert "in 2 h" in here("snooze", "nightly", "--for", "2h").stdout
    assert abs(snoozed_until(here) - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=1)
    assert here("snooze", "nightly", "--until", "2999-01-02T03:04:05+00:00").returncode == 0
    assert snoozed_until(here) == datetime(2999, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert here("snooze", "nightly", "--off").stdout == "nightly alerts again.\n"
    assert snoozed_until(here) is None


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["nighly", "--for", "2h"], 1, "did you mean 'nightly'?"),
        (["nightly"], 2, "say how long"),
        (["nightly", "--for", "2h", "--off"], 2, "say how long"),
        (["nightly", "--for", "two"], 2, "not a duration"),
        (["nightly", "--for", "0s"], 2, "no time at all"),
        (["nightly", "--until", "2001-01-01"], 2, "in the past"),
        (["nightly", "--until", "tomorrow"], 2, "not a date and time"),
    ],
)
def test_wrong_ways_to_snooze(here, args, code, said):
    """One line that says what is wrong, and nothing is changed."""
    here.record("nightly", "success")
    done = here("snooze", *args)
    assert done.returncode == code
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert snoozed_until(here) is None
