"""``email-resend``: an e-mail through Resend (https://resend.com/docs/api-reference/emails/send-email)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from cronguard.channels.transport import http, mail
from cronguard.core.model import Message, Option

URL = "https://api.resend.com/emails"
# https://resend.com/docs/api-reference/errors. Only these words are repeated: the error's own
# message can hold an address. Two requests a second are allowed; Retry-After says when again.
ERRORS = {
    *("application_error", "concurrent_idempotent_requests", "daily_quota_exceeded"),
    *("internal_server_error", "invalid_access", "invalid_api_key", "invalid_from_address"),
    *("invalid_idempotency_key", "invalid_idempotent_request", "invalid_parameter"),
    *("method_not_allowed", "missing_api_key", "missing_required_field", "monthly_quota_exceeded"),
    *("not_found", "rate_limit_exceeded", "restricted_api_key", "security_error"),
    "validation_error",
}


class EmailResendChannel:
    """Sends through Resend's API, at most once a day and alert (``Idempotency-Key``)."""

    OPTIONS: ClassVar[Sequence[Option]] = (
        Option("api_key", required=True, secret=True, help="an API key that may send, re_…"),
        Option("from", required=True, help="a sender on a domain that Resend has verified"),
        Option("to", required=True, help="one address, or several separated by commas"),
    )

    def __init__(self, *, api_key: str, to: str, **options: str) -> None:
        self._api_key = api_key
        self._envelope = mail.envelope(to=to, **options)

    def send(self, message: Message) -> None:
        """Send. The key is the alert's id: a repeat within 24 hours sends no second e-mail."""
        email = mail.compose(message.alert)
        body = {
            "from": self._envelope.sender,
            "to": list(self._envelope.to),
            "subject": email.subject,
            "text": email.text,
            "html": email.html,
        }
        response = http.post(
            URL,
            body=json.dumps(body).encode(),
            headers={
                "Accept": "application/json",
                "Content-Type": "application/json",
                "Authorization": f"Bearer {self._api_key.strip()}",
                "Idempotency-Key": message.alert.alert_id,
            },
            deadline=message.deadline,
        )
        word = _word(response.body)
        # The same key with another body: this alert was taken before, and waiting changes nothing.
        final = {409} if word == "invalid_idempotent_request" else set()
        http.raise_for_status(
            response,
            permanent=http.PERMANENT | final,
            code=f"resend_{word}" if word else None,
        )
        http.raise_for_page(response)


def _word(body: bytes) -> str | None:
    try:
        name = json.loads(body)["name"]
    except (ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) and name in ERRORS else None
