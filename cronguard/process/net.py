"""Connections of cronguard's own: which address they take, whom they trust, what is logged."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from cronguard.process.lifecycle import own_modules
from cronguard.process.signals import raised_by_handler

if TYPE_CHECKING:
    import ssl

_HTTP_LOGGERS = ("httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpx")
_here = threading.local()
Address: TypeAlias = tuple[Any, Any, int, str, Any]
"""What `socket.getaddrinfo` lists."""


def connect_to_first(addresses: Sequence[Address], deadline: float) -> socket.socket:
    """Return a connection to the first address that answers, without delayed small packets.

    Each address gets an even share of the time that is left, so that one that is silent does not
    take all of it. ``deadline`` is on `time.monotonic`'s scale.

    Raises:
        OSError: None answers; the error is that of the last.
    """
    failure: OSError = TimeoutError()
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        sock = None
        try:
            sock = socket.socket(family, kind, protocol)
            sock.settimeout(left / (len(addresses) - index))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException as error:
            if sock is not None:
                sock.close()
            if not isinstance(error, OSError):
                raise
            failure = error
        else:
            return sock
        if raised_by_handler(failure):
            break
    raise failure


def tls_context() -> ssl.SSLContext:
    """Return a context that trusts what the system trusts and certifi's authorities.

    ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` take the place of the system's.
    """
    with own_modules():
        import ssl

        import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


@contextmanager
def silence_http_logging() -> Iterator[None]:
    """Let HTTP libraries log nothing from this thread; a program's own requests stay in its log.

    Their lines hold addresses and the headers of answers, which can repeat a secret.
    """
    import logging  # not every connection is HTTP

    for name in _HTTP_LOGGERS:
        logging.getLogger(name).addFilter(_is_the_programs)
    before = getattr(_here, "silenced", False)
    _here.silenced = True
    try:
        yield
    finally:
        _here.silenced = before


def _is_the_programs(_record: object) -> bool:
    """Tell whether a record of an HTTP library's was not made in `silence_http_logging`."""
    return not getattr(_here, "silenced", False)


__all__ = ["Address", "connect_to_first", "silence_http_logging", "tls_context"]
