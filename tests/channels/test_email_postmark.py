"""``email-postmark``: Postmark's documented shape and error codes."""

import json

import pytest
from support import hostile
from support.alerts import ALERTS, FAILING, message

from cronguard.channels import email_postmark
from cronguard.channels.email_postmark import EmailPostmarkChannel
from cronguard.channels.transport import mail
from cronguard.core.errors import ChannelError, PartialDelivery
from cronguard.runtime.delivery_codes import explain

TOKEN = "sentinel-token"
OPTIONS = {
    "server_token": f"{TOKEN}\n",
    "from": "Cron <cron@example.com>",
    "to": "a@example.com, b@example.com",
}


def send(monkeypatch, behave, alert=FAILING, **options):
    with hostile.serve(behave) as server:
        monkeypatch.setattr(email_postmark, "URL", server.url.replace("/hook", "/email"))
        EmailPostmarkChannel(**{**OPTIONS, **options}).send(message(alert))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.kind)
def test_the_request_has_the_documented_shape(alert, monkeypatch):
    """https://postmarkapp.com/developer/api/email-api: POST /email, token header, these fields."""
    behave = hostile.answers(200, b'{"ErrorCode": 0, "Message": "OK"}')
    send(monkeypatch, behave, alert)
    (request,) = behave.received
    email = mail.compose(alert)
    assert (request.method, request.target) == ("POST", "/email")
    assert request.headers["accept"] == request.headers["content-type"] == "application/json"
    assert request.headers["x-postmark-server-token"] == TOKEN
    assert request.json == {
        "From": "Cron <cron@example.com>",
        "To": "a@example.com, b@example.com",
        "Subject": email.subject,
        "TextBody": email.text,
        "HtmlBody": email.html,
        "MessageStream": "outbound",
    }


def test_the_stream_can_be_chosen(monkeypatch):
    """Alerts may have a message stream of their own."""
    behave = hostile.answers(200)
    send(monkeypatch, behave, message_stream="alerts")
    assert behave.received[0].json["MessageStream"] == "alerts"


@pytest.mark.parametrize(
    ("status", "number", "code", "permanent"),
    [
        (401, 10, "postmark_10", False),
        (422, 300, "postmark_300", True),
        (422, 400, "postmark_400", False),
        (422, 405, "postmark_405", False),
        (422, 406, "postmark_406", True),
        (422, 412, "postmark_412", False),
        (429, 0, "http_429", False),
        (500, "x", "http_500", False),
        (503, 100, "postmark_100", False),
    ],
)
def test_postmarks_errors_keep_their_number_only(status, number, code, permanent, monkeypatch):
    """Postmark's text repeats addresses and is thrown away; what can be mended is retried."""
    body = json.dumps({"ErrorCode": number, "Message": "Found inactive: a@example.com"}).encode()
    with pytest.raises(ChannelError) as caught:
        send(monkeypatch, hostile.answers(status, body))
    assert (caught.value.code, caught.value.permanent) == (code, permanent)
    assert "example" not in repr(caught.value)


def test_inactive_recipients_are_said(monkeypatch):
    """Postmark's 200 names in its text whom it does not write to; nobody's address is repeated."""
    said = (
        "Message OK, but will not deliver to these inactive addresses: a@example.com. Inactive"
        " recipients are ones that have generated a hard bounce or a spam complaint."
    )
    body = json.dumps({"ErrorCode": 0, "Message": said, "MessageID": "1"}).encode()
    with pytest.raises(PartialDelivery) as caught:
        send(monkeypatch, hostile.answers(200, body))
    assert "example" not in repr(caught.value)
    assert "inactive at Postmark" in explain(caught.value.code)


def test_a_web_page_has_taken_nothing(monkeypatch):
    """A proxy's or a sign-in page, with 200."""
    with pytest.raises(ChannelError, match="web_page"):
        send(monkeypatch, hostile.answers(200, b"\n<!doctype html><title>Sign in</title>"))
