"""A channel that keeps what it is sent, and the contract that every channel keeps."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, ClassVar, get_args

from cronguard.core.errors import ChannelError
from cronguard.core.interfaces import Channel
from cronguard.core.model import Alert, AlertKind, Message, Option
from cronguard.core.payload import encode

ALERT_KINDS: tuple[AlertKind, ...] = get_args(AlertKind)


class RecordingChannel:
    """Keeps every alert it is sent in ``alerts``; raises ``error`` instead while that is set."""

    OPTIONS: ClassVar[Sequence[Option]] = ()

    def __init__(self, name: str = "recording") -> None:
        self.name = name
        self.alerts: list[Alert] = []
        self.messages: list[Message] = []
        self.error: BaseException | None = None
        self._arrived = threading.Condition()

    def send(self, message: Message) -> None:
        with self._arrived:
            if self.error is not None:
                raise self.error
            self.messages.append(message)
            self.alerts.append(message.alert)
            self._arrived.notify_all()

    def wait(self, count: int, *, timeout: float = 10.0) -> list[Alert]:
        """Block until ``count`` alerts have come, at most ``timeout`` seconds; returns them all."""
        with self._arrived:
            self._arrived.wait_for(lambda: len(self.alerts) >= count, timeout)
            return list(self.alerts)


class ChannelContract:
    """Subclass it in your tests, give `make` and `sent`, and your channel is put to the proof.

    ``make`` returns a channel that sends to a place of your test's; ``sent`` returns what arrived
    there, as text, one entry an alert. ``SECRETS`` lists the option values that must appear in no
    error.
    """

    SECRETS: ClassVar[Sequence[str]] = ()

    def make(self) -> Channel:
        """Return a channel whose alerts arrive where `sent` looks."""
        raise NotImplementedError("return a channel built with your options")

    def make_broken(self) -> Channel | None:
        """Return a channel whose `send` must fail, as with a closed endpoint.

        None leaves the tests of failure out.
        """
        return None

    def sent(self) -> Sequence[str]:
        """Return what has arrived so far, one text an alert."""
        raise NotImplementedError("return what your channel's far end received")

    def test_declares_its_options(self) -> None:
        """`OPTIONS` is a sequence of Option with unique names, secrets without defaults."""
        options = type(self.make()).OPTIONS
        assert all(isinstance(option, Option) for option in options)
        names = [option.name for option in options]
        assert len(set(names)) == len(names)
        assert not [option.name for option in options if option.secret and option.default]

    def test_every_kind_arrives_and_names_the_job(self) -> None:
        """Each kind of alert is sent, and says which job it is about."""
        for number, kind in enumerate(ALERT_KINDS, start=1):
            deliver(self.make(), message(kind))
            assert len(self.sent()) == number, kind
            assert "nightly.export" in self.sent()[-1], kind

    def test_an_alert_with_nothing_known_arrives(self) -> None:
        """Every fact but the job may be missing."""
        deliver(self.make(), message("failing", bare=True))
        assert "nightly.export" in self.sent()[-1]

    def test_an_alert_without_the_store_arrives(self) -> None:
        """Decided on what a host last knew: the streak may be unknown."""
        deliver(self.make(), message("failing", degraded=True, consecutive_failure_count=None))
        assert "nightly.export" in self.sent()[-1]

    def test_hostile_text_arrives_harmless(self) -> None:
        """Control characters and line breaks in a message neither raise nor reach the far end."""
        deliver(
            self.make(),
            message("failing", error_message="a\r\nBcc: x@example.org\x1b[31m<!channel>\x00\u2028"),
        )
        arrived = self.sent()[-1]
        assert "\x1b" not in arrived
        assert "\x00" not in arrived

    def test_sending_twice_sends_the_same(self) -> None:
        """A try that is repeated sends the same alert id; nothing is kept between tries."""
        same = message("failing")
        deliver(self.make(), same)
        deliver(self.make(), same)
        assert len(self.sent()) == 2

    def test_shows_no_secret(self) -> None:
        """A channel's ``repr``, which logs and tracebacks show, holds none of its secrets."""
        for channel in filter(None, (self.make(), self.make_broken())):
            assert not self._secrets_in(f"{channel!r} {channel}")

    def test_failure_is_a_channel_error_without_secrets(self) -> None:
        """A far end that refuses raises ChannelError, and no secret is in it or around it."""
        broken = self.make_broken()
        if broken is None:
            return
        try:
            deliver(broken, message("failing"))
        except ChannelError as error:
            hidden = None if error.__suppress_context__ else error.__context__
            shown = f"{error!r} {error} {error.code} {error.detail} {error.__cause__!r} {hidden!r}"
            assert not self._secrets_in(shown)
        else:
            raise AssertionError("send returned although the far end did not take the alert")

    def _secrets_in(self, text: str) -> list[str]:
        return [secret for secret in self.SECRETS if secret in text]


def message(kind: AlertKind = "failing", *, bare: bool = False, **facts: Any) -> Message:
    """Return a message to try a channel with; ``facts`` replace fields of its `Alert`."""
    known: Mapping[str, Any] = {
        "run_id": "0199d2f0-0000-7000-8000-000000000001",
        "consecutive_failure_count": 0 if kind == "recovered" else 2,
        "threshold": 2,
        "error_type": "psycopg.OperationalError",
        "error_code": "57P01",
        "error_message": "connection to ‹…› lost",
        "error_location": "jobs/nightly.py:42 in export",
        "last_success_at": "2026-01-01T06:00:00.000000Z",
        "started_at": "2026-01-03T06:00:00.000000Z",
        "finished_at": "2026-01-03T06:00:05.250000Z",
        "duration_seconds": 5.25,
        "host": "web-1",
        "runbook": "https://example.org/runbooks/nightly",
    }
    alert = Alert(
        alert_id="0199d2f0-0000-7000-8000-00000000000a",
        kind=kind,
        job="nightly.export",
        test=kind == "test",
        **({} if bare else {**known, **facts}),
    )
    return Message(alert=alert, payload=encode(alert).encode())


def deliver(channel: Channel, message: Message) -> None:
    """Send one message, waiting for an asynchronous channel."""
    pending = channel.send(message)
    if isinstance(pending, Awaitable):  # many return something, and mean nothing by it
        import asyncio  # few channels are asynchronous

        async def finish() -> None:
            await pending

        asyncio.run(finish())
