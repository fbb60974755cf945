"""``apprise``: real services of Apprise against real servers, in a process that keeps its place."""

import email.policy
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import hostile, mailbox
from support.alerts import ALERTS, FAILING, NASTY, message

from cronguard.channels import _apprise_process as module
from cronguard.channels.apprise import AppriseChannel
from cronguard.channels.transport import mail
from cronguard.core import rendering
from cronguard.core.errors import ChannelError, PluginError
from cronguard.core.install import how_to_install
from cronguard.settings import plugins

pytestmark = pytest.mark.one_python

TOKEN = "S3NTINELsentinel0a1b2c3d4e"


def send(url, alert=FAILING, *, seconds=60):
    AppriseChannel(url=url).send(message(alert, deadline=time.monotonic() + seconds))


def failure(url, **options):
    with pytest.raises(ChannelError) as caught:
        send(url, **options)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert not caught.value.permanent
    return caught.value


def against(behave, *, seconds=60, service="json"):
    with hostile.serve(behave) as server:
        return failure(f"{service}://127.0.0.1:{server.port}/{TOKEN}", seconds=seconds)


@pytest.mark.long
@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.kind)
def test_every_kind_arrives_with_its_weight(alert):
    """Title, every fact, and Apprise's own word for how bad it is."""
    behave = hostile.answers(200)
    with hostile.serve(behave) as server:
        send(f"json://127.0.0.1:{server.port}/{TOKEN}", alert)
    (request,) = behave.received
    assert request.target == f"/{TOKEN}"
    assert request.json["title"] == rendering.title(alert)
    wanted = [f"{label}: {text}" for label, text in rendering.facts(alert)]
    assert request.json["message"].splitlines() == wanted
    weights = {"recovered": "success", "test": "info", "overrun": "warning"}
    assert request.json["type"] == weights.get(alert.kind, "failure")


@pytest.mark.long
@pytest.mark.parametrize(
    ("service", "target"),
    [
        ("form", f"/{TOKEN}"),
        ("mmost", f"/hooks/{TOKEN}"),
        ("ntfy", "/"),
        ("gotify", "/message"),
    ],
)
def test_services_with_requests_of_their_own(service, target):
    """Each service of Apprise sends what it sends, and its token reaches only the server."""
    behave = hostile.answers(200)
    with hostile.serve(behave) as server:
        send(f"{service}://127.0.0.1:{server.port}/{TOKEN}")
    (request,) = behave.received
    assert request.target == target
    assert b"assignment_reminder" in request.body


@pytest.mark.long
def test_mail_through_apprise():
    """A service that is no HTTP: a real mail server has the alert."""
    box = mailbox.Mailbox()
    with mailbox.serve(box, security="none") as port:
        send(f"mailto://127.0.0.1:{port}?from=a@example.com&to=b@example.com&mode=insecure")
    (envelope,) = box.mails
    received = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert received["Subject"] == mail.subject(FAILING)
    assert "psycopg.errors.UniqueViolation" in received.get_body().get_content()


@pytest.mark.long
@pytest.mark.parametrize(
    ("behave", "code", "retry_after"),
    [
        (hostile.answers(404, TOKEN.encode()), "http_404", None),
        (hostile.answers(429, b"", [("Retry-After", "7")]), "http_429", 7),
        (hostile.redirects, "http_307", None),
        (hostile.resets, "connection_reset", None),
        (hostile.is_not_http, "network_error", None),
    ],
    ids=["404", "429", "redirects", "resets", "is_not_http"],
)
def test_failures_are_codes(behave, code, retry_after):
    """Apprise only says that it failed; the code says how, and nothing else comes out."""
    error = against(behave)
    assert (error.code, error.retry_after) == (code, retry_after)
    assert TOKEN not in repr(error)


@pytest.mark.long
def test_a_redirect_is_not_followed():
    """The token of an address is for that address alone."""
    with hostile.serve(hostile.redirects) as server:
        failure(f"json://127.0.0.1:{server.port}/{TOKEN}?redirect=yes")
        assert server.connections == 1


def test_nobody_listens():
    """A closed port and a name that does not resolve have their own words."""
    port = hostile.refusing_port()
    assert failure(f"json://127.0.0.1:{port}/{TOKEN}").code == "connection_refused"
    assert failure(f"mailto://127.0.0.1:{port}?from=a@b.cc&to=a@b.cc").code == "apprise_failed"


@pytest.mark.parametrize(
    "behave", [hostile.never_answers, hostile.drips_a_body, hostile.endless_body]
)
def test_the_deadline_is_for_the_whole_try_and_leaves_nobody_behind(behave, monkeypatch):
    """The process is killed: no thread goes on reading into this program's memory."""
    started = []
    real = subprocess.Popen

    def remember(*args, **options):
        started.append(real(*args, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", remember)
    began = time.monotonic()
    assert against(behave, seconds=1.5).code in {"timeout", "answer_too_long"}
    assert time.monotonic() - began < 20
    (child,) = started
    assert child.poll() is not None


def test_a_process_that_nobody_kills_ends_by_itself():
    """If this program is gone before its time is up, so is the other one soon."""
    with hostile.serve(hostile.never_answers) as server:
        task = {
            "path": sys.path,
            "url": f"json://127.0.0.1:{server.port}/x?rto=60",
            "title": "t",
            "body": "b",
            "kind": "info",
            "seconds": 1.0,
        }
        command = [sys.executable, "-I", "-S", "-c", module.BOOTSTRAP]
        done = subprocess.run(
            command, input=json.dumps(task).encode(), capture_output=True, timeout=30, check=False
        )
    assert (done.returncode, done.stdout) == (1, b"")


@pytest.mark.parametrize(
    "url",
    ["", "slack", "https//x", f"json://127.0.0.1/{TOKEN}\nx", f"json://a b/{TOKEN}", "json://"],
)
def test_what_is_no_address_is_refused_when_the_channel_is_made(url):
    """Where doctor sees it, offline, and without repeating it."""
    with pytest.raises(ChannelError, match="bad_url: the address is not of the form") as caught:
        AppriseChannel(url=url)
    assert TOKEN not in repr(caught.value)


@pytest.mark.long
@pytest.mark.parametrize("url", [f"nosuch://host/{TOKEN}", f"slack://{TOKEN}"])
def test_what_apprise_does_not_take_is_said(url):
    """An unknown service, or an address that lacks a part, with the way to find out more."""
    error = failure(url)
    assert error.code == "bad_url"
    assert "Apprise does not take this address" in error.detail
    assert TOKEN not in repr(error)


def test_no_secret_is_logged_printed_or_in_the_command_line(caplog, capfd, monkeypatch):
    """With the root logger at DEBUG, a variable that traces, and a proxy that would be told."""
    caplog.set_level(logging.DEBUG)
    commands = []
    real = subprocess.Popen
    monkeypatch.setattr(
        subprocess,
        "Popen",
        lambda command, **rest: commands.append(command) or real(command, **rest),
    )
    proxy = hostile.answers(200)
    behave = hostile.answers(500, TOKEN.encode())
    with hostile.serve(proxy) as nosy, hostile.serve(behave) as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{nosy.port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{nosy.port}")
        channel = AppriseChannel(url=f"json://user:{TOKEN}@127.0.0.1:{server.port}/{TOKEN}")
        with pytest.raises(ChannelError, match=r"^http_500$"):
            channel.send(message())
    assert proxy.received == []
    assert len(behave.received) == 1
    assert TOKEN not in repr([record.__dict__ for record in caplog.records])
    assert TOKEN not in "".join(capfd.readouterr()) + repr(commands) + repr(channel)
    assert "apprise" not in sys.modules, "it is loaded in the other process only"


@pytest.mark.long
def test_nobody_is_mentioned():
    """Chat services are told of everyone only by people."""
    behave = hostile.answers(200)
    with hostile.serve(behave) as server:
        send(f"json://127.0.0.1:{server.port}/", FAILING._replace(error_message=NASTY))
    text = behave.received[0].json["message"]
    assert "@here" not in text
    assert "@everyone" not in text
    assert "<!channel>" not in text
    assert "<@U012>" not in text


def test_no_process_is_a_code(monkeypatch):
    """A machine that starts no more processes keeps the alert for later."""
    monkeypatch.setattr(module, "_python", lambda: "/nowhere/python")
    assert failure("json://127.0.0.1/x").code == "no_process"


def test_the_python_of_a_server_that_embeds_it(monkeypatch):
    """There the executable is the server: it must not be started once more."""
    monkeypatch.setattr(sys, "executable", "/usr/bin/uwsgi")
    assert module._python() == str(Path(sys.exec_prefix, "bin", "python3"))


@pytest.mark.parametrize(
    "said", [b"", b"[]", b"\xff", b"null", b"[3, 4]", b'{"code": 3}', b'["Sent!", 1]']
)
def test_an_answer_that_is_none(said, monkeypatch):
    """A process that dies, or says what it should not, has sent nothing."""
    monkeypatch.setattr(
        module, "BOOTSTRAP", f"import sys; sys.stdin.read(); sys.stdout.buffer.write({said!r})"
    )
    assert failure("json://127.0.0.1/x").code == "apprise_failed"


def test_without_the_extra_the_line_says_what_to_install(monkeypatch):
    """One line with the pip command; nothing else of the settings suffers."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "cronguard.channels.apprise")
    plugins.forget()
    try:
        with pytest.raises(PluginError) as caught:
            plugins.load(plugins.CHANNELS, "apprise")
        assert str(caught.value) == (
            "channel 'apprise' needs the module 'apprise': " + how_to_install("apprise")
        )
    finally:
        plugins.forget()


def test_a_run_does_not_pay_for_it(tmp_path):
    """With the channel set up, a run that goes well loads nothing of Apprise."""
    code = (
        "import sys, cronguard\n"
        "cronguard.cron_guarded(job='j')(lambda: None)()\n"
        "print('cronguard.channels.apprise' in sys.modules,"
        " sorted({'apprise', 'requests'} & set(sys.modules)))"
    )
    environ = {
        "CRONGUARD_APPRISE_URL": "json://127.0.0.1/x",
        "CRONGUARD_STORE": f"sqlite:///{tmp_path}/runs.db",
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True []"
