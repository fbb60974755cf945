"""What a Slack message looks like, as an SVG: drawn from the blocks that are sent.

``python -m support.slack_picture`` (in ``tests``) writes the picture that the README shows.
"""

import json
import re
from html import escape
from pathlib import Path

from cronguard.channels.slack import blocks
from cronguard.core.payload import decode

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "examples" / "slack.svg"
WIDTH, LEFT, RIGHT = 760, 68, 740
SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"
STYLE = f"""
text {{ font: 15px {SANS}; fill: #1d1c1d; white-space: pre }}
.header {{ font-size: 18px; font-weight: 700 }}
.bold {{ font-weight: 700 }}
.code {{ font: 12.5px {MONO} }}
.pale {{ font-size: 13px; fill: #616061 }}
.red {{ fill: #c01343 }}
.box {{ fill: #f8f8f8; stroke: #dddddd }}
"""


class Page:
    """Lines of text, from the top down."""

    def __init__(self):
        self.y = 24
        self.marks = []

    def text(self, words, x=LEFT, style=""):
        """One line; ``words`` are (text, class) pairs."""
        spans = "".join(
            f'<tspan class="{kind}">{escape(text, quote=False)}</tspan>' for text, kind in words
        )
        self.marks.append(
            f'<text x="{x}" y="{self.y}" class="{style}" xml:space="preserve">{spans}</text>'
        )


def plain(text):
    """Slack's three escapes undone."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def words(line):
    """A line of mrkdwn as (text, class) pairs: bold, code, links."""
    found = []
    for bold, code, link, rest in re.findall(
        r"\*([^*]+)\*|`([^`]+)`|<[^|>]+\|([^>]+)>|([^*`<]+)", line
    ):
        kind = "bold" if bold else "code red" if code else ""
        found.append((plain(bold or code or link or rest), kind))
    return found


def wrapped(text, width):
    """Lines of at most ``width`` characters, broken at spaces where there are any."""
    lines, line = [], ""
    for each in text.split(" "):
        word = each
        while len(word) > width:
            room = width - len(line) - bool(line)
            line += (" " if line else "") + word[:room]
            lines, line, word = [*lines, line], "", word[room:]
        if line and len(line) + 1 + len(word) > width:
            lines, line = [*lines, line], word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def picture(message):
    """The SVG of one message, a dict as `cronguard.channels.slack.blocks` makes it."""
    page = Page()
    page.text([("cronguard", "bold"), ("  APP  2:15 AM", "pale")])
    for block in message["blocks"]:
        draw = {"header": header, "section": section, "context": context}[block["type"]]
        draw(page, block)
    height = page.y + 22
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
        f' viewBox="0 0 {WIDTH} {height}" role="img">\n'
        f"<title>{escape(plain(message['text']), quote=False)}</title>\n<style>{STYLE}</style>\n"
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff" stroke="#dddddd"/>\n'
        '<rect x="20" y="12" width="36" height="36" rx="6" fill="#4a154b"/>\n'
        '<path d="M29 30l7 7 12-14" fill="none" stroke="#ffffff" stroke-width="4"/>\n'
        + "\n".join(page.marks)
        + "\n</svg>\n"
    )


def header(page, block):
    page.y += 30
    page.text([(plain(block["text"]["text"]), "header")])
    page.y += 4


def section(page, block):
    if "fields" in block:
        page.y += 26
        top = page.y
        for number, field in enumerate(block["fields"]):
            page.y = top + 48 * (number // 2)
            for line in field["text"].split("\n"):
                page.text(words(line), x=LEFT + (RIGHT - LEFT) // 2 * (number % 2))
                page.y += 21
        page.y -= 14
        return
    for part in re.split(r"(```.*?```)", block["text"]["text"], flags=re.DOTALL):
        if part.startswith("```"):
            lines = wrapped(plain(part.strip("`")), 84)
            height = 18 * len(lines) + 14
            box = f'x="{LEFT}" y="{page.y + 10}" width="{RIGHT - LEFT}" height="{height}" rx="4"'
            page.marks.append(f'<rect class="box" {box}/>')
            page.y += 12
            for line in lines:
                page.y += 18
                page.text([(line, "code")], x=LEFT + 9)
            page.y += 12
            continue
        for line in filter(None, part.strip("\n").split("\n")):
            page.y += 23
            page.text(words(line))


def context(page, block):
    for element in block["elements"]:
        page.y += 22
        page.text([(text, f"{kind} pale") for text, kind in words(element["text"])], style="pale")


def drawn():
    """The picture of the alert that the JSON document of the channels' README is."""
    text = (ROOT / "cronguard/channels/README.md").read_text(encoding="utf-8")
    pattern = r'```json\n(\{\n  "schema": "cronguard.alert/1".*?\n\})\n```'
    (document,) = re.findall(pattern, text, re.DOTALL)
    return picture(blocks(decode(json.dumps(json.loads(document)))))


if __name__ == "__main__":
    PICTURE.write_text(drawn(), encoding="utf-8")
