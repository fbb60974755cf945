"""No channel lets a secret out, whatever the other side does with it."""

import logging
import pickle
import time
import traceback

import pytest
from support import hostile
from support.alerts import message

from cronguard.channels import email_postmark, email_resend
from cronguard.channels.email_postmark import EmailPostmarkChannel
from cronguard.channels.email_resend import EmailResendChannel
from cronguard.channels.email_smtp import EmailSmtpChannel
from cronguard.channels.slack import SlackChannel
from cronguard.channels.webhook import WebhookChannel
from cronguard.core.errors import ChannelError

pytestmark = pytest.mark.one_python

SECRET = "S3NTINEL"
ADDRESSES = {"from": "cron@example.com", "to": "ops@example.com"}
CHANNELS = {
    "slack": lambda server: SlackChannel(webhook_url=f"{server.url}/{SECRET}\n"),
    "slack-unusable": lambda server: SlackChannel(webhook_url=f"{server.url}/{SECRET}\nx"),
    "slack-insecure": lambda server: SlackChannel(webhook_url=f"http://example.com/{SECRET}"),
    "webhook": lambda server: WebhookChannel(
        url=server.url.replace("://", f"://{SECRET}:{SECRET}@"), secret=f"whsec_{SECRET}"
    ),
    "webhook-unusable": lambda server: WebhookChannel(url=server.url, secret=f"{SECRET}!"),
    "email-resend": lambda server: EmailResendChannel(api_key=SECRET, **ADDRESSES),
    "email-resend-unusable": lambda server: EmailResendChannel(api_key=f"{SECRET}é", **ADDRESSES),
    "email-postmark": lambda server: EmailPostmarkChannel(server_token=SECRET, **ADDRESSES),
    "email-smtp": lambda server: EmailSmtpChannel(
        host="127.0.0.1",
        port=str(server.port),
        security="none",
        **{"user": "cron", "password": SECRET, **ADDRESSES},
    ),
    "email-smtp-unusable": lambda server: EmailSmtpChannel(
        host="127.0.0.1",
        port=str(server.port),
        security="none",
        **{"user": "cron", "password": f"{SECRET}é", **ADDRESSES},
    ),
}


def echoes(connection, stop):
    """Gives back whatever it was sent: in headers, in the body, in error replies."""
    connection.settimeout(0.2)
    try:
        said = connection.recv(65536)
    except TimeoutError:
        said = b""
    line = said.replace(b"\r", b" ").replace(b"\n", b" ")[:2000] + SECRET.encode()
    connection.sendall(b"HTTP/1.1 404 " + line[:50] + b"\r\nX-Echo: " + line + b"\r\n\r\n" + said)


def logs_in_and_echoes(connection, stop):
    """An SMTP server that quotes the password in its refusal."""
    connection.sendall(b"220 hi\r\n")
    for line in connection.makefile("rb"):
        if line.upper().startswith(b"EHLO"):
            connection.sendall(b"250-mail\r\n250 AUTH PLAIN LOGIN\r\n")
        else:
            connection.sendall(b"535 " + line.strip() + SECRET.encode() + b"\r\n")


BAD = [
    hostile.answers(200, SECRET.encode()),
    hostile.answers(500, SECRET.encode(), [("Retry-After", SECRET)]),
    echoes,
    logs_in_and_echoes,
    hostile.resets,
    hostile.hangs_up,
    hostile.is_not_http,
    hostile.drips_a_header,
    hostile.redirects,
]


@pytest.mark.parametrize("behave", BAD, ids=lambda behave: getattr(behave, "__name__", "answers"))
@pytest.mark.parametrize("name", CHANNELS)
def test_no_secret_leaves_a_channel(name, behave, caplog, capfd, monkeypatch):
    """Not in the error, its causes or its pickle, not in a log at DEBUG, not on a stream."""
    caplog.set_level(logging.DEBUG)
    said = ""
    with hostile.serve(behave) as server:
        for module in (email_resend, email_postmark):
            monkeypatch.setattr(module, "URL", server.url)
        try:
            channel = CHANNELS[name](server)
            said += repr(channel) + str(channel)
            channel.send(message(deadline=time.monotonic() + 0.6))
        except ChannelError as error:
            said += "".join(traceback.format_exception(error))
            said += repr((error.code, error.detail, error.__context__, error.__cause__))
            said += repr(pickle.dumps(error))
    assert SECRET not in said
    assert SECRET not in repr([record.__dict__ for record in caplog.records])
    assert SECRET not in "".join(capfd.readouterr())
