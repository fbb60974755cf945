"""How cronguard is installed: everywhere the same, and never as the ``cronguard`` of the index."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from support import readme

import cronguard
from cronguard.core import install
from cronguard.settings import plugins

ROOT = readme.ROOT
OTHER = "cronguard"
THIS_FILE = "tests/core/test_install.py"
WRONG = {
    "an install command": re.compile(
        r"\b(?:pip[\d.]*|pipx|uvx?|poetry|pdm|rye|hatch|conda|mamba)\b[^\n`;&|]*?"
        r"\b(?:install|add|download|inject|wheel)\b[^\n`;&|#]*?"
        rf"(?<![\w./=@-]){OTHER}(?![\w/-]|\.\w)"
    ),
    "a requirement with extras": re.compile(rf"(?<![\w./-]){OTHER}\s?\[[a-z{{]"),
    "a requirement with a version": re.compile(rf"(?<![\w./-]){OTHER}\s?(?:[~=!<>]=|===)\s?\d"),
    "a list of requirements": re.compile(
        r"\b(?:dependencies|install_requires|requires)\b\s*[=:(]\s*\[?[^\]]*?"
        rf"[\"']{OTHER}[\"';<>~=! ]"
    ),
    "a look at metadata": re.compile(
        r"\b(?:distribution|version|requires|metadata|files|from_name|get_distribution)"
        rf"\(\s*[\"']{OTHER}[\"']"
    ),
}
"""What would lead somebody, or pip, to the other distribution → its pattern."""


def tracked():
    """Path → text, for each file under version control, or in a source distribution."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = ""
    if (ROOT / ".git").exists():
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        listed = done.stdout
    if listed:
        paths = [ROOT / name for name in listed.split("\0") if name]
    else:
        folders = [ROOT / name for name in ("cronguard", "examples", "tests")]
        paths = [*ROOT.glob("*.*"), *(path for each in folders for path in each.rglob("*"))]
    texts = {}
    for path in paths:
        if path.is_file() and path.suffix != ".pyc":
            texts[path.relative_to(ROOT).as_posix()] = path.read_text("utf-8", errors="replace")
    return texts


def wrong(text):
    """What in the text leads to the other distribution."""
    joined = re.sub(r"\\\n\s*|(?<= install)\n[ #*]*", " ", text)  # lines that go on
    joined = re.sub(r"""(['"])\s*\n\s*[rf]*\1""", "", joined)  # literals that Python joins
    return [
        f"{what}: {' '.join(found[0].split())}"
        for what, pattern in WRONG.items()
        for found in pattern.finditer(joined)
    ]


def requirements(document):
    """Every requirement of a pyproject.toml."""
    project = document.get("project", {})
    lists = [document.get("build-system", {}).get("requires", []), project.get("dependencies", [])]
    lists += project.get("optional-dependencies", {}).values()
    lists += document.get("dependency-groups", {}).values()
    return [Requirement(line) for lines in lists for line in lines if isinstance(line, str)]


@pytest.mark.one_python
def test_no_text_leads_to_the_other_distribution():
    """No message, docstring, workflow, example or page has anybody install it."""
    texts = tracked()
    assert len(texts) > 200
    del texts[THIS_FILE]
    found = {name: lines for name, text in texts.items() if (lines := wrong(text))}
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "pip install cronguard",
        "python -m pip install -U cronguard)",
        "python3 -m pip install --quiet 'cronguard'",
        "run `pip install cronguard` first",
        "pip install 'cronguard[postgres]'",
        "pip install\n'cronguard[postgres]'",
        "pip install \\\n    httpx cronguard",
        "# pip install\n# cronguard",
        "say('pip install '\n    'cronguard')",
        "pip install cronguard==0.1",
        "uv add cronguard",
        "uv pip install cronguard",
        "pipx install cronguard",
        "poetry add cronguard",
        "f\"pip install 'cronguard[{name}]'\"",
        "cronguard[supabase]",
        "cronguard>=0.1",
        'dependencies = ["cronguard"]',
        'dependencies = [\n    "httpx",\n    "cronguard",\n]',
        'version("cronguard")',
        "distribution('cronguard')",
    ],
)
def test_a_text_that_leads_there_is_found(text):
    """However it is put."""
    assert wrong(text)


@pytest.mark.parametrize(
    "text",
    [
        "python -m pip install . && cronguard --version",
        "python -m pip install '.[supabase]'",
        "pip install cron-guarded",
        "pip install cronguard-ntfy ./cronguard",
        "python -m pip uninstall cronguard",
        "The `cronguard` on the index is somebody else's.",
        "[tool.cronguard.channel.slack]",
        'version("cron-guarded")',
    ],
)
def test_other_texts_are_let_be(text):
    """Ours, a plugin's, a path, and what takes the other one away."""
    assert not wrong(text)


def test_no_requirement_names_the_other_distribution():
    """In any pyproject.toml or list of requirements; extras of ours name ours."""
    texts = tracked()
    named = {}
    for path, text in texts.items():
        if path.endswith("pyproject.toml"):
            named[path] = requirements(tomllib.loads(text))
        elif re.search(r"requirements[^/]*\.(txt|in)$", path):
            lines = re.sub(r"\\\n|#.*", "", text).splitlines()
            named[path] = [found for line in lines if (found := requirement(line))]
    assert {"pyproject.toml", "examples/channel_plugin/pyproject.toml"} <= set(named)
    for path, found in named.items():
        assert OTHER not in [canonicalize_name(each.name) for each in found], path
    ours = [each for each in named["pyproject.toml"] if each.name == install.DISTRIBUTION]
    assert [sorted(each.extras) for each in ours] == [sorted(install_extras()), ["test"]]
    (plugin,) = named["examples/channel_plugin/pyproject.toml"][1:2]
    assert plugin.name == install.DISTRIBUTION


def requirement(line):
    try:
        return Requirement(line.strip())
    except InvalidRequirement:
        return None


def install_extras():
    """The extras that people are told of."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    return set(extras) - {"dev", "test"}


def test_the_distribution_has_the_name_that_is_looked_up():
    """Project, constant and metadata agree; the command and the package keep their name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == install.DISTRIBUTION == canonicalize_name(install.DISTRIBUTION)
    assert project["scripts"] == {"cronguard": "cronguard.cli:main"}
    expected = f"{install.DISTRIBUTION} {cronguard.__version__}"
    infos = [info for info in plugins.describe(plugins.CHANNELS) if info.name == "console"]
    assert [info.distribution for info in infos] == [expected]


def test_each_hint_is_the_end_of_a_message():
    """Where, then the command as it is typed, and nothing behind it that could be copied along."""
    assert install.how_to_install("supabase") == (
        "in a checkout of cronguard, run python -m pip install '.[supabase]'"
    )
    assert install.how_to_upgrade().endswith("run python -m pip install .")
    assert install.how_to_reinstall().endswith(
        "run python -m pip install --force-reinstall --no-deps ."
    )


@pytest.mark.one_python
def test_hints_come_from_one_place():
    """No string in the package but `cronguard.core.install` spells a pip command that installs."""
    for path in (ROOT / "cronguard").rglob("*.py"):
        if path == Path(install.__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search(r"\bpip[\d.]* install\b", node.value), (path, node.lineno)


def test_what_people_copy_is_the_command():
    """README and workflow spell it as `cronguard.core.install` does."""
    texts = tracked()
    command = install.pip_install("supabase")
    assert command in texts["README.md"]
    assert f"run: {command}\n" in texts["examples/schedulers/github_actions.yml"]
    for name in ("README.md", "examples/schedulers/github_actions.yml"):
        for extra in re.findall(r"pip install '\.\[(\w+)\]'", texts[name]):
            assert extra in install_extras() | {"test"}, (name, extra)


def test_a_builtin_that_cannot_be_loaded_is_one_line_without_any_file(monkeypatch):
    """Where not even the hint's module can be read, as after a deploy, no other error comes."""

    def refuse(name, package=None):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(plugins, "import_module", refuse)
    monkeypatch.delattr(cronguard.core, "install")
    monkeypatch.setitem(sys.modules, "cronguard.core.install", None)
    with pytest.raises(plugins.PluginError, match=r"OSError in .*; install cronguard afresh$"):
        plugins.builtin(plugins.CHANNELS, "slack")
