"""The gateway's client: what it sends, over which connections, and what it makes of answers."""

import contextlib
import ssl
import threading
from base64 import b64encode

import pytest
from support.hostile import (
    AUTHORITY,
    Answers,
    answer,
    answers,
    hangs_up,
    is_not_http,
    read_request,
    refusing_port,
    serve,
)
from support.reminder import NAME, NIGHT, PHONE, PRIVATE

from cronguard.privacy.capture import capture
from reminders.gateway import AddressError, GatewayError, NotificationGateway
from reminders.repository import Reminder

REMINDER = Reminder(7, NIGHT, NAME, PHONE)


def base(server):
    return server.url.removesuffix("/hook")


class Keeps:
    """Answers every request of a connection; ``ended`` is set once a client has closed one."""

    def __init__(self, data=None):
        self.data = data or answer(202, b"")
        self.received = []
        self.ended = threading.Event()

    def __call__(self, connection, stop):
        with contextlib.suppress(ConnectionError):
            while (request := read_request(connection)) is not None:
                self.received.append(request)
                connection.sendall(self.data)
        self.ended.set()


def test_what_is_sent():
    """A message under a key, to the address's path, with its user and password."""
    keeps = Keeps()
    with serve(keeps) as server:
        url = base(server).replace("//", "//me:p%40ss@") + "/v1/"
        with NotificationGateway(url) as gateway:
            gateway.send(REMINDER)
    (request,) = keeps.received
    assert (request.method, request.target) == ("POST", "/v1/messages")
    assert request.json == {"to": PHONE, "text": f"Hi {NAME}, time to say hello again?"}
    assert request.headers["idempotency-key"] == "7:2026-03-02"
    assert request.headers["content-type"] == "application/json"
    login = b64encode(b"me:p@ss").decode()
    assert request.headers["authorization"] == f"Basic {login}"


def test_one_kept_connection_a_thread():
    """However many messages; all are closed at the end."""
    keeps = Keeps()
    with serve(keeps) as server:
        with NotificationGateway(base(server)) as gateway:

            def work():
                for _ in range(3):
                    gateway.send(REMINDER)

            threads = [threading.Thread(target=work) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert (server.connections, len(keeps.received)) == (2, 6)
            assert not keeps.ended.is_set()
        assert keeps.ended.wait(10)


def test_over_tls(monkeypatch):
    """A certificate that is trusted is; one that is not is refused, with OpenSSL's code."""
    keeps = Keeps()
    with serve(keeps, tls=True) as server:
        with NotificationGateway(base(server)) as gateway, pytest.raises(GatewayError) as caught:
            gateway.send(REMINDER)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
        with NotificationGateway(base(server)) as gateway:
            gateway.send(REMINDER)
            gateway.send(REMINDER)
    assert (server.connections, len(keeps.received)) == (2, 2)


@pytest.mark.parametrize("tls", [False, True])
def test_a_connection_closed_meanwhile_is_opened_anew(monkeypatch, tls):
    """A gateway that closes after each answer gets each message once, on its own connection."""
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    once = answers(202)
    with serve(once, tls=tls) as server, NotificationGateway(base(server)) as gateway:
        for _ in range(3):
            gateway.send(REMINDER)
    assert (server.connections, len(once.received)) == (3, 3)


def test_a_connection_is_opened_anew_once():
    """A gateway that hangs up on the new one too has not taken it."""
    good = Answers([answer(202)])
    turns = iter([good, hangs_up, hangs_up, hangs_up])
    with (
        serve(lambda *given: next(turns)(*given)) as server,
        NotificationGateway(base(server)) as gateway,
    ):
        gateway.send(REMINDER)
        for connections in (2, 3):  # the second time there is no kept one
            with pytest.raises(GatewayError) as caught:
                gateway.send(REMINDER)
            assert caught.value.status is None
            assert server.connections == connections


@pytest.mark.parametrize("status", [301, 307, 404, 503])
def test_an_answer_that_is_no_yes(status):
    """Its status is the alert's code; no other address is asked; the connection stays."""
    keeps = Keeps(answer(status, b"no", [("Location", "http://127.0.0.1:1/messages")]))
    with serve(keeps) as server, NotificationGateway(base(server)) as gateway:
        for _ in range(2):
            with pytest.raises(GatewayError) as caught:
                gateway.send(REMINDER)
        assert server.connections == 1
    shown = capture(caught.value, redact="scrub")
    assert (caught.value.status, shown.error_code) == (status, str(status))
    assert shown.error_message == f"no reminder for ‹…›: HTTP {status}"


def test_an_answer_without_end_is_not_read():
    """What is said beyond the status is of no use; the next message has a new connection."""
    keeps = Keeps(b"HTTP/1.1 202 Yes\r\nContent-Length: 100000\r\n\r\n" + b"x" * 70_000)
    with serve(keeps) as server, NotificationGateway(base(server)) as gateway:
        gateway.send(REMINDER)
        gateway.send(REMINDER)
        assert server.connections == 2


def test_no_answer():
    """Nobody listens, or it is no HTTP: the cause is kept, its code is the alert's."""
    with NotificationGateway(f"http://127.0.0.1:{refusing_port()}") as gateway:
        with pytest.raises(GatewayError) as caught:
            gateway.send(REMINDER)
        shown = capture(caught.value, redact="scrub")
        assert (caught.value.status, shown.error_code) == (None, "ECONNREFUSED")
        assert [word for word in PRIVATE if word in str(shown)] == []
    with (
        serve(is_not_http) as server,
        NotificationGateway(base(server)) as gateway,
        pytest.raises(GatewayError),
    ):
        gateway.send(REMINDER)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nonsense",
        "sms.example.org",
        "ftp://sms.example.org",
        "http://",
        "http://[bad",
        "http://a..b",
        "http://host:port",
        "http://host:99999",
        "https://me:secret@",
    ],
)
def test_addresses_that_are_none(address):
    """Refused in a sentence that says what to set, and not what was set."""
    with pytest.raises(AddressError, match="--gateway") as caught:
        NotificationGateway(address)
    assert "secret" not in str(caught.value)
