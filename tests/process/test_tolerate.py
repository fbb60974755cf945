"""Errors that are passed over, and what a signal handler of the program raises meanwhile."""

import ast
import errno
import os
import signal

import pytest
from support.imports import PACKAGE

from cronguard.process.signals import tolerate

IN_THE_JOBS_THREAD = ("core", "guarding", "privacy", "process", "runtime", "settings", "stores")


class TimeLimitError(ValueError):
    """A program's own, of whatever type."""


def strike(error):
    def handler(signum, frame):
        raise error

    signal.signal(signal.SIGALRM, handler)
    os.kill(os.getpid(), signal.SIGALRM)


@pytest.fixture(autouse=True)
def _handler():
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.signal(signal.SIGALRM, before)


def test_an_error_of_the_kind_is_passed_over():
    """The system's, and one without a number too, which some libraries raise."""
    for error in (OSError(errno.ENOENT, "no"), OSError("no"), ValueError("no")):
        with tolerate(OSError, ValueError):
            raise error


def test_an_error_of_another_kind_is_not():
    with pytest.raises(KeyError), tolerate(OSError):
        raise KeyError


@pytest.mark.parametrize(
    "limit", [TimeoutError(), TimeoutError(errno.ETIMEDOUT, "x"), TimeLimitError()]
)
def test_a_time_limit_of_the_program_is_not(limit):
    """Whatever its type and its number, and while another error is being handled too."""
    with pytest.raises(type(limit)) as caught, tolerate(OSError, ValueError):
        strike(limit)
    assert caught.value is limit
    try:
        {}["earlier"]
    except KeyError:
        with pytest.raises(type(limit)), tolerate(OSError, ValueError):
            strike(limit)


def test_a_time_limit_that_was_taken_for_something_else_is_not():
    """A library caught it and raised an error of its own."""

    def library():
        try:
            strike(TimeoutError())
        except OSError as error:
            raise OSError("the disk") from error

    with pytest.raises(OSError, match="disk"), tolerate(OSError):
        library()


def test_an_earlier_limit_says_nothing_of_a_later_error():
    """A job that handles its own limit, and whose file is missing meanwhile."""
    try:
        strike(TimeoutError())
    except TimeoutError:
        with tolerate(OSError):
            os.close(-1)


def _names(node):
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _outside_of_who_asks(node):
    """Yield the nodes, but not those of a function that asks `raised_by_handler` later."""
    for each in ast.iter_child_nodes(node):
        if not (isinstance(each, ast.FunctionDef) and "raised_by_handler" in _names(each)):
            yield each
            yield from _outside_of_who_asks(each)


def _silent_lines(text):
    """Yield the lines that pass over an OSError whatever raised it."""
    for node in _outside_of_who_asks(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            raises = any(isinstance(each, ast.Raise) for each in ast.walk(node))
            if _names(node.type) & {"OSError", "TimeoutError"} and not raises:
                yield node.lineno
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called == "suppress" and any("OSError" in _names(each) for each in node.args):
                yield node.lineno


def test_no_code_passes_over_a_time_limit_as_the_systems_error():
    """Where a job's thread may be: `tolerate`, or a clause that raises what is not the system's."""
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for floor in IN_THE_JOBS_THREAD
        for path in sorted((PACKAGE / floor).rglob("*.py"))
        for line in _silent_lines(path.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    pass\nexcept OSError:\n    pass\n",
        "try:\n    pass\nexcept (OSError, ValueError):\n    pass\n",
        "with contextlib.suppress(OSError):\n    pass\n",
        "with suppress(ValueError, OSError):\n    pass\n",
    ],
)
def test_such_code_is_found(text):
    assert list(_silent_lines(text))
