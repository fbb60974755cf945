"""What counts as leaked, and what counts as kept."""

from __future__ import annotations

import re
from collections import Counter

_TOKEN = re.compile(r"[^\W_]+")


def leaks(value, case, shown):
    """The parts of a personal value that can be read in what is shown.

    Whole or in part: any word or number of it from three characters on (two in writings that need
    fewer), unless the message says the same word by itself.
    """
    rest = case.text
    for each in case.values:
        rest = rest.replace(each, "\0").replace(repr(each)[1:-1], "\0")
    others = {token.lower() for token in _TOKEN.findall(rest)}
    visible = {token.lower() for token in _TOKEN.findall(shown)}
    parts = {token.lower() for token in _TOKEN.findall(value)}
    parts = {part for part in parts if len(part) > 2 or (not part.isascii() and len(part) > 1)}
    if len(value) > 1 and value.strip() and value.lower() in shown.lower() and not parts - others:
        return {value} if value.lower() not in rest.lower() else set()
    return (parts & visible) - others


def kept(text, shown):
    """How many of the text's words and numbers can still be read, and how many there were."""
    before = Counter(_TOKEN.findall(text))
    after = Counter(_TOKEN.findall(shown))
    return sum((before & after).values()), sum(before.values())
