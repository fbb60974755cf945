"""ntfy_channel.py"""

from collections.abc import Sequence
from typing import ClassVar

from cronguard.channels.transport import http
from cronguard.core import rendering
from cronguard.core.model import Message, Option


class NtfyChannel:
    """Alerts as push notifications."""

    OPTIONS: ClassVar[Sequence[Option]] = (
        Option("topic_url", required=True, secret=True, help="such as https://ntfy.sh/<topic>"),
        Option("priority", default="high", help="min, low, default, high or urgent"),
    )

    def __init__(self, *, topic_url: str, priority: str = "high") -> None:
        self._topic_url = http.check_url(topic_url)
        self._priority = priority

    def send(self, message: Message) -> None:
        """Return when the alert was taken; raise ChannelError, as these two do, when it was not."""
        answer = http.post(
            self._topic_url,
            body=rendering.text(message.alert).encode(),
            headers={"Title": rendering.title(message.alert), "Priority": self._priority},
            deadline=message.deadline,
        )
        http.raise_for_status(answer)
