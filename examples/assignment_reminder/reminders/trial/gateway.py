"""A notification gateway on loopback: real HTTP, and it can be broken or slow."""

from __future__ import annotations

import socketserver
import threading
from http import HTTPStatus
from types import TracebackType
from typing import Self


class Gateway:
    """Takes ``POST /messages``, knows messages by their key, and keeps none of their text."""

    def __init__(self) -> None:
        self.delivered: set[str] = set()
        self.repeated = 0
        """Messages that came again and were not delivered a second time."""
        self.breaks_after: int | None = None
        """How many more messages it takes before it answers 503; None while it is well."""
        self.delay_seconds = 0.0
        """How long it takes to answer."""
        self.closed = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, key: str) -> HTTPStatus:
        """Take the message with this key, and return the HTTP status of the answer."""
        if self.delay_seconds:
            self.closed.wait(self.delay_seconds)
        with self._lock:
            if self.breaks_after == 0:
                return HTTPStatus.SERVICE_UNAVAILABLE
            if self.breaks_after is not None:
                self.breaks_after -= 1
            if key in self.delivered:
                self.repeated += 1
                return HTTPStatus.OK
            self.delivered.add(key)
            return HTTPStatus.ACCEPTED

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


def _handler(gateway: Gateway) -> type[socketserver.StreamRequestHandler]:
    """Return a handler that reads just enough HTTP, since a load test waits for it."""

    class Handler(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True

        def handle(self) -> None:
            try:
                while self.rfile.readline():
                    self._answer()
            except OSError:
                return  # the client is gone

        def _answer(self) -> None:
            length, key = 0, ""
            while header := self.rfile.readline().strip():
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
                elif name.lower() == b"idempotency-key":
                    key = value.strip().decode()
            self.rfile.read(length)
            status = gateway.take(key)
            line = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Length: 0\r\n\r\n"
            self.wfile.write(line.encode())

    return Handler
