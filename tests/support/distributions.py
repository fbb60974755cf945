"""Distributions as pip leaves them, made by hand: metadata, entry points, modules."""

import sys
from pathlib import Path

import pytest

from cronguard.settings import plugins

ROOT = Path(__file__).parents[2]


def write(folder, name, groups, version="1.2", **modules):
    """A distribution in ``folder``, which is made; ``groups`` maps a group to its entry points."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
    )
    lines = []
    for group, entries in groups.items():
        lines += [f"[{group}]", *(f"{entry} = {value}" for entry, value in entries.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source, encoding="utf-8")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution into this process, for the length of a test.

    ``install("cg-pigeon", {"pigeon": "cg_pigeon:Pigeon"}, cg_pigeon=source)``; the entries are
    channels unless ``group`` says otherwise.
    """
    made = []

    def go(name, entries, group=plugins.CHANNELS, **modules):
        folder = tmp_path / "installed" / name
        write(folder, name, {group: entries}, **modules)
        made.extend(modules)
        monkeypatch.syspath_prepend(str(folder))
        plugins.forget()
        return folder

    plugins.forget()
    yield go
    plugins.forget()
    for module in made:
        sys.modules.pop(module, None)
