"""The house keeps its order: packages stand on floors, and imports only go down.

`cronguard/__init__.py` says what lives where. An import counts wherever it stands: at the top of a
module, inside a function, for types only, or as the name of a module in a text.
"""

import ast
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest
from support.imports import MODULES, PACKAGE, imports_of, tree_of

pytestmark = pytest.mark.one_python

FLOORS = {
    "core": 1,
    "process": 2,
    "privacy": 3,
    "stores": 3,
    "channels": 3,
    "settings": 4,
    "runtime": 5,
    "guarding": 6,
    "testing": 7,
    "cli": 7,
    "": 8,  # the package's own face, and `python -m cronguard`
}
MOST_AT_THE_ROOT = 13
MOST_IN_A_FOLDER = 15
ADAPTERS = ("stores", "channels")
HEAVY = {
    "httpx",
    "httpcore",
    "click",
    "rich",
    "sqlite3",
    "psycopg",
    "supabase",
    "postgrest",
    "wrapt",
}


def package_of(module):
    """``stores`` of ``cronguard.stores.sqlite.file``; empty for what is at the root."""
    _, _, inside = module.partition(".")
    name = inside.partition(".")[0]
    return name if name in FLOORS else ""


def is_upward(importer, imported):
    """Neither to the importer's own package nor to one on a lower floor."""
    here, there = package_of(importer), package_of(imported)
    return here != there and FLOORS[here] <= FLOORS[there]


def within(module, package):
    return module == package or module.startswith(package + ".")


def own_imports(name):
    return [found for found in imports_of(name) if found.module in MODULES]


def circle(graph):
    """The names on a circle of a graph, None if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name):
    """A package knows its own modules and those of the floors below, nothing else."""
    upward = [found for found in own_imports(name) if is_upward(name, found.module)]
    assert not upward


def test_no_module_imports_itself_in_a_circle():
    """Nor through functions, nor for types."""
    graph = {
        name: {found.module for found in own_imports(name)} - {name, *parents(name)}
        for name in MODULES
    }
    assert circle(graph) is None


def parents(name):
    """The packages around a module, which Python imports first anyway."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def test_the_rules_can_fail():
    """What they are for would be seen."""
    assert is_upward("cronguard.core.model", "cronguard.runtime.delivery")
    assert is_upward("cronguard.stores.sqlite.file", "cronguard.privacy.mask")
    assert is_upward("cronguard.cli.app", "cronguard")
    assert not is_upward("cronguard.stores.sqlite.file", "cronguard.core.errors")
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circle({"a": {"b"}, "b": {"c"}, "c": set()})


def test_every_kind_of_import_is_seen(tmp_path, monkeypatch):
    """At the top, in a function, for types, by name."""
    source = tmp_path / "module.py"
    source.write_text(
        "from typing import TYPE_CHECKING\n"
        "from cronguard.core import model\n"
        "if TYPE_CHECKING:\n    from cronguard.cli.app import main\n"
        "def f():\n    import cronguard.runtime.check\n"
        "    return import_module('cronguard.privacy.redaction')\n"
    )
    monkeypatch.setitem(MODULES, "cronguard.module", source)
    assert {found.module for found in own_imports("cronguard.module")} == {
        "cronguard.core.model",
        "cronguard.cli.app",
        "cronguard.runtime.check",
        "cronguard.privacy.redaction",
    }


def test_the_house_has_a_few_rooms():
    """A newcomer finds the file for a feature from the tree alone."""
    entries = [path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MOST_AT_THE_ROOT
    assert {name for name in FLOORS if name} == {
        name for name in entries if (PACKAGE / name / "__init__.py").exists()
    }
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    crowded = {
        str(folder): len(list(folder.glob("*.py")))
        for folder in folders
        if len(list(folder.glob("*.py"))) > MOST_IN_A_FOLDER
    }
    assert not crowded


PACKAGES = [name for name, path in MODULES.items() if path.name == "__init__.py"]


@pytest.mark.parametrize("name", [n for n in PACKAGES if n != "cronguard"])
def test_a_package_says_what_it_is_for(name):
    """In a sentence or a few, and lists what it offers; sorted, and nothing loaded for it."""
    tree = tree_of(MODULES[name])
    assert ast.get_docstring(tree)
    (listed,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    )
    assert listed == sorted(listed)
    folder = MODULES[name].parent
    modules = {path.stem for path in folder.glob("*.py")} | {
        path.name for path in folder.iterdir() if (path / "__init__.py").exists()
    }
    public = {module for module in modules if not module.startswith("_")}
    if public & set(listed):
        assert set(listed) == public


@pytest.mark.parametrize("name", MODULES)
def test_a_module_with_an_underscore_is_its_packages_own(name):
    """Nobody else imports it."""
    for found in own_imports(name):
        package, _, module = found.module.rpartition(".")
        if module.startswith("_") and module != "__main__":
            assert within(name, package), found


@pytest.mark.parametrize("name", [n for n in MODULES if package_of(n) == "core"])
def test_the_core_does_nothing(name):
    """No library that does I/O, not even inside a function or for types, and no thread."""
    roots = {found.module.partition(".")[0] for found in imports_of(name)}
    assert not roots & (HEAVY | {"socket", "threading", "subprocess", "logging", "asyncio"})


@pytest.mark.parametrize("name", [n for n in MODULES if package_of(n) in ("runtime", "guarding")])
def test_the_middle_knows_no_library_of_an_adapter(name):
    """Whatever a store or a channel stands for, it stays behind them; wrapt is the decorator's."""
    roots = {found.module.partition(".")[0] for found in imports_of(name)}
    assert roots & HEAVY <= ({"wrapt"} if name == "cronguard.guarding.decorator" else set())


@pytest.mark.parametrize("name", [n for n in MODULES if package_of(n) in ADAPTERS])
def test_adapters_know_what_third_parties_know(name):
    """A built-in channel or store uses nothing of cronguard that a plugin could not."""
    for found in own_imports(name):
        assert package_of(found.module) in {"core", "process", package_of(name)}, found


@pytest.mark.parametrize("name", [n for n in MODULES if not within(n, "cronguard.testing")])
def test_nothing_of_the_tests_is_in_the_product(name):
    """No test framework is imported but by the plugin, no test mode sniffed."""
    for found in imports_of(name):
        assert found.module.partition(".")[0] not in {"pytest", "unittest", "tests", "support"}
    assert "PYTEST_CURRENT_TEST" not in MODULES[name].read_text(encoding="utf-8")


IMPORT = """
import json, os, sys, threading

opened = []

def audit(event, args):
    if event == "open" and isinstance(args[0], str):
        opened.append(os.path.realpath(args[0]))
    elif event in ("socket.connect", "sqlite3.connect", "subprocess.Popen", "os.fork"):
        opened.append(event)

before = set(sys.modules)
sys.addaudithook(audit)
import cronguard
after = set(sys.modules) - before
found = list(opened)
print(json.dumps({
    "modules": sorted(after),
    "opened": found,
    "threads": threading.active_count(),
    "package": os.path.dirname(os.path.realpath(cronguard.__file__)),
}))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """What ``import cronguard`` does in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", IMPORT],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path_factory.mktemp("elsewhere"),
    )
    return json.loads(done.stdout)


def test_importing_is_light(imported):
    """No third party, nothing heavy; what a name needs is loaded when the name is used."""
    roots = {name.partition(".")[0] for name in imported["modules"]}
    heavy = {"wrapt", "httpx", "click", "rich", "sqlite3", "psycopg", "supabase", "platformdirs"}
    assert not roots & (heavy | {"logging", "asyncio", "tomllib", "certifi", "cronsim", "inspect"})
    assert "importlib.metadata" not in imported["modules"]
    assert roots <= {"cronguard", "__future__", "typing", *sys.stdlib_module_names}


def test_importing_does_nothing(imported):
    """It starts no thread, connects nowhere, and opens no file but modules."""
    assert imported["threads"] == 1
    outside = [
        path
        for path in imported["opened"]
        if not path.startswith(imported["package"]) and not path.endswith((".py", ".pyc"))
    ]
    assert not outside


def test_what_is_public_is_what_is_listed():
    """``__all__``, ``dir()`` and what can be had are the same, sorted."""
    import cronguard

    assert cronguard.__all__ == sorted(cronguard.__all__)
    assert dir(cronguard) == cronguard.__all__
    for name in cronguard.__all__:
        assert getattr(cronguard, name) is not None
        assert name in cronguard.__dict__
    with pytest.raises(AttributeError, match="nonsense"):
        _ = cronguard.nonsense
    star = {}
    exec("from cronguard import *", star)
    assert set(cronguard.__all__) <= set(star)


def public_modules():
    return [
        name
        for name in MODULES
        if not any(part.startswith("_") for part in name.split("."))
        and not within(name, "cronguard.cli")
    ]


@pytest.mark.parametrize("name", public_modules())
def test_what_is_public_is_explained(name):
    """Every public module, class, function and method has a docstring."""
    tree = tree_of(MODULES[name])
    assert ast.get_docstring(tree), f"{name} does not say what it is for"
    for node, where in public_definitions(tree, name):
        assert ast.get_docstring(node) or is_excused(node), f"{where} has no docstring"


def public_definitions(tree, where):
    for node in tree.body:
        kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        if not isinstance(node, kinds) or node.name.startswith("_"):
            continue
        yield node, f"{where}.{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from public_definitions(node, f"{where}.{node.name}")


NO_VERBS = {
    *("A", "All", "An", "As", "Each", "Every", "How", "In", "It", "Its", "No", "Of", "On"),
    *("One", "That", "The", "These", "This", "What", "When", "Where", "Whether", "Which"),
    *("Who", "Whose", "Why"),
}
"""What a docstring begins with that says what something is, and not what it does."""


@pytest.mark.parametrize("name", MODULES)
def test_docstring_begins_with_a_verb(name):
    """That of a function; a test's says what holds."""
    for node in ast.walk(tree_of(MODULES[name])):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = (ast.get_docstring(node) or "Do").split()[0]
            is_test = node.name.startswith("test_") or within(name, "cronguard.testing")
            assert is_test or (first not in NO_VERBS and first[0].isalpha()), f"{name}: {node.name}"


STORE_DUTIES = {
    name
    for name, _ in inspect.getmembers(importlib.import_module("cronguard.core.interfaces").Store)
    if not name.startswith("_")
} | {"send", "get"}
"""Explained once, in `cronguard.core.interfaces`."""


def is_excused(node):
    decorated = {getattr(part, "id", "") for part in getattr(node, "decorator_list", ())}
    return node.name in STORE_DUTIES or "overload" in decorated


def test_every_module_can_be_imported():
    """On its own, without extras: what is missing is said when it is used."""
    import cronguard

    for found in pkgutil.walk_packages(cronguard.__path__, "cronguard."):
        if found.name.startswith(("cronguard.testing.pytest_plugin", "cronguard.__main__")):
            continue
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            if error.name.partition(".")[0] not in {"psycopg", "supabase", "apprise"}:
                raise
