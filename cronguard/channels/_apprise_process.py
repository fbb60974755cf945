"""The process in which the channel ``apprise`` has Apprise work, from both its ends.

`ask` starts it and kills it in time; `main` is what runs there: one address, one notification.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from cronguard.channels.transport import http, sockets

BOOTSTRAP = (
    "import json, sys; task = json.load(sys.stdin.buffer); sys.path[:] = task.pop('path'); "
    "from cronguard.channels._apprise_process import main; main(**task)"
)
FAILED = "apprise_failed"
Answer: TypeAlias = tuple[str, float | None]
"""A code, ``sent`` or a word of cronguard's own, and what ``Retry-After`` asked for."""
MEMORY = 1 << 30
"""Bytes of address space: an answer without an end must not take the machine's."""


def ask(task: Mapping[str, str], deadline: float) -> Answer:
    """Have ``task`` (``url``, ``title``, ``body``, ``kind``) done; what `main` says of it.

    The process does not outlive ``deadline``, on the scale of `time.monotonic`.
    """
    seconds = sockets.remaining(deadline)
    path = [str(place) for place in sys.path]
    written = json.dumps({**task, "path": path, "seconds": seconds}).encode()

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
        return "no_process", None
    with child:
        try:
            said, _ = child.communicate(written, timeout=sockets.remaining(deadline))
        except subprocess.TimeoutExpired:
            return "timeout", None
        finally:
            child.kill()
    try:
        code, wait = json.loads(said)
    except (ValueError, TypeError):
        code, wait = None, None
    known = isinstance(code, str) and re.fullmatch(r"[a-z0-9_]{1,40}", code)
    return code if known else FAILED, wait if isinstance(wait, int | float) else None


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return {**kept, "NO_PROXY": "*", "NETRC": os.devnull}


def _python() -> str:
    known = sys.executable or ""
    if Path(known).name.lower().startswith(("python", "pypy")):
        return known
    return str(Path(sys.exec_prefix, "bin", "python3"))  # inside a server that embeds Python


def main(*, url: str, title: str, body: str, kind: str, seconds: float) -> None:
    """Send, write the `Answer` to standard output as JSON, and end the process.

    Nothing that Apprise or the service says gets out.
    """
    said = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a service's library may print
    watch = threading.Timer(seconds, os._exit, (1,))  # for when nobody is left to kill us
    watch.daemon = True
    watch.start()
    try:
        _limit_memory()
        answer = _notify(url, title, body, kind)
    except MemoryError:
        answer = ("answer_too_long", None)
    except BaseException:  # noqa: BLE001  # more than a hundred services' code, any text in its errors
        answer = (FAILED, None)
    os.write(said, json.dumps(answer).encode())
    os._exit(0)


def _limit_memory() -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _notify(url: str, title: str, body: str, kind: str) -> Answer:
    import apprise
    import requests

    seen: list[Answer] = []
    adapter = requests.adapters.HTTPAdapter
    adapter.send = _watched(adapter.send, seen)  # type: ignore[method-assign]
    requests.Session.get_redirect_target = lambda _session, _answer: None  # type: ignore[assignment, method-assign]
    asset = apprise.AppriseAsset(storage_mode="memory", app_id="cronguard")
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is None:
        return "bad_url", None
    # Not Apprise.notify(), which works in threads that a process waits for at its end.
    if service.notify(body=body, title=title, notify_type=kind, body_format="text"):
        return "sent", None
    last = seen[-1] if seen else (FAILED, None)
    return (FAILED, None) if last[0].startswith("http_2") else last


def _watched(send: Callable[..., Any], seen: list[Answer]) -> Callable[..., Any]:
    """``send`` of requests, which notes what came of it: Apprise only says that it failed."""

    def watched(adapter: Any, request: Any, **options: Any) -> Any:
        try:
            answer = send(adapter, request, **options)
        except Exception as error:
            seen.append((_code(error), None))
            raise
        wait = http.retry_after({name.lower(): value for name, value in answer.headers.items()})
        seen.append((f"http_{answer.status_code}", wait))
        return answer

    return watched


def _code(error: BaseException) -> str:
    """The word for the error of the network that an error of requests goes back to."""
    import requests

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, requests.Timeout):
            return "timeout"
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
            return sockets.error_code(cause)
        cause = cause.__cause__ or cause.__context__
    return "network_error"
