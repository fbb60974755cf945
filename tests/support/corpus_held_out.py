"""What was not used while the rules were made: other people, other sentences, others' sentences.

The people are drawn once and stand in a file; the sentences are those of `job_sentences` and
whatever the installed libraries raise, read from their source when it is asked for.
"""

from __future__ import annotations

import ast
import importlib.util
import random
import re
import types
from functools import cache
from pathlib import Path

from support.corpus import Case
from support.corpus_sentences import sentence
from support.job_sentences import HELD_OUT, NAMED, SECOND

LIBRARIES = (
    "_pytest", "anyio", "check_jsonschema", "execnet", "faker", "hatchling", "PyInstaller",
    "rich", "ruamel", "setuptools", "sortedcontainers", "vine", "xdist", "zope.interface",
)  # fmt: skip
"""None of them is named by a template, or was asked for words; the extra `test` brings each."""
_NUMBERED = re.compile(
    r"len\(|(?:count|size|status|code|limit|max|min|length|line|number|port|n)\b"
)
_MOST_HOLES = 4
_MOST = 40  # of one library
_FRONT = f"NAMES = {NAMED}\n"


@cache
def people():
    """The held-out people, towns and addresses."""
    lines = Path(__file__).with_name("held_out_people.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def own_sentences(seed, each=1, *, held_out=True):
    """Sentences of jobs with people of the list, as scripts of their own raise them."""
    dice = random.Random(seed)
    for template, values in HELD_OUT if held_out else SECOND:
        private = [name for name in values if name.startswith("who")]
        for _ in range(each if private else 1):
            drawn = {name: dice.choice(people()) for name in private}
            yield sentence(template, values | drawn, _FRONT)


@cache
def library_sentences():
    """``(library, expression, holes)`` of each message that a library raises with a value in it.

    The holes are the texts of the values' expressions; in the expression they are ``v0``, ``v1``…
    """
    return [each for library in LIBRARIES for each in _of(library)]


def _of(library):
    found = {}
    for path in _sources(library):
        for node in ast.walk(ast.parse(path.read_text("utf-8", "replace"))):
            if message := _message(node):
                holes = _Holes()
                text = ast.unparse(holes.visit(message))
                if 0 < len(holes.found) <= _MOST_HOLES and re.search(r"[a-z]{3} [a-z]", text):
                    found[text] = (library, text, tuple(holes.found))
    return random.Random(library).sample(sorted(found.values()), min(_MOST, len(found)))


def _sources(library):
    spec = importlib.util.find_spec(library)
    for folder in spec.submodule_search_locations or ():
        yield from sorted(path for path in Path(folder).rglob("*.py") if "test" not in str(path))


def _message(node):
    """The f-string or template that a ``raise`` gives to the error as its only argument."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and len(node.exc.args) == 1:
        argument = node.exc.args[0]
        if isinstance(argument, ast.JoinedStr):
            return argument
        if isinstance(argument, ast.BinOp) and isinstance(argument.op, ast.Mod):
            return argument if isinstance(argument.left, ast.Constant) else None
    return None


class _Holes(ast.NodeTransformer):
    """Puts a variable where the message has a value."""

    def __init__(self):
        self.found = []

    def _hole(self, node):
        self.found.append(ast.unparse(node))
        return ast.Name(f"v{len(self.found) - 1}", ast.Load())

    def visit_FormattedValue(self, node):
        return ast.FormattedValue(self._hole(node.value), node.conversion, None)

    def visit_BinOp(self, node):
        values = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
        return ast.BinOp(node.left, node.op, ast.Tuple([*map(self._hole, values)], ast.Load()))


def raised_by_library(expression, values, *, knows):
    """The error with these values; ``knows`` says whether its code is on the traceback."""
    module = types.ModuleType("library")
    names = ", ".join(f"v{at}" for at in range(len(values)))
    body = f"raise RuntimeError({expression})" if knows else f"return {expression}"
    exec(compile(f"def work({names}):\n    {body}\n", "library.py", "exec"), vars(module))
    try:
        text = module.work(*values)
    except RuntimeError as error:
        return error
    except (TypeError, ValueError):  # a format that takes no text
        return None
    return RuntimeError(text)


def library_people(seed, *, knows):
    """Cases of the libraries' sentences with people in them."""
    dice = random.Random(f"{seed} people")
    for library, expression, holes in library_sentences():
        values = dice.sample(people(), len(holes))
        if error := raised_by_library(expression, values, knows=knows):
            carried = [value for value in values if value in str(error)]
            yield Case(error, str(error), carried, f"{library}: {expression}")


def library_facts(seed, *, knows):
    """``(what, error, facts)``: the same with numbers where a length, a status or a limit stands.

    Whatever else is in a hole is a value, which `VALUE` stands for.
    """
    dice = random.Random(f"{seed} facts")
    for library, expression, holes in library_sentences():
        values = [dice.randrange(1000) if _NUMBERED.search(hole) else VALUE for hole in holes]
        if error := raised_by_library(expression, values, knows=knows):
            facts = [str(value) for value in values if value is not VALUE]
            yield f"{library}: {expression}", error, facts


VALUE = "Ærfugl"
"""No word of a program's."""
