"""``cronguard doctor`` and ``channels``: what is set up, where from, and what is wrong with it."""

import json
import os
import sqlite3
from datetime import datetime

import pytest
from support.cli import Cli, Here
from support.processes import respect_modes

from cronguard.core.expectations import statements
from cronguard.core.model import ChannelRule, Expectations, Settlement
from cronguard.settings.store_url import default_store_path

pytestmark = pytest.mark.one_python


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    for name in ("GITHUB_ACTIONS", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    return Here(tmp_path, monkeypatch, capsys)


def checks(here, status=None, *, code=None):
    """{check: [messages]} of a diagnosis, of one status only."""
    document = here.json("doctor", code=here("doctor").returncode if code is None else code)
    found = {}
    for check in document["checks"]:
        if status in (None, check["status"]):
            found.setdefault(check["check"], []).append(check["message"])
    return found


# --- doctor ---------------------------------------------------------------------------------------


def test_a_healthy_setup(here):
    """Exit 0; every check has its mark; nothing is created by looking."""
    here.setenv("CRONGUARD_WEBHOOK_URL", "https://example.org/hook")
    done = here("doctor")
    assert done.returncode == 0
    assert done.stdout.endswith("0 problems, 0 warnings.\n")
    assert {line[0] for line in done.stdout.split("\n\n")[0].splitlines()} == {"✓"}
    assert f"{here.path} will be created by the first run" in done.stdout
    assert not here.path.exists()
    here.record("nightly", "success")
    assert f"{here.path} can be read and written: 1 job" in here("doctor").stdout


def test_the_document(here):
    """``cronguard.doctor/2``, all of it; ok is what the exit code says."""
    document = here.json("doctor")
    assert list(document) == ["schema", "ok", "checks", "settings", "expected"]
    assert (document["schema"], document["ok"]) == ("cronguard.doctor/2", True)
    assert {tuple(check) for check in document["checks"]} == {("check", "status", "message")}
    assert {tuple(value) for value in document["settings"]} == {("key", "value", "source")}
    here.setenv("CRONGUARD_STORE", "nonsense://x")
    assert here.json("doctor", code=1)["ok"] is False


def test_who_stated_what_is_expected(here):
    """And since when: of what is not the default, or was not stated by code."""
    here.record("nightly", "success", stated=statements(**Expectations(grace=60.0)._asdict()))
    assert "STATED BY" in here("doctor").stdout
    here.record("nightly", "success", stated=statements("command", threshold=2, max_runtime=None))
    expected = here.json("doctor")["expected"]
    assert [(each["key"], each["value"], each["source"]) for each in expected] == [
        ("grace", "1 min", "code"),
        ("max_runtime", "off", "cronguard run"),
        ("threshold", "2", "cronguard run"),
    ]
    assert {each["job"] for each in expected} == {"nightly"}
    assert datetime.fromisoformat(expected[0]["since"]) < datetime.fromisoformat(
        expected[1]["since"]
    )
    here.record("other", "success", stated=statements(**Expectations()._asdict()))
    assert len(here.json("doctor")["expected"]) == 3


def test_where_each_value_comes_from(here):
    """The file that is used, and for every value the file, the variable or the default."""
    file = here.folder / "cronguard.toml"
    file.write_text(
        'redact = "scrub"\n[channel.oncall]\ntype = "webhook"\nurl = "env:ONCALL_URL"\n'
    )
    here.setenv("ONCALL_URL", "https://example.org/hook")
    here.setenv("CRONGUARD_STORE_TIMEOUT", "1.5s")
    document = here.json("doctor")
    values = {each["key"]: (each["value"], each["source"]) for each in document["settings"]}
    assert values["store"] == (str(here.path), "environment CRONGUARD_STORE")
    assert values["store_timeout"] == ("1.5 s", "environment CRONGUARD_STORE_TIMEOUT")
    assert values["redact"] == ("scrub", "cronguard.toml")
    assert values["channel.oncall.url"] == ("env:ONCALL_URL", "cronguard.toml")
    assert values["test_mode"] == ("off", "default")
    assert f"settings: read from {file}" in here("doctor").stdout


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CRONGUARD_STORE", "nonsense://x", "'nonsense'"),
        ("CRONGUARD_STORE", "postgresql://joe:hunter2@localhost:1/x", "postgres"),
        ("CRONGUARD_CONFIG", "missing.toml", "does not exist"),
        ("CRONGUARD_CHANNELS", "slak", "did you mean 'slack'?"),
        ("CRONGUARD_CHANNELS", "slack", "cronguard_slack_webhook_url"),
    ],
)
def test_what_is_wrong_is_an_error(here, name, value, said):
    """Exit 1, and a line that says what and what to do, without what might be secret."""
    here.setenv(name, value)
    wrong = [line for lines in checks(here, "error", code=1).values() for line in lines]
    assert any(said in line.lower() for line in wrong)
    assert "hunter2" not in "".join(wrong)


def test_a_variable_that_nothing_reads(here):
    """Is a warning with the name that was meant; the exit code stays 0."""
    here.setenv("CRONGUARD_SLACK_WEBHOK_URL", "https://hooks.slack.com/services/T0/B0/hunter2")
    (line,) = checks(here, "warning", code=0)["settings"]
    assert "CRONGUARD_SLACK_WEBHOOK_URL" in line
    assert "hunter2" not in line


def test_a_secret_that_is_not_there(here):
    """A channel whose secret cannot be found is named, with the secret's name."""
    (here.folder / "cronguard.toml").write_text('[channel.slack]\nwebhook_url = "env:NOT_SET"\n')
    assert "env:NOT_SET" in checks(here, "error", code=1)["channel slack"][0]


def test_a_heartbeat_that_nobody_will_hear(here):
    """Its address is looked at as a channel's is, and not shown."""
    text = '[job.nightly]\nheartbeat_url = "env:NIGHTLY_PING"\n'
    (here.folder / "cronguard.toml").write_text(text)
    assert "env:NIGHTLY_PING is not set" in checks(here, "error", code=1)["heartbeat nightly"][0]
    here.setenv("NIGHTLY_PING", "hc-ping.example/secret")
    (said,) = checks(here, "error", code=1)["heartbeat nightly"]
    assert "https://host/path" in said
    assert "secret" not in said
    here.setenv("NIGHTLY_PING", "https://hc-ping.example/secret")
    assert checks(here, "ok", code=0)["heartbeat nightly"] == ["complete"]


def test_a_jobs_options_as_people_write_them(here):
    """Not as Python does: durations with units, on and off, names with commas."""
    (here.folder / "cronguard.toml").write_text(
        '[job.a]\nmax_runtime = "off"\ngrace = "1h30m"\nchannels = ["log", "console"]\n'
        'notify_recovery = true\nheartbeat_url = "env:PING"\n'
    )
    settings = json.loads(here("doctor", "--json").stdout)["settings"]
    shown = {each["key"]: each["value"] for each in settings}
    assert {key.removeprefix("job.a."): shown[key] for key in shown if "job.a" in key} == {
        "max_runtime": "off",
        "grace": "1 h 30 min",
        "channels": "log, console",
        "notify_recovery": "on",
        "heartbeat_url": "env:PING",
    }


def test_alerts_are_only_written(here):
    """With nothing but the console, a warning says that nobody is told elsewhere."""
    assert "only written where the job runs" in checks(here, "warning", code=0)["channels"][0]


def test_two_settings_files_side_by_side(here):
    """The one that is not read is named, as long as it has something to say."""
    (here.folder / "cronguard.toml").write_text("store_timeout = 1\n")
    (here.folder / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert "settings" not in checks(here, "warning", code=0)
    (here.folder / "pyproject.toml").write_text("[tool.cronguard.job.x]\nthreshold = 3\n")
    (said,) = checks(here, "warning", code=0)["settings"]
    assert "pyproject.toml" in said
    assert "is not read" in said


def test_a_damaged_store(here):
    """Is an error in one line; the file stays as it is."""
    here.path.write_bytes(b"not a database" * 1000)
    assert "not a SQLite database" in checks(here, "error", code=1)["store"][0]
    assert here.path.read_bytes() == b"not a database" * 1000


def test_a_store_that_cannot_be_made(here):
    """The folder that is in the way is named before a job finds out."""
    in_the_way = here.folder / "file"
    in_the_way.touch()
    here.setenv("CRONGUARD_STORE", f"sqlite:///{in_the_way}/deep/runs.db")
    assert f"since {in_the_way} " in checks(here, "error", code=1)["store"][0]


def test_a_store_whose_name_cannot_be(here):
    """Looking at it fails as looking into a closed folder does, and is no mistake of ours."""
    here.setenv("CRONGUARD_STORE", f"sqlite:///{here.folder / ('x' * 300)}.db")
    assert "name too long" in checks(here, "error", code=1)["store"][0]
    done = here("init", "sqlite")
    assert done.returncode == 1
    assert "name too long" in done.stderr


def test_a_store_of_a_newer_version(here):
    """Says which side to upgrade."""
    here.record("nightly", "success")
    with sqlite3.connect(here.path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    assert "upgrade cronguard here" in checks(here, "error", code=1)["store"][0]


def test_a_store_that_others_can_read(here):
    """Is a warning that says how to close it."""
    here.record("nightly", "success")
    assert "permissions" in checks(here, "ok")
    here.path.chmod(0o644)
    assert f"chmod 600 {here.path}" in checks(here, "warning", code=0)["permissions"][0]


def test_a_store_that_cannot_be_written(here):
    """A read-only file is found out although reading works; root is stopped as others are."""
    here.record("nightly", "success")
    here.path.chmod(0o400)
    here.folder.chmod(0o500)
    try:
        done = Cli(here.folder)("doctor", "--json", wrapper=respect_modes())
    finally:
        here.folder.chmod(0o700)
    assert done.returncode == 1, done.stderr
    errors = [each for each in json.loads(done.stdout)["checks"] if each["status"] == "error"]
    message = next(each["message"] for each in errors if each["check"] == "store")
    assert "this user may not read and write it" in message


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("https://hooks.slack.com/services/T00/B00/hunter2", None),
        ("https://hooks.slack-gov.com/services/T00/B00/hunter2", None),
        ("https://chat.example.org/hooks/hunter2", "is not Slack's own (hooks.slack.com)"),
        ("https://hooks.slack.com.example.org/services/T0/B0/x", "is not Slack's own"),
        ("https://hooks.slack.com/services/…", "ends as the one in the README does"),
        ("https://hooks.slack.com/services/...", "ends as the one in the README does"),
        ("https://hooks.slack.com/services/", "ends as the one in the README does"),
    ],
)
def test_a_slack_address_that_is_none(here, address, said):
    """Another host may be right, and is a warning; the README's own example is wrong."""
    here.setenv("CRONGUARD_SLACK_WEBHOOK_URL", address)
    found = {
        status: checks(here, status).get("channel slack") for status in ("ok", "warning", "error")
    }
    wanted = "ok" if said is None else "warning" if "own" in said else "error"
    assert [status for status, messages in found.items() if messages] == [wanted]
    assert said is None or said in found[wanted][0]
    assert "hunter2" not in str(found)


def test_a_store_that_is_mistyped(here):
    """It says where runs are kept meanwhile."""
    kept = f"until then runs are kept in {default_store_path(os.environ)}"
    for address in "runs.db", "nonsense://x", "env:NOWHERE":
        here.setenv("CRONGUARD_STORE", address)
        said = " ".join(here("doctor").stdout.split())
        assert kept in said, address


def test_jobs_that_nobody_expects(here):
    """What never starts is then never missed: said, but no warning, since some start by hand."""
    here.record("planned", "success", stated=statements(schedule="0 7 * * *"))
    assert "schedule" not in checks(here)
    for number in range(5):
        here.record(f"job_{number}", "success")
    (said,) = checks(here, "ok")["schedule"]
    assert said.startswith(
        "nobody states when job_0, job_1, job_2 and 2 others should start, so a run that never"
        " starts goes unseen"
    )


def test_alerts_that_have_not_gone_out(here):
    """Pending ones are a warning, given up ones an error; codes and missing channels are named."""
    rules = (ChannelRule("webhook"), ChannelRule("pager"))
    here.setenv("CRONGUARD_WEBHOOK_URL", "https://example.org/hook")
    here.record("nightly", "failure", "failure", channels=rules)
    with here.store() as store:
        (delivery,) = store.claim_alerts(channels=["pager"])
        store.settle_alert(delivery, Settlement("pending", "http_503", retry_in=60.0))
    (line,) = checks(here, "warning", code=0)["alerts"]
    assert "2 alerts waiting for pager, webhook (last time: http_503: the service" in line
    assert "not set up here: pager: cronguard deliver sends them now" in line
    here.delenv("CRONGUARD_WEBHOOK_URL")
    (line,) = checks(here, "warning", code=0)["alerts"]
    assert "not set up here: pager, webhook: cronguard deliver sends them where they are" in line
    here.setenv("CRONGUARD_WEBHOOK_URL", "https://example.org/hook")
    with here.store() as store:
        (delivery,) = store.claim_alerts(channels=["webhook"])
        store.settle_alert(delivery, Settlement("dead", "http_410"))
    (line,) = checks(here, "error", code=1)["alerts"]
    assert "1 alert given up (http_410: that address is gone: set a new one)" in line


@pytest.mark.parametrize("variable", ["GITHUB_ACTIONS", "KUBERNETES_SERVICE_HOST"])
def test_an_environment_that_keeps_no_files(here, variable):
    """The default file in a place that forgets is a warning; a store that is named is not."""
    here.setenv(variable, "true")
    assert "store" not in checks(here, "warning")
    here.delenv("CRONGUARD_STORE")
    assert "streaks will not last" in checks(here, "warning")["store"][0]


# --- channels -------------------------------------------------------------------------------------


def test_channels_that_are_ready_and_those_that_could_be(here):
    """What is set up and where from; what else there is and what it needs; no secret."""
    here.setenv("CRONGUARD_SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/T0/B0/hunter2")
    here.setenv("CRONGUARD_SLACK_THRESHOLD", "5")
    document = here.json("channels")
    assert document["schema"] == "cronguard.channels/1"
    rows = {row["name"]: row for row in document["channels"]}
    assert rows["slack"] == {
        "name": "slack",
        "type": "slack",
        "state": "ready",
        "default": True,
        "distribution": rows["console"]["distribution"],
        "threshold": 5,
        "realert_every": None,
        "options": {"webhook_url": "env:CRONGUARD_SLACK_WEBHOOK_URL"},
        "needs": [],
        "error": None,
    }
    assert rows["slack"]["distribution"].startswith("cron-guarded ")
    assert (rows["console"]["state"], rows["console"]["default"]) == ("ready", False)
    assert rows["webhook"]["state"] == "not set up"
    assert rows["webhook"]["needs"] == ["CRONGUARD_WEBHOOK_URL"]
    text = here("channels").stdout
    assert "every job, from 5 failures" in text
    assert "needs CRONGUARD_WEBHOOK_URL" in text
    assert "hunter2" not in text


def test_channels_with_nothing_set_up(here):
    """Says that alerts stay here, and how to change that."""
    done = here("channels")
    assert done.returncode == 0
    assert "Alerts are only written where the job runs" in done.stdout


def test_channels_with_wrong_settings(here):
    """What is wrong is said, what is valid is shown, exit 2."""
    here.setenv("CRONGUARD_CHANNELS", "slak, console")
    done = here("channels")
    assert done.returncode == 2
    assert "did you mean 'slack'?" in done.stderr
    assert "console" in done.stdout


def test_a_row_that_cannot_be(here):
    """Is an error that names the job, and what is wrong with it."""
    here.record("nightly", "success")
    with sqlite3.connect(here.path) as db:
        db.execute("UPDATE cronguard_jobs SET threshold = -1")
    db.close()
    (line,) = checks(here, "error", code=1)["rows"]
    assert "cronguard_jobs has a row 'nightly'" in line
    assert "threshold is below 1" in line


_ANY = "status; doctor; check; history nightly; prune --keep 90d; deliver; test-alert; report -o -"
_ANY += "; init postgres; channels; run nightly -- true"


@pytest.mark.parametrize("command", _ANY.split("; "))
def test_what_is_not_understood_is_not_shown(tmp_path, command):
    """Of an address that does not split, and a secret behind a reference, no part is repeated."""
    environ = {
        "CRONGUARD_STORE": "postgresql://app:s3cr/et@127.0.0.1:9/x",
        "CRONGUARD_SLACK_WEBHOOK_URL": "vault:https://hooks.slack.com/services/T0/B0/plantedpart",
        "CRONGUARD_WEBHOOK_URL": "env:re_9PlantEd_9abcdefghijklmnop",
        "CRONGUARD_WEBHOOK_SECRET": "env:whsec_cGxhbnRlZHBsYW50ZWRwbGFudGVk",
    }
    done = Cli(tmp_path)(*command.split(), env=environ)
    said = done.stdout + done.stderr
    assert "s3cr" not in said
    assert "et@127" not in said
    assert "hooks.slack.com" not in said
    assert "plantedpart" not in said
    assert "9PlantEd" not in said
    assert "cGxhbnRl" not in said
