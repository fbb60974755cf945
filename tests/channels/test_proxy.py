"""A proxy on the way out: asked only where settings say so, and said where there may be one."""

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
from support import hostile
from support.alerts import message
from support.processes import Place

from cronguard.channels.slack import SlackChannel
from cronguard.channels.transport import proxy
from cronguard.channels.transport.http import post
from cronguard.core.errors import ChannelError
from cronguard.core.model import SecretRef
from cronguard.runtime.channel_factory import build_channel
from cronguard.settings.loading import ChannelSettings, load_settings

pytestmark = pytest.mark.one_python

SECRET = "pw-SENTINEL"
VARIABLES = [
    name
    for pair in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "HTTP_PROXY")
    for name in (pair, pair.lower())
]


class Tunnel:
    """A proxy that lets ``CONNECT`` through to one port, wherever it was to go; it remembers."""

    def __init__(self, port, *, refuses=None, login=None):
        self.port, self.refuses, self.login = port, refuses, login
        self.asked = []

    def __call__(self, connection, stop):
        request = hostile.read_request(connection)
        self.asked.append(request)
        given = request.headers.get("proxy-authorization", "")
        wanted = self.login and "Basic " + base64.b64encode(self.login.encode()).decode()
        if self.refuses or (wanted and given != wanted):
            status = self.refuses or 407
            connection.sendall(f"HTTP/1.1 {status} {SECRET}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        connection.sendall(b"HTTP/1.1 200 go on\r\n\r\n")
        with hostile.socket.create_connection(("127.0.0.1", self.port)) as there:
            threading.Thread(target=pump, args=(there, connection), daemon=True).start()
            pump(connection, there)


def pump(source, target):
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(hostile.socket.SHUT_WR)


@pytest.fixture(autouse=True)
def straight(monkeypatch):
    """No proxy in the environment or in the thread, before and after."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(hostile.AUTHORITY))
    proxy.use(None)
    yield
    proxy.use(None)


@pytest.fixture
def service():
    """A service by https, which only the proxy can find: its name is in no name service."""
    behave = hostile.answers(200)
    with hostile.serve(behave, tls=True) as server:
        behave.port = server.port
        yield behave


URL = "https://localhost:4433/hook"


def through(tunnel, address, url=URL):
    with hostile.serve(tunnel) as server:
        proxy.use(address.format(port=server.port))
        return post(url, body=b"alert", deadline=time.monotonic() + 20)


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}", "127.0.0.1:{port}\n"])
def test_a_request_goes_through_the_proxy(service, address):
    """By CONNECT: it sees where to, and nothing of what."""
    tunnel = Tunnel(service.port)
    assert through(tunnel, address).status == 200
    (asked,) = tunnel.asked
    assert (asked.method, asked.target) == ("CONNECT", "localhost:4433")
    assert service.received[0].body == b"alert"


def test_a_proxy_that_wants_a_login(service):
    """User and password out of its address; without them the right thing is said."""
    tunnel = Tunnel(service.port, login=f"us er:{SECRET}/@")
    assert through(tunnel, f"http://us%20er:{SECRET}%2F%40@127.0.0.1:{{port}}").status == 200
    with pytest.raises(ChannelError, match=r"^proxy_authentication$"):
        through(tunnel, "http://127.0.0.1:{port}")


def test_a_proxy_that_refuses(service):
    """Its words are not repeated."""
    with pytest.raises(ChannelError) as caught:
        through(Tunnel(service.port, refuses=403), "http://127.0.0.1:{port}")
    assert caught.value.code == "proxy_refused"
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize(
    ("address", "code"),
    [
        (f"http://u:{SECRET}@127.0.0.1:{{closed}}", "proxy_unreachable"),
        (f"http://u:{SECRET}@proxy.invalid:3128", "proxy_unreachable"),
        (f"socks5://u:{SECRET}@127.0.0.1:1080", "bad_proxy"),
        (f"https://u:{SECRET}@127.0.0.1:1080", "bad_proxy"),
        (f"http://u:{SECRET}@[x", "bad_proxy"),
        (f"http://u:{SECRET}@h:port", "bad_proxy"),
    ],
)
def test_a_proxy_that_cannot_be_asked(address, code):
    """It is the proxy that is named, not the service; its address is a secret."""
    proxy.use(address.replace("{closed}", str(hostile.refusing_port())))
    with pytest.raises(ChannelError) as caught:
        post(URL, body=b"", deadline=time.monotonic() + 20)
    assert caught.value.code == code
    assert SECRET not in repr(caught.value)
    assert caught.value.__context__ is caught.value.__cause__ is None


@pytest.mark.alone
@pytest.mark.parametrize("behave", hostile.SLOW, ids=lambda behave: behave.__name__)
def test_the_deadline_holds_for_the_proxy_as_well(behave):
    """A silent one, and one that drips."""
    with hostile.serve(behave) as server:
        proxy.use(f"http://127.0.0.1:{server.port}")
        began = time.monotonic()
        with pytest.raises(ChannelError):
            post(URL, body=b"", deadline=began + 0.5)
        assert time.monotonic() - began < 30


def test_what_the_environment_says(service, monkeypatch):
    """`HTTPS_PROXY` if asked to, but for what `NO_PROXY` leaves out."""
    tunnel = Tunnel(service.port)
    with hostile.serve(tunnel) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.port}")
        proxy.use(proxy.ENVIRONMENT)
        assert post(URL, body=b"").status == 200
        assert len(tunnel.asked) == 1
        monkeypatch.setenv("NO_PROXY", "localhost")
        assert post(URL.replace("4433", str(service.port)), body=b"").status == 200
        assert len(tunnel.asked) == 1
        monkeypatch.delenv("NO_PROXY")
        for nobody in (None, proxy.OFF):
            proxy.use(nobody)
            assert post(URL.replace("4433", str(service.port)), body=b"").status == 200
        assert len(tunnel.asked) == 1


def test_this_machine_is_never_asked_through_a_proxy():
    """Plain http is for loopback alone."""
    behave = hostile.answers(200)
    with hostile.serve(behave) as server:
        proxy.use(f"http://127.0.0.1:{hostile.refusing_port()}")
        assert post(server.url, body=b"").status == 200


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_there_may_be_one(name, monkeypatch):
    """A request that finds no way says so, where a variable names a proxy that is not asked."""
    monkeypatch.setenv(name, f"http://u:{SECRET}@proxy.example:3128")
    with pytest.raises(ChannelError) as caught:
        post("https://service.invalid/hook", body=b"", deadline=time.monotonic() + 20)
    assert caught.value.detail.startswith(f"{name} names a proxy, which is not asked: set proxy")
    assert SECRET not in repr(caught.value)
    proxy.use(proxy.OFF)
    with pytest.raises(ChannelError) as caught:
        post("https://service.invalid/hook", body=b"", deadline=time.monotonic() + 20)
    assert caught.value.detail is None


def test_a_channel_of_the_settings_goes_through_it(service, monkeypatch):
    """The address is a secret, read in the thread that sends."""
    tunnel = Tunnel(service.port)
    monkeypatch.setenv("HOOK", URL)
    settings = ChannelSettings("slack", "slack", {"webhook_url": SecretRef("env", "HOOK")})
    with hostile.serve(tunnel) as server:
        monkeypatch.setenv("OUR_PROXY", f"http://127.0.0.1:{server.port}")
        channel = build_channel(settings, proxy=SecretRef("env", "OUR_PROXY"))
        assert isinstance(channel, SlackChannel)
        channel.send(message())
    assert len(tunnel.asked) == len(service.received) == 1


@pytest.mark.long
def test_apprise_goes_through_it(monkeypatch):
    """In its own process, whatever the environment says."""
    heard = hostile.answers(200)
    with hostile.serve(heard) as server:
        monkeypatch.setenv("URL", "json://service.invalid/hook")
        settings = ChannelSettings("a", "apprise", {"url": SecretRef("env", "URL")})
        monkeypatch.setenv("OUR_PROXY", f"http://u:{SECRET}@127.0.0.1:{server.port}")
        build_channel(settings, proxy=SecretRef("env", "OUR_PROXY")).send(
            message(deadline=time.monotonic() + 60)
        )
    (request,) = heard.received
    assert request.target == "http://service.invalid/hook"


JOB = """
    @cron_guarded(job="nightly", threshold=1)
    def job():
        raise ValueError
    try:
        job()
    except ValueError:
        pass
    """


@pytest.mark.long
def test_a_host_behind_a_proxy(tmp_path, service):
    """Alert and heartbeat of a whole process, with one variable; without it, neither."""
    place = Place(tmp_path)
    (tmp_path / "cronguard.toml").write_text('[job.nightly]\nheartbeat_url = "env:BEAT"\n')
    tunnel = Tunnel(service.port)
    with hostile.serve(tunnel) as server:
        environ = {
            "CRONGUARD_CHANNELS": "slack",
            "CRONGUARD_SLACK_WEBHOOK_URL": URL,
            "BEAT": URL,
            "SSL_CERT_FILE": str(hostile.AUTHORITY),
            "HTTPS_PROXY": f"http://127.0.0.1:{server.port}",
        }
        nowhere = {"CRONGUARD_SLACK_WEBHOOK_URL": "https://service.invalid/hook", "BEAT": ""}
        done = place.run(JOB, env=environ | nowhere)
        assert "HTTPS_PROXY names a proxy, which is not asked" in done.stderr
        assert tunnel.asked == []
        shutil.rmtree(tmp_path / ".local", ignore_errors=True)
        place.path.unlink()
        done = place.run(JOB, env=environ | {"CRONGUARD_PROXY": "env"})
        assert done.stderr == ""
    assert sorted(request.target for request in service.received) == ["/hook", "/hook/fail"]


# --- settings -------------------------------------------------------------------------------------


def loaded(tmp_path, text="", **environ):
    (tmp_path / "cronguard.toml").write_text(text)
    return load_settings({}, environ=environ, cwd=tmp_path, main=None)


@pytest.mark.parametrize(
    ("file", "environ", "found"),
    [
        ("", {}, None),
        ('proxy = "env"', {}, "env"),
        ('proxy = "env:OURS"', {}, SecretRef("env", "OURS")),
        ('proxy = "vault:cronguard_proxy"', {}, SecretRef("vault", "cronguard_proxy")),
        ('proxy = "env"', {"CRONGUARD_PROXY": "off"}, "off"),
        ("", {"CRONGUARD_PROXY": f"http://u:{SECRET}@h:1"}, SecretRef("env", "CRONGUARD_PROXY")),
    ],
)
def test_the_setting(tmp_path, file, environ, found):
    """Off unless set; an address in a variable is kept as the variable's name."""
    read = loaded(tmp_path, file, **environ)
    assert (read.settings.proxy, read.problems, read.warnings) == (found, (), ())


@pytest.mark.parametrize("value", [f'"http://u:{SECRET}@h:1"', '"h:1"', "true", '""'])
def test_an_address_is_not_written_into_settings(tmp_path, value):
    """It may hold a password: refused with the way to name it, and not repeated."""
    read = loaded(tmp_path, f"proxy = {value}")
    (problem,) = read.problems
    assert read.settings.proxy is None
    assert "'env:OUR_PROXY'" in problem
    assert SECRET not in problem


@pytest.mark.long
@pytest.mark.parametrize(
    ("environ", "status", "says"),
    [
        ({"HTTPS_PROXY": "http://h:1"}, "warning", "HTTPS_PROXY names a proxy"),
        ({"CRONGUARD_PROXY": f"http://u:{SECRET}@h:1"}, "ok", "go through a proxy"),
        ({"CRONGUARD_PROXY": "env"}, "warning", "not set here"),
        ({"CRONGUARD_PROXY": f"socks5://u:{SECRET}@h:1"}, "error", "http://host:port"),
        ({"CRONGUARD_PROXY": "env:NOWHERE"}, "error", "NOWHERE"),
        ({"CRONGUARD_PROXY": "off", "HTTPS_PROXY": "http://h:1"}, None, None),
        ({}, None, None),
    ],
)
def test_doctor_looks_at_it(tmp_path, environ, status, says):
    """Where one is named and not used, and where one is to be used and cannot be."""
    done = subprocess.run(
        [sys.executable, "-m", "cronguard", "doctor", "--json"],
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], **environ},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    checks = [each for each in json.loads(done.stdout)["checks"] if each["check"] == "proxy"]
    assert [each["status"] for each in checks] == ([status] if status else [])
    assert all(says in each["message"] for each in checks)
    assert SECRET not in done.stdout + done.stderr
