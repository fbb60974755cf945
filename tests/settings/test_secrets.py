"""Secret references: named everywhere, resolved only when sending, never quoted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronguard.core.errors import ChannelError, SecretError
from cronguard.core.model import SecretRef
from cronguard.settings.secret_sources.env import EnvironmentSecrets
from cronguard.settings.secrets import resolve
from cronguard.settings.types import parse_reference

HOOK = "https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/abcdefghijklmnopqrstuvwx"


class Box:
    """A source of somebody else's, that answers from a dict and fails as told."""

    def __init__(self, **values):
        self.values = values
        self.asked = []

    def get(self, name):
        self.asked.append(name)
        value = self.values[name]
        if isinstance(value, BaseException):
            raise value
        return value


@pytest.fixture
def env(monkeypatch):
    return {"env": EnvironmentSecrets()}


def refused(ref, sources):
    with pytest.raises(SecretError) as caught:
        resolve(ref, sources)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert isinstance(caught.value, ChannelError)
    assert not caught.value.permanent
    return caught.value


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("env:ONCALL_URL", SecretRef("env", "ONCALL_URL")),
        (" env:ONCALL_URL\n", SecretRef("env", "ONCALL_URL")),
        ("vault:cronguard_slack_webhook_url", SecretRef("vault", "cronguard_slack_webhook_url")),
        ("vault:team/slack.url-1", SecretRef("vault", "team/slack.url-1")),
        ("env:", None),
        ("env", None),
        ("", None),
        ("env:A B", None),
        ("env:A-B", None),
        ("env://host/path", None),
        ("vault://host/path", None),
        ("aws:name", None),
        (HOOK, None),
        ("Env:NAME", None),
        (f"vault:{HOOK}", None),
        ("vault:hooks.slack.com/services/T0/B0/x", None),
        ("env:re_9PlantEd_9abcdefghijklmnop", None),
        ("env:re_abcDefGhi", None),
        ("env:whsec_cGxhbnRlZHBsYW50ZWRwbGFudGVk", None),
        ("vault:sb_secret_planted", None),
        ("env:" + "x" * 201, None),
    ],
)
def test_what_is_a_reference(text, ref):
    """A known scheme, a colon and a name; anything else is a plain value."""
    assert parse_reference(text) == ref


def test_other_schemes_are_references_where_they_are_known():
    """A plugin's scheme counts once somebody says that it exists."""
    assert parse_reference("aws:name", ("aws",)) == SecretRef("aws", "name")


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_a_value(text):
    """Recognising references fails for no text, and a reference reads back as it was written."""
    for candidate in (text, f"env:{text}", f"vault:{text}"):
        ref = parse_reference(candidate)
        assert ref is None or str(ref) == candidate.strip()


def test_environment_secrets_are_read_afresh_and_without_line_ends(env, monkeypatch):
    """A rotated variable counts at once; the newline of a careless export does not."""
    ref = SecretRef("env", "CG_TEST_HOOK")
    monkeypatch.setenv("CG_TEST_HOOK", HOOK + "\n")
    assert resolve(ref, env) == HOOK
    monkeypatch.setenv("CG_TEST_HOOK", "https://other.example")
    assert resolve(ref, env) == "https://other.example"


@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_an_empty_secret_is_a_missing_one(env, monkeypatch, value):
    """Unset, empty and blank are the same: secret_missing, naming the reference."""
    monkeypatch.delenv("CG_TEST_HOOK", raising=False)
    if value is not None:
        monkeypatch.setenv("CG_TEST_HOOK", value)
    error = refused(SecretRef("env", "CG_TEST_HOOK"), env)
    assert error.code == "secret_missing"
    assert "env:CG_TEST_HOOK" in str(error)
    with pytest.raises(SecretError) as caught:
        EnvironmentSecrets().get("CG_TEST_HOOK")
    assert caught.value.code == "secret_missing"


def test_a_variable_may_hold_a_reference(env, monkeypatch):
    """env → env → vault is followed to the secret itself."""
    vault = Box(slack=HOOK)
    monkeypatch.setenv("CG_TEST_A", "env:CG_TEST_B")
    monkeypatch.setenv("CG_TEST_B", "vault:slack")
    assert resolve(SecretRef("env", "CG_TEST_A"), {**env, "vault": vault}) == HOOK
    assert vault.asked == ["slack"]


def test_a_variable_may_name_the_secret_of_a_plugin(env, monkeypatch):
    """A third party's scheme is followed if its source is there, else the text is the secret."""
    monkeypatch.setenv("CG_TEST_A", "aws:slack")
    assert resolve(SecretRef("env", "CG_TEST_A"), {**env, "aws": Box(slack=HOOK)}) == HOOK
    assert resolve(SecretRef("env", "CG_TEST_A"), env) == "aws:slack"


@pytest.mark.parametrize("scheme", ["env", "vault", "aws"])
def test_a_secret_behind_a_scheme_is_no_reference(env, monkeypatch, scheme):
    """Pasted where a name belongs it is refused, and not repeated."""
    monkeypatch.setenv("CG_TEST_A", f"{scheme}:re_9PlantEd_9abcdefghijklmnop")
    error = refused(SecretRef("env", "CG_TEST_A"), {**env, "aws": Box()})
    assert error.code == "secret_unreadable"
    assert "no name of a secret follows" in str(error)
    assert "9PlantEd" not in str(error)


def test_a_circle_of_references_ends(env, monkeypatch):
    """References that lead to one another are an error, not a hang."""
    monkeypatch.setenv("CG_TEST_A", "env:CG_TEST_B")
    monkeypatch.setenv("CG_TEST_B", "env:CG_TEST_A")
    error = refused(SecretRef("env", "CG_TEST_A"), env)
    assert error.code == "secret_unreadable"
    assert "env:CG_TEST_A" in str(error)


def test_what_a_vault_holds_is_not_followed(env, monkeypatch):
    """Whoever writes to the vault cannot read this process's environment through it."""
    monkeypatch.setenv("CG_TEST_OTHER", "something private")
    vault = Box(slack="env:CG_TEST_OTHER")
    assert resolve(SecretRef("vault", "slack"), {**env, "vault": vault}) == "env:CG_TEST_OTHER"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (SecretError("secret_missing", detail=HOOK), "secret_missing"),
        (SecretError("secret_unreadable", detail=HOOK), "secret_unreadable"),
        (SecretError(HOOK), "secret_unreadable"),
        (ChannelError("timeout", detail=HOOK), "secret_unreadable"),
        (RuntimeError(HOOK), "secret_unreadable"),
        ("", "secret_missing"),
        (None, "secret_unreadable"),
    ],
)
def test_a_source_that_fails_is_named_and_not_quoted(answer, code):
    """Whatever a source raises or returns, the error names the reference and quotes nothing."""
    error = refused(SecretRef("box", "slack"), {"box": Box(slack=answer)})
    assert error.code == code
    assert "box:slack" in str(error)
    assert HOOK not in repr(error) + str(error) + str(error.detail)


def test_a_scheme_that_nothing_reads_is_said():
    """Without a source the reference is unreadable, and the scheme is named."""
    error = refused(SecretRef("vault", "slack"), {})
    assert error.code == "secret_unreadable"
    assert "vault" in str(error)


def test_a_sources_retry_after_is_kept():
    """A vault that asks for patience is given it."""
    waiting = SecretError("secret_unreadable", retry_after=7.0)
    assert refused(SecretRef("box", "slack"), {"box": Box(slack=waiting)}).retry_after == 7.0
