"""The processes in which the channel ``apprise`` has Apprise work, from both their ends.

`ask` starts them and kills them in time; `main` is what runs there: one address, one notification.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from cronguard.channels.transport import http, proxy, sockets
from cronguard.core import rendering
from cronguard.core.errors import ChannelError

BOOTSTRAP = (
    "import json, sys; task = json.load(sys.stdin.buffer); sys.path[:] = task.pop('path'); "
    "from cronguard.channels._apprise_process import main; main(**task)"
)
FAILED = "apprise_failed"
Answer: TypeAlias = tuple[str, float | None]
"""A code, ``sent`` or a word of cronguard's own, and what ``Retry-After`` asked for."""
MEMORY = 1 << 30
"""Bytes of address space: an answer without an end must not take the machine's."""


def ask(urls: Sequence[str], task: Mapping[str, Any], deadline: float) -> list[Answer]:
    """Have ``task`` (``title``, ``facts``, ``kind``) sent to each address, all at once.

    The processes do not outlive ``deadline``, on the scale of `time.monotonic`.

    Returns:
        What `main` says of each.
    """
    seconds = sockets.remaining(deadline)
    path = [str(place) for place in sys.path]
    children: list[subprocess.Popen[bytes] | None] = []
    try:
        for url in urls:
            one = {**task, "url": url, "path": path, "seconds": seconds, "proxy": proxy.used()}
            children.append(_start(json.dumps(one).encode()))
        return [_answer(child, deadline) for child in children]
    finally:
        for child in children:
            if child is not None:
                with child:
                    child.kill()


def _start(task: bytes) -> subprocess.Popen[bytes] | None:
    try:
        # -I and -S: what hooks itself into this process, such as a tracer, stays out of that one.
        child = subprocess.Popen(  # noqa: S603  # nothing of the command comes from outside
            [_python(), "-I", "-S", "-c", BOOTSTRAP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "NETRC": os.devnull},
        )
    except (OSError, RuntimeError):
        return None
    stdin, child.stdin = child.stdin, None  # written to here: all of them are to work at once
    with suppress(OSError):  # it has ended already
        if stdin is not None:
            with stdin:
                stdin.write(task)
    return child


def _answer(child: subprocess.Popen[bytes] | None, deadline: float) -> Answer:
    if child is None:
        return "no_process", None
    try:
        said, _ = child.communicate(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return "timeout", None
    try:
        code, wait = json.loads(said)
    except (ValueError, TypeError):
        code, wait = None, None
    known = isinstance(code, str) and re.fullmatch(r"[a-z0-9_]{1,40}", code)
    return code if known else FAILED, wait if isinstance(wait, int | float) else None


def _set_proxy(address: str | None) -> None:
    """Have requests, by which Apprise asks its services, go through this proxy or none."""
    if address == proxy.ENVIRONMENT:
        return
    address = None if address == proxy.OFF else address
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ["NO_PROXY"] = "localhost,127.0.0.1,::1" if address else "*"
    if address:
        known = proxy.parse(address)
        login = f"{quote(known.user, '')}:{quote(known.password, '')}@" if known.user else ""
        host = f"[{known.host}]" if ":" in known.host else known.host
        os.environ["HTTPS_PROXY"] = os.environ["HTTP_PROXY"] = f"http://{login}{host}:{known.port}"


def _python() -> str:
    known = sys.executable or ""
    if Path(known).name.lower().startswith(("python", "pypy")):
        return known
    return str(Path(sys.exec_prefix, "bin", "python3"))  # inside a server that embeds Python


def main(
    *,
    url: str,
    title: str,
    facts: list[list[str]],
    kind: str,
    seconds: float,
    proxy: str | None = None,
) -> None:
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
        _set_proxy(proxy)
        answer = _notify(url, title, [(label, text) for label, text in facts], kind)
    except ChannelError as error:
        answer = (error.code, None)
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


def _notify(url: str, title: str, facts: Sequence[rendering.Fact], kind: str) -> Answer:
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
    content = _fitted(service, title, facts)
    # Not Apprise.notify(), which works in threads that a process waits for at its end.
    if service.notify(**content, notify_type=kind, body_format="text"):
        return "sent", None
    last = seen[-1] if seen else (FAILED, None)
    return (FAILED, None) if last[0].startswith("http_2") else last


def _fitted(service: Any, title: str, facts: Sequence[rendering.Fact]) -> dict[str, Any]:
    """Return title and body as long as the service takes them.

    An address that says itself what is to become of a long text (``?overflow=split``) gets all.
    """
    if str(getattr(service.overflow_mode, "value", service.overflow_mode)) != "upstream":
        return {"title": title, "body": rendering.fit(facts, sys.maxsize)}
    room = int(service.body_maxlen) - max(2, int(service.overflow_buffer))
    title_room = int(service.title_maxlen)
    title = rendering.plain(title, title_room if title_room > 0 else room // 2)
    if title_room <= 0:
        room -= _size(service, title) + len("<strong></strong><br />\r\n")
    elif service.overflow_amalgamate_title:
        room -= len(title) + int(service.overflow_max_display_count_width)
    body = rendering.fit(facts, room, partial(_size, service))
    if 0 < int(service.body_max_line_count) < len(facts) + 1:
        body = "; ".join(body.splitlines())
    return {"title": title, "body": body or "-", "overflow": "truncate"}


def _size(service: Any, text: str) -> int:
    """Return how long the text is once Apprise has put it into the service's form."""
    from apprise import conversion

    convert: Callable[..., str] = conversion.convert_between
    return len(convert("text", service.notify_format, text))


def _watched(send: Callable[..., Any], seen: list[Answer]) -> Callable[..., Any]:
    """Wrap ``send`` of requests to note what came of it: Apprise only says that it failed."""

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
    """Return the word for the network's error that an error of requests goes back to."""
    import requests

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, requests.Timeout):
            return "timeout"
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
            return sockets.error_code(cause)
        cause = cause.__cause__ or cause.__context__
    return "network_error"
