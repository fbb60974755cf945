"""HTTP for channels: one deadline, nothing followed, nothing decoded, nothing let out."""

import logging
import ssl
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from support import hostile
from support.record import SOON

from cronguard.channels.transport import http
from cronguard.channels.transport.http import (
    Response,
    check_url,
    post,
    raise_for_status,
    retry_after,
)
from cronguard.core.errors import ChannelError

SECRET = "T0K3N-sentinel"


def in_(seconds):
    return time.monotonic() + seconds


def code_of(url, **options):
    with pytest.raises(ChannelError) as caught:
        post(url, **{"body": b"{}", "deadline": in_(10), **options})
    return caught.value.code


def test_sends_the_bytes_and_the_headers():
    """The request on the wire is what was asked for, and asks for an answer as it is."""
    behave = hostile.answers(202, b"taken")
    with hostile.serve(behave) as server:
        response = post(server.url + "?a=b", body=b"\x00{}", headers={"X-One": " 1\n"})
    (request,) = behave.received
    assert (request.method, request.target, request.body) == ("POST", "/hook?a=b", b"\x00{}")
    assert request.headers["x-one"] == "1"
    assert request.headers["content-length"] == "3"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert (response.status, response.body, response.complete) == (202, b"taken", True)


def test_user_and_password_of_an_address_become_basic_authentication():
    """``https://user:password@host`` works as it does everywhere."""
    behave = hostile.answers()
    with hostile.serve(behave) as server:
        address = server.url.replace("://", "://us%40er:pw@")
        post(address, body=b"")
        post(address, body=b"", headers={"Authorization": "Bearer token"})
    found = [request.headers["authorization"] for request in behave.received]
    assert found == ["Basic dXNAZXI6cHc=", "Bearer token"]


@pytest.mark.parametrize("behave", hostile.SLOW)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_the_deadline_is_for_the_whole_exchange(behave, tls, monkeypatch):
    """However a peer spreads its silence, the call ends when its time is up."""
    monkeypatch.setenv("SSL_CERT_FILE", str(hostile.AUTHORITY))
    post_once_to_load_httpx()
    with hostile.serve(behave, tls=tls) as server:
        began = time.monotonic()
        assert code_of(server.url, deadline=in_(0.4)) == "timeout"
        assert 0.3 < time.monotonic() - began < SOON


def test_a_peer_that_does_not_read_is_left_at_the_deadline():
    """Sending is bounded like receiving."""
    post_once_to_load_httpx()
    with hostile.serve(hostile.never_reads) as server:
        assert code_of(server.url, body=b"x" * 50_000_000, deadline=in_(0.5)) == "timeout"


def test_a_tls_handshake_that_stalls_is_left_at_the_deadline():
    """A port that accepts and then says nothing does not outlast the deadline."""
    post_once_to_load_httpx()
    with hostile.serve(hostile.never_answers) as server:
        assert code_of(server.url.replace("http:", "https:"), deadline=in_(0.5)) == "timeout"


def test_a_deadline_that_has_passed_opens_no_connection():
    """No time left means no try."""
    with hostile.serve(hostile.answers()) as server:
        assert code_of(server.url, deadline=in_(-1)) == "timeout"
        assert server.connections == 0


def test_name_resolution_that_hangs_is_left_at_the_deadline(monkeypatch):
    """getaddrinfo knows no timeout; the call keeps its own."""
    release = threading.Event()
    real = http.sockets.socket.getaddrinfo

    def hangs(host, port, *args, flags=0, **options):
        if not flags:
            release.wait(20)
        return real(host, port, *args, flags=flags, **options)

    monkeypatch.setattr(http.sockets.socket, "getaddrinfo", hangs)
    try:
        assert code_of("https://hangs.invalid/", deadline=in_(0.4)) == "timeout"
    finally:
        release.set()


def test_without_a_deadline_it_is_five_seconds(monkeypatch):
    """None means the five seconds that a try may take."""
    monkeypatch.setattr(http.sockets, "DELIVERY_SECONDS", 0.3)
    post_once_to_load_httpx()
    with hostile.serve(hostile.never_answers) as server:
        assert code_of(server.url, deadline=None) == "timeout"


def test_the_five_seconds_of_the_promise():
    """The number itself."""
    assert http.sockets.deadline_or_default(None) - time.monotonic() == pytest.approx(5, abs=0.5)


def test_an_endless_answer_is_cut_at_four_kilobytes_and_is_not_an_answer():
    """A flood is left alone at once, and does not count as having taken the alert."""
    with hostile.serve(hostile.endless_body) as server:
        response = post(server.url, body=b"", deadline=in_(10))
    assert (response.status, len(response.body), response.complete) == (200, 4096, False)
    with pytest.raises(ChannelError, match="answer_too_long"):
        raise_for_status(response)


def test_a_long_answer_that_says_how_long_it_is_counts():
    """A chatty endpoint with a 2xx has taken the alert; the rest of its page is not read."""
    with hostile.serve(hostile.answers(200, b"x" * 1_000_000)) as server:
        response = post(server.url, body=b"")
    raise_for_status(response)
    assert len(response.body) == 4096


@pytest.mark.parametrize("behave", [hostile.endless_headers, hostile.endless_hints])
def test_endless_heads_are_cut(behave):
    """Headers and interim answers have an end too."""
    with hostile.serve(behave) as server:
        assert code_of(server.url) in {"answer_too_long", "bad_answer"}


def test_a_gzip_bomb_stays_compressed():
    """Nothing is ever decoded, whatever the answer says it is."""
    with hostile.serve(hostile.gzip_bomb) as server:
        response = post(server.url, body=b"")
    assert response.body.startswith(b"\x1f\x8b")
    assert len(response.body) == 4096


def test_a_redirect_is_not_followed():
    """A 3xx is an answer like any other, and a failure."""
    with hostile.serve(hostile.redirects) as server:
        response = post(server.url, body=b"")
        assert server.connections == 1
    with pytest.raises(ChannelError, match="http_307") as caught:
        raise_for_status(response)
    assert not caught.value.permanent


def test_no_proxy_is_asked(monkeypatch):
    """Proxy variables of the environment would see the secret in the address; they are ignored."""
    with hostile.serve(hostile.answers()) as server, hostile.serve(hostile.answers()) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert post(server.url, body=b"").status == 200
        assert (server.connections, proxy.connections) == (1, 0)


@pytest.mark.parametrize(
    ("behave", "code"),
    [
        (hostile.resets, "connection_reset"),
        (hostile.hangs_up, "connection_closed"),
        (hostile.is_not_http, "bad_answer"),
    ],
)
def test_broken_exchanges_have_codes(behave, code):
    """Each way to break off has its own word."""
    with hostile.serve(behave) as server:
        assert code_of(server.url) == code


def test_refused_and_unresolved_have_codes():
    """Nobody listens; nobody has that name."""
    assert code_of(f"http://127.0.0.1:{hostile.refusing_port()}/") == "connection_refused"
    assert code_of("https://no-such-host.invalid/") == "dns_failure"
    assert code_of(f"https://{'a' * 70}.example/") == "dns_failure"


def test_a_certificate_nobody_vouches_for_is_refused(monkeypatch):
    """TLS means a checked certificate, and the operator can say whom to trust."""
    with hostile.serve(behave := hostile.answers(), tls=True) as server:
        assert code_of(server.url) == "tls_certificate"
        assert behave.received == []
        monkeypatch.setenv("SSL_CERT_FILE", str(hostile.AUTHORITY))
        assert post(server.url, body=b"").status == 200
        localhost = server.url.replace("127.0.0.1", "localhost")
        assert post(localhost, body=b"").status == 200


def test_tls_to_a_plain_port_has_a_code():
    """https towards something that does not speak TLS."""
    with hostile.serve(hostile.is_not_http) as server:
        assert code_of(server.url.replace("http:", "https:")) == "tls_failure"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "bad_url"),
        ("https://", "bad_url"),
        ("hooks.example/path", "bad_url"),
        ("ftp://hooks.example/", "bad_url"),
        ("file:///etc/passwd", "bad_url"),
        ("https://hooks.example:port/", "bad_url"),
        ("https://hooks.example:99999/", "bad_url"),
        ("https://[::1/", "bad_url"),
        ("https://hooks.example/a b", "bad_url"),
        ("https://hooks.example/a\nb", "bad_url"),
        ("https://hooks.example/\x00", "bad_url"),
        ("https://hooks.example/\u202e", "bad_url"),
        ("http://hooks.example/", "insecure_url"),
        ("http://192.168.1.5/", "insecure_url"),
        ("http://localhost.example/", "insecure_url"),
        ("https://169.254.169.254/latest", "link_local"),
        ("https://[fe80::1]/", "link_local"),
        ("https://[::ffff:169.254.169.254]/", "link_local"),
    ],
)
def test_addresses_that_are_refused(url, code):
    """https anywhere, http on this machine, link-local nowhere; and offline, so that doctor can."""
    with pytest.raises(ChannelError) as caught:
        check_url(url)
    assert caught.value.code == code
    assert not caught.value.permanent
    assert code_of(url) == code


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example/services/T0/B0/x",
        "https://hooks.example:8443/?a=b",
        "http://localhost:8080/",
        "http://127.8.9.10/",
        "http://[::1]:80/",
        "https://bücher.example/",
    ],
)
def test_addresses_that_are_taken(url):
    """White space around an address, such as an environment variable's line break, is dropped."""
    assert check_url(f" {url}\n") == url


def test_a_name_that_leads_to_a_link_local_address_is_refused(monkeypatch):
    """What a name resolves to is judged like a literal address."""
    resolve_to(monkeypatch, "169.254.169.254")
    assert code_of("https://metadata.example/") == "link_local"


def test_localhost_that_leads_elsewhere_is_refused_without_tls(monkeypatch):
    """Plain http stays on this machine whatever the hosts file says."""
    resolve_to(monkeypatch, "192.0.2.7")
    assert code_of("http://localhost:9/") == "insecure_url"


def test_the_next_address_is_tried(monkeypatch):
    """One address that refuses does not hide one that answers."""
    with hostile.serve(hostile.answers()) as server:
        resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
        assert post(f"http://localhost:{server.port}/", body=b"").status == 200


@pytest.mark.parametrize("value", ["a\nb", "a\r\nX-Evil: 1", "a\x00", "é", "x\u2028x"])
def test_header_values_that_cannot_be_sent(value):
    """A header cannot be broken out of, and the error does not repeat it."""
    with hostile.serve(behave := hostile.answers()) as server:
        assert code_of(server.url, headers={"Authorization": value}) == "bad_header"
    assert behave.received == []


@pytest.mark.parametrize(
    ("status", "permanent"),
    [
        *[(status, True) for status in (400, 405, 410, 413, 414, 415, 422)],
        *[(status, False) for status in (301, 401, 403, 404, 408, 409, 425, 429, 500, 502, 503)],
    ],
)
def test_what_a_status_means(status, permanent):
    """Final is what says that these bytes will never do; what an operator can mend is retried."""
    with pytest.raises(ChannelError, match=f"http_{status}") as caught:
        raise_for_status(Response(status, {"retry-after": "7"}, b""))
    assert caught.value.permanent is permanent
    assert caught.value.retry_after == (None if permanent else 7)


def test_a_2xx_is_success():
    """Any of them."""
    for status in (200, 201, 202, 204):
        raise_for_status(Response(status, {}, b""))


def test_retry_after_reads_seconds_and_dates():
    """Both forms of RFC 9110; nonsense is passed over, and nobody silences us for a year."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after({"retry-after": soon}) == pytest.approx(90, abs=5)
    past = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    assert retry_after({"retry-after": past}) == 0
    assert retry_after({"retry-after": " 30 "}) == 30
    assert retry_after({"retry-after": "9" * 40}) == 86_400
    for text in ("", "soon", "-5", "1.5e9", "Wed, 99 Foo 2026"):
        assert retry_after({"retry-after": text}) is None
    assert retry_after({"retry-after": past.removesuffix("GMT") + "-0000"}) == 0
    assert retry_after({}) is None


@pytest.mark.parametrize(
    "behave",
    [
        hostile.answers(200, b"", [("Location", f"https://x/{SECRET}"), ("X-Echo", SECRET)]),
        hostile.answers(404, SECRET.encode()),
        hostile.redirects,
        hostile.resets,
        hostile.hangs_up,
        hostile.is_not_http,
        hostile.drips_a_header,
    ],
)
def test_no_secret_leaves_it(behave, caplog):
    """Not in an error, its causes, its repr, nor on any logger at any level."""
    caplog.set_level(logging.DEBUG)
    said = ""
    with hostile.serve(behave) as server:
        try:
            response = post(
                f"{server.url}/{SECRET}",
                body=SECRET.encode(),
                headers={"Authorization": SECRET},
                deadline=in_(0.5),
            )
            said += repr(response)
            raise_for_status(response)
        except ChannelError as error:
            said += repr((error.__cause__, error.__context__))
            said += repr(error) + "".join(traceback.format_exception(error))
    assert SECRET not in said
    assert SECRET not in caplog.text + repr([record.__dict__ for record in caplog.records])
    assert "httpcore" not in {record.name.partition(".")[0] for record in caplog.records}


@pytest.mark.parametrize(
    "url",
    [
        f"https://h/{SECRET}\nx",
        f"https://h:{SECRET}/",
        f"http://h/{SECRET}",
        f"https://[{SECRET}]/",
    ],
)
def test_a_refused_address_is_not_repeated(url):
    """The error about an address does not hold it: the address is the secret."""
    for call in (check_url, lambda url: post(url, body=b"")):
        with pytest.raises(ChannelError) as caught:
            call(url)
        assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("between", [",", ", ", " ", "\n", ";"])
def test_several_addresses_in_one_are_said(between):
    """They would be one address with a strange path, or one with a space in it."""
    with pytest.raises(ChannelError, match="make a channel for each") as caught:
        check_url(f"https://h/{SECRET}{between}https://i/{SECRET}")
    assert SECRET not in repr(caught.value)


def test_a_program_keeps_its_own_httpcore_log_lines(caplog):
    """Only cronguard's own requests are silent."""
    caplog.set_level(logging.DEBUG)
    with hostile.serve(hostile.answers()) as server:
        post(server.url, body=b"")
        assert not [r for r in caplog.records if r.name.startswith("httpcore")]
        with httpx.Client(trust_env=False) as client:
            client.get(server.url)
    assert [r for r in caplog.records if r.name.startswith("httpcore")]


def test_instrumented_clients_do_not_see_the_request(monkeypatch):
    """Tracers patch httpx.Client.send and httpx's transport; a span would hold the address."""

    def instrumented(*_args, **_options):
        raise AssertionError

    monkeypatch.setattr(httpx.Client, "send", instrumented)
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", instrumented)
    with hostile.serve(hostile.answers()) as server:
        assert post(server.url, body=b"").status == 200


def test_many_threads_at_once():
    """Each call is on its own."""
    with hostile.serve(hostile.answers(), tls=False) as server:
        statuses = []
        threads = [
            threading.Thread(target=lambda: statuses.append(post(server.url, body=b"").status))
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert statuses == [200] * 20


def test_error_codes_cover_the_network():
    """Every kind of socket error becomes a word."""
    codes = [
        http.sockets.error_code(error)
        for error in (
            TimeoutError(),
            ssl.SSLError(),
            BrokenPipeError(),
            OSError(113, "No route"),
            OSError(24, "Too many open files"),
            RuntimeError(SECRET),
        )
    ]
    assert codes == [
        "timeout",
        "tls_failure",
        "connection_reset",
        "unreachable",
        "network_error",
        "network_error",
    ]


def resolve_to(monkeypatch, *addresses):
    real = http.sockets.socket.getaddrinfo

    def fake(host, port, *args, flags=0, **options):
        if flags:
            raise http.sockets.socket.gaierror
        return [found for each in addresses for found in real(each, port, *args, **options)]

    monkeypatch.setattr(http.sockets.socket, "getaddrinfo", fake)


def post_once_to_load_httpx():
    """Importing httpx takes a while on a busy machine; it is not what is timed."""
    with hostile.serve(hostile.answers()) as server:
        post(server.url, body=b"", deadline=in_(30))
