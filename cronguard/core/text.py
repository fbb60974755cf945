"""How messages quote the values that they were given: on one line, short, and never a secret."""

from __future__ import annotations

from collections.abc import Iterable

_MAX_SHOWN_CHARS = 60
_WEBHOOK_HOSTS = (
    "hooks.slack.com",
    "hooks.slack-gov.com",
    "discord.com/api/webhooks",
    "discordapp.com/api/webhooks",
    "webhook.office.com",
    "outlook.office.com/webhook",
    "logic.azure.com",
    "api.powerplatform.com",
    "chat.googleapis.com",
    "api.telegram.org/bot",
    "hooks.zapier.com",
    "maker.ifttt.com",
    "open.feishu.cn",
    "open.larksuite.com",
    "oapi.dingtalk.com",
    "qyapi.weixin.qq.com",
    "hc-ping.com",
    "cronitor.link",
)
_KEY_STARTS = (
    *("xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-", "eyJ", "AIza"),
    *("whsec_", "sb_secret_", "sbp_", "ghp_", "gho_", "ghs_", "ghu_", "github_pat_", "glpat-"),
    "-----BEGIN",
)
_SHORT_KEY_STARTS = ("sk-", "sk_", "rk_", "pk_", "re_", "key-", "SG.", "npm_")
"""Ordinary words start with these too, so what follows must be no word: a digit or both cases."""
_BETWEEN_WORDS = str.maketrans(dict.fromkeys("\"'`=:;,()[]{}<>|", " "))
_MIN_KEY_CHARS = 10
_MIN_TOKEN_CHARS = 20


def suggest(word: object, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` if a known word is close, else an empty text."""
    if not isinstance(word, str) or len(word) > _MAX_SHOWN_CHARS:
        return ""
    from difflib import get_close_matches  # only when something is wrong

    spelled = {name.lower().lstrip("-"): name for name in sorted(known)}  # dashes are no likeness
    close = get_close_matches(word.lower().lstrip("-"), list(spelled), n=1, cutoff=0.6)
    return f" (did you mean {spelled[close[0]]!r}?)" if close else ""


def show(value: object) -> str:
    """Return the value as a message may quote it, or its type or length if it may be secret."""
    if value is None or isinstance(value, bool | int | float):
        text = repr(value)
        return text if len(text) <= _MAX_SHOWN_CHARS else f"a number of {len(text)} characters"
    if not isinstance(value, str):
        return f"something of type {type(value).__name__}"
    if len(value) > _MAX_SHOWN_CHARS:
        return f"a text of {len(value)} characters"
    hidden = "://" in value or may_be_secret(value)
    return "a text that is not repeated here" if hidden else ascii(value)


def fold_overwritten(output: bytes) -> bytes:
    """Return output without what a terminal no longer shows: states of a progress bar.

    Of each line what follows its last carriage return is kept; a return at its very end may be
    followed by more, and is kept too.
    """
    for rewind in (b"\x1b[2K", b"\x1b[1G", b"\x1b[G"):
        output = output.replace(rewind, b"\r")
    return b"\n".join(line[line.rstrip(b"\r").rfind(b"\r") + 1 :] for line in output.split(b"\n"))


def is_secret(text: str) -> bool:
    """Tell whether the text is clearly a webhook address, a key, or an address with a password."""
    before, at, _ = text.partition("://")[2].rpartition("@")
    if at and (":" in before or "/" not in before):
        return True
    if "password=" in text.lower() or any(host in text for host in _WEBHOOK_HOSTS):
        return True
    return any(map(_is_key, text.translate(_BETWEEN_WORDS).split()))


def may_be_secret(text: str) -> bool:
    """Tell whether the text `is_secret` or holds a token that nobody would type by hand."""
    if is_secret(text):
        return True
    run = ""
    for letter in [*text, " "]:
        if letter.isalnum() or letter in "-_+/=~":
            run += letter
        else:
            if _looks_random(run):
                return True
            run = ""
    return False


def is_token(run: str) -> bool:
    """Tell whether a run of letters, digits and the like is a key, or random."""
    return _is_key(run) or _looks_random(run)


def _is_key(word: str) -> bool:
    if len(word) < _MIN_KEY_CHARS or "@" in word:
        return False
    if word.startswith(_KEY_STARTS):
        return True
    if not word.startswith(_SHORT_KEY_STARTS):
        return False
    rest = word[max(len(each) for each in _SHORT_KEY_STARTS if word.startswith(each)) :]
    mixed = rest != rest.lower() and rest != rest.upper()
    return mixed or any(letter.isdigit() for letter in rest)


def _looks_random(run: str) -> bool:
    if len(run) < _MIN_TOKEN_CHARS:
        return False
    digits = sum(letter.isdigit() for letter in run)
    if set(run.lower()) <= set("0123456789abcdef-"):
        return digits > 0 and run.count("-") <= 4  # noqa: PLR2004  # as in a UUID
    mixed = any(letter.isupper() for letter in run) and any(letter.islower() for letter in run)
    return digits > 1 and (mixed or digits * 6 >= len(run))
