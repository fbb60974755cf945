"""The page: contents in, one HTML document out, which needs nothing but itself and a browser."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from cronguard.cli.report.contents import Report
from cronguard.cli.report.lanes import Bar
from cronguard.core.errors import PluginError
from cronguard.core.install import how_to_install
from cronguard.core.model import RunStatus
from cronguard.core.run_states import RUN_STATES

if TYPE_CHECKING:
    from jinja2 import Template

_THIN = 2.0
"""A bar that is shorter than this, in thousandths of the axis, is drawn as a stroke."""


def render(report: Report) -> str:
    """Return the document. Raises PluginError if Jinja2 is not installed."""
    return _template().render(report=report)


@cache
def _template() -> Template:
    try:
        from jinja2 import Environment, StrictUndefined  # an extra, for these pages alone
        from markupsafe import Markup
    except ImportError:
        raise PluginError(
            f"the report needs Jinja2, which is not installed: {how_to_install('report')}"
        ) from None
    pages = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    style, script = _text("report.css"), _text("report.js")
    pages.filters |= {"marks": _marks, "strokes": _strokes}
    pages.globals |= {
        "style": Markup(style),  # noqa: S704  # ours, as is the script
        "script": Markup(script),  # noqa: S704
        "run_states": RUN_STATES,
        "key": _key(),
        "policy": Markup(_policy(style, script)),  # noqa: S704
    }
    return pages.from_string(_text("report.html"))


def _text(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8").strip()


def _policy(style: str, script: str) -> str:
    """Return the Content-Security-Policy: our own style and script, and nothing from elsewhere."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}';"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    """Return what a Content-Security-Policy calls an inline style or script."""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


class Mark(NamedTuple):
    """Bars of one kind that are drawn as one shape."""

    look: str
    """Its classes in the style sheet."""
    path: str
    words: str
    """What a single bar is; empty for several."""


def _marks(bars: Iterable[Bar]) -> list[Mark]:
    """Return the shapes of a lane in the order of drawing, one for all bars without words."""
    found: dict[tuple[RunStatus, str], list[Bar]] = {}
    for bar in bars:
        found.setdefault((bar.kind, bar.words), []).append(bar)
    return [Mark(_look(kind), _shape(kind, same), words) for (kind, words), same in found.items()]


def _key() -> list[Mark]:
    """Return an example of each kind of bar; those that look the same are one."""
    found: dict[tuple[str, str], list[RunStatus]] = {}
    for kind in RUN_STATES:
        found.setdefault((_look(kind), _shape(kind, [Bar(1, 8, kind, "")])), []).append(kind)
    return [Mark(look, path, " or ".join(same)) for (look, path), same in found.items()]


def _look(kind: RunStatus) -> str:
    state = RUN_STATES[kind]
    return f"{state.role} {state.bar.line}"


def _shape(kind: RunStatus, bars: Iterable[Bar]) -> str:
    """Return the path of bars: boxes, and strokes where a box would be as thin as one."""
    top, height, _ = RUN_STATES[kind].bar
    thin, boxes = [], []
    for bar in bars:
        if bar.end - bar.start < _THIN:
            thin.append(bar.start)
        else:
            width = f"{bar.end - bar.start:.1f}"
            boxes.append(f"M{bar.start:g} {top}v{height}h{width}v-{height}z")
    return _strokes(thin, top, height) + "".join(boxes)


def _strokes(places: Iterable[float], top: int = 23, height: int = 4) -> str:
    """Return the path of strokes: each of the due times, below the bars, if nothing else is said.

    All but the first are given by their distance from the one before, which takes half the room.
    """
    found: list[str] = []
    last = 0
    for place in sorted({round(place) for place in places}):
        found.append(f"m{place - last}-{height}v{height}" if found else f"M{place} {top}v{height}")
        last = place
    return "".join(found)
