"""``email-resend``: what Resend's own SDK would send, and Resend's rules."""

import json

import pytest
import resend
from support import hostile
from support.alerts import ALERTS, FAILING, message

from cronguard.channels import email_resend
from cronguard.channels.email_resend import EmailResendChannel
from cronguard.channels.transport import mail
from cronguard.core.errors import ChannelError

KEY = "re_SENTINEL"
OPTIONS = {"api_key": KEY, "from": "Cron <cron@example.com>", "to": "a@example.com, b@example.com"}
TRANSPORT = {"user-agent", "accept-encoding", "connection", "content-length", "host"}
"""Headers of the HTTP client, not of the request: Resend does not read them."""


def send(monkeypatch, behave, alert=FAILING, **options):
    with hostile.serve(behave) as server:
        monkeypatch.setattr(email_resend, "URL", server.url.replace("/hook", "/emails"))
        EmailResendChannel(**{**OPTIONS, **options}).send(message(alert))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.kind)
def test_the_request_is_the_sdks(alert, monkeypatch):
    """Captured side by side: method, path, headers and JSON are equal."""
    behave = hostile.answers(200, b'{"id": "1"}', [("Content-Type", "application/json")])
    send(monkeypatch, behave, alert)
    email = mail.compose(alert)
    with hostile.serve(behave) as server:
        monkeypatch.setattr(resend, "api_url", server.url.removesuffix("/hook"))
        monkeypatch.setattr(resend, "api_key", KEY)
        resend.Emails.send(
            {
                "from": "Cron <cron@example.com>",
                "to": ["a@example.com", "b@example.com"],
                "subject": email.subject,
                "text": email.text,
                "html": email.html,
            },
            {"idempotency_key": alert.alert_id},
        )
    ours, theirs = behave.received
    assert (ours.method, ours.target) == (theirs.method, theirs.target) == ("POST", "/emails")
    assert ours.json == theirs.json
    assert own(ours.headers) == own(theirs.headers)


def own(headers):
    return {name: value for name, value in headers.items() if name not in TRANSPORT}


def test_a_repeat_is_the_same_request(monkeypatch):
    """The same key with the same body on every try, as idempotency keys want it."""
    behave = hostile.answers(200)
    send(monkeypatch, behave)
    send(monkeypatch, behave)
    first, second = behave.received
    assert first.headers["idempotency-key"] == FAILING.alert_id == second.headers["idempotency-key"]
    assert first.body == second.body


@pytest.mark.parametrize(
    ("status", "name", "code", "permanent"),
    [
        (400, "invalid_idempotency_key", "resend_invalid_idempotency_key", True),
        (401, "missing_api_key", "resend_missing_api_key", False),
        (403, "invalid_api_key", "resend_invalid_api_key", False),
        (403, "validation_error", "resend_validation_error", False),
        (409, "concurrent_idempotent_requests", "resend_concurrent_idempotent_requests", False),
        (409, "invalid_idempotent_request", "resend_invalid_idempotent_request", True),
        (422, "invalid_from_address", "resend_invalid_from_address", True),
        (429, "rate_limit_exceeded", "resend_rate_limit_exceeded", False),
        (429, "daily_quota_exceeded", "resend_daily_quota_exceeded", False),
        (500, "internal_server_error", "resend_internal_server_error", False),
        (500, f"leak_{KEY}", "http_500", False),
        (500, ["list"], "http_500", False),
    ],
)
def test_resends_errors(status, name, code, permanent, monkeypatch):
    """Documented names become codes; everything else Resend says is thrown away."""
    body = json.dumps({"statusCode": status, "name": name, "message": f"{KEY} a@example.com"})
    with pytest.raises(ChannelError) as caught:
        send(monkeypatch, hostile.answers(status, body.encode(), [("Retry-After", "3")]))
    assert (caught.value.code, caught.value.permanent) == (code, permanent)
    assert caught.value.retry_after == (None if permanent else 3)
    assert KEY not in repr(caught.value)


def test_an_answer_that_is_no_json(monkeypatch):
    """A proxy's error page has only its status."""
    for body in (b"<html>", b"[]", b"null", b"\xff"):
        with pytest.raises(ChannelError, match="http_502"):
            send(monkeypatch, hostile.answers(502, body))


def test_wrong_addresses_are_refused_before_anything_is_sent():
    """The option is named; its value is not repeated."""
    with pytest.raises(ChannelError, match="bad_address: the option 'to'"):
        EmailResendChannel(**{**OPTIONS, "to": "nobody"})


def test_a_key_with_a_line_break_at_its_end_works(monkeypatch):
    """As environment variables are apt to have one."""
    behave = hostile.answers(200)
    send(monkeypatch, behave, api_key=f"{KEY}\n")
    assert behave.received[0].headers["authorization"] == f"Bearer {KEY}"
