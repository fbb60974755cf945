"""``slack``: within Slack's limits and rules for every alert there can be."""

import html
import json
import re
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block, ContextBlock, HeaderBlock, SectionBlock
from support import hostile, slack_picture
from support.alerts import ALERTS, BARE, FAILING, NASTY, hostile_alerts, message, of_kind

from cronguard.channels.slack import SlackChannel, blocks, safe
from cronguard.core import rendering
from cronguard.core.errors import ChannelError
from cronguard.core.model import Alert

pytestmark = pytest.mark.one_python


def check(payload):
    """Slack's own models take every block, and every limit that Slack documents holds."""
    parsed = Block.parse_all(payload["blocks"])
    assert [type(block) for block in parsed][:4] == [
        HeaderBlock,
        SectionBlock,
        SectionBlock,
        ContextBlock,
    ]
    for block, raw in zip(parsed, payload["blocks"], strict=True):
        assert block.to_dict() == raw
    assert len(payload["blocks"]) <= 50
    texts = list(texts_of(payload["blocks"]))
    header, *rest = texts
    assert 1 <= units(header["text"]) <= 150
    for each in rest:
        assert each["verbatim"] is True
        assert 1 <= units(each["text"]) <= 3000
    for block in payload["blocks"]:
        assert len(block.get("fields", [])) <= 10
        assert len(block.get("elements", [])) <= 10
        assert all(units(field["text"]) <= 2000 for field in block.get("fields", []))
    assert sum(units(each["text"]) for each in texts) + units(payload["text"]) < 13_000
    for text in [payload["text"], *(each["text"] for each in texts)]:
        bare = re.sub(r"<https://[^\s|<>]+\|Runbook>", "", text)
        assert "<" not in bare
        assert ">" not in bare
        assert not re.search(r"&(?!amp;|lt;|gt;)", bare)
        assert not re.search(r"@(channel|here|everyone)", bare)
        assert bare.replace("```", "").count("`") % 2 == 0
        assert bare.count("```") in {0, 2}
        assert "``" not in bare.replace("```", "")
    json.dumps(payload, ensure_ascii=False).encode()


def texts_of(found):
    for block in found:
        yield from [block["text"]] if "text" in block else []
        yield from block.get("fields", [])
        yield from block.get("elements", [])


def units(text):
    return len(text.encode("utf-16-le")) // 2


@pytest.mark.parametrize("alert", [*ALERTS, BARE], ids=lambda alert: alert.kind)
def test_every_kind_is_valid_block_kit(alert):
    """Header, error section, "Last successful run" context."""
    payload = blocks(alert)
    check(payload)
    header, error, _, context, _ = payload["blocks"]
    assert header["text"]["text"] == payload["text"] == rendering.title(alert)
    last = rendering.last_success(alert)
    assert context["elements"][0]["text"] == f"Last successful run: {last}"
    if alert.error_message:
        assert f"```{alert.error_message}```" in error["text"]["text"]
        assert "`psycopg.errors.UniqueViolation (23505)`" in error["text"]["text"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("failing", "No error is known."),
        ("recovered", "It works again."),
        ("overrun", "It is still running."),
        ("test", "Nothing is wrong: this is a test."),
    ],
)
def test_an_alert_without_an_error(kind, said):
    """The section is there all the same, and says nothing odd."""
    _, error, *_ = blocks(Alert("a1", kind, "nightly"))["blocks"]
    assert error["text"]["text"] == said


@pytest.mark.parametrize(
    "examples",
    [50, pytest.param(200, marks=pytest.mark.long)],
    ids=["few", "many"],
)
def test_hostile_text_cannot_break_out(examples):
    """No mention, no link, no formatting, no limit is within reach of what an alert holds."""

    @settings(max_examples=examples)
    @given(hostile_alerts)
    @example(Alert("a", "failing", "\r", host="\r", error_message="\x1b[0m", error_type="\n"))
    def holds(alert):
        check(blocks(alert))

    holds()


def test_what_was_hostile_is_shown_as_text():
    """The reader sees what was there, and Slack does nothing with it."""
    error = blocks(FAILING._replace(error_message=NASTY))["blocks"][1]["text"]["text"]
    assert "&lt;!channel&gt; &lt;@U012&gt; &lt;https://evil.example|click&gt; \uff20here" in error
    assert "&amp;amp;" in error


@pytest.mark.parametrize(
    "runbook", ["https://a.example/|x", "https://a.example/>", "http://a.example/", "javascript:x"]
)
def test_only_a_clean_https_runbook_becomes_a_link(runbook):
    """The only link in the message is the operator's own."""
    assert "|Runbook>" not in json.dumps(blocks(FAILING._replace(runbook=runbook)))
    assert "<https://wiki.example/runbooks/reminder?a=1&amp;b=2|Runbook>" in json.dumps(
        blocks(FAILING)
    )


@given(st.text(st.sampled_from("&<>`a😀")), st.integers(1, 60))
def test_cutting_never_halves_an_escape_or_a_character(text, limit):
    """What is left after the cut is a beginning of what was there."""
    shown = safe(text, limit)
    assert units(shown) <= limit
    plain = html.unescape(shown.removesuffix("…"))
    assert text.replace("`", "\u02cb").startswith(plain)
    assert safe(plain, 10**6) == shown.removesuffix("…")


def test_a_test_is_marked_everywhere():
    """Header, notification and context."""
    payload = blocks(of_kind("test"))
    assert payload["text"].startswith("[TEST]")
    assert "This is a test alert" in json.dumps(payload["blocks"][3])


def test_posts_json_to_the_webhook():
    """One POST of exactly these blocks; surrounding white space in the address does not matter."""
    with hostile.serve(behave := hostile.answers()) as server:
        SlackChannel(webhook_url=f"{server.url}\n").send(message())
    (request,) = behave.received
    assert request.method == "POST"
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert request.json == blocks(FAILING)


@pytest.mark.parametrize(
    ("status", "body", "code", "permanent"),
    [
        (400, b"invalid_payload", "slack_invalid_payload", True),
        (403, b"action_prohibited", "slack_action_prohibited", True),
        (404, b"channel_not_found", "slack_channel_not_found", True),
        (404, b"no_service\n", "slack_no_service", True),
        (404, b"<html>SECRET</html>", "http_404", True),
        (410, b"channel_is_archived", "slack_channel_is_archived", True),
        (429, b"rate_limited", "slack_rate_limited", False),
        (500, b"rollup_error", "slack_rollup_error", False),
        (503, b"", "http_503", False),
    ],
)
def test_slacks_errors(status, body, code, permanent):
    """Slack's documented words become codes; anything else it says is thrown away."""
    answers = hostile.answers(status, body, [("Retry-After", "30")])
    with hostile.serve(answers) as server, pytest.raises(ChannelError) as caught:
        SlackChannel(webhook_url=server.url).send(message())
    assert (caught.value.code, caught.value.permanent) == (code, permanent)
    assert caught.value.retry_after == (None if permanent else 30)


def test_the_readmes_picture_is_the_real_message():
    """Drawn from the blocks that are sent for the README's alert; well-formed; shown there."""
    assert slack_picture.PICTURE.read_text(encoding="utf-8") == slack_picture.drawn(), (
        "draw it anew: cd tests && python -m support.slack_picture"
    )
    ElementTree.parse(slack_picture.PICTURE)
    readme = (slack_picture.ROOT / "README.md").read_text(encoding="utf-8")
    assert f"({slack_picture.PICTURE.relative_to(slack_picture.ROOT)})" in readme


@pytest.mark.parametrize("alert", [*ALERTS, BARE, of_kind("failing")._replace(error_message=NASTY)])
def test_any_message_can_be_drawn(alert):
    """Whatever the blocks hold: they have the shapes that Slack's clients draw."""
    ElementTree.fromstring(slack_picture.picture(blocks(alert)))
