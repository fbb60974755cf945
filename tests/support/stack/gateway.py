"""Where a Supabase project's API is: ``/rest/v1/*`` to PostgREST, keys to tokens, requests counted.

A key is asked for in ``apikey``. One of the newer form (``sb_secret_…``, ``sb_publishable_…``)
becomes the token it stands for, in ``Authorization`` too; a token of the older form passes as it
is. ``answers`` lets a test put something else in PostgREST's place.
"""

import base64
import hashlib
import hmac
import http.client
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

JWT_SECRET = "a secret of thirty-two characters or more, for tests only"
PREFIX = "/rest/v1"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}

DAY = 86_400
"""A soak takes more than an hour."""


def token(role, *, expires_in=DAY, secret=JWT_SECRET):
    """A key of the older form: a JWT that names a role (HS256)."""
    claims = {"iss": "supabase", "role": role, "exp": int(time.time()) + expires_in}
    signed = ".".join(
        _base64(json.dumps(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims)
    )
    mark = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mark).rstrip(b'=').decode()}"


def _base64(text):
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


class Gateway:
    """Listens on a free loopback port until it is closed."""

    def __init__(self, upstream):
        self.upstream = upstream
        """The path of PostgREST's Unix socket."""
        self.requests = []
        """(method, path) of everything that came in."""
        self.answer = None
        """None, or (status, body) to give instead of asking PostgREST."""
        self.once = []
        """(function, status, content type, body): each is the answer to that function's next call,
        which PostgREST never sees."""
        self.secret_key = "sb_secret_test_0123456789abcdefghij"
        self.publishable_key = "sb_publishable_test_0123456789abcdef"
        self.service_token = token("service_role")
        self.anon_token = token("anon")
        self.authenticated_token = token("authenticated")
        gateway = self

        class Handler(_Handler):
            owner = gateway

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def tokens(self):
        """New key → the token it stands for."""
        return {self.secret_key: self.service_token, self.publishable_key: self.anon_token}

    def close(self):
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    owner: Gateway
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.owner.requests.append((self.command, self.path))
        if self.owner.answer is not None:
            status, text = self.owner.answer
            return self._answer(status, [("Content-Type", "text/plain")], text.encode())
        for scripted in self.owner.once:
            function, status, kind, text = scripted
            if self.path == f"{PREFIX}/rpc/{function}":
                self.owner.once.remove(scripted)
                return self._answer(status, [("Content-Type", kind)], text.encode())
        if not self.path.startswith(PREFIX + "/"):
            return self._refuse(404, "no Route matched with those values")
        key = self.headers.get("apikey")
        if not key:
            return self._refuse(401, "No API key found in request")
        known = self.owner.tokens()
        if key not in known and key.count(".") != 2:
            return self._refuse(401, "Invalid API key")
        bearer = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or key
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in HOP_BY_HOP | {"apikey", "authorization", "host"}
        }
        headers["Authorization"] = f"Bearer {known.get(bearer, bearer)}"
        try:
            status, found, text = self._upstream(headers, body)
        except (OSError, http.client.HTTPException):
            return self._refuse(503, "name resolution failed")
        return self._answer(status, [(n, v) for n, v in found if n.lower() not in HOP_BY_HOP], text)

    do_POST = do_PATCH = do_DELETE = do_PUT = do_HEAD = do_GET  # noqa: N815  # the base class's names

    def setup(self):
        super().setup()
        self.rest = _UnixConnection(self.owner.upstream)

    def finish(self):
        self.rest.close()
        super().finish()

    def _upstream(self, headers, body):
        """One connection to PostgREST for each connection from a client."""
        try:
            self.rest.request(self.command, self.path.removeprefix(PREFIX), body, headers)
            answer = self.rest.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        except (OSError, http.client.HTTPException):
            self.rest.close()
            raise

    def _refuse(self, status, message):
        body = json.dumps({"message": message}).encode()
        self._answer(status, [("Content-Type", "application/json")], body)

    def _answer(self, status, headers, body):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
