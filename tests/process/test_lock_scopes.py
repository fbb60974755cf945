"""What holds a lock across a signal: no loop stands in a ``try`` whose ``finally`` gives it back.

Since CPython 3.12 what a signal handler raises at the jump of a loop may pass that ``finally`` by,
and the lock is held for ever. It takes some ten thousand alarms to see it once, and nothing shows
on 3.11: so it is read from the source.
"""

import ast

import pytest
from support.imports import MODULES

LOOPS = ast.For | ast.While | ast.AsyncFor


def gives_back(node):
    """Whether a ``finally`` releases a lock, or puts back a turn."""
    calls = [each for part in node.finalbody for each in ast.walk(part)]
    names = {each.func.attr for each in calls if isinstance(each, ast.Call) and is_method(each)}
    return bool(names & {"release", "put"})


def is_method(call):
    return isinstance(call.func, ast.Attribute)


def loops_while_held(source):
    """The lines of loops in such a ``try``, those of functions that are defined there apart."""
    tries = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Try)]
    return [line for each in tries if gives_back(each) for line in loops(each.body)]


def loops(body):
    for node in body:
        if isinstance(node, LOOPS):
            yield node.lineno
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from loops(ast.iter_child_nodes(node))


@pytest.mark.parametrize("name", MODULES)
def test_no_loop_runs_in_the_try_that_gives_a_lock_back(name):
    """It is a function of its own: see `cronguard.stores.sqlite.file.SQLiteFile`."""
    assert loops_while_held(MODULES[name].read_text(encoding="utf-8")) == []


def test_such_a_loop_is_found():
    """In the ``try`` itself or deeper; not in a function that it calls, nor elsewhere."""
    wrong = "try:\n    if held:\n        for each in x:\n            f(each)\nfinally:\n    {}\n"
    assert loops_while_held(wrong.format("lock.release()")) == [3]
    assert loops_while_held(wrong.format("if held: turns.put(True)")) == [3]
    assert loops_while_held(wrong.format("done = True")) == []
    assert loops_while_held("try:\n    f()\nfinally:\n    lock.release()\nfor x in y: pass\n") == []
