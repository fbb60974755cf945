"""The README's checked parts: each follows a comment ``<!-- check: NAME key=value … -->``."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Part(NamedTuple):
    name: str
    options: dict
    text: str
    """A fence's content without the fence, or a table as it stands."""
    line: int

    def rows(self):
        """A table's cells below its head, backticks kept."""
        lines = self.text.splitlines()[2:]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def parts(name):
    """Every part of that name, in order; there is at least one."""
    found = [part for part in _all() if part.name == name]
    assert found, f"README.md has no part marked check: {name}"
    return found


def names():
    return {part.name for part in _all()}


def unmarked():
    """Fences that nothing checks, by line."""
    text = README.read_text(encoding="utf-8")
    checked = {part.text for part in _all()}
    return [
        text[: fence.start()].count("\n") + 1
        for fence in _FENCE.finditer(text)
        if fence[2] not in checked
    ]


def _all():
    text = README.read_text(encoding="utf-8")
    for mark in re.finditer(r"<!-- check: (\S+)((?: \w+=\S+)*) -->\n", text):
        rest = text[mark.end() :]
        fence = _FENCE.match(rest)
        body = fence[2] if fence else rest.partition("\n\n")[0] + "\n"
        options = dict(pair.split("=") for pair in mark[2].split())
        yield Part(mark[1], options, body, text[: mark.start()].count("\n") + 1)
