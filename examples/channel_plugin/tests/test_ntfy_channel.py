"""The channel against a server of the test's own: `ChannelContract` brings most of the tests."""

import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cronguard.core.errors import ChannelError
from cronguard.testing import ChannelContract
from cronguard.testing.channel import message
from ntfy_channel import NtfyChannel


class Phone(BaseHTTPRequestHandler):
    """Takes notifications, as ntfy does; refuses them on the topic ``closed``."""

    received: list[str]

    def do_POST(self) -> None:
        """Keep title and text."""
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path != "/closed":
            self.received.append(f"{self.headers['Title']} {self.headers['Priority']}\n{text}")
        self.send_response(403 if self.path == "/closed" else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class TestNtfy(ChannelContract):
    """Everything that cronguard asks of a channel."""

    SECRETS = ("closed",)

    @pytest.fixture(autouse=True)
    def _phone(self) -> Iterator[None]:
        handler = type("Handler", (Phone,), {"received": []})
        self.received: list[str] = handler.received  # type: ignore[attr-defined]
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            self.url = f"http://127.0.0.1:{server.server_port}"
            yield
            server.shutdown()

    def make(self) -> NtfyChannel:
        """A channel whose alerts arrive at the phone."""
        return NtfyChannel(topic_url=f"{self.url}/topic", priority="urgent")

    def make_broken(self) -> NtfyChannel:
        """One that is refused."""
        return NtfyChannel(topic_url=f"{self.url}/closed")

    def sent(self) -> Sequence[str]:
        """What the phone has."""
        return self.received

    def test_the_priority_is_the_options(self) -> None:
        """And besides the contract, whatever is special about this channel."""
        self.make().send(message())
        assert " urgent\n" in self.received[0]


def test_an_address_that_cannot_be_is_refused_at_once() -> None:
    """When the channel is made, so that ``cronguard doctor`` says it."""
    with pytest.raises(ChannelError, match="insecure_url"):
        NtfyChannel(topic_url="http://example.org/topic")
