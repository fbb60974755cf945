"""What ``python -m tests.broken`` breaks is still there, and it tells red from anything else."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import DEVNULL

import pytest
from broken.copies import ROOT
from broken.entries import ENTRIES
from broken.runner import (
    ERROR,
    GREEN,
    RED,
    Change,
    Entry,
    NotAppliedError,
    Outcome,
    Runner,
    apply,
    judge,
    read_outcome,
)

pytestmark = pytest.mark.one_python

PATIENCE = 120
TEST = "tests/test_rule.py::test_limit"
TREE = {
    ".gitignore": "__pycache__/\n",
    "pyproject.toml": '[tool.pytest.ini_options]\nmarkers = ["soak: long"]\n',
    "cronguard/__init__.py": "",
    "cronguard/core/install.py": "",
    "cronguard/testing/pytest_plugin.py": "",
    "cronguard/rule.py": "LIMIT = 2\nOTHER = 2\n",
    "tests/test_rule.py": (
        "import pytest\n"
        "from cronguard import rule\n"
        "def test_limit():\n    assert rule.LIMIT == 2\n"
        "def test_nothing():\n    pass\n"
        "@pytest.fixture\ndef limit():\n    assert rule.LIMIT == 2\n"
        "def test_with_a_fixture(limit):\n    pass\n"
    ),
}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_change_still_fits(entry):
    """The old text is there once, and the new one is another."""
    for change in entry.changes:
        assert (ROOT / change.file).read_text(encoding="utf-8").count(change.old) == 1, change
        assert change.new != change.old


def test_each_entry_has_a_name_of_its_own():
    """And names a test."""
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)
    assert all(entry.tests for entry in ENTRIES)


def test_every_test_that_is_named_exists(request):
    """As pytest collects them: a class may have its tests from another, a name may have moved."""
    here = Outcome(0, passed=[item.nodeid for item in request.session.items])
    tests = {test for entry in ENTRIES for test in entry.tests}
    named = sorted(test for test in tests if not here.ended(test, here.passed))
    if not named:
        return  # the whole suite runs, so they were all collected
    options = ("--collect-only", "-q", "-m", "not soak", "-p", "no:cacheprovider", "--color=no")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *named],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = Outcome(0, passed=done.stdout.splitlines())
    assert [test for test in named if not found.ended(test, found.passed)] == []


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A checkout of one rule and its tests."""
    folder = tmp_path_factory.mktemp("tree")
    for name, text in TREE.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("new", "test", "expected"),
    [
        ("LIMIT = 3", TEST, (RED, "1 of 1 failed")),
        ("LIMIT = (", TEST, (ERROR, "tests could not be collected")),
        (
            "LIMIT = 3",
            "tests/test_rule.py::test_with_a_fixture",
            (ERROR, "no test failed, but 1 could not be set up or torn down"),
        ),
    ],
    ids=["red", "not collected", "not set up"],
)
def test_only_a_test_that_fails_is_red(tree, tmp_path, new, test, expected):
    """What cannot even be tried proves nothing. The checkout is as it was, and no copy is left."""
    entry = Entry("the limit", (Change("cronguard/rule.py", "LIMIT = 2", new),), (test,))
    verdict = Runner(tmp_path, root=tree, limit=PATIENCE).break_and_test(entry)
    assert (verdict.state, verdict.reason) == expected
    assert (tree / "cronguard/rule.py").read_text(encoding="utf-8") == TREE["cronguard/rule.py"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("outcome", "state", "reason"),
    [
        (Outcome(None), ERROR, "it took too long"),
        (Outcome(2), ERROR, "could not be collected"),
        (Outcome(3), ERROR, "internal error"),
        (Outcome(4), ERROR, "does not exist"),
        (Outcome(4, errors=["a.py"]), ERROR, "could not be collected"),
        (Outcome(5), ERROR, "no test was collected"),
        (Outcome(-9), ERROR, "ended with -9"),
        (Outcome(0, passed=["a.py::t"]), GREEN, "all 1"),
        (Outcome(1, failed=["a.py::other"]), GREEN, "nothing failed of a.py::t"),
        (Outcome(1, failed=["a.py::tt"]), GREEN, "nothing failed of a.py::t"),
        (Outcome(1, failed=["a.py::t[x - y]"]), RED, "1 of 1"),
        (Outcome(1, failed=["a.py::t"], errors=["a.py::t"]), RED, "1 of 1"),
        (Outcome(1, errors=["a.py::t"]), ERROR, "could not be set up"),
    ],
)
def test_how_an_outcome_is_judged(outcome, state, reason):
    """Each test that is named must have failed."""
    judged = judge(["a.py::t"], outcome)
    assert (judged[0], reason in judged[1]) == (state, True), judged


def test_what_pytest_sums_up_is_read():
    """Each line names a test, whatever is said behind it."""
    output = "FAILED a.py::t[1 2] - assert 0\nERROR b.py::u - no\nPASSED c.py::v\nERROR: odd\n"
    outcome = read_outcome(1, output)
    assert outcome.failed == ["a.py::t[1 2]"]
    assert (outcome.errors, outcome.passed) == (["b.py::u"], ["c.py::v"])


@pytest.mark.parametrize(("old", "times"), [(" = 2", 2), ("LIMIT = 3", 0)])
def test_a_change_that_does_not_fit_is_an_error(tree, old, times):
    """It says where, what and how often."""
    with pytest.raises(NotAppliedError, match=rf"cronguard/rule\.py has this {times} times"):
        apply([Change("cronguard/rule.py", old, "")], tree)


def test_ctrl_c_leaves_nothing_behind(tmp_path):
    """Neither a copy nor a process that holds one."""
    command = [sys.executable, "-m", "tests.broken", "-k", "is not escaped", "--no-base"]
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=DEVNULL, stderr=DEVNULL)
    give_up = time.monotonic() + PATIENCE
    while not list(tmp_path.glob("brk-*/1/said")):
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert list(tmp_path.iterdir()) == []
    assert not users_of(tmp_path)


def users_of(folder):
    """The processes that work in a folder, as far as we may look."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            found += [link] if str(folder) in str(link.readlink()) else []
    return found
