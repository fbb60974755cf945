"""`post`: one HTTP request as a channel needs it, and `raise_for_status`: what its answer means.

Unlike a general client it keeps one deadline for the whole exchange, follows no redirect, asks no
proxy unless `proxy.use` says so, reads at most 4 KB of the answer and never decodes it, logs
nothing, and lets no text of the request, of the answer or of an exception out. All that can go
wrong is a `ChannelError`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from cronguard.channels.transport import proxy, sockets
from cronguard.core.errors import ChannelError
from cronguard.process.lifecycle import own_modules
from cronguard.process.net import silence_http_logging

if TYPE_CHECKING:
    import httpcore

ANSWER_BYTES = 4096
PERMANENT = frozenset({400, 405, 410, 413, 414, 415, 422})
"""Statuses by which the other side says that these very bytes will never do. 401, 403 and 404 are
not among them: a key or an address can be mended, and the alert is then still worth sending."""
LONGEST_RETRY_AFTER = 86_400.0
SCHEMES = ("https", "http")
NO_WAY_CODES = {"timeout", "dns_failure", "unreachable", "connection_refused", "network_error"}
"""What a host that reaches the world through a proxy only comes to without it."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. Neither its headers nor its body appear in its ``repr``."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)
    """At most the first 4 KB, as sent: not decompressed."""
    complete: bool = True
    """False if more followed and the other side had not said how much."""


def post(
    url: str,
    *,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    deadline: float | None = None,
) -> Response:
    """POST ``body`` to ``url`` and return the answer, whatever its status.

    ``deadline`` is on `time.monotonic`'s scale (pass `Message.deadline`); None is five seconds from
    now. White space around the address and around header values is dropped, as environment
    variables are apt to end in a line break. Raises `ChannelError` with one of the codes of
    `sockets.error_code`, or ``bad_url``, ``insecure_url``, ``link_local``, ``bad_header``,
    ``bad_answer``, ``connection_closed``, ``answer_too_long``, ``bad_proxy``,
    ``proxy_unreachable``, ``proxy_authentication``, ``proxy_refused``.
    """
    try:
        return sockets.sanitize_errors(
            lambda: _post(url, body, headers or {}, sockets.deadline_or_default(deadline))
        )
    except ChannelError as error:
        failure = error
    if failure.code in NO_WAY_CODES and proxy.used() is None and not _is_to_loopback(url):
        failure = ChannelError(failure.code, detail=proxy.unused_sentence())
    raise failure


def check_url(url: str) -> str:
    """Return ``url`` without white space around it, if `post` would take it; ask no network.

    https, or http to this machine. Raises `ChannelError` with code ``bad_url``, ``insecure_url`` or
    ``link_local``, whose text repeats nothing of the address.
    """
    with own_modules():
        from urllib.parse import urlsplit

    text = url.strip()
    if re.search(r"[\s,;]https?://", text):
        raise ChannelError("bad_url", detail="these are several addresses: make a channel for each")
    if not text.isprintable() or " " in text:
        raise ChannelError("bad_url", detail="the address holds a space or a control character")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in SCHEMES:
        raise _bad_url()
    if sockets.is_link_local(host):
        raise ChannelError("link_local", detail="link-local addresses are refused")
    if parts.scheme == "http" and not sockets.is_loopback(host):
        raise ChannelError("insecure_url", detail="use https; plain http is for this machine only")
    return text


def raise_for_status(
    response: Response,
    *,
    permanent: Collection[int] = PERMANENT,
    code: str | None = None,
    detail: str | None = None,
) -> None:
    """Return for a 2xx answer that ends; raise `ChannelError` for every other.

    The code is ``http_<status>`` unless ``code`` is given. ``permanent`` lists the statuses after
    which the alert is given up; all others are tried again, and not before ``Retry-After`` if the
    answer has one (https://www.rfc-editor.org/rfc/rfc9110#name-retry-after).
    """
    status = response.status
    if 200 <= status < 300:  # noqa: PLR2004
        if not response.complete:
            raise ChannelError("answer_too_long", detail="the answer did not end within 4 KB")
        return
    if 300 <= status < 400 and detail is None:  # noqa: PLR2004
        detail = "redirects are not followed; set the address it leads to"
    gone = status in permanent
    raise ChannelError(
        code or f"http_{status}",
        permanent=gone,
        retry_after=None if gone else retry_after(response.headers),
        detail=detail,
    )


def raise_for_page(response: Response) -> None:
    """Raise `ChannelError` if a service that answers programs has answered with a web page.

    That is a sign-in page, a proxy's or a provider's, and nobody has taken the alert.
    """
    if response.body.lstrip()[:1] == b"<":
        raise ChannelError("web_page")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, at most a day; None if there is none."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_RETRY_AFTER)
    from datetime import UTC, datetime

    with own_modules():
        from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(text)
        seconds = (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _post(url: str, body: bytes, headers: Mapping[str, str], deadline: float) -> Response:
    address = check_url(url)
    values = {
        "User-Agent": "cronguard",
        "Accept-Encoding": "identity",
        "Connection": "close",
        **{name: _header(value) for name, value in headers.items()},
    }
    with own_modules():
        import httpcore
        import httpx

        from cronguard.channels.transport import _httpcore_backend

    try:
        target = httpx.URL(address)
        if target.userinfo and "authorization" not in {name.lower() for name in values}:
            values["Authorization"] = _basic(target.username, target.password)
        request = httpx.Request("POST", target, headers=values, content=body)
        host = target.raw_host
    except (httpx.InvalidURL, UnicodeError):
        raise _bad_url() from None
    way = proxy.proxy_for(target.host) if target.scheme == "https" else None
    backend = _httpcore_backend.Backend(
        deadline, loopback_only=target.scheme == "http", is_proxy=way is not None
    )
    wanted = httpcore.Request(
        "POST",
        httpcore.URL(scheme=target.raw_scheme, host=host, port=target.port, target=target.raw_path),
        headers=request.headers.raw,
        content=body,
    )
    try:
        with (
            silence_http_logging(),
            _pool(way, backend) as pool,
        ):
            answer = pool.handle_request(wanted)
            try:
                return _read(answer)
            finally:
                answer.close()
    except httpcore.ProxyError as error:
        wants_login = str(error).startswith("407")
        raise ChannelError("proxy_authentication" if wants_login else "proxy_refused") from None
    except httpcore.ProtocolError:
        raise ChannelError("bad_answer", detail="what came back is not HTTP") from None


def _pool(way: proxy.Proxy | None, backend: httpcore.NetworkBackend) -> httpcore.ConnectionPool:
    with own_modules():
        import httpcore

    if way is None:
        return httpcore.ConnectionPool(network_backend=backend)
    return httpcore.HTTPProxy(
        httpcore.URL(scheme="http", host=way.host, port=way.port, target="/"),
        proxy_auth=(way.user.encode(), way.password.encode()) if way.user else None,
        network_backend=backend,
    )


def _is_to_loopback(url: str) -> bool:
    with own_modules():
        from urllib.parse import urlsplit

    try:
        return sockets.is_loopback(urlsplit(url.strip()).hostname or "")
    except ValueError:
        return False


def _read(answer: httpcore.Response) -> Response:
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers
    }
    kept, complete = b"", True
    for chunk in answer.iter_stream():
        kept += chunk
        if len(kept) > ANSWER_BYTES:
            complete = "content-length" in headers
            break
    return Response(answer.status, headers, kept[:ANSWER_BYTES], complete)


def _header(value: str) -> str:
    text = value.strip()
    if not (text.isascii() and text.isprintable()):
        raise ChannelError("bad_header", detail="a value holds a control character or is not ASCII")
    return text


def _basic(user: str, password: str) -> str:
    with own_modules():
        from base64 import b64encode

    return "Basic " + b64encode(f"{user}:{password}".encode()).decode("ascii")


def _bad_url() -> ChannelError:
    return ChannelError("bad_url", detail="the address is not of the form https://host/path")


def load_late() -> None:
    """Load now what is imported late, when an alert is sent."""
    for name in "base64", "email.utils", "httpcore", "httpx":
        import_module(name)
    from cronguard.channels.transport import _httpcore_backend  # noqa: F401


__all__ = [
    "PERMANENT",
    "Response",
    "check_url",
    "post",
    "raise_for_page",
    "raise_for_status",
    "retry_after",
]
