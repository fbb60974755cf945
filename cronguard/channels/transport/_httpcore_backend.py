"""httpcore on cronguard's own sockets. Imported on the first request only: it loads httpcore."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

from cronguard.channels.transport import sockets
from cronguard.core.errors import ChannelError


class Stream(httpcore.NetworkStream):
    """One connection. The ``timeout`` arguments are ignored: the deadline rules."""

    def __init__(self, connection: sockets.Connection) -> None:
        self._connection = connection
        self._received = False
        self._broken = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        data = self._connection.recv(max_bytes)
        if not data and not self._received:
            raise ChannelError("connection_reset" if self._broken else "connection_closed")
        self._received = True
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        try:
            self._connection.sendall(buffer)
        except ConnectionError:
            # httpcore passes over this one and reads: the answer may be there already.
            self._broken = True
            raise httpcore.WriteError from None

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        try:
            self._connection.start_tls(server_hostname or "", context=ssl_context)
        except BaseException:
            self.close()
            raise
        return self

    def get_extra_info(self, info: str) -> ssl.SSLSocket | None:
        return self._connection.tls if info == "ssl_object" else None

    def close(self) -> None:
        self._connection.close()


class Backend(httpcore.NetworkBackend):
    """Opens the connections of one request."""

    def __init__(self, deadline: float, *, loopback_only: bool, is_proxy: bool = False) -> None:
        self._deadline = deadline
        self._loopback_only = loopback_only
        self._is_proxy = is_proxy

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        try:
            return Stream(
                sockets.connect(
                    host, port, deadline=self._deadline, loopback_only=self._loopback_only
                )
            )
        except (ChannelError, OSError):
            if not self._is_proxy:
                raise
        raise ChannelError("proxy_unreachable")
