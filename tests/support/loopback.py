"""Loopback servers that answer as services do, with somebody's data in the answer."""

from __future__ import annotations

import json
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_REASONS = {
    401: "Unauthorized",
    404: "Not Found",
    422: "Unprocessable Entity",
    503: "Service Unavailable",
}


class _Web(BaseHTTPRequestHandler):
    """``/503?body=…``: that status, with that body."""

    def do_GET(self):
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        kind = parts.path.strip("/").split("/")[0]
        status = int(kind) if kind.isdigit() else 200
        body = asked.get("body", json.dumps({"ok": False, "error": "users_not_found"})).encode()
        self.send_response(status, _REASONS.get(status, "OK"))
        self.send_header("Content-Type", asked.get("type", "application/json"))
        self.send_header("Content-Length", str(len(body) + (50 if kind == "short" else 0)))
        if kind == "301":
            self.send_header("Location", self.path)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815  # as the standard library wants it

    def log_message(self, *_):
        pass


class _Lines(socketserver.StreamRequestHandler):
    """Says its greeting, then its answer to each line."""

    def handle(self):
        server = self.server
        self.wfile.write(server.greeting)
        for line in self.rfile:
            tag = line.split(b" ")[0].strip()
            self.wfile.write(server.answer.replace(b"TAG", tag))


class Loopback:
    """The servers of a test, by what they answer."""

    def __init__(self, stack):
        self._stack = stack
        self.web = self.url(ThreadingHTTPServer(("127.0.0.1", 0), _Web))

    def url(self, server):
        """Serve until the end; the address of it."""
        self._stack.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    def lines(self, greeting, answer):
        """The port of a server of lines."""
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Lines)
        server.daemon_threads = True
        server.greeting, server.answer = greeting, answer
        self.url(server)
        return server.server_address[1]


@contextmanager
def loopback():
    """The servers, while they are wanted."""
    servers = []
    try:
        yield Loopback(servers)
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
