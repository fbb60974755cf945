"""``cronguard redact-check``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from cronguard.cli.arguments import json_option
from cronguard.cli.opening import load_settings
from cronguard.cli.output.lines import CommandError, emit, print_error, say

_NOTHING = "nothing came on standard input: pipe messages in; see cronguard redact-check --help"


@click.command()
@click.option("--whole", is_flag=True, help="All that comes is one message, line breaks included.")
@json_option
def command(*, whole: bool, as_json: bool) -> int:
    """Show what would be kept of messages.

    Reads messages from standard input, one a line, and prints each as it would be stored and sent
    with `redact` and `redact_keep` of the settings. Nothing is stored and nothing is sent.

    Only the text is known here. Of an error that a job raises the same is kept, and more of what
    your code along the traceback says literally, and less of the values in its sentences. A
    function given to `configure(redact=...)` is not used.

    \b
    Examples:
      echo 'no row for Kari Nordmann in table orders' | cronguard redact-check
      grep ERROR app.log | cronguard redact-check
      cronguard redact-check --whole < message.txt

    \b
    --json prints cronguard.redact-check/1:
      {"schema", "redact": "scrub" | "strict", "messages": [{"shown": text, or null when nothing
       is kept}]}
    """
    loaded = load_settings(say_problems=True)
    settings = loaded.settings
    strict = settings.redact == "strict"
    rows = []
    empty = True
    for text in _read(whole=whole):
        empty = False
        shown = None if strict else _shown(text, settings.redact_keep)
        if as_json:
            rows.append({"shown": shown})
        elif not strict:
            say(shown or "")
    if empty:
        raise CommandError(_NOTHING)
    if as_json:
        emit("redact-check/1", redact="strict" if strict else "scrub", messages=rows)
    elif strict and not loaded.problems:
        source = settings.sources.get("redact", "the settings")
        print_error(f"redact is 'strict', from {source}: no message is kept")
    return 2 if loaded.problems else 0


def _shown(text: str, keep: tuple[str, ...]) -> str | None:
    from cronguard.privacy.redaction import redact_text

    return redact_text(text, keep=keep) or None


def _read(*, whole: bool) -> Iterator[str]:
    stream = sys.stdin
    if stream is None or stream.closed:
        return
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")
    if stream.isatty():
        print_error("type or paste messages, one a line; Ctrl-D on a line of its own ends")
    if not whole:
        yield from stream
    elif text := stream.read():
        yield text
