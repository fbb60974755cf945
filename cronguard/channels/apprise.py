"""``apprise``: any service that Apprise knows (https://appriseit.com/services/), by its address.

Apprise does its own input and output: it reads answers to their end, follows redirects, obeys
proxy variables, and tells logs and tracers what it asks for. So it works in a process of its own,
which is killed when the try is over and says one word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import ClassVar

from cronguard.channels.transport import sockets
from cronguard.core import rendering
from cronguard.core.errors import ChannelError
from cronguard.core.model import Message, Option

if find_spec("apprise") is None:  # importing it here would cost each run of a job 0.2 s
    raise ModuleNotFoundError("No module named 'apprise'", name="apprise")

KINDS = {"recovered": "success", "overrun": "warning", "test": "info"}
DETAILS = {
    "bad_url": "Apprise does not take this address, or lacks a package for it: try it with the"
    " command apprise",
    "no_process": "Apprise needs a process of its own, and none could be started",
    "apprise_failed": "Apprise could not send it: try the address with the command apprise",
}


class AppriseChannel:
    """Sends through Apprise. What it says about a failure is thrown away but for a code."""

    OPTIONS: ClassVar[Sequence[Option]] = (
        Option("url", required=True, secret=True, help="an Apprise address, such as tgram://…"),
    )

    def __init__(self, *, url: str) -> None:
        self._url = url.strip()
        if not re.fullmatch(r"[A-Za-z0-9-]{1,40}://[!-~]+", self._url):
            raise ChannelError("bad_url", detail="the address is not of the form service://…")

    def send(self, message: Message) -> None:
        """Send; every failure is tried again, since Apprise does not tell which are final."""
        from cronguard.channels import _apprise_process  # only when somebody is told

        deadline = sockets.deadline_or_default(message.deadline)
        alert = message.alert
        facts = [f"{label}: {text}" for label, text in rendering.facts(alert)]
        task = {
            "url": self._url,
            "title": harmless(rendering.title(alert)),
            "body": harmless("\n".join(facts)),
            "kind": "info" if rendering.is_test(alert) else KINDS.get(alert.kind, "failure"),
        }
        code, wait = sockets.sanitize_errors(lambda: _apprise_process.ask(task, deadline))
        if code != "sent":
            raise ChannelError(code, retry_after=wait, detail=DETAILS.get(code))


def harmless(text: str) -> str:
    """Text in which chat services find nobody to mention: ``@everyone``, ``<!channel>``."""
    return re.sub(r"<(?=[!@#])", "\u2039", re.sub(r"@(?=channel|here|everyone)", "\uff20", text))


def load_late() -> None:
    """Load now what is imported late, when somebody is told."""
    from cronguard.channels import _apprise_process  # noqa: F401
