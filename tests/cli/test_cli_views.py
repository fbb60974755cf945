"""How commands look: tables, colours, widths, and stored text that means harm."""

import json
import re

import pytest
from support.cli import Here

from cronguard.cli.output import layout, lines
from cronguard.core.model import Failure

pytestmark = pytest.mark.one_python

HOSTILE = "\x1b[31mred\x1b]0;title\x07\r\n\u202eback\x00[bold]markup[/bold]"


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    return Here(tmp_path, monkeypatch, capsys)


@pytest.fixture
def terminal(monkeypatch):
    """As on a terminal."""
    monkeypatch.setattr(lines, "on_terminal", lambda: True)
    monkeypatch.setattr(layout, "on_terminal", lambda: True)
    monkeypatch.setattr("cronguard.cli.output.times.on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")


@pytest.mark.parametrize("at_terminal", [True, False])
def test_stored_text_cannot_harm_a_terminal(here, request, at_terminal):
    """Escape sequences, line breaks, direction marks and markup of a message stay inert."""
    if at_terminal:
        request.getfixturevalue("terminal")
    here.setenv("NO_COLOR", "1")
    here.record("nightly", "failure", failure=Failure("ValueError", None, HOSTILE))
    text = here("history", "nightly").stdout
    assert not set(text) & set("\x1b\x07\r\x00\u202e")
    assert "[bold]markup[/bold]" in text
    assert len([line for line in text.splitlines() if "ValueError" in line]) == 1
    assert json.loads(here("history", "nightly", "--json").stdout)["runs"][0]["error_message"]


def test_a_terminal_gets_a_table_and_relative_times(here, terminal):
    """It says how long ago."""
    here.record("nightly", "success")
    text = here("history", "nightly").stdout
    assert "success" in text
    assert "now" in text or "ago" in text


def test_colours_are_for_those_who_want_them(here, terminal):
    """None with NO_COLOR set, none without a terminal."""
    here.record("nightly", "failure")
    here.setenv("NO_COLOR", "1")
    assert "\x1b[" not in here("status").stdout
    assert "\x1b[" not in here("doctor").stdout


def test_columns_are_aligned_whatever_is_in_them(here, capsys):
    """Plain tables line up; a column that holds nothing is left out."""
    layout.table(("A", "EMPTY", "B"), [("x", "", "1"), ("longer", "", "2")])
    assert capsys.readouterr().out == "A       B\nx       1\nlonger  2\n"


def test_a_narrow_terminal_is_not_overrun(terminal, monkeypatch, capsys):
    """The last column wraps at words, and goes below the others where it has no room."""
    monkeypatch.setenv("NO_COLOR", "1")
    long = " ".join(f"word{number}" for number in range(20))
    for width, beside in ((60, True), (48, False)):
        monkeypatch.setenv("COLUMNS", str(width))
        layout.table(("STARTED", "ERROR"), [("2026-11-25 13:00", long), ("2026-11-25 14:00", "-")])
        lines = capsys.readouterr().out.splitlines()
        assert all(len(line.rstrip()) <= width for line in lines)
        assert all(f"word{number}" in " ".join(lines).split() for number in range(20))
        assert any(line.startswith("2026-11-25 13:00  word0") for line in lines) is beside
        assert any(line.startswith("    ERROR: word0") for line in lines) is not beside


def test_words_that_stand_out(terminal, monkeypatch):
    """A state has its colour, and nothing is out of line for it."""
    lines = []
    monkeypatch.setattr(layout, "say", lines.append)
    monkeypatch.delenv("NO_COLOR", raising=False)
    layout.table(("JOB", "STATE", "RESULT"), [("a", "failing", "failure"), ("b", "ok", "success")])
    assert "\x1b[31mfailing\x1b[0m" in lines[1]
    plainly = [re.sub(r"\x1b\[\d*m", "", line) for line in lines]
    assert plainly == ["JOB  STATE    RESULT", "a    failing  failure", "b    ok       success"]
