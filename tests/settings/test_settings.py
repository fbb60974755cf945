"""Settings: four layers, one line for what is wrong, and no secret in any of it."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from support.planted import PLANTED, TEXTS, leaks

from cronguard.core.errors import ConfigError
from cronguard.core.model import ChannelRule, SecretRef
from cronguard.settings.loading import (
    ChannelSettings,
    Settings,
    channel_named,
    channel_rules,
    check_overrides,
    load_settings,
)
from cronguard.settings.options import resolve_job

pytestmark = pytest.mark.one_python

HOOK = TEXTS[0]


@pytest.fixture
def load(tmp_path):
    """Load settings in a folder of its own, which may hold a cronguard.toml or pyproject.toml."""

    def go(own=None, *, env=None, project=None, main=None, **configured):
        if own is not None:
            (tmp_path / "cronguard.toml").write_text(own)
        if project is not None:
            (tmp_path / "pyproject.toml").write_text(project)
        loaded = load_settings(
            check_overrides(**configured), environ=env or {}, cwd=tmp_path, main=main
        )
        for line in (*loaded.problems, *loaded.warnings):
            assert line.isprintable(), "one line"
            assert len(line) < 500
        assert loaded.settings.channels, "somebody is always told"
        return loaded

    return go


def default_names(loaded):
    return [channel.name for channel in loaded.settings.channels if channel.default]


def named(loaded, name):
    (channel,) = [channel for channel in loaded.settings.channels if channel.name == name]
    return channel


# --- layers ---------------------------------------------------------------------------------------


def test_nothing_set_means_console_and_the_default_store(load):
    """Without any setting alerts go to the console and runs to the default file."""
    loaded = load()
    assert loaded.problems == loaded.warnings == ()
    assert default_names(loaded) == ["console"]
    assert named(loaded, "log").default is False, "for jobs that name it"
    settings = loaded.settings
    assert (settings.store, settings.file, settings.jobs) == (None, None, {})
    assert (settings.store_timeout, settings.test_mode) == (2.0, False)
    assert (settings.redact, settings.redact_keep) == ("scrub", ())
    assert settings.sources["store"] == "default"


def test_the_environment_alone_is_enough(load):
    """Two variables set up a store and Slack, and the secret stays where it is."""
    loaded = load(
        env={
            "CRONGUARD_STORE": "sqlite:////srv/runs.db",
            "CRONGUARD_SLACK_WEBHOOK_URL": HOOK,
            "CRONGUARD_SLACK_THRESHOLD": "3",
            "CRONGUARD_SLACK_REALERT_EVERY": "never",
            "CRONGUARD_TEST_MODE": "1",
            "CRONGUARD_STORE_TIMEOUT": "1.5",
            "CRONGUARD_REDACT": "scrub",
        }
    )
    assert loaded.problems == loaded.warnings == ()
    assert default_names(loaded) == ["slack"]
    assert named(loaded, "slack") == ChannelSettings(
        "slack",
        "slack",
        {"webhook_url": SecretRef("env", "CRONGUARD_SLACK_WEBHOOK_URL")},
        threshold=3,
        realert_every=None,
        has_realert=True,
    )
    settings = loaded.settings
    assert (settings.store, settings.test_mode) == ("sqlite:////srv/runs.db", True)
    assert (settings.store_timeout, settings.redact) == (1.5, "scrub")
    assert settings.sources["store"] == "environment CRONGUARD_STORE"
    assert (
        settings.sources["channel.slack.webhook_url"] == "environment CRONGUARD_SLACK_WEBHOOK_URL"
    )


FILE = """
store = "supabase"
channels = ["slack", "oncall"]
store_timeout = "3s"
redact_keep = ["widget"]
[channel.slack]
webhook_url = "vault:cronguard_slack_webhook_url"
[channel.oncall]
type = "webhook"
url = "env:ONCALL_URL"
threshold = 5
[job.assignment_reminder]
schedule = "0 6 * * *"
timezone = "Europe/Oslo"
max_runtime = "1h"
"""


def test_the_file_of_the_specification(load):
    """The settings shown in the specification load without a word, in either file."""
    project = "[tool.cronguard]\n" + FILE.replace("\n[", "\n[tool.cronguard.")
    for arguments in ({"own": FILE}, {"project": project}):
        loaded = load(**arguments)
        assert loaded.problems == loaded.warnings == ()
        settings = loaded.settings
        assert settings.store == "supabase"
        assert default_names(loaded) == ["slack", "oncall"]
        vault = SecretRef("vault", "cronguard_slack_webhook_url")
        assert named(loaded, "slack").options == {"webhook_url": vault}
        assert named(loaded, "oncall") == ChannelSettings(
            "oncall", "webhook", {"url": SecretRef("env", "ONCALL_URL")}, threshold=5
        )
        assert settings.jobs == {
            "assignment_reminder": {
                "schedule": "0 6 * * *",
                "timezone": "Europe/Oslo",
                "max_runtime": 3600.0,
            }
        }
        assert (settings.store_timeout, settings.redact_keep) == (3.0, ("widget",))
        file = settings.file
        assert settings.sources["channel.oncall.threshold"] == file.name
        file.unlink()


def test_configure_over_environment_over_file_over_default(load):
    """Each value comes from the strongest place that has it, and the source says which."""
    text = """
    store_timeout = 9
    test_mode = true
    redact = "scrub"
    [channel.slack]
    webhook_url = "vault:hook"
    threshold = 9
    realert_every = 9
    [job.a]
    threshold = 9
    grace = 9
    """
    env = {
        "CRONGUARD_STORE_TIMEOUT": "8",
        "CRONGUARD_TEST_MODE": "no",
        "CRONGUARD_SLACK_THRESHOLD": "8",
        "CRONGUARD_SLACK_WEBHOOK_URL": HOOK,
    }
    loaded = load(
        text,
        env=env,
        store_timeout=7,
        channel={"slack": {"webhook_url": "env:MINE", "realert_every": None}},
        job={"a": {"threshold": 7}},
    )
    assert loaded.problems == ()
    settings = loaded.settings
    slack = named(loaded, "slack")
    assert (settings.store_timeout, settings.test_mode, settings.redact) == (7.0, False, "scrub")
    assert slack.options == {"webhook_url": SecretRef("env", "MINE")}
    assert (slack.threshold, slack.realert_every, slack.has_realert) == (8, None, True)
    assert settings.jobs == {"a": {"threshold": 7, "grace": 9.0}}
    assert {key: settings.sources[key] for key in ("store_timeout", "test_mode", "redact")} == {
        "store_timeout": "configure()",
        "test_mode": "environment CRONGUARD_TEST_MODE",
        "redact": "cronguard.toml",
    }
    assert settings.sources["channel.slack.threshold"] == "environment CRONGUARD_SLACK_THRESHOLD"
    assert settings.sources["job.a.threshold"] == "configure()"
    assert settings.sources["job.a.grace"] == "cronguard.toml"


def test_a_bad_value_falls_through_to_the_next_place(load):
    """What is wrong is said; the next valid value is used."""
    loaded = load("store_timeout = 4\n", env={"CRONGUARD_STORE_TIMEOUT": "soon"})
    (problem,) = loaded.problems
    assert problem.startswith("environment CRONGUARD_STORE_TIMEOUT: store_timeout 'soon' is not")
    assert loaded.settings.store_timeout == 4.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stor = 'supabase'", "unknown key 'stor' (did you mean 'store'?)"),
        ("[tool.cronguard]\nstore = 'supabase'", "stand without [tool.cronguard]"),
        ("test_mode = 'yes'", "test_mode is 'yes'"),
        ("store_timeout = 0", "over at once"),
        ("store_timeout = 600", "at most 60"),
        ("redact = 'scrubb'", "did you mean 'scrub'?"),
        ("redact_keep = 'widget'", "a list of words"),
        ("redact_keep = ['re:(']", "no regular expression"),
        ("channels = 3", 'channels = ["slack"]'),
        ("channels = []", "nobody to tell"),
        ("channels = [3]", "channels holds 3: write"),
        ("channels = ['slak']", "there is no channel 'slak' (did you mean 'slack'?)"),
        ("channels = ['slack']", "set CRONGUARD_SLACK_WEBHOOK_URL"),
        ("channels = ['a b']", "cannot be named 'a b'"),
        ("channel = 3", "channel is 3"),
        ("channel.slack = 'x'", "channel slack is 'x'"),
        ("[channel.'a b']\ntype = 'slack'", "cannot be named 'a b'"),
        ("[channel.slack]\nwebhook = 'env:A'", "did you mean 'webhook_url'?"),
        ("[channel.slack]\nthreshold = 0", "threshold is 0"),
        ("[channel.slack]\nthreshold = '3'", "threshold is '3'"),
        ("[channel.slack]\nrealert_every = -1", "realert_every is -1"),
        ("[channel.slack]\nwebhook_url = 3", "plain text"),
        ("[channel.slack]\nwebhook_url = true", "webhook_url is True"),
        ("[channel.slack]\nwebhook_url = 'aws:hook'", "no plugin reads"),
        ("[channel.x]\ntype = 'slak'", "there is no channel 'slak' (did you mean 'slack'?)"),
        ("[channel.x]\ntype = 3", "channel x: a channel cannot be named 3"),
        ("[channel.x]\n", "there is no channel 'x', and [channel.x] names no type: use one of"),
        ("[job.a]\nmax_runtime = 'never'", "max_runtime 'never' is not a duration"),
        ("[job.a]\nthreshold = '2'", "[job.a]: threshold is '2': give a whole number from 1 to"),
        ("job = 3", "job is 3"),
        ("job.a = 3", "job a is 3: write a table of its options"),
        ("[job.'a b']\nthreshold = 1", "'a b' cannot be used"),
        ("[job.a]\nthresold = 1", "did you mean 'threshold'?"),
        ("[job.a]\nthreshold = 0", "[job.a]: threshold is 0"),
        ("[job.a]\nignore = 'ValueError'", "ignore=(...)"),
        ("[job.a]\njob = 'b'", "the table's own name"),
        ("[job.a]\nchannels = ['nowhere']", "job a: there is no channel 'nowhere'"),
        ("store = 'sqlite://'", "names no database file"),
        ("store = 'sqlite:///:memory:'", "names no database file"),
        ("store = 'supabse'", "did you mean 'supabase'?"),
        ("store = 'mysql://db/x'", "store scheme 'mysql' is not known"),
        ("store = 'postgrs://db/x'", "did you mean 'postgres'?"),
        ("store = 'vault:db'", "the vault lives in that very database"),
        ("store = 3", "store is 3"),
        ("store = '/srv/runs.db'", "sqlite:////absolute.db"),
    ],
)
def test_mistakes_in_a_file_are_one_line_with_the_remedy(load, text, said):
    """Every mistake is said once, names the file, and leaves the rest working."""
    loaded = load(text)
    assert any(said in problem for problem in loaded.problems), loaded.problems
    assert len(loaded.problems) == 1, loaded.problems
    assert loaded.settings.channels[0].name == "console"


def test_what_is_valid_beside_a_mistake_is_used(load):
    """One broken channel does not silence the other; one bad option leaves the job's others."""
    loaded = load(
        """
        channels = ["slack", "oncall", "nowhere"]
        [channel.oncall]
        type = "webhook"
        url = "env:ONCALL_URL"
        [job.a]
        threshold = 0
        grace = "1m"
        channels = ["nowhere", "oncall"]
        [job.b]
        channels = ["nowhere"]
        """
    )
    assert default_names(loaded) == ["oncall"]
    assert loaded.settings.jobs == {"a": {"grace": 60.0, "channels": ("oncall",)}, "b": {}}
    assert len(loaded.problems) == 3


# --- the file -------------------------------------------------------------------------------------


def test_the_file_is_found_upward_from_the_working_directory(tmp_path):
    """The nearest file wins; a pyproject.toml without [tool.cronguard] is passed over."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[tool.cronguard]\nstore_timeout = 5\n")
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\ndependencies = ['cronguard']\n")
    (inner / "pyproject.toml").write_text("not toml at all [")
    loaded = load_settings({}, environ={}, cwd=inner, main=None)
    assert loaded.problems == ()
    assert loaded.settings.file == tmp_path / "pyproject.toml"
    assert loaded.settings.store_timeout == 5.0
    (tmp_path / "cronguard.toml").write_text("store_timeout = 6\n")
    assert load_settings({}, environ={}, cwd=inner, main=None).settings.store_timeout == 6.0
    (inner / "cronguard.toml").write_text("")
    assert load_settings({}, environ={}, cwd=inner, main=None).settings.store_timeout == 2.0


def test_else_upward_from_the_main_script(tmp_path):
    """Cron starts jobs in the home folder: the script's own folder counts then, links followed."""
    app, elsewhere = tmp_path / "srv" / "app", tmp_path / "home"
    (app / "jobs").mkdir(parents=True)
    elsewhere.mkdir()
    (app / "cronguard.toml").write_text("store_timeout = 5\n")
    script = app / "jobs" / "nightly.py"
    script.touch()
    link = elsewhere / "nightly"
    link.symlink_to(script)
    for main in (script, link, Path("../srv/app/jobs/nightly.py")):
        loaded = load_settings({}, environ={}, cwd=elsewhere, main=main)
        assert loaded.settings.store_timeout == 5.0
    assert load_settings({}, environ={}, cwd=None, main=script).settings.store_timeout == 5.0
    assert load_settings({}, environ={}, cwd=None, main=Path("x.py")).settings.file is None
    (elsewhere / "cronguard.toml").write_text("store_timeout = 6\n")
    loaded = load_settings({}, environ={}, cwd=elsewhere, main=script)
    assert loaded.settings.store_timeout == 6.0


def test_cronguard_config_names_the_file(tmp_path, load):
    """The named file is the only one read; it takes the form that its name says."""
    other = tmp_path / "conf" / "prod.toml"
    other.parent.mkdir()
    other.write_text("store_timeout = 5\n")
    for value in (str(other), "conf/prod.toml"):
        loaded = load("store_timeout = 6\n", env={"CRONGUARD_CONFIG": value})
        assert loaded.settings.store_timeout == 5.0
        assert loaded.settings.sources["store_timeout"] == "prod.toml"
    project = other.with_name("pyproject.toml")
    project.write_text("[tool.cronguard]\nstore_timeout = 7\n")
    loaded = load(env={"CRONGUARD_CONFIG": str(project)})
    assert loaded.settings.store_timeout == 7.0
    assert load(env={"CRONGUARD_CONFIG": " "}).settings.store_timeout == 6.0


def test_a_named_file_is_a_file_as_any(tmp_path, load):
    """Its durations may be words, its paths begin beside it, and it may hold no secret."""
    other = tmp_path / "conf" / "prod.toml"
    other.parent.mkdir()
    other.write_text(
        "store = 'sqlite:///runs.db'\n[job.a]\nmax_runtime = '2h'\n"
        "[channel.webhook]\nurl = 'https://hooks.example/hunter2'\n"
    )
    loaded = load(
        env={"CRONGUARD_CONFIG": str(other), "CRONGUARD_WEBHOOK_URL": "https://a.example/"}
    )
    assert loaded.settings.store == f"sqlite:///{other.parent / 'runs.db'}"
    assert loaded.settings.jobs["a"]["max_runtime"] == 7200.0
    (problem,) = loaded.problems
    assert problem.startswith("prod.toml [channel.webhook]: ")
    assert "hunter2" not in problem


def test_a_named_file_that_cannot_be_used_is_said(tmp_path, load):
    """A wrong CRONGUARD_CONFIG is a problem, and no other file is read instead."""
    (tmp_path / "plain.toml").write_text("a = !")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "pyproject.toml").write_text("[project]\n")
    os.mkfifo(tmp_path / "pipe")
    for name, said in {
        "gone.toml": "does not exist",
        ".": "is not a file",
        "pipe": "is not a file",
        "plain.toml": "is not valid TOML at line 1, column",
        "sub/pyproject.toml": "has no [tool.cronguard]",
        "x\0y": "does not exist",
        "plain.toml/x": "does not exist",
    }.items():
        loaded = load("store_timeout = 6\n", env={"CRONGUARD_CONFIG": name})
        (problem,) = loaded.problems
        assert said in problem
        assert loaded.settings.file is None
        assert loaded.settings.store_timeout == 2.0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"cronguard = !", "is not valid TOML at line 1, column"),
        (b"[tool.cronguard]\nstore = '\xff'", "is not valid TOML"),
        (b"tool = 1\n[cronguard]", "has [cronguard]"),
        (b"[tool]\ncronguard = 3", "tool.cronguard is not a table"),
        (b"[tool.cronguard]\nx = " + b"[" * 5000, "is not valid TOML"),
        (b"#cronguard" + b" " * 1_000_001, "larger than a megabyte"),
        (b"\xef\xbb\xbf[tool.cronguard]\nstore_timeout = 3\n", None),
    ],
)
def test_a_damaged_pyproject_is_said_and_passed_over(tmp_path, content, said):
    """A file that cannot be parsed never stops a job; a byte order mark is no damage."""
    (tmp_path / "pyproject.toml").write_bytes(content)
    loaded = load_settings({}, environ={}, cwd=tmp_path, main=None)
    assert len(loaded.problems) == (said is not None), loaded.problems
    assert said is None or said in loaded.problems[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[cronguard]\nstore = 'supabase'\n", "[cronguard]"),
        ("[cronguard.channel.slack]\nthreshold = 3\n", "[cronguard]"),
        ("[tool.cronguad]\nstore = 'supabase'\n", "[tool.cronguad]"),
        ("[tool.cron-guarded]\nstore = 'supabase'\n", "[tool.cron-guarded]"),
        ("[tool.crontab]\nx = 1\n", None),
        ("[tool.x]\nneeds = ['cronguard', 'cronguad']\n", None),
        ("[tool.cronguad]\n[tool.cronguard]\n", None),
    ],
)
def test_a_table_that_is_meant_to_be_cronguards(load, content, said):
    """It would be passed over in silence, and nobody be told of anything."""
    problems = load(project=content).problems
    assert len(problems) == (said is not None), problems
    assert not said or f"has {said}, which nobody reads: write [tool.cronguard]" in problems[0]


def test_the_own_file_has_no_table_of_that_name(load):
    """There is one file only for whose keys it is."""
    for head in ("cronguard", "tool.cronguard"):
        (problem,) = load(f"[{head}]\nstore = 'supabase'\n").problems
        assert problem.endswith(f": the keys of this file stand without [{head}]")


def test_a_file_that_may_not_be_read_is_said(tmp_path, monkeypatch):
    """Permission denied is no reason to be silent about settings that are not used."""
    path = tmp_path / "cronguard.toml"
    path.write_text("store_timeout = 5\n")
    real = Path.open

    def refuse(self, *args, **keywords):
        if self == path:
            raise PermissionError(13, "Permission denied")
        return real(self, *args, **keywords)

    monkeypatch.setattr(Path, "open", refuse)
    loaded = load_settings({}, environ={}, cwd=tmp_path, main=None)
    assert "cannot be read (permission denied)" in loaded.problems[0]


def test_a_strangers_file_in_a_shared_folder_is_not_used(tmp_path, monkeypatch):
    """In a folder like /tmp anybody could put settings that send this process's secrets away."""
    tmp_path.chmod(0o1777)
    (tmp_path / "cronguard.toml").write_text("store_timeout = 5\n")
    mine = load_settings({}, environ={}, cwd=tmp_path, main=None)
    assert mine.settings.store_timeout == 5.0
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 4242)
    owner = (tmp_path / "cronguard.toml").stat().st_uid
    if owner == 0:
        os.chown(tmp_path / "cronguard.toml", 4711, 4711)
    strangers = load_settings({}, environ={}, cwd=tmp_path, main=None)
    assert strangers.settings.store_timeout == 2.0
    assert "another user owns it" in strangers.problems[0]
    named_in_environment = load_settings(
        {},
        environ={"CRONGUARD_CONFIG": str(tmp_path / "cronguard.toml")},
        cwd=tmp_path,
        main=None,
    )
    assert named_in_environment.settings.store_timeout == 5.0


# --- channels -------------------------------------------------------------------------------------


def test_channels_unset_means_everything_that_is_complete(load):
    """Built-ins and tables with their required options count; half a channel is a warning."""
    loaded = load(
        """
        [channel.oncall]
        type = "webhook"
        url = "env:ONCALL_URL"
        [channel.half]
        type = "webhook"
        """,
        env={"CRONGUARD_SLACK_WEBHOOK_URL": HOOK, "CRONGUARD_WEBHOOK_SECRET": "c2VjcmV0"},
    )
    assert default_names(loaded) == ["oncall", "slack"]
    assert loaded.problems == ()
    assert any("half" in line and "CRONGUARD_HALF_URL" in line for line in loaded.warnings)
    assert any("CRONGUARD_WEBHOOK_URL" in line for line in loaded.warnings)


def test_a_table_without_required_options_counts_too(load):
    """Somebody who writes [channel.log] wants it."""
    assert default_names(load("[channel.log]\n[channel.console]\nthreshold = 1\n")) == [
        "log",
        "console",
    ]


def test_an_empty_variable_is_not_set(load):
    """CI systems set unknown secrets to nothing."""
    loaded = load(
        env={"CRONGUARD_SLACK_WEBHOOK_URL": " ", "CRONGUARD_CHANNELS": "", "CRONGUARD_STORE": ""}
    )
    assert default_names(loaded) == ["console"]
    assert loaded.problems == loaded.warnings == ()


def test_a_channel_of_ones_own_name_from_the_environment_alone(load):
    """CRONGUARD_ON_CALL_TYPE is enough to make a second webhook called on-call."""
    env = {"CRONGUARD_ON_CALL_TYPE": "webhook", "CRONGUARD_ON_CALL_URL": "https://x.example/y"}
    expected = ChannelSettings(
        "on-call", "webhook", {"url": SecretRef("env", "CRONGUARD_ON_CALL_URL")}
    )
    for names in ({}, {"CRONGUARD_CHANNELS": " on-call , on-call"}):
        loaded = load(env={**env, **names})
        assert loaded.problems == loaded.warnings == ()
        assert loaded.settings.channels[0] == expected
        assert default_names(loaded) == ["on-call"]
    assert channel_named("on-call", env) == expected._replace(default=False)
    with pytest.raises(ConfigError, match="set CRONGUARD_SLACK_WEBHOOK_URL"):
        channel_named("slack", env)


def test_a_built_in_with_a_dash_from_the_environment_alone(load):
    """CRONGUARD_EMAIL_SMTP_HOST belongs to email-smtp; only the password is held by name."""
    env = {
        "CRONGUARD_EMAIL_SMTP_HOST": "email-smtp.eu-west-1.amazonaws.com",
        "CRONGUARD_EMAIL_SMTP_FROM": "Cron Guard <cron@jobs-2024.example.com>",
        "CRONGUARD_EMAIL_SMTP_TO": "ops@example.com",
        "CRONGUARD_EMAIL_SMTP_PASSWORD": "correct horse",
    }
    loaded = load(env=env)
    assert loaded.problems == loaded.warnings == ()
    assert default_names(loaded) == ["email-smtp"]
    assert named(loaded, "email-smtp").options == {
        "host": "email-smtp.eu-west-1.amazonaws.com",
        "from": "Cron Guard <cron@jobs-2024.example.com>",
        "to": "ops@example.com",
        "password": SecretRef("env", "CRONGUARD_EMAIL_SMTP_PASSWORD"),
    }
    del env["CRONGUARD_EMAIL_SMTP_TO"]
    (warning,) = load(env=env).warnings
    assert "email-smtp is not used, since it has no to: set CRONGUARD_EMAIL_SMTP_TO" in warning


@pytest.mark.parametrize(
    "value",
    [
        "smtp-relay.gmail.com",
        "ec2-203-0-113-25.compute-1.amazonaws.com",
        "Assignment Reminders <no-reply@peer-mentors-2024.example.org>",
        "key-account-team@example.com",
        "re_engagement-team@example.com",
        "sk-team, ops@example.com",
        "2001:db8:85a3::8a2e:370:7334",
        "very-long-host-name-of-a-department.internal.example.org",
    ],
)
def test_ordinary_values_are_not_taken_for_secrets(load, value):
    """Hosts and addresses may stand in a file."""
    loaded = load(
        f"""
        [channel.email-smtp]
        host = "{value}"
        from = "cron@example.com"
        to = "ops@example.com"
        """
    )
    assert loaded.problems == ()
    assert named(loaded, "email-smtp").options["host"] == value


def test_an_environment_value_may_be_a_reference(load):
    """CRONGUARD_SLACK_WEBHOOK_URL=vault:hook names the vault's secret."""
    loaded = load(env={"CRONGUARD_SLACK_WEBHOOK_URL": "vault:hook"})
    assert named(loaded, "slack").options == {"webhook_url": SecretRef("vault", "hook")}


def test_channels_that_are_not_listed_stay_ready_for_jobs_that_name_them(load):
    """`channels` says who is told by default; a job may name any other that is set up."""
    loaded = load(
        """
        channels = ["log"]
        [channel.pager]
        type = "webhook"
        url = "env:PAGER"
        threshold = 5
        realert_every = 2
        """,
        env={"CRONGUARD_SLACK_WEBHOOK_URL": HOOK},
    )
    assert default_names(loaded) == ["log"]
    channels = loaded.settings.channels
    assert {channel.name for channel in channels} == {"log", "pager", "slack", "console"}
    job = resolve_job({"job": "j", "threshold": 3, "notify_recovery": True}, {})
    assert channel_rules(job, channels) == (ChannelRule("log"),)
    job = resolve_job({"job": "j", "realert_every": 7, "channels": ("pager", "slack")}, {})
    assert set(channel_rules(job, channels)) == {ChannelRule("pager", 5, 2), ChannelRule("slack")}
    job = resolve_job({"job": "j", "channels": ("nowhere",)}, {})
    assert channel_rules(job, channels) == (ChannelRule("log"),), "somebody is notified"


def test_a_channels_own_never_beats_the_jobs_repetition(load):
    """realert_every = "never" for one channel, whatever the job says."""
    loaded = load('[channel.log]\nrealert_every = "never"\n')
    job = resolve_job({"job": "j", "realert_every": 3}, {})
    assert channel_rules(job, loaded.settings.channels) == (ChannelRule("log", None, 0),)


def test_channel_objects_from_code(load):
    """configure() takes channel objects beside names; they get names of their own."""

    class PagerDutyChannel:
        OPTIONS = ()

        def send(self, message):
            return None

        def __repr__(self):
            return HOOK

    class Named(PagerDutyChannel):
        name = "mine"

    objects = [PagerDutyChannel(), PagerDutyChannel(), Named()]
    loaded = load(channels=["log", *objects])
    assert default_names(loaded) == ["log", "pager-duty", "pager-duty-2", "mine"]
    assert named(loaded, "mine").instance is objects[2]
    assert not leaks(repr(loaded.settings))


def test_option_lists_and_numbers_become_text(load, tmp_path, monkeypatch):
    """Recipients may be a list, ports a number; an option that is no secret may be a reference."""
    import sys as system

    from cronguard.settings import plugins

    plugin = tmp_path / "plugin"
    info = plugin / "cg_mail-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cg-mail\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cronguard.channels]\ncgmail = cg_mail:Mail\n")
    (plugin / "cg_mail.py").write_text(
        "from cronguard.core.model import Option\n"
        "class Mail:\n"
        "    OPTIONS = (Option('to', required=True), Option('port'), Option('user'))\n"
        "    def send(self, message): ...\n"
    )
    monkeypatch.syspath_prepend(str(plugin))
    plugins.forget()
    try:
        loaded = load(
            """
            [channel.cgmail]
            to = ["a@x.example", "b@x.example"]
            port = 587
            user = "env:MAIL_USER"
            """
        )
        assert loaded.problems == ()
        assert named(loaded, "cgmail").options == {
            "to": "a@x.example, b@x.example",
            "port": "587",
            "user": SecretRef("env", "MAIL_USER"),
        }
        loaded = load(
            "", env={"CRONGUARD_CHANNELS": "cgmail", "CRONGUARD_CGMAIL_TO": "a@x.example"}
        )
        assert named(loaded, "cgmail").options == {"to": "a@x.example"}
        loaded = load(
            '[job.a]\nchannels = ["cgmail"]\n', env={"CRONGUARD_CGMAIL_TO": "a@x.example"}
        )
        assert named(loaded, "cgmail").default is False, "only the job names it"
        assert loaded.problems == ()
    finally:
        plugins.forget()
        system.modules.pop("cg_mail", None)


# --- store ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "store"),
    [
        ("supabase", "supabase"),
        ("sqlite:////srv/x.db", "sqlite:////srv/x.db"),
        ("env:DATABASE_URL", SecretRef("env", "DATABASE_URL")),
        ("postgresql://db.example/app", "postgresql://db.example/app"),
        ("postgres://app@db.example/app?sslmode=require", None),
    ],
)
def test_forms_of_the_store(load, value, store):
    """Each documented form is accepted as it stands."""
    loaded = load(f'store = "{value}"\n')
    assert loaded.problems == ()
    assert loaded.settings.store == (store or value)


def test_a_relative_store_is_relative_to_what_names_it(tmp_path, load):
    """In a file to the file's folder, elsewhere to the working directory; never to a later one."""
    assert load('store = "sqlite:///a/b.db"\n').settings.store == f"sqlite:///{tmp_path}/a/b.db"
    configured = load(store="sqlite:///c.db")
    assert configured.settings.store == f"sqlite:///{tmp_path}/c.db"
    (tmp_path / "cronguard.toml").unlink()
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "cronguard.toml").write_text('store = "sqlite:///a.db"\n')
    loaded = load_settings({}, environ={}, cwd=inner, main=None)
    assert loaded.settings.store == f"sqlite:///{tmp_path}/a.db"
    loaded = load_settings({}, environ={"CRONGUARD_STORE": "sqlite:///x.db"}, cwd=None, main=None)
    assert "working directory, which is gone" in loaded.problems[0]
    assert loaded.settings.store is None


def test_a_database_url_from_the_environment_is_held_by_name(load):
    """The variable's value, which has a password in it, stays in the environment."""
    env = {"CRONGUARD_STORE": "postgres://app:hunter22plus@db.example/app"}
    settings = load(env=env).settings
    assert settings.store == SecretRef("env", "CRONGUARD_STORE")
    assert load(env={"CRONGUARD_STORE": "env:DB"}).settings.store == SecretRef("env", "DB")


def test_a_store_object_from_code(load):
    """configure(store=...) takes an open store as it is."""

    class Store:
        def start_run(self):
            return None

        def __repr__(self):
            return HOOK

    store = Store()
    settings = load(store=store).settings
    assert settings.store is store
    assert not leaks(repr(settings))


# --- what doctor mentions -------------------------------------------------------------------------


def test_variables_that_nothing_reads_are_mentioned(load):
    """A misspelt variable is a warning with a suggestion; cronguard's own are not."""
    own = ("STORE", "CHANNELS", "CONFIG", "TEST_MODE", "STORE_TIMEOUT", "REDACT", "RUN")
    loaded = load(
        env={
            **{f"CRONGUARD_{name}": "" for name in own},
            "CRONGUARD_RUN": "anything",
            "CRONGUARD_STOR": "supabase",
            "CRONGUARD_SLACK_WEBHOK_URL": HOOK,
            "CRONGUARD_SLAK_WEBHOOK_URL": HOOK,
            "CRONGUARD_LOG_THRESHOLD": "3",
            "OTHER_CRONGUARD_THING": "x",
        }
    )
    assert loaded.problems == ()
    assert len(loaded.warnings) == 3
    assert "'CRONGUARD_STOR' (did you mean 'CRONGUARD_STORE'?)" in "".join(loaded.warnings)
    assert "".join(loaded.warnings).count("(did you mean 'CRONGUARD_SLACK_WEBHOOK_URL'?)") == 2
    assert named(loaded, "log").threshold == 3


def test_supabase_variables_without_the_supabase_store_are_mentioned(load):
    """The key is there but unused: a hint, since the variables alone change nothing."""
    env = {"SUPABASE_URL": "https://x.supabase.co", "SUPABASE_SERVICE_ROLE_KEY": "k"}
    (hint,) = load(env=env).warnings
    assert "CRONGUARD_STORE=supabase" in hint
    assert "SUPABASE_SERVICE_ROLE_KEY" in hint
    assert load(env={**env, "CRONGUARD_STORE": "supabase"}).warnings == ()
    assert load(env={**env, "CRONGUARD_STORE": "env:DB", "DB": "supabase"}).warnings == ()
    assert load(env={**env, "CRONGUARD_STORE": "env:DB"}).warnings == ()
    assert len(load(env={**env, "CRONGUARD_STORE": "env:DB", "DB": "sqlite:///x"}).warnings) == 1


# --- configure ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"stor": "x"}, "did you mean 'store'?"),
        ({"store": 3}, "store is 3"),
        ({"store": "postgres://u:hunter22plus@db/x"}, 'store = "env:DATABASE_URL"'),
        ({"store": "sqlite3"}, "no address"),
        ({"channels": 3}, 'channels = ["slack"]'),
        ({"channels": ["a b"]}, "cannot be named 'a b'"),
        ({"zzz": 1}, "unknown keyword 'zzz': use one of store, channels, channel, job,"),
        ({"channels": [object()]}, "of type object"),
        ({"channels": [ChannelSettings]}, "of type type"),
        ({"channel": []}, "a mapping"),
        ({"channel": {"slack": 3}}, "channel slack is 3"),
        ({"channel": {"slack": {"webhook_url": HOOK}}}, "'env:NAME' or 'vault:NAME'"),
        ({"job": {"a b": {}}}, "'a b'"),
        ({"job": {"a": {"threshold": 0}}}, "threshold is 0"),
        ({"job": {"a": {"job": "b"}}}, "the table's own name"),
        ({"job": {"a": 3}}, "job a is 3"),
        ({"job": 3}, "job is 3"),
        ({"store_timeout": "soon"}, "is not a duration"),
        ({"store_timeout": 61}, "at most 60"),
        ({"test_mode": 1}, "test_mode is 1"),
        ({"redact": "off"}, "or a function"),
        ({"redact": 3}, "redact is 3"),
        ({"redact_keep": ["re:["]}, "no regular expression"),
    ],
)
def test_configure_refuses_bad_shapes_at_once(given, said):
    """configure() raises ConfigError, one line, for what can be seen without file or network."""
    with pytest.raises(ConfigError) as caught:
        check_overrides(**given)
    text = str(caught.value)
    assert said in text
    assert text.startswith("configure(): ")
    assert text.isprintable()
    assert not leaks(text)


def test_configure_keeps_what_it_was_given():
    """Only given keywords come back, None is not given, and later changes have no effect."""
    jobs = {"a": {"threshold": 3, "ignore": KeyError, "realert_every": None}}
    checked = check_overrides(job=jobs, redact=str.upper, store=None, store_timeout=3)
    jobs["a"]["threshold"] = 9
    assert checked == {
        "job": {"a": {"threshold": 3, "ignore": (KeyError,)}},
        "redact": str.upper,
        "store_timeout": 3.0,
    }


# --- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize(
    "text",
    [
        "store = '{}'",
        "channels = ['{}']",
        "redact = '{}'",
        "redact_keep = ['{}']",
        "'{}' = 3",
        "channel = '{}'",
        "channel.slack = '{}'",
        "[channel.slack]\nwebhook_url = '{}'",
        "[channel.slack]\nwebhook_url = ['{}']",
        "[channel.slack]\nthreshold = '{}'",
        "[channel.slack]\n'{}' = 'x'",
        "[channel.webhook]\nurl = 'env:A'\nsecret = '{}'",
        "[channel.x]\ntype = '{}'",
        "[job.a]\nschedule = '{}'",
        "[job.a]\nrunbook = '{}'",
        "[job.a]\nchannels = ['{}']",
        "[job.a]\ngrace = '{}'",
        "[job.a]\n'{}' = 3",
        'store = "{}',
    ],
)
def test_a_literal_secret_in_a_file_is_refused_and_never_repeated(load, kind, text):
    """Wherever a secret is pasted, it is refused, and nothing that is kept or said shows it."""
    loaded = load(text.format(PLANTED[kind][0]))
    assert loaded.problems
    settings = loaded.settings
    shown = (*loaded.problems, *loaded.warnings, repr(settings), str(settings.sources))
    assert not leaks(*shown)
    assert not leaks(pickle.dumps(settings).decode("latin-1"))


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize(
    "variable",
    [
        "CRONGUARD_STORE",
        "CRONGUARD_CHANNELS",
        "CRONGUARD_CONFIG",
        "CRONGUARD_TEST_MODE",
        "CRONGUARD_STORE_TIMEOUT",
        "CRONGUARD_REDACT",
        "CRONGUARD_SLACK_WEBHOOK_URL",
        "CRONGUARD_SLACK_THRESHOLD",
        "CRONGUARD_WEBHOOK_SECRET",
        "CRONGUARD_ANY_TYPE",
        "CRONGUARD_UNHEARD_OF",
        "SUPABASE_SECRET_KEY",
    ],
)
def test_a_secret_in_any_variable_stays_there(load, kind, variable):
    """No variable's secret value gets into settings, messages or pickles."""
    loaded = load(env={variable: PLANTED[kind][0], "CRONGUARD_WEBHOOK_URL": "https://x.example"})
    settings = loaded.settings
    assert not leaks(*loaded.problems, *loaded.warnings, repr(settings), str(settings.sources))
    assert not leaks(pickle.dumps(settings).decode("latin-1"))


# --- cost -----------------------------------------------------------------------------------------

PROBE = """
import sys
from pathlib import Path
from cronguard.settings.loading import load_settings
import os
loaded = load_settings({}, environ=os.environ, cwd=Path.cwd(), main=None)
assert not loaded.problems, loaded.problems
print(*[c.name for c in loaded.settings.channels if c.default])
heavy = ["httpx", "tomllib", "importlib.metadata", "platformdirs", "difflib", "sqlite3", "click"]
print([name for name in heavy if name in sys.modules])
"""


def probe(folder, **env):
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), **env},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_settings_from_the_environment_load_nothing_heavy(tmp_path):
    """No TOML parser without a file that speaks of cronguard, no package metadata, no client."""
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert probe(tmp_path) == ["console", "[]"]
    assert probe(tmp_path, CRONGUARD_SLACK_WEBHOOK_URL=HOOK) == ["slack", "[]"]
    (tmp_path / "cronguard.toml").write_text("[channel.log]\n")
    assert probe(tmp_path) == ["log", "['tomllib']"]


def test_a_plugins_accident_does_not_reach_the_job(monkeypatch, tmp_path):
    """Whatever breaks inside, load_settings answers with the console and one line."""
    from cronguard.settings import loading

    def explode(*args):
        raise RuntimeError(HOOK)

    monkeypatch.setattr(loading, "_jobs", explode)
    loaded = load_settings({}, environ={}, cwd=tmp_path, main=None)
    console = ChannelSettings("console", "console")
    assert loaded.settings == Settings(channels=(console,), redact="strict")
    assert "RuntimeError" in loaded.problems[0]
    assert not leaks(loaded.problems[0])


def test_a_secret_in_a_file_is_refused_even_where_it_is_not_used(tmp_path):
    """What the environment overrides still stands in the file for everybody to read."""
    (tmp_path / "cronguard.toml").write_text(
        'store = "postgres://user:sentinel-pw@db/app"\n'
        '[channel.slack]\nwebhook_url = "https://hooks.slack.com/services/sentinel-path"\n'
    )
    environ = {
        "CRONGUARD_STORE": "sqlite:////tmp/x.db",
        "CRONGUARD_SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/other",
    }
    loaded = load_settings({}, environ=environ, cwd=tmp_path, main=None)
    assert len(loaded.problems) == 2
    assert "sentinel" not in repr(loaded)
    assert loaded.settings.store == "sqlite:////tmp/x.db"
    assert "slack" in [channel.name for channel in loaded.settings.channels]
