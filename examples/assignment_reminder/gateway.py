"""A notification gateway on loopback: real HTTP, and it can be broken."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class Gateway:
    """Takes ``POST /messages``. Counts what it delivered, and knows messages by their key."""

    def __init__(self) -> None:
        self.delivered: set[str] = set()
        self.repeated = 0
        """Messages that came again and were not delivered a second time."""
        self.breaks_after: int | None = None
        """How many more messages it takes before it answers 503; None while it is well."""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, key: str) -> int:
        """The HTTP status for a message with this key."""
        with self._lock:
            if self.breaks_after == 0:
                return 503
            if self.breaks_after is not None:
                self.breaks_after -= 1
            if key in self.delivered:
                self.repeated += 1
                return 200
            self.delivered.add(key)
            return 202

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(gateway: Gateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keeps connections open

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(gateway.take(self.headers.get("Idempotency-Key", "")))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            """Keep quiet: this gateway's messages hold names."""

    return Handler
