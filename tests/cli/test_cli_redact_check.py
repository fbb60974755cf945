"""``cronguard redact-check``: what would be kept of a message, before any job has to fail."""

import io
import json
import os
import pty

import pytest
from support.cli import PATIENCE, Cli, Here, read_until

TYPED = "no row for Kari Nordmann in table orders\n\nthe widget Kirmes is broken\n"


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    return Here(tmp_path, monkeypatch, capsys)


@pytest.fixture
def typed(monkeypatch):
    """Puts something on standard input."""

    def put(data):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))

    return put


def test_a_line_in_a_line_out(here, typed):
    """Each line is a message, an empty one too, and what is shown is what a run would keep."""
    typed(TYPED.encode())
    done = here("redact-check")
    lines = done.stdout.split("\n")
    assert (done.returncode, done.stderr, len(lines)) == (0, "", 4)
    assert lines[0] == "no row for ‹…› in table orders"
    assert lines[1] == ""
    assert "Kirmes" not in lines[2]
    assert not here.path.exists()


def test_one_message_of_several_lines(here, typed):
    """With ``--whole`` the line breaks are the message's own; JSON says what was asked."""
    typed(TYPED.encode())
    done = here.json("redact-check", "--whole")
    assert (done["schema"], done["redact"]) == ("cronguard.redact-check/1", "scrub")
    (message,) = done["messages"]
    assert message["shown"].startswith("no row for ‹…› in table orders | ")


def test_the_settings_rule(here, typed):
    """Words of ``redact_keep`` are shown, and ``strict`` shows nothing and says so."""
    (here.folder / "cronguard.toml").write_text("redact_keep = ['Kirmes']\n")
    typed(TYPED.encode())
    assert "Kirmes" in here("redact-check").stdout
    here.setenv("CRONGUARD_REDACT", "strict")
    typed(TYPED.encode())
    done = here("redact-check")
    assert (done.returncode, done.stdout) == (0, "")
    assert "'strict', from environment CRONGUARD_REDACT" in done.stderr
    typed(b"one\ntwo\n")
    assert here.json("redact-check")["messages"] == [{"shown": None}] * 2


@pytest.mark.parametrize(
    ("file", "environ"),
    [
        ("", "strikt"),
        ("redact = 'scrub'", "strikt"),
        ("redact = 3", None),
        ("redact = 'stri", None),
    ],
)
def test_a_mistake_never_shows_more(here, typed, file, environ):
    """With a mistyped `redact` or a broken file no message is kept: one line, exit code 2."""
    (here.folder / "cronguard.toml").write_text(file)
    if environ:
        here.setenv("CRONGUARD_REDACT", environ)
    typed(TYPED.encode())
    done = here("redact-check")
    assert (done.returncode, done.stdout) == (2, "")
    assert "correct it" in done.stderr or "until then it is 'strict'" in done.stderr
    typed(b"one")
    assert here("redact-check", "--json").stdout.count("null") == 1


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\x00\n", b"\x1b[31mred\x1b[0m\x07\n", b"\xe2\x80\xae\n"]
)
def test_whatever_is_piped_in_harms_no_terminal(here, typed, data):
    """Bytes that are no text, escape sequences, marks of direction."""
    typed(data)
    done = here("redact-check")
    assert done.returncode == 0
    assert done.stdout.rstrip("\n").isprintable()


def test_nothing_to_read(here, typed, monkeypatch):
    """One line that says what to do, and exit code 1; without a standard input at all as well."""
    typed(b"")
    done = here("redact-check")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "pipe messages in" in done.stderr
    monkeypatch.setattr("sys.stdin", None)
    assert here("redact-check").stderr == done.stderr


def test_at_a_terminal_it_says_what_it_waits_for(tmp_path):
    """And answers each line as it is typed."""
    ours, theirs = pty.openpty()
    process = Cli(tmp_path).start("redact-check", stdin=theirs)
    os.close(theirs)
    with process:
        assert b"Ctrl-D" in read_until(process.stderr, b"\n")
        os.write(ours, b"no space left on device\n\x04")
        out, _ = process.communicate(timeout=PATIENCE)
    os.close(ours)
    assert (process.returncode, out) == (0, b"no space left on device\n")


def test_what_is_shown_is_what_a_run_keeps(tmp_path):
    """The same text, from the same words, in a guarded command's row."""
    cli = Cli(tmp_path)
    said = "cannot connect to db.internal.example as kari.nordmann@example.org: timeout"
    cli("run", "nightly", "--", "sh", "-c", f"echo '{said}' >&2; exit 3")
    with cli.start("redact-check", "--json") as process:
        out, _ = process.communicate(said.encode() + b"\n", timeout=PATIENCE)
    (shown,) = json.loads(out)["messages"]
    assert cli.runs("nightly")[0].failure.error_message == shown["shown"]
    assert "kari" not in shown["shown"]
