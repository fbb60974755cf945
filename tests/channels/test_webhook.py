"""``webhook``: the frozen payload, signed by the standard."""

import base64
import json

import pytest
import standardwebhooks
from support import hostile
from support.alerts import ALERTS, message

from cronguard.channels import webhook
from cronguard.channels.webhook import WebhookChannel
from cronguard.core.errors import ChannelError
from cronguard.core.payload import decode

KEY = "whsec_" + base64.b64encode(b"k" * 24).decode()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.kind)
def test_posts_the_payload_as_it_was_frozen(alert):
    """Byte for byte, under a stable id, unsigned without a secret."""
    with hostile.serve(behave := hostile.answers()) as server:
        WebhookChannel(url=server.url + "\n").send(message(alert))
    (request,) = behave.received
    assert request.method == "POST"
    assert request.body == message(alert).payload
    assert decode(request.body.decode()) == alert
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == alert.alert_id
    assert "webhook-signature" not in request.headers


@pytest.mark.parametrize("secret", [KEY, KEY.removeprefix("whsec_"), f" {KEY}\n", KEY.rstrip("=")])
def test_the_signature_is_the_standards(secret):
    """Standard Webhooks' own library verifies what was received, and no other bytes."""
    with hostile.serve(behave := hostile.answers()) as server:
        WebhookChannel(url=server.url, secret=secret).send(message())
    (request,) = behave.received
    verifier = standardwebhooks.Webhook(KEY)
    assert verifier.verify(request.body, request.headers)["job"] == "assignment_reminder"
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        verifier.verify(request.body.replace(b"failing", b"fAiling"), request.headers)


def test_tries_keep_id_and_bytes_and_renew_the_timestamp(monkeypatch):
    """A receiver can tell a repeat by its id, and never finds it too old."""
    with hostile.serve(behave := hostile.answers()) as server:
        for now in (1_800_000_000.9, 1_800_003_600.0):
            monkeypatch.setattr(webhook.time, "time", lambda now=now: now)
            WebhookChannel(url=server.url, secret=KEY).send(message())
    first, second = behave.received
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["webhook-timestamp"] == "1800000000"
    assert second.headers["webhook-timestamp"] == "1800003600"
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64!", "pässword", "whsec_====", "a"])
def test_a_secret_that_is_none_is_refused(secret):
    """Nothing goes out unsigned by mistake, and the secret is not repeated."""
    behave = hostile.answers()
    with hostile.serve(behave) as server, pytest.raises(ChannelError, match="bad_secret") as caught:
        WebhookChannel(url=server.url, secret=secret).send(message())
    assert behave.received == []
    assert str(caught.value) == "bad_secret: the signing secret must be whsec_ and base64"


def test_gone_is_final_and_busy_is_not():
    """410 gives up, 429 waits as long as it is told."""
    script = hostile.Answers(
        [hostile.answer(410), hostile.answer(429, headers=[("Retry-After", "12")])]
    )
    with hostile.serve(script) as server:
        channel = WebhookChannel(url=server.url)
        with pytest.raises(ChannelError, match="http_410") as gone:
            channel.send(message())
        with pytest.raises(ChannelError, match="http_429") as busy:
            channel.send(message())
    assert (gone.value.permanent, busy.value.permanent) == (True, False)
    assert busy.value.retry_after == 12


def test_text_beyond_ascii_is_signed_as_sent():
    """The bytes on the wire are the bytes under the signature, whatever the alphabet."""
    odd = message()
    odd = type(odd)(
        alert=odd.alert, payload=json.dumps({"x": "‹…› 北京"}, ensure_ascii=False).encode()
    )
    with hostile.serve(behave := hostile.answers()) as server:
        WebhookChannel(url=server.url, secret=KEY).send(odd)
    (request,) = behave.received
    assert standardwebhooks.Webhook(KEY).verify(request.body, request.headers) == {"x": "‹…› 北京"}
