"""Every built-in channel, every kind of alert, and the contract that third parties keep too."""

import email.policy
import logging
import sys
from contextlib import ExitStack
from importlib.metadata import entry_points

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
from cronguard.channels.webhook import WebhookChannel
from cronguard.interfaces import Channel
from cronguard.testing import ChannelContract

SECRET = "S3NTINEL"
ADDRESSES = {"from": "cron@example.com", "to": "ops@example.com"}


class OverHttp(ChannelContract):
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


class TestApprise(OverHttp):
    def at(self, url):
        return AppriseChannel(url=url.replace("http:", "json:"))

    def sent(self):
        told = [request.json for request in self.behave.received]
        return [f"{each['title']}\n{each['message']}" for each in told]


class TestEmailSmtp(ChannelContract):
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


class TestConsole(ChannelContract):
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


class TestLog(ChannelContract):
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
