"""Settings under fire: whatever files, variables and arguments hold, nobody is harmed."""

import json
import pickle
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.planted import TEXTS, leaks

from cronguard.core.errors import ConfigError
from cronguard.settings.loading import Loaded, channel_rules, check_overrides, load_settings
from cronguard.settings.options import resolve_job

pytestmark = pytest.mark.one_python

KEYS = (
    *("store", "channels", "channel", "job", "store_timeout", "test_mode", "redact"),
    *("redact_keep", "tool", "cronguard", "slack", "webhook", "console", "log", "oncall", "type"),
    *("webhook_url", "url", "secret", "threshold", "realert_every", "schedule", "timezone"),
    *("grace", "max_runtime", "overlap", "ignore", "runbook", "a", "", "two words", "\u2028"),
)
VALUES = (
    *("slack", "webhook", "console", "supabase", "sqlite:///x.db", "sqlite:////x.db", "env:X"),
    *("vault:y", "aws:z", "strict", "never", "skip", "30m", "0 6 * * *", "Europe/Oslo", "true"),
    *("", " ", "\0", "\n", "a,b", "https://wiki.example/x", "mysql://db/x", "x" * 3000),
)
VARIABLES = (
    *("STORE", "CHANNELS", "CONFIG", "TEST_MODE", "STORE_TIMEOUT", "REDACT", "RUN"),
    *("SLACK_WEBHOOK_URL", "SLACK_THRESHOLD", "SLACK_TYPE", "WEBHOOK_URL", "WEBHOOK_SECRET"),
    *("ONCALL_TYPE", "ONCALL_URL", "ONCALL_REALERT_EVERY", "CONSOLE_X", "_", "X", "TYPE", "__A_"),
)

secrets = st.sampled_from(TEXTS)
texts = st.one_of(st.sampled_from(VALUES), secrets, st.text(max_size=8))
scalars = st.one_of(
    texts, st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)
)
keys = st.one_of(st.sampled_from(KEYS), st.text(max_size=5))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
sections = st.fixed_dictionaries(
    {},
    optional={
        "channel": st.dictionaries(
            st.sampled_from(["slack", "webhook", "oncall", "log", "x y"]),
            st.dictionaries(keys, values, max_size=4),
            max_size=3,
        ),
        "job": st.dictionaries(
            st.sampled_from(["a", "b", "two words"]),
            st.dictionaries(keys, values, max_size=4),
            max_size=2,
        ),
        "channels": st.one_of(st.lists(texts, max_size=3), values),
        "store": texts,
        "store_timeout": scalars,
        "redact_keep": st.lists(texts, max_size=2),
    },
)
tables = st.builds(lambda known, odd: {**odd, **known}, sections, st.dictionaries(keys, values))
environments = st.dictionaries(
    st.one_of(
        st.sampled_from(VARIABLES).map("CRONGUARD_".__add__),
        st.sampled_from(["SUPABASE_URL", "SUPABASE_SECRET_KEY", "HOME", "X"]),
    ),
    texts,
    max_size=6,
)


def text(value):
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "")


def toml(value):
    """The value as TOML; JSON's strings, numbers and lists are TOML's."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{text(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return text(value)


def document(table):
    return "".join(f"{text(key)} = {toml(value)}\n" for key, value in table.items())


files = st.one_of(
    tables.map(lambda table: ("cronguard.toml", document(table).encode(errors="replace"))),
    tables.map(
        lambda table: (
            "pyproject.toml",
            document({"tool": {"cronguard": table}}).encode("utf-8", "replace"),
        )
    ),
    st.tuples(
        st.sampled_from(["cronguard.toml", "pyproject.toml"]),
        st.one_of(
            st.binary(max_size=80),
            secrets.map(lambda secret: f"[tool.cronguard]\nstore = {secret}".encode()),
        ),
    ),
)


def check(loaded):
    """What holds of every answer."""
    assert isinstance(loaded, Loaded)
    found, problems, warnings = loaded.settings, loaded.problems, loaded.warnings
    for line in (*problems, *warnings):
        assert line.isprintable()
        assert len(line) < 1000
        assert "defaults are used" not in line, "an accident inside"
    assert found.channels
    assert found.channels[0].default
    assert 0 < found.store_timeout <= 60
    for name, options in found.jobs.items():
        assert channel_rules(resolve_job({"job": name}, options), found.channels)
    shown = (*problems, *warnings, repr(found), str(found.sources))
    assert not leaks(*shown)
    assert not leaks(pickle.dumps(found).decode("latin-1"))


few_and_many = pytest.mark.parametrize(
    "examples",
    [50, pytest.param(150, marks=pytest.mark.long)],
    ids=["few", "many"],
)


@few_and_many
def test_any_file_and_environment_load_and_leak_nothing(examples):
    """load_settings never raises, always leaves somebody to tell, and repeats no secret."""

    @settings(max_examples=examples)
    @given(file=files, environ=environments)
    def holds(file, environ):
        name, content = file
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, name).write_bytes(content)
            check(load_settings({}, environ=environ, cwd=Path(folder), main=None))

    holds()


@few_and_many
def test_any_configure_is_refused_in_one_line_or_works(examples):
    """configure() raises ConfigError and nothing else; what it takes, loads."""

    @settings(max_examples=examples)
    @given(overrides=tables, environ=environments)
    def holds(overrides, environ):
        try:
            checked = check_overrides(**overrides)
        except ConfigError as error:
            problem = str(error)
        else:
            problem = ""
            check(load_settings(checked, environ=environ, cwd=Path("/nonexistent"), main=None))
        assert problem.isprintable()
        assert not leaks(problem)

    holds()


@few_and_many
def test_unchecked_overrides_do_no_harm_either(examples):
    """Even what check_overrides never saw is only a problem to be told."""

    @settings(max_examples=examples // 2)
    @given(overrides=tables)
    def holds(overrides):
        check(load_settings(overrides, environ={}, cwd=None, main=None))

    holds()
