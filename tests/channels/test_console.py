"""``console``: a block on standard error."""

import io
import sys

import pytest
from hypothesis import given
from support.alerts import FAILING, hostile_alerts, message, of_kind

from cronguard.channels.console import ConsoleChannel
from cronguard.core import rendering
from cronguard.core.errors import ChannelError


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_writes_a_readable_block(capsys):
    """Title and facts, whole, to standard error and nowhere else."""
    ConsoleChannel().send(message())
    out, err = capsys.readouterr()
    assert out == ""
    assert "cronguard: " + rendering.title(FAILING) in err
    for label, text in rendering.facts(FAILING):
        assert f"{label}:" in err
        assert text in err
    assert "\x1b" not in err


@pytest.mark.parametrize(("kind", "colour"), [("failing", 31), ("recovered", 32), ("test", 33)])
def test_colour_only_on_a_terminal(kind, colour, monkeypatch):
    """Colour for eyes: not in mail, not with NO_COLOR."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stderr", Terminal())
    ConsoleChannel().send(message(of_kind(kind)))
    assert f"\x1b[1;{colour}m" in sys.stderr.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", Terminal())
    ConsoleChannel().send(message(of_kind(kind)))
    assert "\x1b" not in sys.stderr.getvalue()


@given(hostile_alerts)
def test_any_text_in_any_encoding(alert):
    """A C locale's ASCII standard error takes every alert."""
    raw = io.BytesIO()
    ascii_only = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    before, sys.stderr = sys.stderr, ascii_only
    try:
        ConsoleChannel().send(message(alert))
    finally:
        sys.stderr = before
    assert b"\x1b" not in raw.getvalue()


def test_a_stand_in_for_standard_error_will_do(monkeypatch):
    """Celery's, say, which can write and no more, and has no encoding."""

    class StandIn:
        written = ""

        def write(self, text):
            self.written += text

        def flush(self):
            pass

        def isatty(self):
            return False

    stand_in = StandIn()
    monkeypatch.setattr(sys, "stderr", stand_in)
    ConsoleChannel().send(message())
    assert rendering.title(FAILING) in stand_in.written


def test_no_standard_error_is_a_failure(monkeypatch):
    """Nothing is lost in silence: the alert stays pending."""
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(ChannelError, match="no_stderr"):
        ConsoleChannel().send(message())
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    with pytest.raises(ChannelError, match="stderr_closed") as caught:
        ConsoleChannel().send(message())
    assert caught.value.__context__ is None
