"""What is checked in each README: it follows a comment ``<!-- check: NAME key=value … -->``."""

import re
from pathlib import Path
from typing import NamedTuple

from cronguard.settings.options import JOB_OPTIONS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Part(NamedTuple):
    name: str
    options: dict
    text: str
    """A fence's content without the fence, or a table as it stands."""
    place: str
    """File and line."""

    def rows(self):
        """A table's cells below its head, backticks kept."""
        lines = self.text.splitlines()[2:]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def pages():
    """Every README of the tree, but for the examples'."""
    here = [README, *(ROOT / "cronguard").rglob("README.md"), *(ROOT / "tests").rglob("README.md")]
    return sorted(path for path in here if ".pytest_cache" not in path.parts)


def parts(name):
    """Every part of that name, in order; there is at least one."""
    found = [part for part in _all() if part.name == name]
    assert found, f"no README has a part marked check: {name}"
    return found


def names():
    return {part.name for part in _all()}


def unmarked():
    """Fences that nothing checks, by file and line."""
    checked = {part.text for part in _all()}
    return [
        _place(page, text[: fence.start()])
        for page in pages()
        for text in [page.read_text(encoding="utf-8")]
        for fence in _FENCE.finditer(text)
        if fence[2] not in checked
    ]


def _all():
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for mark in re.finditer(r"<!-- check: (\S+)((?: \w+=\S+)*) -->\n", text):
            rest = text[mark.end() :]
            fence = _FENCE.match(rest)
            body = fence[2] if fence else rest.partition("\n\n")[0] + "\n"
            options = dict(pair.split("=") for pair in mark[2].split())
            yield Part(mark[1], options, body, _place(page, text[: mark.start()]))


def _place(page, before):
    return f"{page.relative_to(ROOT)}:{before.count(chr(10)) + 1}"


def options_table():
    """The lines of the table of options, made from `JOB_OPTIONS`."""
    lines = ["| option | default | meaning |", "|---|---|---|"]
    for option in JOB_OPTIONS.values():
        if "code" in option.places:
            text = option.default_text if option.is_duration else option.default
            default = f"`{text!r}`".replace("'", '"')
            meaning = option.help[0].lower() + option.help[1:]
            meaning += f"; `None`: {option.none}" if option.none else ""
            lines.append(f"| `{option.name}` | {default} | {meaning} |")
    return lines
