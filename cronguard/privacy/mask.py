"""What stands for everything that is not shown, and the last cleaning of what is."""

from __future__ import annotations

from cronguard.core.rendering import plain

MASK = "\u2039…\u203a"
MOST_CHARACTERS = 4_000
"""How much of a text is looked at."""
MOST_BYTES = 2_000  # of UTF-8, that are kept of it


def clean(text: str, *, end: bool = False) -> str:
    """Return one line without control characters or lone surrogates, at most 2 KB of UTF-8.

    Of a longer text the beginning is kept, or the ``end``.
    """
    bounds = slice(-MOST_CHARACTERS, None) if end else slice(MOST_CHARACTERS)
    head = str.__getitem__(text, bounds)
    line = " ".join((head if head.isprintable() else plain(head)).split())
    kept = line.encode("utf-8", "ignore")
    if len(kept) > MOST_BYTES and end:
        return "…" + kept[-MOST_BYTES:].decode("utf-8", "ignore").lstrip()
    if len(kept) > MOST_BYTES:
        return kept[:MOST_BYTES].decode("utf-8", "ignore").rstrip() + "…"
    return kept.decode("utf-8")
