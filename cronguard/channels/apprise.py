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
from cronguard.core.errors import ChannelError, PartialDelivery
from cronguard.core.model import Message, Option

if find_spec("apprise") is None:  # importing it here would cost each run of a job 0.2 s
    raise ModuleNotFoundError("No module named 'apprise'", name="apprise")

MOST_ADDRESSES = 8
"""Each has a process of its own."""
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
        Option(
            "url",
            required=True,
            secret=True,
            help="an Apprise address, such as tgram://…, or several separated by commas",
        ),
    )

    def __init__(self, *, url: str) -> None:
        self._urls = addresses(url)
        if not all(re.fullmatch(r"[A-Za-z0-9-]{1,40}://[!-~]+", each) for each in self._urls):
            raise ChannelError("bad_url", detail="the address is not of the form service://…")
        if len(self._urls) > MOST_ADDRESSES:
            raise ChannelError(
                "bad_url", detail=f"more than {MOST_ADDRESSES} addresses: make channels of them"
            )

    def send(self, message: Message) -> None:
        """Send to every address; if that fails, each failure is tried again, since Apprise does not
        tell which are final."""
        from cronguard.channels import _apprise_process  # only when an alert is sent

        deadline = sockets.deadline_or_default(message.deadline)
        alert = message.alert
        task = {
            "title": harmless(rendering.title(alert)),
            "facts": [(label, harmless(text)) for label, text in rendering.facts(alert)],
            "kind": "info" if rendering.is_test(alert) else KINDS.get(alert.kind, "failure"),
        }
        answers = sockets.sanitize_errors(lambda: _apprise_process.ask(self._urls, task, deadline))
        failed = [answer for answer in answers if answer[0] != "sent"]
        if not failed:
            return
        code, wait = failed[0]
        if len(failed) == len(answers):
            raise ChannelError(code, retry_after=wait, detail=DETAILS.get(code))
        raise PartialDelivery(
            code,
            detail=f"{len(failed)} of {len(answers)} addresses did not take it; one that has a"
            " channel of its own is tried again",
        )


def addresses(text: str) -> list[str]:
    """Return the addresses in one option, split as Apprise does: at commas or white space."""
    return re.split(r"[\s,]+(?=[A-Za-z0-9]{1,12}://)", text.strip())


def harmless(text: str) -> str:
    """Return the text with nobody to mention in it: ``@everyone``, ``<!channel>``."""
    return re.sub(r"<(?=[!@#])", "\u2039", re.sub(r"@(?=channel|here|everyone)", "\uff20", text))


def load_late() -> None:
    """Load now what is imported late, when an alert is sent."""
    from cronguard.channels import _apprise_process  # noqa: F401
