"""What a failed try is called, and what is said of it."""

import errno
import socket
import ssl

import pytest

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
    assert len(sentence) < 80


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


@pytest.mark.parametrize("code", [None, "", "resend_validation_error", "http_302", "http"])
def test_what_only_the_channel_knows_is_not_explained(code):
    """No sentence is better than one that may be wrong."""
    assert explain(code) is None
