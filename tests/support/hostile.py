"""Loopback servers that behave as no server should, and one that behaves and remembers.

Real sockets, no patching: ``with serve(drips_a_header) as server: post(server.url, …)``.
A behaviour is a function ``(connection, stop)``; it ends when it likes or when ``stop`` is set.
"""

import gzip
import json
import socket
import ssl
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

TLS = Path(__file__).parent / "tls"
AUTHORITY = TLS / "authority.pem"
"""Set ``SSL_CERT_FILE`` to it and the servers' certificate is trusted."""
DRIP = 0.02


class Server:
    """Accepts on a free loopback port, one thread a connection, until it is closed."""

    def __init__(self, behave, *, tls=False):
        self.behave = behave
        self.tls = tls
        self.stop = threading.Event()
        self.connections = 0
        self.bytes_sent = 0
        self._open = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/hook"

    def _accept(self):
        while not self.stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with suppress(OSError, ValueError):
            if self.tls:
                connection = server_context().wrap_socket(connection, server_side=True)
                self._open.append(connection)
            self.behave(connection, self.stop)
        with suppress(OSError):
            connection.close()

    def close(self):
        self.stop.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._thread.join(5)


@contextmanager
def serve(behave, *, tls=False):
    """A running `Server`; closed with everything it holds at the end of the block."""
    server = Server(behave, tls=tls)
    try:
        yield server
    finally:
        server.close()


def server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "localhost.pem")
    return context


# --- a good one ------------------------------------------------------------------------------


@dataclass
class Received:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: dict
    """Names in lower case."""
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Answers:
    """A behaviour: takes requests whole, remembers them, and answers each in turn.

    The last answer is given again and again.
    """

    script: list = field(default_factory=list)
    received: list = field(default_factory=list)

    def __call__(self, connection, stop):
        request = read_request(connection)
        if request is None:
            return
        answer = self.script[min(len(self.received), len(self.script) - 1)]
        self.received.append(request)
        connection.sendall(answer)


def answers(status=200, body=b"ok", headers=()):
    """`Answers` with one answer."""
    return Answers([answer(status, body, headers)])


def answer(status=200, body=b"ok", headers=()):
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return (
        f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body
    )


def read_request(connection):
    """The next request on the connection, or None if it ends before that."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)
    }
    while len(body) < int(headers.get("content-length", "0")):
        more = connection.recv(65536)
        if not more:
            return None
        body += more
    method, target, _ = first.split(" ")
    return Received(method, target, headers, body)


# --- bad ones --------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"


def never_answers(connection, stop):
    """Takes everything, says nothing."""
    stop.wait()


def never_reads(connection, stop):
    """Takes nothing either: what is sent piles up in the buffers."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    stop.wait()


def drips_a_header(connection, stop):
    """A header that grows by a byte now and then and never ends."""
    read_request(connection)
    connection.sendall(OK + b"X-Slow: ")
    _drip(connection, stop, b"a")


def drips_a_body(connection, stop):
    """A proper head, then a body of a million bytes, one at a time."""
    read_request(connection)
    connection.sendall(OK + b"Content-Length: 1000000\r\n\r\n")
    _drip(connection, stop, b"a")


def endless_body(connection, stop):
    """200, then bytes as fast as they are taken, for ever, without a length."""
    read_request(connection)
    connection.sendall(OK + b"Content-Type: text/plain\r\n\r\n")
    _flood(connection, stop, b"a" * 65536)


def endless_headers(connection, stop):
    """Header after header, as fast as they are taken."""
    read_request(connection)
    connection.sendall(OK)
    _flood(connection, stop, b"X-More: " + b"a" * 1000 + b"\r\n")


def endless_hints(connection, stop):
    """One interim answer after another, never a final one."""
    read_request(connection)
    _flood(connection, stop, b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)


def redirects(connection, stop):
    """307 to itself: a chain without an end."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 307 Elsewhere\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")


def gzip_bomb(connection, stop):
    """Twenty megabytes of zeros in twenty kilobytes, whether asked for or not."""
    read_request(connection)
    bomb = gzip.compress(b"\0" * 20_000_000)
    head = f"Content-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    connection.sendall(OK + head.encode() + bomb)


def resets(connection, stop):
    """A reset instead of an answer."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hangs_up(connection, stop):
    """Closes politely instead of answering."""
    read_request(connection)


def is_not_http(connection, stop):
    """Speaks something else."""
    connection.sendall(b"* OK IMAP4rev1 ready\r\n\r\n")
    read_request(connection)


def smtp_drips_its_banner(connection, stop):
    """An SMTP greeting that never ends: each byte is in time, the whole is not."""
    connection.sendall(b"220-")
    _drip(connection, stop, b"x")


def postgres(then):
    """A PostgreSQL server, up to the first query: its answer is what ``then`` makes of it."""

    def behave(connection, stop):
        connection.recv(65536)
        connection.sendall(PG_GREETING)
        then(connection, stop)

    return behave


PG_GREETING = (
    b"R\0\0\0\x08\0\0\0\0"  # no password wanted
    b"K\0\0\0\x0c\0\0\0\x01\0\0\0\x01"  # the key to cancel with
    b"Z\0\0\0\x05I"
)


def pg_drips_a_row(connection, stop):
    """An answer that grows by a byte now and then: it is to be a million long."""
    connection.recv(65536)
    connection.sendall(b"T\0\x0f\x42\x40")
    _drip(connection, stop, b"\0")


def pg_drips_notices(connection, stop):
    """Whole messages, one after the other, none of which is an answer."""
    connection.recv(65536)
    _drip(connection, stop, b"N\0\0\0\x0cSNOTICE\0\0")


def pg_stops_midway(connection, stop):
    """Half of a message, and nothing more."""
    connection.recv(65536)
    connection.sendall(b"T\0\0\0\x20\0")
    stop.wait()


def pg_floods(connection, stop):
    """Notices as fast as they are taken."""
    connection.recv(65536)
    _flood(connection, stop, b"N\0\0\0\x0cSNOTICE\0\0" * 5000)


def refusing_port():
    """A loopback port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


SLOW = (never_answers, drips_a_header, drips_a_body)
"""Those that only a deadline ends."""


def _drip(connection, stop, byte):
    while not stop.wait(DRIP):
        connection.sendall(byte)


def _flood(connection, stop, block):
    while not stop.is_set():
        connection.sendall(block)
