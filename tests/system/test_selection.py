"""Which tests CI runs on which Python."""

from support.selection import COLLECTED

ON_EVERY_PYTHON = {
    "system/test_counts.py": "the connections and transactions of the standard library's sqlite3",
    "system/test_faults_inside.py": "imports, threads and what no memory does to them",
    "system/test_process_ends.py": "threads and hooks at the interpreter's exit",
    "testing/test_pytest_plugin.py": "event loops",
}
"""File → what it is in the interpreter that its long tests look at."""


def test_a_long_test_runs_on_the_oldest_python_or_says_why(request):
    """Who adds a long test marks it one_python, or adds its file and what it depends on."""
    found = {}
    for item in request.config.stash[COLLECTED]:
        file = item.path.relative_to(request.config.rootpath / "tests").as_posix()
        marked = {marker.name for marker in item.iter_markers()}
        found.setdefault(file, set())
        if "long" in marked and not marked & {"one_python", "soak"}:
            found[file].add(item.nodeid)
    unexplained = {file: tests for file, tests in found.items() if file not in ON_EVERY_PYTHON}
    assert [test for tests in unexplained.values() for test in tests] == []
    whole = not any("::" in named for named in request.config.args)
    stale = [file for file in ON_EVERY_PYTHON if whole and file in found and not found[file]]
    assert stale == [], "no long test in there runs on every Python any more"
    tests = request.config.rootpath / "tests"
    assert [file for file in ON_EVERY_PYTHON if not (tests / file).is_file()] == []
