"""``email-postmark``: an e-mail through Postmark (https://postmarkapp.com/developer/api/email-api)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from cronguard.channels.transport import http, mail
from cronguard.core.errors import PartialDelivery
from cronguard.core.model import Message, Option

URL = "https://api.postmarkapp.com/email"
# https://postmarkapp.com/developer/api/overview#error-codes. With these the account or the sender
# has to be mended, not the e-mail: no such token or signature, not confirmed, no credit, pending.
MENDABLE = {10, 100, 400, 401, 405, 412, 413}


class EmailPostmarkChannel:
    """Sends through Postmark's API. Postmark knows no idempotency keys: a repeat sends again."""

    OPTIONS: ClassVar[Sequence[Option]] = (
        Option("server_token", required=True, secret=True, help="the server's API token"),
        Option("from", required=True, help="a confirmed sender signature"),
        Option("to", required=True, help="one address, or several separated by commas"),
        Option("message_stream", help="the stream to send through", default="outbound"),
    )

    def __init__(
        self, *, server_token: str, to: str, message_stream: str = "outbound", **options: str
    ) -> None:
        self._server_token = server_token
        self._stream = message_stream
        self._envelope = mail.envelope(to=to, **options)

    def send(self, message: Message) -> None:
        """Send. An error keeps Postmark's number only: its text repeats addresses."""
        email = mail.compose(message.alert)
        body = {
            "From": self._envelope.sender,
            "To": ", ".join(self._envelope.to),
            "Subject": email.subject,
            "TextBody": email.text,
            "HtmlBody": email.html,
            "MessageStream": self._stream,
        }
        response = http.post(
            URL,
            body=json.dumps(body).encode(),
            headers={
                "Accept": "application/json",
                "Content-Type": "application/json",
                "X-Postmark-Server-Token": self._server_token,
            },
            deadline=message.deadline,
        )
        number = _number(response.body)
        http.raise_for_status(
            response,
            permanent=http.PERMANENT - {422} if number in MENDABLE else http.PERMANENT,
            code=f"postmark_{number}" if number else None,
        )
        http.raise_for_page(response)
        if "will not deliver to these inactive addresses" in str(_answer(response.body, "Message")):
            raise PartialDelivery("postmark_inactive")


def _number(body: bytes) -> int | None:
    number = _answer(body, "ErrorCode")
    return number if isinstance(number, int) and 0 < number < 100_000 else None  # noqa: PLR2004


def _answer(body: bytes, key: str) -> object:
    try:
        return json.loads(body)[key]
    except (ValueError, KeyError, TypeError):
        return None
