"""What runs in the process that the channel ``apprise`` starts: one address, one notification."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from cronguard import http, net

MEMORY = 1 << 30
"""Bytes of address space: an answer without an end must not take the machine's."""


def main(*, url: str, title: str, body: str, kind: str, seconds: float) -> None:
    """Send, write ``{"code", "retry_after"}`` to standard output, and end the process.

    ``code`` is ``sent`` or a word of cronguard's own; nothing that Apprise or the service says gets
    out.
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
        answer = {"code": "answer_too_long"}
    except BaseException:  # noqa: BLE001  # more than a hundred services' code, any text in its errors
        answer = {"code": "apprise_failed"}
    os.write(said, json.dumps(answer).encode())
    os._exit(0)


def _limit_memory() -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _notify(url: str, title: str, body: str, kind: str) -> dict[str, Any]:
    import apprise
    import requests

    seen: list[dict[str, Any]] = []
    adapter = requests.adapters.HTTPAdapter
    adapter.send = _watched(adapter.send, seen)  # type: ignore[method-assign]
    requests.Session.get_redirect_target = lambda _session, _answer: None  # type: ignore[assignment, method-assign]
    asset = apprise.AppriseAsset(storage_mode="memory", app_id="cronguard")
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is None:
        return {"code": "bad_url"}
    # Not Apprise.notify(), which works in threads that a process waits for at its end.
    if service.notify(body=body, title=title, notify_type=kind, body_format="text"):
        return {"code": "sent"}
    last = seen[-1] if seen else {}
    return {"code": "apprise_failed"} if last.get("code", "http_2").startswith("http_2") else last


def _watched(send: Callable[..., Any], seen: list[dict[str, Any]]) -> Callable[..., Any]:
    """``send`` of requests, which notes what came of it: Apprise only says that it failed."""

    def watched(adapter: Any, request: Any, **options: Any) -> Any:
        try:
            answer = send(adapter, request, **options)
        except Exception as error:
            seen.append({"code": _code(error)})
            raise
        wait = http.retry_after({name.lower(): value for name, value in answer.headers.items()})
        seen.append({"code": f"http_{answer.status_code}", "retry_after": wait})
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
            return net.error_code(cause)
        cause = cause.__cause__ or cause.__context__
    return "network_error"
