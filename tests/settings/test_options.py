"""Options of a guarded job: checked where they are written, resolved by precedence."""

import ast
import contextlib
import inspect
import math
import pickle
import subprocess
import sys
import zoneinfo
from datetime import timedelta
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronguard import cron_guarded
from cronguard.cli.run.command import command
from cronguard.core.errors import ConfigError
from cronguard.core.expectations import statements
from cronguard.core.model import Expectations, Statement
from cronguard.settings import options
from cronguard.settings.job_values import check_channel_name, check_job_name, parse_duration
from cronguard.settings.options import (
    JOB_OPTIONS,
    JobConfig,
    check_option,
    check_options,
    resolve_job,
)

pytestmark = pytest.mark.one_python

SLACK = "https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/abcdefghijklmnopqrstuvwx"


PLACES = ("code", "configure", "file", "command")


def message(given_options, place="code"):
    with pytest.raises(ConfigError) as caught:
        check_options(given_options, place)
    text = str(caught.value)
    assert text.isprintable(), "one line"
    assert len(text) < 400
    assert isinstance(caught.value, ValueError)
    assert caught.value.__cause__ is None
    return text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": 0}, "threshold is 0"),
        ({"threshold": -1}, "threshold is -1"),
        ({"threshold": True}, "threshold is True"),
        ({"threshold": 2.0}, "threshold is 2.0"),
        ({"threshold": "2"}, "threshold is '2'"),
        ({"threshold": None}, "threshold is None"),
        ({"threshold": 10**30}, "threshold is 1000"),
        ({"realert_every": 0}, "realert_every is 0"),
        ({"realert_every": -1}, "realert_every is -1"),
        ({"realert_every": False}, "realert_every is False"),
        ({"max_runtime": 0}, "over at once"),
        ({"max_runtime": -5}, "max_runtime is -5 seconds"),
        ({"max_runtime": math.nan}, "max_runtime is nan"),
        ({"max_runtime": math.inf}, "max_runtime is inf"),
        ({"max_runtime": True}, "max_runtime is True"),
        ({"max_runtime": "30 parsecs"}, "max_runtime '30 parsecs' is not a duration"),
        ({"max_runtime": b"30m"}, "a timedelta, a text such as '30m', or seconds"),
        ({"grace": "soon"}, "grace 'soon' is not a duration"),
        ({"max_runtime": timedelta.max}, "ten years"),
        ({"max_runtime": 10**400}, "ten years"),
        ({"grace": timedelta(seconds=-1)}, "grace is -1.0 seconds"),
        ({"grace": None}, "grace is None"),
        ({"overlap": "queue"}, "'skip', 'raise' or 'allow'"),
        ({"overlap": ["skip"]}, "'skip', 'raise' or 'allow'"),
        ({"channels": "slack, oncall"}, "cannot be named 'slack, oncall'"),
        ({"heartbeat_url": "env:PING"}, "[tool.cronguard.job.NAME]"),
        ({"channels": ()}, "nobody would be told"),
        ({"channels": [3]}, "cannot be named 3"),
        ({"channels": ["a b"]}, "cannot be named 'a b'"),
        ({"channels": 3}, "channels is 3"),
        ({"notify_recovery": 1}, "notify_recovery is 1"),
        ({"test_mode": "yes"}, "test_mode is 'yes'"),
        ({"ignore": ValueError("x")}, "exception classes"),
        ({"ignore": (int,)}, "exception classes"),
        ({"ignore": None}, "exception classes"),
        ({"runbook": "http://wiki.example/x"}, "https://"),
        ({"runbook": "https://"}, "https://"),
        ({"runbook": "https://[bad"}, "https://"),
        ({"runbook": "https://wiki.example/a b"}, "https://"),
        ({"runbook": "https://wiki.example/a\nb"}, "https://"),
        ({"runbook": "https://anna:geheim@wiki.example/"}, "https://"),
        ({"runbook": SLACK}, "https://"),
        ({"runbook": "https://wiki.example/x?id=1&access_token=geheim"}, "https://"),
        ({"runbook": "https://wiki.example/x?api-key=geheim#top"}, "https://"),
        ({"runbook": "https://wiki.example/x#sig=geheim"}, "https://"),
        ({"runbook": 3}, "runbook cannot be shown in alerts"),
        ({"schedule": "0 25 * * *"}, "schedule '0 25 * * *' is not a cron expression"),
        ({"schedule": "0 0 30 2 *"}, "ever comes due"),
        ({"schedule": "* * *"}, "ever comes due"),
        ({"schedule": ""}, "ever comes due"),
        ({"schedule": "@fortnightly"}, "ever comes due"),
        ({"schedule": 5}, "schedule is 5"),
        ({"schedule": "9" * 5000}, "5000 characters"),
        ({"timezone": "Oslo"}, "timezone 'Oslo'"),
        ({"timezone": "Europe"}, "timezone 'Europe'"),
        ({"timezone": "../../etc/passwd"}, "is not known"),
        ({"timezone": "\0"}, "is not known"),
        ({"timezone": None}, "timezone None"),
        ({"job": "two words"}, "'two words'"),
        ({"thresold": 2}, "did you mean 'threshold'?"),
        ({"zzz": 2}, "unknown option 'zzz': use one of job, threshold, realert_every, channels,"),
    ],
)
def test_bad_option_is_one_line_that_says_what_and_what_to_do(options, said):
    """Every bad argument is a ConfigError: one line, naming the option, with the remedy."""
    text = message(options)
    assert said in text
    assert next(iter(options)) in text or "channel" in text


@pytest.mark.parametrize("name", ["a", "A9", "0", "nightly.export_v2:eu-1", "x" * 100])
def test_job_names_are_system_identifiers(name):
    """1 to 100 of [A-Za-z0-9._:-] beginning with a letter or digit."""
    assert check_job_name(name) == name


@pytest.mark.parametrize(
    "name", ["", " ", "two words", "-x", ".x", "x" * 101, "x" * 200, "é", "٣", "a\n", "<lambda>", 3]
)
def test_other_job_names_are_refused(name):
    """Whatever could not stand in an alert as an identifier is no job's name."""
    with pytest.raises(ConfigError) as caught:
        check_job_name(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


@given(st.text(max_size=120))
def test_job_name_rule_is_exactly_the_written_one(text):
    """The rule is the one in the documentation, for any text."""
    import re

    fits = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}", text) is not None
    try:
        accepted = check_job_name(text) == text
    except ConfigError:
        accepted = False
    assert accepted is fits


@pytest.mark.parametrize("name", ["", "a/b", "a.b", "a" * 65, "_x", None])
def test_channel_names_fit_into_variable_names(name):
    """A channel's name must be able to stand in CRONGUARD_<CHANNEL>_<OPTION>."""
    with pytest.raises(ConfigError):
        check_channel_name(name)
    assert check_channel_name("on-call_2") == "on-call_2"


def test_options_are_normalised_and_only_given_ones_come_back():
    """Durations become seconds, sequences tuples; nothing that was not given appears."""
    assert check_options({}) == {}
    assert check_options(
        {
            "threshold": 3,
            "max_runtime": timedelta(minutes=1),
            "grace": 0,
            "channels": ["slack", "pager", "slack"],
            "ignore": KeyError,
            "runbook": "https://wiki.example/runbooks/1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d?design=1&token=#top",
            "schedule": " 0  6 * * mon ",
            "timezone": "Europe/Oslo",
        }
    ) == {
        "threshold": 3,
        "max_runtime": 60.0,
        "grace": 0.0,
        "channels": ("slack", "pager"),
        "ignore": (KeyError,),
        "runbook": "https://wiki.example/runbooks/1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d?design=1&token=#top",
        "schedule": "0 6 * * mon",
        "timezone": "Europe/Oslo",
    }
    assert check_options({"ignore": [KeyError, ValueError]}) == {"ignore": (KeyError, ValueError)}
    assert check_options({"schedule": "@daily"}) == {"schedule": "0 0 * * *"}


def test_none_means_not_given_but_for_max_runtime():
    """None leaves an option to the settings; max_runtime=None turns the overrun alert off."""
    absent = dict.fromkeys(["job", "realert_every", "channels", "schedule", "runbook"])
    assert check_options(absent) == {}
    assert check_options({"max_runtime": None}) == {"max_runtime": None}


def test_defaults_are_the_documented_ones():
    """A job of which nothing is said gets the defaults of the specification."""
    assert resolve_job({"job": "nightly"}, {}) == JobConfig(
        job="nightly",
        stated=statements(
            schedule=None,
            timezone="UTC",
            grace=300.0,
            max_runtime=1800.0,
            threshold=2,
            realert_every=None,
            notify_recovery=False,
            runbook=None,
        ),
        expected=Expectations(),
        channels=None,
        overlap="skip",
        ignore=(),
        test_mode=False,
        heartbeat_url=None,
    )


def test_a_command_states_what_it_is_given():
    """Nothing but its own options and the job's settings, each with where it comes from."""
    job = resolve_job({"job": "j", "threshold": 3}, {"grace": 5.0, "threshold": 9}, "command")
    assert job.stated == (
        Statement("grace", 5.0, "settings"),
        Statement("threshold", 3, "command"),
    )
    assert resolve_job({"job": "j"}, {}, "command").stated == ()
    given = check_options({"schedule": "none", "threshold": "default"}, "command")
    for text in ("none", "default"):
        usual = Expectations._field_defaults
        given_all = check_options(dict.fromkeys(usual, text))
        none = {"max_runtime"} if text == "none" else set()
        assert given_all == {k: None if k in none else v for k, v in usual.items()}
    taken_back = resolve_job({"job": "j", **given}, {"schedule": "0 6 * * *"}, "command")
    assert taken_back.stated == statements("command", schedule=None, threshold=2)


def test_nothing_is_stated_for_what_is_wrong():
    """Not even the default: what is kept with the job stays."""
    job = resolve_job({"job": "j"}, {"threshold": 4}, unclear={"timezone", "schedule"})
    assert {each.name for each in job.stated} == {*Expectations._fields} - {"timezone", "schedule"}
    assert job.expected == Expectations(threshold=4)


def test_argument_beats_settings_beats_default():
    """The decorator's own word wins; a None there leaves the settings in force."""
    configured = check_options(
        {"threshold": 7, "realert_every": 4, "runbook": "https://a.example/", "max_runtime": 5}
    )
    job = resolve_job(
        check_options({"job": "j", "threshold": 3, "realert_every": None}), configured
    )
    assert job.expected == Expectations(
        threshold=3, realert_every=4, runbook="https://a.example/", max_runtime=5.0
    )
    assert {each.name: each.origin for each in job.stated} == {
        **dict.fromkeys(Expectations._fields, "code"),
        **dict.fromkeys(["realert_every", "runbook", "max_runtime"], "settings"),
    }
    for given_here, in_settings in ({"max_runtime": None}, configured), ({}, {"max_runtime": None}):
        job = resolve_job({"job": "j", **given_here}, in_settings)
        assert job.expected.max_runtime is None


def test_schedule_is_put_together_from_both_places():
    """Cron line, time zone and grace may come from different places; alone they do nothing."""
    job = resolve_job({"job": "j", "schedule": "0 6 * * *"}, {"timezone": "Europe/Oslo"})
    assert job.expected.plan == ("0 6 * * *", "Europe/Oslo", 300.0)
    job = resolve_job({"job": "j", "grace": 4.0}, {"timezone": "Europe/Oslo"})
    assert job.expected.plan is None


def test_resolved_options_pickle():
    """A decorated function is pickled with its options."""
    job = resolve_job({"job": "j", "schedule": "0 6 * * *", "ignore": (KeyError,)}, {})
    assert pickle.loads(pickle.dumps(job)) == job


@pytest.mark.parametrize("place", PLACES)
def test_durations_and_channels_are_written_as_text(place):
    """A duration is 30m or 2h and one channel is its name, in code as in a file or a command."""
    assert check_options({"max_runtime": "1h 30m", "grace": "90s", "channels": "slack"}, place) == {
        "max_runtime": 5400.0,
        "grace": 90.0,
        "channels": ("slack",),
    }
    assert check_options({"max_runtime": "off"}, place) == {"max_runtime": None}


def test_options_are_stated_where_they_have_a_place():
    """A file names no class, a job's table no other job, and only settings hold an address."""
    assert "ignore=(...)" in message({"ignore": "ValueError"}, "file")
    assert check_options({"ignore": KeyError}, "configure") == {"ignore": (KeyError,)}
    for place in ("file", "configure"):
        assert "the table's own name" in message({"job": "other"}, place)
        assert str(check_option("heartbeat_url", "env:PING", place)) == "env:PING"
        assert "use one of threshold," in message({"zzz": 2}, place)
        assert "(did you mean 'heartbeat_url'?)" in message({"heartbeat_ur": 2}, place)
    assert "heartbeat_url" not in message({"heartbeat_ur": 2}, "code")


def test_numbers_of_a_command_are_text():
    """Whole ones; elsewhere a number is a number."""
    assert check_options({"threshold": "3", "realert_every": "2"}, "command") == {
        "threshold": 3,
        "realert_every": 2,
    }
    for text in ("-1", "2.0", "", "9" * 5000):
        assert "threshold is" in message({"threshold": text}, "command")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45s", 45),
        ("30m", 1800),
        ("2h", 7200),
        ("90d", 90 * 86400),
        ("1w", 7 * 86400),
        ("1h30m", 5400),
        ("1.5H", 5400),
        (" 2 h ", 7200),
        ("0", 0),
    ],
)
def test_durations_as_people_write_them(text, seconds):
    """A number and a unit, or several of them; nothing is nothing in any unit."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "h", "1h30", "-1", "1e3", "nan", "inf", "1y", "٣m", "9" * 400, "1..5h", "1h,2m"]
)
def test_other_durations_are_refused(text):
    """What could be misread is refused."""
    with pytest.raises(ConfigError, match=r"not a duration|longer than ten years"):
        parse_duration(text)


def test_durations_without_a_unit_are_refused():
    """Wherever they are text: on a line, in a file, in code. A number is seconds in the latter."""
    for place in PLACES:
        for key in ("max_runtime", "grace"):
            with pytest.raises(ConfigError, match=f"{key} 5 has no unit: write 5s, 5m, 5h or 5d"):
                check_options({key: " 5 "}, place)
    assert check_options({"max_runtime": 5, "grace": 2.5}) == {"max_runtime": 5.0, "grace": 2.5}


@given(st.text(max_size=150))
def test_durations_never_fail_otherwise(text):
    """Any text is a finite duration or a ConfigError."""
    with contextlib.suppress(ConfigError):
        assert 0 <= parse_duration(text) < math.inf


def test_a_machine_without_time_zones_can_still_import_the_job(monkeypatch):
    """A slim container has no zone database: the name is taken on trust, nonsense is not."""

    def none(key):
        raise zoneinfo.ZoneInfoNotFoundError(key)

    monkeypatch.setattr(zoneinfo, "ZoneInfo", none)
    assert check_options({"timezone": "Europe/Oslo"}) == {"timezone": "Europe/Oslo"}
    assert "is not known" in message({"timezone": "not a zone!"})


def test_secrets_in_the_wrong_place_are_not_repeated():
    """A key pasted into the wrong option does not reach a log through the complaint."""
    for option in ("job", "channels", "runbook", "timezone", "overlap", "test_mode", "schedule"):
        for secret in (SLACK, "AIzaSyA1234567890 and more", "postgres://u:hunter22@db/x"):
            value = [secret] if option == "channels" else secret
            assert secret not in message({option: value})
            assert "hunter22" not in message({option: value})
    assert "sk_live_51abcdefgh1234" not in message({"sk_live_51abcdefgh1234": 3})


def test_types_are_those_of_the_table():
    """The typed keywords and JobConfig have the table's options; None where it has a meaning."""
    tree = ast.parse(Path(options.__file__).read_text(encoding="utf-8"))
    (typed,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name == "JobOptions"
    )
    keywords = {
        field.target.id: ast.unparse(field.annotation).endswith("| None")
        for field in typed.body
        if isinstance(field, ast.AnnAssign)
    }
    in_code = [each for each in JOB_OPTIONS.values() if "code" in each.places]
    assert list(keywords.items()) == [(each.name, each.none is not None) for each in in_code]
    assert {*JobConfig._fields, *Expectations._fields} == {*JOB_OPTIONS, "stated", "expected"}


def test_every_default_passes_its_own_check():
    """The table's defaults are values as the checks return them."""
    for option in JOB_OPTIONS.values():
        if option.default is not None:
            assert option.check(option.name, option.default) == option.default
        for choice in option.choices or ():
            assert option.check(option.name, choice) == choice
        assert option.help
        assert not option.help.endswith(".")


def test_help_is_the_table(capsys):
    """What help() shows of the decorator has every option, its default and its sentence."""
    parameters = inspect.signature(cron_guarded).parameters
    shown = inspect.getdoc(cron_guarded)
    for option in JOB_OPTIONS.values():
        assert ("code" in option.places) == (option.name in parameters)
        if "code" in option.places:
            assert f"    {option.name}: {option.help}." in shown
            default = parameters[option.name].default
            if isinstance(default, timedelta):
                default = default.total_seconds()
            assert default == option.default


def test_the_command_line_is_the_table():
    """`cronguard run` has each option that a command may state, with its sentence and default."""
    flags = {param.name: param for param in command.params if isinstance(param, click.Option)}
    stated = [each for each in JOB_OPTIONS.values() if "command" in each.places]
    assert list(flags) == [*(each.name for each in stated if each.name != "job"), "no_output"]
    for option in stated[1:]:
        flag = flags[option.name]
        assert option.flag in flag.opts
        assert flag.help.startswith(option.help)
        assert flag.help.endswith("]")
        assert flag.default is None, "what is not given is not stated"


def test_plain_options_load_nothing_heavy():
    """A job without schedule, zone and runbook pays for none of them."""
    code = (
        "import sys; from cronguard.settings.options import check_options;"
        "check_options({'job': 'a', 'threshold': 3, 'channels': ['slack'], 'timezone': 'UTC'});"
        "heavy = {'cronsim', 'zoneinfo', 'difflib', 'platformdirs', 'httpx', 'tomllib'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
