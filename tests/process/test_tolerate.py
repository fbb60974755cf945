"""Errors that are passed over, and what a signal handler of the program raises meanwhile."""

import ast
import errno
import os
import signal

import pytest
from support.imports import PACKAGE

from cronguard.process import signals
from cronguard.process.signals import tolerate

IN_THE_JOBS_THREAD = ("core", "guarding", "privacy", "process", "runtime", "settings", "stores")


OF_OS_PATH = {"exists", "lexists", "isdir", "isfile", "islink", "ismount"}
OF_PATH_SINCE_3_14 = {"exists", "is_dir", "is_file", "is_symlink", "is_mount", "is_socket"}
"""They take any OSError for an answer; `process.signals` has the like that do not."""


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


@pytest.fixture
def struck_at_the_first_call(monkeypatch):
    """A time limit strikes as the system answers: the next call of a function of `os`."""
    limit = TimeoutError("too slow")

    def at_next(name):
        call = getattr(os, name)

        def struck(*args, **kwargs):
            monkeypatch.setattr(os, name, call)
            try:
                return call(*args, **kwargs)
            finally:
                strike(limit)

        monkeypatch.setattr(os, name, struck)
        return limit

    return at_next


@pytest.mark.parametrize(
    ("ask", "name"),
    [
        (signals.make_folder, "mkdir"),
        (signals.is_folder, "stat"),
        (signals.is_file, "stat"),
        (signals.is_there, "stat"),
        (signals.real_path, "lstat"),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_question_about_a_path_passes_over_no_time_limit(
    tmp_path, struck_at_the_first_call, ask, name, there
):
    """Python's own functions took it for an answer."""
    folder = tmp_path / "folder"
    if there:
        folder.mkdir()
    limit = struck_at_the_first_call(name)
    with pytest.raises(TimeoutError) as caught:
        ask(folder)
    assert caught.value is limit
    assert ask(folder) in (None, there, False, folder)


def test_questions_about_paths_are_answered_as_python_does(tmp_path):
    """Files, folders, links, links to nothing and to each other, what is under a file."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for link, target in [("to", "folder"), ("nothing", "gone/x"), ("one", "two"), ("two", "one")]:
        (tmp_path / link).symlink_to(target)
    names = ["file", "folder", "to", "to/x", "nothing", "one", "two", "file/x", "gone", "gone/x"]
    for path in (tmp_path / name for name in names):
        assert signals.is_file(path) == path.is_file(), path
        assert signals.is_folder(path) == path.is_dir(), path
        assert signals.is_there(path) == path.exists(), path
        assert signals.is_there(path, follow=False) == os.path.lexists(path), path
        if path.name not in ("one", "two"):  # without an end; any answer will do
            assert str(signals.real_path(path)) == os.path.realpath(path), path
    assert not signals.is_there(tmp_path / "a\0b")


def test_a_folder_is_made_with_those_above_it(tmp_path):
    """The last for its user alone; one that is there stays as it is, a file stops it."""
    umask = os.umask(0o022)
    try:
        signals.make_folder(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(umask)
    modes = [(tmp_path / each).stat().st_mode & 0o777 for each in ("a", "a/b", "a/b/c")]
    assert modes == [0o755, 0o755, 0o700]
    signals.make_folder(tmp_path / "a")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        signals.make_folder(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        signals.make_folder(tmp_path / "file" / "x")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EEXIST])
def test_a_folder_that_is_there_is_made_whatever_is_said_of_it(tmp_path, monkeypatch, number):
    """autofs and NFS refuse to make it before they look; one that is not there is refused."""

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "mkdir", refuse)
    signals.make_folder(tmp_path)
    with pytest.raises(OSError, match=os.strerror(number)):
        signals.make_folder(tmp_path / "gone")


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
            given = {each.arg: each.value for each in node.keywords}
            if called in ("mkdir", "makedirs") and {"exist_ok", "parents"} & set(given):
                yield node.lineno
            if called == "realpath" and "strict" not in given:
                yield node.lineno
            if isinstance(node.func, ast.Attribute) and called in OF_PATH_SINCE_3_14:
                yield node.lineno
        if isinstance(node, ast.Attribute) and node.attr in OF_OS_PATH:
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
        "folder.mkdir(parents=True)\n",
        "os.makedirs(folder, exist_ok=True)\n",
        "os.path.realpath(folder)\n",
        "next(filter(os.path.isfile, folders))\n",
        "path.exists()\n",
    ],
)
def test_such_code_is_found(text):
    assert list(_silent_lines(text))


def test_no_memory_to_look_for_a_handler(monkeypatch):
    """What is asked of an error raises nothing by itself."""

    def find_none():
        raise MemoryError

    monkeypatch.setattr(signals, "_handler_codes", find_none)
    assert signals.raised_by_handler(MemoryError()) is None
