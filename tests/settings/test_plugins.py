"""Plugins: cronguard's own by convention, others by entry point, none of them fatal."""

import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from support.distributions import install

import cronguard
from cronguard.core.errors import PluginError
from cronguard.core.install import how_to_install
from cronguard.process import workers
from cronguard.settings import plugins
from cronguard.settings.plugins import CHANNELS, SECRETS, STORES

__all__ = ["install"]

ROOT = Path(cronguard.__file__).parent.parent
SECRET = "hunter22plus"


GOOD = """
from cronguard.core.model import Option
class Pigeon:
    OPTIONS = [Option("loft", required=True)]
    def send(self, message): ...
"""


METACLASS = f"""
class M(type):
    def __getattr__(cls, name): raise KeyError('{SECRET}')
class Pigeon(metaclass=M): ...
"""


def with_options(text):
    return (
        "from cronguard.core.model import Option\n"
        f"class Pigeon:\n    OPTIONS = [{text}]\n    def send(self, message): ...\n"
    )


def problem(name, group=CHANNELS):
    with pytest.raises(PluginError) as caught:
        plugins.load(group, name)
    text = str(caught.value)
    assert text.isprintable()
    assert SECRET not in text
    assert caught.value.__cause__ is None
    return text


def described(name, group=CHANNELS):
    return [info for info in plugins.describe(group) if info.name == name]


def declared():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    return [
        (group, name, value)
        for group in (CHANNELS, STORES, SECRETS)
        for name, value in table.get(group, {}).items()
    ]


@pytest.mark.parametrize(("group", "name", "value"), declared())
def test_built_ins_are_found_without_metadata_and_registered_like_others(group, name, value):
    """The class that the convention finds is the one that the entry point names."""
    kind = plugins.builtin(group, name)
    assert kind is EntryPoint(name, value, group).load()
    assert plugins.load(group, name) is kind


def test_every_built_in_is_registered():
    """A built-in module without its entry-point line would be invisible to other tools."""
    for group in (CHANNELS, STORES, SECRETS):
        registered = {name for owner, name, _ in declared() if owner == group}
        assert set(plugins.builtin_names(group)) == registered


def test_a_third_partys_channel_loads_by_its_entry_point(install):
    """An installed distribution is found, and described with its version."""
    install("cg-pigeon", {"pigeon": "cg_pigeon:Pigeon"}, cg_pigeon=GOOD)
    kind = plugins.load(CHANNELS, "pigeon")
    assert kind.__name__ == "Pigeon"
    assert "pigeon" in plugins.names(CHANNELS)
    assert described("pigeon") == [plugins.PluginInfo("pigeon", "cg-pigeon 1.2", "cg_pigeon")]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (f"raise RuntimeError('{SECRET}')", "RuntimeError"),
        (f"raise SystemExit('{SECRET}')", "SystemExit"),
        ("import cg_no_such_module", "module 'cg_no_such_module'"),
        ("def broken(:", "SyntaxError"),
        (f"class E(BaseException): ...\nraise E('{SECRET}')", "cannot be loaded: E;"),
        ("", "there is no Pigeon in cg_pigeon"),
        ("import re\nre.nothing", "cannot be loaded: AttributeError;"),
        ("class Pigeon:\n    OPTIONS = ()", "has no send()"),
        ("class Pigeon:\n    def send(self, message): ...", "has no OPTIONS"),
        ("class Pigeon:\n    OPTIONS = 'abc'\n    def send(self, message): ...", "has no OPTIONS"),
        ("class Pigeon:\n    OPTIONS = ['a']\n    def send(self, message): ...", "has no OPTIONS"),
        ("Pigeon = 3", "is not a class"),
        ("class K:\n    OPTIONS = ()\n    def send(self, m): ...\nPigeon = K()", "is not a class"),
        ("class Pigeon:\n    OPTIONS = ()\n    def send(self, m): yield", "would never run"),
        ("class Pigeon:\n    OPTIONS = ()\n    async def send(self, m): yield", "would never run"),
        (METACLASS, "cannot be looked at (KeyError)"),
        (with_options("Option('A b')"), "has an option 'A b': names are lower-case letters"),
        (with_options("Option(3)"), "has an option 3: names are"),
        (with_options("Option('type')"), "has an option type, which every channel has already"),
        (with_options("Option('threshold')"), "has an option threshold, which every channel has"),
        (with_options("Option('a'), Option('a')"), "has the option a twice"),
        (with_options(f"Option('a', secret=True, default='{SECRET}')"), "a, which is a secret"),
        (with_options("Option('a', default=3)"), "has a default for a, which is no text"),
    ],
)
def test_a_broken_plugin_is_one_line_and_stops_nothing(install, source, said):
    """The line names plugin and distribution; the others still load and are described."""
    install("cg-pigeon", {"pigeon": "cg_pigeon:Pigeon"}, cg_pigeon=source)
    text = problem("pigeon")
    assert said in text
    assert "'pigeon'" in text
    assert "cg-pigeon 1.2" in text
    assert problem("pigeon") == text, "the same the second time"
    (info,) = described("pigeon")
    assert info.error == text
    assert described("slack")[0].error is None
    assert plugins.load(CHANNELS, "slack")


@pytest.mark.parametrize(
    ("entry", "value", "said"),
    [
        ("pigeon", "cg_missing:Pigeon", "ModuleNotFoundError (module 'cg_missing')"),
        ("pigeon", "cg pigeon::", "its entry point 'cg pigeon::' is not of the form module:name"),
        ("pi geon", "cg_pigeon:Pigeon", "has a name that is more than letters, digits, _ and -"),
    ],
)
def test_an_entry_point_that_leads_nowhere_is_one_line(install, entry, value, said):
    """As is one whose name nobody could write into settings."""
    install("cg-pigeon", {entry: value}, cg_pigeon=GOOD)
    text = problem(entry)
    assert said in text
    assert "cg-pigeon 1.2" in text
    assert described(entry)[0].error == text


@pytest.mark.parametrize(
    ("group", "source", "said"),
    [
        (
            STORES,
            "class Pigeon:\n    def start_run(self): ...",
            "cg_pigeon:Pigeon has no finish_run",
        ),
        (SECRETS, "class Pigeon: ...", "cg_pigeon:Pigeon has no get()"),
    ],
)
def test_stores_and_sources_are_looked_at_too(install, group, source, said):
    """What a store or a source lacks is said when it is named, not when an alert is due."""
    install("cg-pigeon", {"pigeon": "cg_pigeon:Pigeon"}, group=group, cg_pigeon=source)
    assert said in problem("pigeon", group)


def test_a_plugin_whose_import_hangs_is_left_behind(install, monkeypatch):
    """A job that needs it waits only so long, and only once."""
    monkeypatch.setattr(plugins, "_MAX_IMPORT_SECONDS", 0.1)
    monkeypatch.setattr(plugins, "forever", threading.Event(), raising=False)
    source = "from cronguard.settings import plugins\nplugins.forever.wait(60)\n"
    install("cg-pigeon", {"pigeon": "cg_pigeon:Pigeon"}, cg_pigeon=source)
    try:
        text = problem("pigeon")
        monkeypatch.setattr(plugins, "_MAX_IMPORT_SECONDS", 60)
        assert problem("pigeon") == text
    finally:
        plugins.forever.set()
    assert "'pigeon' of cg-pigeon 1.2 cannot be loaded: its import takes longer than 0.1" in text


def test_a_plugin_loads_where_no_thread_can_be_had(install, monkeypatch):
    """As late in a process's end."""

    def start(thread):
        raise RuntimeError("can't start new thread")

    install("cg-pigeon", {"pigeon": "cg_pigeon:Pigeon"}, cg_pigeon=GOOD)
    monkeypatch.setattr(workers, "_idle_workers", [])
    monkeypatch.setattr(threading.Thread, "start", start)
    assert plugins.load(CHANNELS, "pigeon").__name__ == "Pigeon"


def test_an_unknown_name_is_one_line_with_a_suggestion(install):
    """What is installed is listed, and what was probably meant."""
    text = problem("slak")
    assert "there is no channel 'slak' (did you mean 'slack'?)" in text
    assert "console, " in text
    assert "slack, webhook" in text
    assert "there is no store 'mysql'" in problem("mysql", STORES)
    assert "there is no secret source 'aws'" in problem("aws", SECRETS)
    assert "there is no channel" in problem("../slack")
    assert "there is no channel" in problem("_http")


def test_cronguards_own_wins_and_the_other_is_described_as_passed_over(install):
    """A distribution cannot take over the name of a built-in; doctor says that it tried."""
    install("cg-slack", {"slack": "cg_slack:Pigeon"}, cg_slack=GOOD)
    assert plugins.load(CHANNELS, "slack").__module__ == "cronguard.channels.slack"
    own, other = described("slack")
    assert (own.error, own.module) == (None, "cronguard.channels.slack")
    assert other.distribution == "cg-slack 1.2"
    assert other.error == (
        "channel 'slack' of cg-slack 1.2 is passed over: cronguard has this name too"
    )


def test_two_distributions_with_one_name_are_told_apart(install):
    """The first by name is used, always the same one; the other is described."""
    install("cg-b", {"pigeon": "cg_b:Pigeon"}, cg_b=GOOD)
    install("cg-a", {"pigeon": "cg_a:Pigeon"}, cg_a=GOOD)
    assert plugins.load(CHANNELS, "pigeon").__module__ == "cg_a"
    first, second = described("pigeon")
    assert (first.distribution, first.error) == ("cg-a 1.2", None)
    assert second.error == (
        "channel 'pigeon' of cg-b 1.2 is passed over: cg-a 1.2 has this name too"
    )


def test_a_built_in_whose_extra_is_missing_says_what_to_install(monkeypatch):
    """A built-in may need a package of an extra: the line is the pip command."""
    import importlib

    def refuse(name, package=None):
        if name == "cronguard.channels.slack":
            raise ModuleNotFoundError("No module named 'apprise'", name="apprise")
        return importlib.import_module(name, package)

    monkeypatch.setattr(plugins, "import_module", refuse)
    plugins.forget()
    try:
        assert problem("slack").endswith(how_to_install("slack"))
        (info,) = described("slack")
        assert "'apprise'" in info.error
        assert not info.installed
        assert "slack" in plugins.names(CHANNELS)
    finally:
        plugins.forget()


def test_damaged_package_metadata_hides_nothing_of_cronguards(monkeypatch):
    """One broken installation on the path must not silence the built-ins."""

    def explode(**_):
        raise RuntimeError(SECRET)

    monkeypatch.setattr("importlib.metadata.entry_points", explode)
    plugins.forget()
    try:
        assert {"console", "log", "slack", "webhook"} <= set(plugins.names(CHANNELS))
        assert "there is no channel" in problem("pigeon")
    finally:
        plugins.forget()


PROBE = """
import sys
from cronguard.settings import plugins
print(plugins.load("cronguard.channels", "console").__name__, "importlib.metadata" in sys.modules)
print(*[i.name for i in plugins.describe("cronguard.channels") if not i.error])
print({i.distribution for i in plugins.describe("cronguard.channels")})
"""


@pytest.mark.parametrize("form", ["tree", "zipapp"])
def test_built_ins_work_where_there_is_no_metadata(tmp_path, form):
    """From a source tree on the path or a zip, without any installed distribution."""
    source = tmp_path / "source"
    shutil.copytree(
        ROOT / "cronguard", source / "cronguard", ignore=shutil.ignore_patterns("__pycache__")
    )
    if form == "zipapp":
        with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
            for path in source.rglob("*"):
                archive.write(path, path.relative_to(source))
        source = tmp_path / "app.zip"
    code = f"import sys; sys.path.insert(0, {str(source)!r})" + PROBE
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    first, usable, distributions = done.stdout.splitlines()
    assert first == "ConsoleChannel False"
    assert {"console", "log"} <= set(usable.split())
    assert distributions == "{None}"
