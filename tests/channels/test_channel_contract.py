"""Every built-in channel, every kind of alert, and the contract that third parties keep too."""

import email.policy
import inspect
import logging
import sys
from contextlib import ExitStack
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from support import hostile, mailbox

from cronguard.channels import email_postmark, email_resend
from cronguard.channels.apprise import AppriseChannel
from cronguard.channels.console import ConsoleChannel
from cronguard.channels.email_postmark import EmailPostmarkChannel
from cronguard.channels.email_resend import EmailResendChannel
from cronguard.channels.email_smtp import EmailSmtpChannel
from cronguard.channels.log import LogChannel
from cronguard.channels.slack import SlackChannel
from cronguard.channels.transport import sockets
from cronguard.channels.webhook import WebhookChannel
from cronguard.core.errors import ChannelError
from cronguard.core.interfaces import Channel
from cronguard.testing import ChannelContract
from cronguard.testing.channel import ALERT_KINDS, deliver, message

pytestmark = pytest.mark.one_python

SECRET = "S3NTINEL"
ADDRESSES = {"from": "cron@example.com", "to": "ops@example.com"}


class BuiltIn(ChannelContract):
    """What cronguard's own promise besides."""

    @pytest.fixture(autouse=True)
    def _patience(self, monkeypatch):
        """A busy machine may take longer than a try's time to load Apprise."""
        monkeypatch.setattr(sockets, "DELIVERY_SECONDS", 60)

    @pytest.mark.parametrize("kind", ALERT_KINDS)
    def test_a_degraded_alert_says_so(self, kind):
        """Whoever reads it knows that the streak is what one host last knew."""
        deliver(self.make(), message(kind, degraded=True))
        assert "degraded" in self.sent()[-1].lower()


class OverHttp(BuiltIn):
    """A far end that takes requests, and one where nobody listens."""

    SECRETS = (SECRET,)

    @pytest.fixture(autouse=True)
    def _far_end(self, monkeypatch):
        self.monkeypatch = monkeypatch
        self.behave = hostile.answers()
        with hostile.serve(self.behave) as server:
            self.url = server.url
            yield

    def at(self, url):
        raise NotImplementedError

    def make(self):
        return self.at(f"{self.url}/{SECRET}")

    def make_broken(self):
        return self.at(f"http://127.0.0.1:{hostile.refusing_port()}/{SECRET}")

    def sent(self):
        return [request.body.decode() for request in self.behave.received]


class TestSlack(OverHttp):
    def at(self, url):
        return SlackChannel(webhook_url=url)


class TestWebhook(OverHttp):
    def at(self, url):
        return WebhookChannel(url=url, secret="whsec_c2VjcmV0")


class TestEmailResend(OverHttp):
    def at(self, url):
        self.monkeypatch.setattr(email_resend, "URL", url)
        return EmailResendChannel(api_key=SECRET, **ADDRESSES)


class TestEmailPostmark(OverHttp):
    def at(self, url):
        self.monkeypatch.setattr(email_postmark, "URL", url)
        return EmailPostmarkChannel(server_token=SECRET, **ADDRESSES)


@pytest.mark.long
class TestApprise(OverHttp):
    def at(self, url):
        return AppriseChannel(url=url.replace("http:", "json:"))

    def sent(self):
        notified = [request.json for request in self.behave.received]
        return [f"{each['title']}\n{each['message']}" for each in notified]


class TestEmailSmtp(BuiltIn):
    SECRETS = (SECRET,)

    @pytest.fixture(autouse=True)
    def _far_end(self):
        self.box = mailbox.Mailbox()
        with ExitStack() as running:
            self.port = running.enter_context(mailbox.serve(self.box, security="none"))
            yield

    def make(self):
        return self.at(self.port)

    def make_broken(self):
        return self.at(hostile.refusing_port(), user="cron", password=SECRET)

    def at(self, port, **login):
        options = {"host": "127.0.0.1", "port": str(port), "security": "none"}
        return EmailSmtpChannel(**options, **login, **ADDRESSES)

    def sent(self):
        mails = [
            email.message_from_bytes(each.content, policy=email.policy.default)
            for each in self.box.mails
        ]
        return [f"{mail['Subject']}\n{mail.get_body().get_content()}" for mail in mails]


class TestConsole(BuiltIn):
    @pytest.fixture(autouse=True)
    def _far_end(self, capsys):
        self.capsys, self.arrived = capsys, []

    def make(self):
        self.sent()
        return ConsoleChannel()

    def make_broken(self):
        channel = ConsoleChannel()
        self.monkeypatch.setattr(sys, "stderr", None)
        return channel

    @pytest.fixture(autouse=True)
    def _patch(self, monkeypatch):
        self.monkeypatch = monkeypatch

    def sent(self):
        shown = self.capsys.readouterr().err
        self.arrived += [shown] if shown else []
        return self.arrived


class TestLog(BuiltIn):
    @pytest.fixture(autouse=True)
    def _far_end(self, caplog):
        caplog.set_level(logging.DEBUG, logger="cronguard.alerts")
        self.caplog = caplog

    def make(self):
        return LogChannel()

    def sent(self):
        return [r.getMessage() for r in self.caplog.records if r.name == "cronguard.alerts"]


def test_every_built_in_channel_is_proven_here():
    """A channel that is registered but not in this file would be one nobody tries."""
    ours = {
        point.load()
        for point in entry_points(group="cronguard.channels")
        if point.value.startswith("cronguard.channels.")
    }
    proven = {SlackChannel, WebhookChannel, ConsoleChannel, LogChannel, AppriseChannel}
    proven |= {EmailResendChannel, EmailPostmarkChannel, EmailSmtpChannel}
    assert ours <= proven
    assert all(isinstance(channel, Channel) for channel in ours)


@pytest.mark.parametrize(
    "point",
    [p for p in entry_points(group="cronguard.channels") if p.value.startswith("cronguard.")],
    ids=lambda point: point.name,
)
def test_a_channel_is_one_small_file(point):
    """To be read at a sitting, and copied for another."""
    source = Path(inspect.getsourcefile(point.load())).read_text("utf-8")
    assert len(source.splitlines()) <= 130


@pytest.mark.parametrize(
    ("kind", "options", "code"),
    [
        (SlackChannel, {"webhook_url": f"http://example.org/{SECRET}"}, "insecure_url"),
        (SlackChannel, {"webhook_url": SECRET}, "bad_url"),
        (SlackChannel, {"webhook_url": f"https://169.254.169.254/{SECRET}"}, "link_local"),
        (WebhookChannel, {"url": f"http://example.org/{SECRET}"}, "insecure_url"),
        (WebhookChannel, {"url": f"https://example.org/{SECRET}\nx"}, "bad_url"),
        (WebhookChannel, {"url": "https://example.org", "secret": f"{SECRET}!"}, "bad_secret"),
        (EmailResendChannel, {"api_key": SECRET, **ADDRESSES, "to": SECRET}, "bad_address"),
        (EmailPostmarkChannel, {"server_token": SECRET, **ADDRESSES, "from": "x"}, "bad_address"),
        (EmailSmtpChannel, {"host": "mail.example", **ADDRESSES, "port": SECRET}, "bad_option"),
        (AppriseChannel, {"url": f"{SECRET}"}, "bad_url"),
    ],
)
def test_a_wrong_option_is_refused_when_the_channel_is_made(kind, options, code):
    """Offline, so that doctor says it before a job has to fail; the value is not repeated."""
    with pytest.raises(ChannelError) as caught:
        kind(**options)
    assert caught.value.code == code
    assert not caught.value.permanent, "an option can be mended, and the alert sent then"
    assert SECRET not in f"{caught.value!r} {caught.value} {caught.value.detail}"


class Careless:
    """What the contract finds fault with, a fault at a time."""

    OPTIONS = ()

    def __init__(self, fault=None):
        self.fault = fault

    def __repr__(self):
        return f"Careless({SECRET if self.fault == 'repr' else '…'})"

    def send(self, letter):
        if self.fault == "ignores":
            return
        if self.fault == "raises":
            raise ChannelError("refused", detail=SECRET)
        if self.fault == "context":
            try:
                int(SECRET)
            except ValueError:
                raise ChannelError("refused")  # noqa: B904  # the fault
        if self.fault == "cause":
            raise ChannelError("refused") from ValueError(SECRET)
        raise ChannelError("refused")


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (None, None),
        ("repr", "test_shows_no_secret"),
        ("ignores", "test_failure_is_a_channel_error_without_secrets"),
        ("raises", "test_failure_is_a_channel_error_without_secrets"),
        ("context", "test_failure_is_a_channel_error_without_secrets"),
        ("cause", "test_failure_is_a_channel_error_without_secrets"),
    ],
)
def test_the_contract_finds_what_is_wrong(fault, found):
    """A secret that a channel shows, and an alert that it loses without a word."""

    class Proof(ChannelContract):
        SECRETS = (SECRET,)

        def make(self):
            return Careless()

        def make_broken(self):
            return Careless(fault)

    for name in ("test_shows_no_secret", "test_failure_is_a_channel_error_without_secrets"):
        if name == found:
            with pytest.raises(AssertionError):
                getattr(Proof(), name)()
        else:
            getattr(Proof(), name)()
