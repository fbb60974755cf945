"""Who imports whom in cronguard, read from the source: nothing is imported to find out.

A text that is a module's dotted name counts as an import of it.
"""

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[2] / "cronguard"


class Import(NamedTuple):
    """One import of a module: ``cronguard.process.log``, ``httpx``."""

    module: str
    line: int
    for_types: bool
    """Under ``if TYPE_CHECKING``: it never happens."""
    lazy: bool
    """Inside a function."""


def modules():
    """Module name → path, for every module of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports_of(name):
    """What a module imports, names that are modules told from names in modules."""
    return _imports_in(MODULES[name])


@cache
def tree_of(path):
    """The syntax tree of a file, read once."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _imports_in(path):
    found = []
    _collect(tree_of(path), found, for_types=False, lazy=False)
    return found


def _names_a_module(value):
    return isinstance(value, str) and "." in value and value in MODULES


def _collect(node, found, *, for_types, lazy):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            found += [Import(alias.name, child.lineno, for_types, lazy) for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports here are absolute"
            for alias in child.names:
                inner = f"{child.module}.{alias.name}"
                target = inner if inner in MODULES else child.module
                found.append(Import(target, child.lineno, for_types, lazy))
        elif isinstance(child, ast.Constant) and _names_a_module(child.value):
            found.append(Import(child.value, child.lineno, for_types, lazy))
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for part in child.body:
                _collect(ast.Module([part], []), found, for_types=True, lazy=lazy)
            for part in child.orelse:
                _collect(ast.Module([part], []), found, for_types=for_types, lazy=lazy)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            _collect(child, found, for_types=for_types, lazy=lazy or inside)
