"""What a failed try is called, and what is said of it."""

import errno
import socket
import ssl

import pytest

from cronguard.channels import email_resend, slack
from cronguard.channels.transport import sockets
from cronguard.runtime.delivery_codes import explain

OF_THE_NETWORK = [
    TimeoutError(),
    ssl.SSLCertVerificationError(),
    ssl.SSLError(),
    ConnectionRefusedError(),
    ConnectionResetError(),
    socket.gaierror(),
    OSError(errno.EHOSTUNREACH, ""),
    OSError(errno.EIO, ""),
]


@pytest.mark.parametrize("error", OF_THE_NETWORK, ids=repr)
def test_trouble_of_the_network_is_explained(error):
    """Every code that the network's errors come to has a sentence, in one short line."""
    sentence = explain(sockets.error_code(error))
    assert sentence.isprintable()
    assert len(sentence) < 120


SERVICES = (
    *(f"slack_{word}" for word in slack.ERRORS),
    *(f"resend_{word}" for word in email_resend.ERRORS),
    *(f"postmark_{number}" for number in (10, 100, 300, 405, 406, 409, 412, 1101)),
    *(f"http_{status}" for status in (400, 401, 402, 403, 404, 405, 407, 410, 413, 429, 500, 503)),
)


@pytest.mark.parametrize("code", SERVICES)
def test_every_word_of_a_service_is_explained(code):
    """Whatever code of a service is kept, the person who reads it need not look it up."""
    sentence = explain(code)
    assert sentence.isprintable()
    assert 10 < len(sentence) < 120
    assert not sentence.endswith(".")


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("http_404", "address"),
        ("http_500", "service"),
        ("http_599", "service"),
        ("smtp_451", "later"),
        ("smtp_535", "password"),
        ("smtp_554", "refused"),
        ("slack_no_service", "webhook"),
    ],
)
def test_answers_are_explained(code, word):
    """By their number, or by its class."""
    assert word in explain(code)


@pytest.mark.parametrize("code", [None, "", "resend_of_tomorrow", "http_299", "http"])
def test_what_only_the_channel_knows_is_not_explained(code):
    """No sentence is better than one that may be wrong."""
    assert explain(code) is None
