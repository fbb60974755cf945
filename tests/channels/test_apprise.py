"""``apprise``: real services of Apprise against real servers, in a process that keeps its place."""

import email.policy
import html
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import hostile, mailbox
from support.alerts import ALERTS, FAILING, NASTY, hostile_alerts, message

from cronguard.channels import _apprise_process as module
from cronguard.channels.apprise import AppriseChannel, addresses
from cronguard.channels.transport import mail
from cronguard.core import rendering
from cronguard.core.errors import ChannelError, PartialDelivery, PluginError
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


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("json://a/x, json://b/y", 2),
        ("json://a/x,tgram://b/y\nslack://c/z", 3),
        ("json://a/x?to=1,2", 1),
        ("mailto://u:p@a.example?to=a@b.example,c@d.example", 1),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_several_addresses_are_told_apart_as_apprise_does(given, found):
    """Commas and white space, but not those inside an address."""
    from apprise.utils.parse import parse_urls

    assert addresses(given) == parse_urls(given)
    assert len(addresses(given)) == found


@pytest.mark.long
def test_several_addresses_are_each_told():
    """One variable, two services; what the second refuses is said and does not repeat the first."""
    good, bad = hostile.answers(200), hostile.answers(404)
    with hostile.serve(good) as first, hostile.serve(bad) as second:
        fine = f"json://127.0.0.1:{first.port}/{TOKEN}"
        broken = f"json://127.0.0.1:{second.port}/{TOKEN}"
        send(f"{fine}/a, {fine}/b")
        assert sorted(request.target for request in good.received) == [
            f"/{TOKEN}/a",
            f"/{TOKEN}/b",
        ]
        with pytest.raises(PartialDelivery) as caught:
            send(f"{fine},{broken}")
        assert caught.value.code == "http_404"
        assert "1 of 2 addresses" in caught.value.detail
        assert TOKEN not in repr(caught.value)
        assert failure(f"{broken} {broken}").code == "http_404"


LIMITS = (
    *("body_maxlen", "title_maxlen", "body_max_line_count", "notify_format"),
    *("overflow_buffer", "overflow_amalgamate_title", "overflow_max_display_count_width"),
)
LONG = FAILING._replace(
    job="j" * 90,
    error_message="duplicate & <key> " * 150,
    error_location="reminders/" + "very_" * 20 + "long.py:42 in send_all",
)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_long_alert_fits_every_service_that_apprise_knows():
    """Apprise itself, told to cut what is too long, has nothing left to cut; what is asked for
    first is there."""
    from apprise import NotifyBase
    from apprise.conversion import convert_between
    from apprise.plugins import N_MGR

    facts = rendering.facts(LONG)
    small = 0
    for kind in N_MGR.plugins():
        limits = {name: getattr(kind, name) for name in LIMITS}
        if any(isinstance(each, property) for each in limits.values()):
            continue  # it takes an account to know them
        service = type("Service", (NotifyBase,), limits)()
        content = module._fitted(service, rendering.title(LONG), facts)
        form = service.notify_format
        converted = convert_between("text", form, content["body"])
        (piece,) = service._apply_overflow(
            converted, content["title"], overflow="truncate", body_format=form
        )
        small += kind.body_maxlen < 2_500
        assert piece["body"].endswith(converted.rstrip().splitlines()[-1]), kind
        assert content["title"].startswith("j" * 30), kind
        if kind.body_maxlen > 400:
            assert "UniqueViolation" in content["body"], kind
            assert "Last successful run" in content["body"], kind
    assert small > 60


def test_a_short_alert_is_not_cut():
    """Nothing is left out where there is room."""
    facts = rendering.facts(FAILING)
    text = rendering.fit(facts, 10_000)
    assert text.splitlines() == [f"{label}: {text}" for label, text in facts]
    assert rendering.fit(facts, len(text)) == text


@given(hostile_alerts, st.integers(0, 3_000))
def test_a_text_fits(alert, limit):
    """Whatever the facts and the limit, in whatever is counted."""
    facts = rendering.facts(alert)
    assert len(rendering.fit(facts, limit)) <= limit
    assert len(html.escape(rendering.fit(facts, limit, lambda text: len(html.escape(text))))) <= (
        limit
    )


def takes_512(connection, stop):
    """Misskey, which refuses longer notes."""
    request = hostile.read_request(connection)
    takes_512.received.append(request)
    short = len(request.json["text"]) <= 512
    connection.sendall(hostile.answer(200 if short else 400, b"{}"))


@pytest.mark.long
def test_a_service_with_a_limit_takes_a_long_alert():
    """It has what is asked for first, in one note; or all of it in several, if the address says so,
    which is Apprise's own option."""
    takes_512.received = []
    with hostile.serve(takes_512) as server:
        send(f"misskey://{TOKEN}@127.0.0.1:{server.port}", LONG)
        (note,) = takes_512.received
        assert "UniqueViolation" in note.json["text"]
        assert "Last successful run" in note.json["text"]
        send(f"misskey://{TOKEN}@127.0.0.1:{server.port}/?overflow=split", LONG)
    assert len(takes_512.received) > 5


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
            "facts": [["Job", "b"]],
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
            channel.send(message(deadline=time.monotonic() + 60))
    assert proxy.received == []
    assert len(behave.received) == 1
    assert TOKEN not in repr([record.__dict__ for record in caplog.records])
    assert TOKEN not in "".join(capfd.readouterr()) + repr(commands) + repr(channel)


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
