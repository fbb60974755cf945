"""``apprise``: any service that Apprise knows (https://appriseit.com/services/), by its address.

Apprise does its own input and output: it reads answers to their end, follows redirects, obeys
proxy variables, and tells logs and tracers what it asks for. So it works in a process of its own,
which is killed when the try is over and says one word.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from cronguard import net, render
from cronguard.errors import ChannelError
from cronguard.model import Message, Option

if find_spec("apprise") is None:  # importing it here would cost each run of a job 0.2 s
    raise ModuleNotFoundError("No module named 'apprise'", name="apprise")

BOOTSTRAP = (
    "import json, sys; task = json.load(sys.stdin.buffer); sys.path[:] = task.pop('path'); "
    "from cronguard.channels._apprise import main; main(**task)"
)
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
        deadline = net.deadline_or_default(message.deadline)
        alert = message.alert
        facts = [f"{label}: {text}" for label, text in render.facts(alert)]
        task = {
            "path": [str(place) for place in sys.path],
            "url": self._url,
            "title": harmless(render.title(alert)),
            "body": harmless("\n".join(facts)),
            "kind": "info" if render.is_test(alert) else KINDS.get(alert.kind, "failure"),
            "seconds": net.remaining(deadline),
        }
        said = net.sealed(lambda: _ask(json.dumps(task).encode(), deadline))
        code, wait = said.get("code"), said.get("retry_after")
        if code != "sent":
            code = code if isinstance(code, str) else "apprise_failed"
            raise ChannelError(
                code,
                retry_after=wait if isinstance(wait, int | float) else None,
                detail=DETAILS.get(code),
            )


def harmless(text: str) -> str:
    """Text in which chat services find nobody to mention: ``@everyone``, ``<!channel>``."""
    return re.sub(r"<(?=[!@#])", "\u2039", re.sub(r"@(?=channel|here|everyone)", "\uff20", text))


def _ask(task: bytes, deadline: float) -> Mapping[str, Any]:
    import subprocess  # only when somebody is told

    try:
        # -I and -S: what hooks itself into this process, such as a tracer, stays out of that one.
        child = subprocess.Popen(  # noqa: S603  # nothing of the command comes from outside
            [_python(), "-I", "-S", "-c", BOOTSTRAP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        )
    except (OSError, RuntimeError):
        return {"code": "no_process"}
    with child:
        try:
            said, _ = child.communicate(task, timeout=net.remaining(deadline))
        except subprocess.TimeoutExpired:
            return {"code": "timeout"}
        finally:
            child.kill()
    try:
        answer = json.loads(said)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return {**kept, "NO_PROXY": "*", "NETRC": os.devnull}


def _python() -> str:
    known = sys.executable or ""
    if Path(known).name.lower().startswith(("python", "pypy")):
        return known
    return str(Path(sys.exec_prefix, "bin", "python3"))  # inside a server that embeds Python
