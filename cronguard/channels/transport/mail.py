"""An alert as an e-mail: what every e-mail channel shares, however it sends.

Addresses may be ``ops@example.com`` or ``Ops <ops@example.com>``; ``to`` takes several, separated
by commas.
"""

from __future__ import annotations

import html as _html
import re
from dataclasses import dataclass

from cronguard.core import rendering
from cronguard.core.errors import ChannelError
from cronguard.core.model import Alert

SUBJECT_LENGTH = 200
_ADDRESS = re.compile(
    r"(?:(?P<name>[^<>@,;:\\]*[^<>@,;:\\\s])\s*<)?"
    r"(?P<address>[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*)"
    r"(?(name)>)"
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """From whom, to whom: addresses whose shape was checked."""

    sender: str
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mail:
    """What an e-mail says. Nothing in it can break out of its place."""

    subject: str
    text: str
    html: str


def envelope(*, to: str, **options: str) -> Envelope:
    """Return the envelope of a channel's options ``to`` and ``from``, a keyword in Python.

    Raises ``ChannelError("bad_address")`` naming the option, never its value, and TypeError for an
    option that is missing or unknown.
    """
    if set(options) != {"from"}:
        raise TypeError(f"options are 'from' and 'to', not {sorted({'to', *options})}")
    several = [each for each in to.split(",") if each.strip()]
    return Envelope(
        address(options["from"], "from"),
        tuple(address(each, "to") for each in several or [to]),
    )


def compose(alert: Alert) -> Mail:
    """Return the e-mail about ``alert``: the same on every try."""
    return Mail(subject(alert), rendering.text(alert), html(alert))


def address(text: str, option: str) -> str:
    """Return ``text`` without white space around it, if it has the shape of one e-mail address."""
    known = text.strip()
    if not known.isprintable() or not _ADDRESS.fullmatch(known):
        raise ChannelError("bad_address", detail=f"the option {option!r} is no e-mail address")
    return known


def bare(text: str) -> str:
    """Return ``ops@example.com`` of ``Ops <ops@example.com>``."""
    return text.rpartition("<")[2].rstrip(">")


def subject(alert: Alert) -> str:
    """Return one line that names job and streak, safe in a header."""
    return rendering.plain(rendering.title(alert), SUBJECT_LENGTH)


def html(alert: Alert) -> str:
    """Return the facts as a table. No picture, no script, no link but an https runbook."""
    rows = "".join(
        f'<tr><td style="padding:2px 16px 2px 0;color:#666;vertical-align:top;white-space:nowrap">'
        f"{_html.escape(label)}</td>"
        f'<td style="padding:2px 0;overflow-wrap:anywhere">{_cell(label, text)}</td></tr>'
        for label, text in rendering.facts(alert)
    )
    colour = "#b3261e" if rendering.is_bad(alert) else "#1b6e3c"
    return (
        '<!doctype html><html><body style="font-family:sans-serif;font-size:14px">'
        f'<h2 style="color:{colour};font-size:18px">{_html.escape(rendering.title(alert))}</h2>'
        f"<table>{rows}</table></body></html>"
    )


def _cell(label: str, text: str) -> str:
    shown = _html.escape(text)
    if label == "Runbook" and text.startswith("https://"):
        return f'<a href="{shown}">{shown}</a>'
    return shown


__all__ = ["Envelope", "Mail", "address", "bare", "compose", "envelope", "html", "subject"]
