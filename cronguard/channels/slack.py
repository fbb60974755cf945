"""``slack``: an incoming webhook, Block Kit.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from cronguard.channels.transport import http
from cronguard.core import rendering
from cronguard.core.errors import ChannelError
from cronguard.core.model import Alert, Message, Option

# https://docs.slack.dev/reference/block-kit/blocks: 150 for a header, 3,000 for a section
HEADER, SECTION, SHORT = 150, 3000, 300
MESSAGE = SECTION - 2 * SHORT - 100
_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
_PLACEHOLDER = "the address ends as the one in the README does: put in your own webhook's address"
_ELSEWHERE = (
    f"its address is not Slack's own ({_HOSTS[0]}): correct it, unless it is a service that takes"
    " Slack's messages, such as Mattermost"
)
NO_ERROR = {"recovered": "It works again.", "overrun": "It is still running."}
NO_ERROR["test"] = "Nothing is wrong: this is a test."
PERMANENT = http.PERMANENT | {403, 404}
# https://docs.slack.dev/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks and those
# added since. Only these words are repeated: an unknown answer could hold anything.
ERRORS = {
    *("action_prohibited", "channel_is_archived", "channel_not_found", "invalid_blocks"),
    *("invalid_payload", "invalid_token", "no_active_hooks", "no_service", "no_team", "no_text"),
    *("posting_to_general_channel_denied", "rate_limited", "rollup_error", "team_disabled"),
    "user_not_found",
}


class SlackChannel:
    """Posts to one Slack channel."""

    OPTIONS: ClassVar[Sequence[Option]] = (
        Option(
            "webhook_url",
            required=True,
            secret=True,
            help="the incoming webhook's address, https://hooks.slack.com/services/…",
        ),
    )

    def __init__(self, *, webhook_url: str) -> None:
        self._webhook_url = http.check_url(webhook_url)
        if self._webhook_url.rstrip("/").endswith(("…", "...", "/services")):
            raise ChannelError("bad_url", detail=_PLACEHOLDER)
        self.doubts = [] if _is_slacks(self._webhook_url) else [_ELSEWHERE]
        """What `cronguard doctor` says of options that are valid, and most often a mistake."""

    def send(self, message: Message) -> None:
        """Send. 400, 403, 404 and 410 are final: Slack will not take these bytes here."""
        response = http.post(
            self._webhook_url,
            body=json.dumps(blocks(message.alert), ensure_ascii=False).encode(),
            headers={"Content-Type": "application/json; charset=utf-8"},
            deadline=message.deadline,
        )
        word = response.body.decode("latin-1").strip()
        http.raise_for_status(
            response, permanent=PERMANENT, code=f"slack_{word}" if word in ERRORS else None
        )
        http.raise_for_page(response)


def _is_slacks(address: str) -> bool:
    return address.startswith(("http://", *(f"https://{host}/" for host in _HOSTS)))


def blocks(alert: Alert) -> dict[str, Any]:
    """Return the message: header, error, "Last successful run" context, and what else is known.

    Block texts are ``verbatim``, so that Slack makes no links and no mentions of what they hold.
    """
    known = {label: safe(text, SHORT) for label, text in rendering.facts(alert)}
    error = [f"*{label}:* `{known[label]}`" for label in ("Error", "Where") if label in known]
    if "Message" in known:
        error.append(f"```{safe(rendering.plain(alert.error_message), MESSAGE)}```")
    fields = [f"*{name}*\n{known[name]}" for name in ("Started", "Duration") if name in known]
    fields.insert(0, f"*Failures in a row*\n{known['Failures in a row']}")
    where = [f"{name} `{known[name]}`" for name in ("Job", "Host", "Run") if name in known]
    if alert.runbook and re.fullmatch(r"https://[!-;=?-{}~]+", alert.runbook):
        where.insert(0, f"<{safe(alert.runbook, SECTION // 3)}|Runbook>")
    nothing = NO_ERROR.get(alert.kind, "No error is known.")
    title = safe(rendering.title(alert), HEADER)
    context = [f"Last successful run: {known['Last successful run']}", *rendering.notes(alert)]
    return {
        "text": title,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}},
            {"type": "section", "text": _mrkdwn("\n".join(error) or nothing)},
            {"type": "section", "fields": [_mrkdwn(field) for field in fields]},
            {"type": "context", "elements": [_mrkdwn(line) for line in context]},
            {"type": "context", "elements": [_mrkdwn(" · ".join(where))]},
        ],
    }


def safe(text: str, limit: int) -> str:
    """Return the text as Slack shows it unchanged, at most ``limit`` UTF-16 units long.

    Escapes ``& < >`` and nothing else (https://docs.slack.dev/messaging/formatting-message-text),
    takes the meaning from backticks and ``@channel``, and never cuts an escape in two.
    """
    text = re.sub(r"@(?=channel|here|everyone)", "\uff20", text.replace("`", "\u02cb"))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    units = text.encode("utf-16-le")
    if len(units) <= 2 * limit:
        return text
    cut = units[: 2 * (limit - 1)].decode("utf-16-le", "ignore")
    return re.sub(r"&[a-z]{0,3}$", "", cut) + "…"


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def load_late() -> None:
    """Load now what is imported late, when an alert is sent."""
    "".encode("utf-16-le")
