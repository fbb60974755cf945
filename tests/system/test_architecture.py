"""The house keeps its order: data flows one way, adapters know only what strangers know.

errors → model → interfaces → pure modules → adapters → delivery, runtime → recorder, guard
→ testing → the command line and the pytest plugin
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
from support.imports import MODULES, imports_of

CORE = (
    "cronguard.guarding.decorator",
    "cronguard.guarding.recording",
    "cronguard.runtime.delivery",
    "cronguard.core.alert_rule",
)
CORE_PARTS = (
    "cronguard.guarding.call",
    "cronguard.guarding.async_recording",
    "cronguard.runtime.channel_threads",
)
ADAPTERS = ("cronguard.stores", "cronguard.channels", "cronguard.secrets")
FOREIGN = {"httpx", "httpcore", "click", "rich", "sqlite3", "psycopg", "supabase", "postgrest"}

LEVELS = (
    {"cronguard.core.errors"},
    {"cronguard.core.model", "cronguard.core.ids", "cronguard.core.clock"},
    {"cronguard.core.interfaces"},
    set(),  # everything that is not named here
    set(ADAPTERS),
    {
        "cronguard.runtime.channel_factory",
        "cronguard.runtime.store_factory",
        "cronguard.runtime.channel_threads",
    },
    {"cronguard.runtime.delivery", "cronguard.runtime.runtime", "cronguard.runtime.composition"},
    {
        "cronguard.guarding.recording",
        "cronguard.guarding.async_recording",
        "cronguard.guarding.call",
        "cronguard.guarding.decorator",
    },
    {"cronguard"},
    {"cronguard.testing"},
    {"cronguard.cli", "cronguard.testing.pytest_plugin", "cronguard.__main__"},
)
PURE = 3


def level(module):
    """Of the module, or of the package that it is in."""
    while module:
        for number, names in enumerate(LEVELS):
            if module in names and (module != "cronguard" or module in MODULES):
                return number
        module = module.rpartition(".")[0]
        if module == "cronguard":
            break
    return PURE


def real_imports(name):
    return [found for found in imports_of(name) if not found.for_types]


def within(module, package):
    return module == package or module.startswith(package + ".")


@pytest.mark.parametrize("name", [*CORE, *CORE_PARTS])
def test_the_core_knows_no_adapter(name):
    """Nor any library that an adapter stands for, not even inside a function or for types."""
    for found in imports_of(name):
        assert found.module.partition(".")[0] not in FOREIGN, found
        assert not any(within(found.module, adapter) for adapter in ADAPTERS), found


@pytest.mark.parametrize(
    "name", [name for name in MODULES if any(within(name, adapter) for adapter in ADAPTERS)]
)
def test_adapters_know_what_strangers_know(name):
    """A built-in channel or store uses nothing of cronguard that a plugin could not."""
    package = next(adapter for adapter in ADAPTERS if within(name, adapter))
    for found in imports_of(name):
        if not within(found.module, "cronguard"):
            continue
        private = any(part.startswith("_") for part in found.module.split("."))
        assert not private or within(found.module, package), found


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name):
    """Also the ones inside functions; those that only types need are free."""
    for found in real_imports(name):
        if within(found.module, "cronguard") and found.module in MODULES:
            assert level(found.module) <= level(name), f"{name} imports upwards: {found}"


def test_no_module_imports_itself_in_a_circle():
    """Nor through functions."""
    graph = {
        name: {
            found.module
            for found in real_imports(name)
            if found.module in MODULES and found.module not in (name, "cronguard")
        }
        for name in MODULES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these import one another: {' → '.join(error.args[1])}")


@pytest.mark.parametrize("name", [n for n in MODULES if not n.startswith("cronguard.testing")])
def test_nothing_of_the_tests_is_in_the_product(name):
    """No test framework is imported but by the plugin, no test mode sniffed."""
    if name == "cronguard.testing.pytest_plugin":
        return
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
        assert name in cronguard.__dict__ or name == "__version__"
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
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
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
