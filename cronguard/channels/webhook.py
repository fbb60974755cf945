"""``webhook``: the JSON document ``cronguard.alert/1``, signed if a secret is set.

Follows Standard Webhooks (https://www.standardwebhooks.com): the same ``webhook-id`` on every try,
a fresh timestamp, and a signature over the very bytes that are sent.
"""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Sequence
from typing import ClassVar

from cronguard.channels.transport import http
from cronguard.core.errors import ChannelError
from cronguard.core.model import Message, Option

PREFIX = "whsec_"


class WebhookChannel:
    """POSTs the payload to any endpoint of yours."""

    OPTIONS: ClassVar[Sequence[Option]] = (
        Option("url", required=True, secret=True, help="where to POST; https, http on loopback"),
        Option("secret", secret=True, help="whsec_… in base64; the request is then signed"),
    )

    def __init__(self, *, url: str, secret: str | None = None) -> None:
        self._url = http.check_url(url)
        self._secret = secret if secret and secret.strip() else None
        if self._secret:
            _key(self._secret)

    def send(self, message: Message) -> None:
        """Send; 410 (the endpoint is gone for good) and other permanent statuses give up."""
        alert_id = message.alert.alert_id
        headers = {"Content-Type": "application/json", "webhook-id": alert_id}
        if self._secret:
            timestamp = str(int(time.time()))
            headers["webhook-timestamp"] = timestamp
            headers["webhook-signature"] = sign(
                self._secret, alert_id=alert_id, timestamp=timestamp, body=message.payload
            )
        http.raise_for_status(
            http.post(self._url, body=message.payload, headers=headers, deadline=message.deadline)
        )


def sign(secret: str, *, alert_id: str, timestamp: str, body: bytes) -> str:
    """Return ``v1,<base64>``: HMAC-SHA256 over ``id.timestamp.body``.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
    ``secret`` is base64, with or without ``whsec_`` in front; anything else is
    ``ChannelError("bad_secret")``.
    """
    signed = f"{alert_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(_key(secret), signed, "sha256")).decode("ascii")


def _key(secret: str) -> bytes:
    text = secret.strip().removeprefix(PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ChannelError("bad_secret", detail="the signing secret must be whsec_ and base64")
    return key
