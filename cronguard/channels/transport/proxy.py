"""The proxy that https requests of this thread go through: none unless `use` says so.

Addresses of proxies hold passwords, so nothing here quotes one.
"""

from __future__ import annotations

import os
import threading
from typing import NamedTuple

from cronguard.core.errors import ChannelError

ENVIRONMENT = "env"
"""For `use`: what the variables ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` say."""
OFF = "off"
"""For `use`: none, and nothing is said of one that the environment names."""
_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_DEFAULT_PORT = 8080
_here = threading.local()


class Proxy(NamedTuple):
    """A parsed address of a proxy that is spoken to in plain HTTP."""

    host: str
    port: int
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return "Proxy()"


def use(proxy: str | None) -> None:
    """Let requests of this thread go through a proxy from now on.

    Args:
        proxy: Its address, `ENVIRONMENT`, `OFF`, or None, which is like `OFF`.
    """
    _here.proxy = proxy


def used() -> str | None:
    """Return what `use` was last given in this thread."""
    return getattr(_here, "proxy", None)


def proxy_for(host: str) -> Proxy | None:
    """Return the proxy on the way to a host; None if the request goes straight there.

    Raises:
        ChannelError: ``bad_proxy``: its address is not of the form ``http://host:port``.
    """
    address = used()
    if address == OFF:
        return None
    if address == ENVIRONMENT:
        from urllib import request  # few hosts are behind a proxy

        known = request.getproxies_environment()  # not what macOS or Windows are set to
        if request.proxy_bypass_environment(host, known):  # type: ignore[attr-defined]
            return None
        address = known.get("https") or known.get("all")
    return parse(address) if address else None


def parse(address: str) -> Proxy:
    """Return a proxy's address in its parts; see `proxy_for`."""
    from urllib.parse import unquote, urlsplit

    text = address.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port or _DEFAULT_PORT
    except ValueError:
        host = None
    if not host or parts.scheme != "http" or not text.isprintable() or " " in text:
        raise ChannelError("bad_proxy")
    return Proxy(host, port, unquote(parts.username or ""), unquote(parts.password or ""))


def variable_that_names_one() -> str | None:
    """Return the name of an environment variable that names a proxy for https; None for none."""
    return next((name for name in _VARIABLES if os.environ.get(name, "").strip()), None)


def unused_sentence() -> str | None:
    """Return a sentence on a proxy that the environment names and that is not used."""
    name = variable_that_names_one()
    if name is None:
        return None
    return (
        f"{name} names a proxy, which is not asked: set proxy (CRONGUARD_PROXY) to env if the way"
        " out is through it, or to off"
    )


__all__ = [
    "ENVIRONMENT",
    "OFF",
    "Proxy",
    "parse",
    "proxy_for",
    "unused_sentence",
    "use",
    "used",
    "variable_that_names_one",
]
