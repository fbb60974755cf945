"""Sockets under one hard deadline, for channels that talk to the network.

A socket's own timeout bounds one operation, so a peer that drips bytes outlasts it. Here every
operation is given only what is left of the whole, and every error is a `ChannelError` whose code
says what happened and whose text repeats nothing the operating system or the peer said.

``deadline`` is always a point on `time.monotonic`'s scale.
"""

from __future__ import annotations

import errno
import io
import socket
import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from cronguard.core.errors import ChannelError, PartialDelivery
from cronguard.core.model import DELIVERY_SECONDS
from cronguard.process.lifecycle import own_modules
from cronguard.process.net import Address, connect_to_first, tls_context
from cronguard.process.workers import Failed, NoThread, Overdue, TimeoutPool

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")
ANSWER_BYTES = 64 * 1024
"""What is taken from one peer in all: nobody may talk for ever."""
_CHUNK = 4096
_look_ups = TimeoutPool(most_late=16)
"""Of host names; while so many hang, no further one is begun."""


def deadline_or_default(deadline: float | None) -> float:
    """Return ``deadline``, or five seconds from now for None."""
    return time.monotonic() + DELIVERY_SECONDS if deadline is None else deadline


def remaining(deadline: float) -> float:
    """Return the seconds left, always above 0. Raises ``ChannelError("timeout")`` for none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise ChannelError("timeout")
    return left


def error_code(error: BaseException) -> str:
    """Return the word for an error of the network; never anything of the error's text."""
    with own_modules():
        import ssl

    if isinstance(error, ChannelError):
        return error.code
    for kinds, code in (
        (TimeoutError, "timeout"),
        (ssl.SSLCertVerificationError, "tls_certificate"),
        (ssl.SSLError, "tls_failure"),
        (ConnectionRefusedError, "connection_refused"),
        (ConnectionError, "connection_reset"),
        (socket.gaierror, "dns_failure"),
    ):
        if isinstance(error, kinds):
            return code
    if isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return "unreachable"
    return "network_error"


def without_cause(error: BaseException) -> ChannelError:
    """Return the failure as a fresh `ChannelError`, with no other exception and no frame.

    Raise it outside the ``except`` block: inside, Python would attach the old one again.
    """
    if isinstance(error, ChannelError):
        kind = PartialDelivery if isinstance(error, PartialDelivery) else ChannelError
        return kind(
            error.code,
            permanent=error.permanent,
            retry_after=error.retry_after,
            detail=error.detail,
        )
    return ChannelError(error_code(error))


def sanitize_errors(work: Callable[[], T]) -> T:
    """Return what ``work`` returns; whatever it raises leaves as `without_cause` makes it."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001  # any text in here may hold a secret
        failure = without_cause(error)
    raise failure


def is_loopback(host: str) -> bool:
    """Tell whether it is ``localhost``, a name under it, or a literal loopback address."""
    with own_modules():
        import ipaddress

    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_link_local(host: str) -> bool:
    """Tell whether it is a literal link-local address, as of a cloud's machine credentials."""
    with own_modules():
        import ipaddress

    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped.is_link_local
    return address.is_link_local


class Connection:
    """One TCP connection that knows when it must be done: what a socket does, within bounds.

    Each operation gets what is left until ``deadline``; after ``limit`` bytes of answer the peer
    has said enough (``ChannelError("answer_too_long")``). Errors of the system pass through as
    they are: wrap the whole exchange in `sanitize_errors`.
    """

    def __init__(self, sock: socket.socket, deadline: float, *, limit: int = ANSWER_BYTES) -> None:
        self._sock = sock
        self._deadline = deadline
        self._left = limit

    @property
    def local_address(self) -> str:
        """Return this end's address, in numbers."""
        return str(self._sock.getsockname()[0])

    @property
    def tls(self) -> ssl.SSLSocket | None:
        """Return the socket, once `start_tls` was called; None before."""
        with own_modules():
            import ssl

        return self._sock if isinstance(self._sock, ssl.SSLSocket) else None

    def recv(self, size: int) -> bytes:
        """Return what has come, at most ``size`` bytes; nothing at the end of the stream."""
        self._sock.settimeout(remaining(self._deadline))
        data = self._sock.recv(min(size, _CHUNK))
        self._left -= len(data)
        if self._left < 0:
            raise ChannelError("answer_too_long")
        return data

    def sendall(self, data: bytes) -> None:
        """Send every byte."""
        view = memoryview(data)
        while view:
            self._sock.settimeout(remaining(self._deadline))
            view = view[self._sock.send(view) :]

    def start_tls(self, host: str, *, context: ssl.SSLContext | None = None) -> None:
        """Use TLS from here on and check the peer's certificate; None: by the usual authorities."""
        trusted = context or tls_context()
        self._sock.settimeout(remaining(self._deadline))
        self._sock = trusted.wrap_socket(self._sock, server_hostname=host)

    def makefile(self, mode: str = "rb") -> io.BufferedReader:  # noqa: ARG002
        """Return a reader whose closing leaves the connection open, as smtplib wants it."""
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Close the connection at once."""
        self._sock.close()


class _Reader(io.RawIOBase):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._connection.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def connect(host: str, port: int, *, deadline: float, loopback_only: bool = False) -> Connection:
    """Return a connection to the first of the host's addresses that answers.

    Each address gets an even share of the time that is left. Addresses that a name resolves to are
    judged like literal ones: link-local ones are refused, and with ``loopback_only`` every other
    one than loopback.
    """
    addresses = _resolve(host, port, deadline)
    for *_, address in addresses:
        if is_link_local(str(address[0])):
            raise ChannelError("link_local", detail="link-local addresses are refused")
        if loopback_only and not is_loopback(str(address[0])):
            raise ChannelError("insecure_url", detail="without TLS only this machine may be asked")
    return Connection(connect_to_first(addresses, deadline), deadline)


def _resolve(host: str, port: int, deadline: float) -> list[Address]:
    """Return a host's addresses; `socket.getaddrinfo` knows no timeout, so a thread calls it."""

    def look_up(flags: int = 0) -> list[Address] | ChannelError:
        try:
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
        except (OSError, UnicodeError):
            return ChannelError("dns_failure")

    found = look_up(socket.AI_NUMERICHOST)
    if isinstance(found, ChannelError):
        try:
            found = _look_ups.call(look_up, remaining(deadline))
        except NoThread:  # the interpreter is ending, so look up right here
            found = look_up()
        except Overdue:
            found = ChannelError("timeout")
        except Failed:
            found = ChannelError("dns_failure")
    if isinstance(found, ChannelError):
        raise found
    return found


def load_late() -> None:
    """Load now what is imported late, when an alert is sent."""
    for name in "certifi", "encodings.idna", "ipaddress", "ssl":
        import_module(name)


__all__ = [
    "ANSWER_BYTES",
    "Connection",
    "connect",
    "deadline_or_default",
    "error_code",
    "is_link_local",
    "is_loopback",
    "remaining",
    "sanitize_errors",
    "without_cause",
]
