"""What is masked wherever it stands, even in text that a programmer wrote.

Hard-coded keys, addresses and account numbers are literals of the code as well, so that being a
literal is no excuse. Everything here errs on the side of masking, in time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from cronguard.core.text import is_token

_LABELLED = (
    r"(?i:\b(?:\w*pass(?:word|wd|phrase)?|pwd|\w*secret|\w*token|\w*api[_-]?key|access[_-]?key"
    r"|authorization|bearer|basic|credentials?|private[_-]?key|session[_-]?id|pin|otp|cv[cv]))"
    r"[\"']?(?:\s*[=:]\s*|\s+(?:is\s+|was\s+)?(?=[\"'][^\"'\n]*[ 0-9]|[\w-]*[0-9]))"
    r"(?P<secret>\"[^\"\n]+\"|'[^'\n]+'|(?:(?:Bearer|Basic|Token) )?[\"']?[^\s,;\"']+)"
)
_NO_DECIMALS = r"(?![0-9]{1,5}\.[0-9]{6,20}(?![\w.]))"  # as of seconds that are left
_DIGITS = r"\+?\(?[0-9](?:[ ().\u00a0/-]{0,2}[0-9]){6,}"
_GLYPH = "[A-Za-z0-9_+/.~-]"
_SHAPES = (  # name; what a text must hold to be searched, ``0`` for any digit; expression
    ("url", "://", r"\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s\"'<>]+"),
    ("home", "/", r"(?:/home|/Users)/[^\s\"':]+"),
    ("home", "\\", r"\\+Users\\+[^\s\"':]+"),
    ("home", "~", r"~[^\s\"':]*"),
    ("ipv6", ":", r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4}(?![\w:])"),
    ("iban", "0", r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"),
    ("digits", "0", rf"(?=[+(0-9])(?<![0-9])(?<![0-9]\.){_NO_DECIMALS}{_DIGITS}"),
    ("labelled", "label", _LABELLED),
    ("token", "", rf"(?<!{_GLYPH})(?![a-z]+\b){_NO_DECIMALS}{_GLYPH}{{10,}}"),
)
_LABELS = (
    *("pass", "pwd", "secret", "token", "key", "auth", "bearer", "basic", "cred", "session"),
    *("pin", "otp", "cvc", "cvv"),
)
_MANUAL = re.compile(
    r"https://(?:errors\.pydantic\.dev|developer\.mozilla\.org|docs\.python\.org|sqlalche\.me)"
    r"/[A-Za-z0-9_./#-]{0,120}\)?"
)
_HOST = re.compile(r"\bhttps?://([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)(?![\w.@-]|:[^/?#\s]*@)")
_PATH = re.compile(r"[^\s:]*[./][^\s:]*")
_DIGIT = re.compile(r"\d")
_LOOPBACK = frozenset({"127.0.0.1", "::1"})


def always_masked(text: str) -> Iterator[tuple[int, int]]:
    """Yield spans that are addresses, numbers of people or accounts, tokens and the like."""
    yield from _addresses(text)
    lower = text.lower()
    hints = {
        "0": _DIGIT.search(text) is not None,
        "label": any(label in lower for label in _LABELS),
    }
    for name, hint, pattern in _compiled():
        if not hints.get(hint, hint in text):
            continue
        for match in pattern.finditer(text):
            if name == "labelled":
                yield match.span("secret")
            elif match.group() not in _LOOPBACK and (name != "token" or is_token(match.group())):
                yield match.span()


def manual_pages(text: str) -> Iterator[tuple[int, int]]:
    """Return the spans of addresses that libraries point to in their messages."""
    if "https://" in text:
        yield from (match.span() for match in _MANUAL.finditer(text))


def places(literal: str) -> Iterator[str]:
    """Yield hosts and paths of a literal, with nothing in them that might be secret."""
    for match in _HOST.finditer(literal) if "://" in literal else ():
        yield from match.group(0, 1)
    if _PATH.fullmatch(literal) and not any(always_masked(literal)):
        yield literal


@cache
def _compiled() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    return tuple((name, hint, re.compile(pattern)) for name, hint, pattern in _SHAPES)


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    """Yield what an at sign joins without a space: e-mail addresses, handles, credentials."""
    at = text.find("@")
    while at >= 0:
        start, end = at, at + 1
        while start > 0 and not _ends_address(text[start - 1]):
            start -= 1
        while end < len(text) and not _ends_address(text[end]):
            end += 1
        yield start, end
        at = text.find("@", end)


def _ends_address(character: str) -> bool:
    return character.isspace() or character in "<>()\"',;[]{}="
