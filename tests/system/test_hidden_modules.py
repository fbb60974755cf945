"""A file beside the job has the name of a module of Python's own, such as `random.py`.

The job runs as it would without cronguard: nobody runs that file who did not before, and the job
imports it as before. It is recorded and told of all the same, and one line says which file it is.
"""

import _imp
import ast
import json
import os
import subprocess
import sys

import pytest
import wrapt
from support.imports import PACKAGE
from support.processes import Place

from cronguard.core import PACKAGES
from cronguard.process import hidden

FOREIGN = 'print("not the job\'s")\nraise SystemExit(3)\n'
"""What a file holds that nobody imports."""
LOADED = """
    import json
    @cron_guarded(threshold=1)
    def nightly():
        raise ValueError("bad")
    try:
        nightly()
    except ValueError:
        pass
    from cronguard.runtime.composition import current
    current().prepare_at_once()
    print(json.dumps([sorted(set(sys.modules) - bare), sorted(bare)]))
"""
JOB = """
    @cron_guarded(threshold=1)
    def nightly(fail):
        print("ran")
        if fail:
            raise ValueError("bad")
    nightly(False)
    try:
        nightly(True)
    except ValueError:
        print("raised")
"""
SUITE = """
import pytest
from cronguard import cron_guarded

@cron_guarded(job="nightly", threshold=1)
def nightly():
    raise ValueError

def test_nightly(cronguard):
    with pytest.raises(ValueError):
        nightly()
    assert [each.kind for each in cronguard.alerts] == ["failing"]

def test_again(cronguard):
    test_nightly(cronguard)
"""
THEIRS = "import {0}; assert {0}.mine == 42\n"


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def check(place, done, hiding=None, what="Python's own module", kind="file"):
    """All went well; what was said but for the alert is the line about the file, if any."""
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ran\nran\nraised\n", done.stderr
    assert place.statuses()[-2:] == ["success", "failure"], done.stderr
    assert done.stderr.count("nightly is failing") == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if "hides" in line]
    if hiding is None:
        assert not lines
    else:
        (line,) = lines
        assert line.startswith(f"cronguard: {place.folder / hiding} hides {what} ")
        assert line.endswith(f": rename that {kind}")


def check_name(place, name):
    """However the job uses the file: not at all, before it imports cronguard, or after."""
    file = place.folder / f"{name}.py"
    file.write_text(FOREIGN)
    check(place, place.run(JOB), file.name)
    file.write_text("mine = 42\n")
    theirs = THEIRS.format(name)
    script = place.write(JOB)
    code = script.read_text()
    for text in theirs + code, code + theirs:
        script.write_text(text)
        check(place, place.run(script), file.name)
    file.unlink()


@pytest.mark.parametrize("name", ["random", "email", "logging", "json", "sqlite3", "asyncio"])
def test_a_module_is_hidden(place, name):
    """Some of those that files are called by, and are needed at first, at a failure or by wrapt."""
    check_name(place, name)


@pytest.mark.soak
def test_any_module_is_hidden(place):
    """Each that cronguard or what it needs would load up to a first alert."""
    script = place.write(LOADED)
    script.write_text(f"import sys\nbare = set(sys.modules)\n{script.read_text()}")
    loaded, bare = json.loads(place.run(script).stdout)
    names = {name.partition(".")[0] for name in loaded} & sys.stdlib_module_names
    names -= {*bare, *sys.builtin_module_names, *filter(_imp.is_frozen, names)}
    assert len(names) > 60
    for name in sorted(name for name in names if not name.startswith("_")):
        check_name(place, name)


@pytest.mark.parametrize("name", ["ntpath", "time"])
def test_what_is_in_python_itself_cannot_be_hidden(place, name):
    """Python finds what is frozen or built in before any file: there is nothing to say."""
    (place.folder / f"{name}.py").write_text(FOREIGN)
    check(place, place.run(JOB))


def test_a_package_hides_a_module(place):
    """Not a mere folder, such as one for logs."""
    (place.folder / "email").mkdir()
    check(place, place.run(JOB))
    (place.folder / "email" / "__init__.py").write_text(FOREIGN)
    check(place, place.run(JOB), "email", kind="folder")


PLANNED = JOB.replace(
    "threshold=1",
    'threshold=1, schedule="0 7 * * *", timezone="Europe/Oslo", runbook="https://a.example/x"',
)


@pytest.mark.parametrize("name", ["cronsim", "wrapt"])
def test_a_package_is_hidden(place, name):
    """Another's that cronguard needs: its own is used, and the file named, not run."""
    file = place.folder / f"{name}.py"
    file.write_text(FOREIGN)
    check(place, place.run(PLANNED), file.name, "the package")
    file.unlink()
    file.with_suffix("").mkdir()
    (place.folder / name / "__init__.py").write_text(FOREIGN)
    check(place, place.run(PLANNED), name, "the package", "folder")


@pytest.mark.parametrize("name", ["zoneinfo", "urllib", "bisect", "calendar"])
def test_a_module_that_only_some_options_need(place, name):
    """A schedule, a time zone, a link: they are checked when the function is decorated."""
    (place.folder / f"{name}.py").write_text(FOREIGN)
    done = place.run(PLANNED)
    assert (done.returncode, done.stdout) == (0, "ran\nran\nraised\n"), done.stderr
    assert place.statuses() == ["success", "failure"]


@pytest.mark.one_python
@pytest.mark.parametrize("name", sorted({*PACKAGES, "ssl", "ipaddress"} - {"cronsim", "wrapt"}))
def test_an_alert_reaches_its_channel_all_the_same(place, name):
    """What sends it imports late, beside files of these names."""
    (place.folder / f"{name}.py").write_text(FOREIGN)
    done = place.run(JOB, env={"CRONGUARD_SLACK_WEBHOOK_URL": "https://127.0.0.1:9/x"})
    assert f"{name}.py hides " in done.stderr
    assert "did not reach channel slack and stays pending (connection_refused" in done.stderr


def test_packages_elsewhere_on_the_path(place):
    """A folder that packages were installed into hides none, nor one that is alone in having it."""
    (place.folder / "wrapt").symlink_to(os.path.dirname(wrapt.__file__))  # noqa: PTH120
    (place.folder / "wrapt-1.17.0.dist-info").mkdir()
    check(place, place.run(JOB))
    (place.folder / "wrapt-1.17.0.dist-info").rmdir()
    assert not hidden._hides_package(str(place.folder), "wrapt", [str(place.folder / "nowhere")])


def test_a_suite_beside_such_a_file(place):
    """The pytest plugin works, and says which file is in the way."""
    (place.folder / "sqlite3.py").write_text(FOREIGN)
    (place.folder / "test_job.py").write_text(SUITE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "cronguard.testing.pytest_plugin"],
        check=False,
        cwd=place.folder,
        env=place.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # others' are not looked at
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "sqlite3.py hides Python's own module sqlite3" in done.stderr


def test_what_cannot_be_imported_when_a_schedule_is_checked(place):
    """The job runs; `cronguard check` will say what is missing."""
    script = place.write(PLANNED)
    script.write_text("import sys\nsys.modules['cronsim'] = None\n" + script.read_text())
    done = place.run(script)
    assert (done.returncode, done.stdout) == (0, "ran\nran\nraised\n"), done.stderr


def test_the_job_itself_has_the_name(place):
    """Its file is run as the program, and not again as a module."""
    script = place.write(JOB).rename(place.folder / "random.py")
    check(place, place.run(script), "random.py")


def test_a_name_that_is_not_needed(place):
    """Nothing is said of it."""
    (place.folder / "turtle.py").write_text(FOREIGN)
    check(place, place.run(JOB))


def test_a_worker_of_which_a_second_has_passed(place):
    """Nor is the file run in the background, or by a child that guards runs of its own."""
    (place.folder / "queue.py").write_text(FOREIGN)
    code = """
    import os, time
    with guard("other"):
        from cronguard.runtime.composition import current
        while current().open_runs._prepare is not None:
            time.sleep(0.01)
    if child := os.fork():
        os.waitpid(child, 0)
        os._exit(0)
    """
    done = place.run(place.write(code + JOB))
    check(place, done, "queue.py")


def test_a_command_is_run(place):
    """By `cronguard run` as a module, and as a script where Python's path leads there."""
    (place.folder / "random.py").write_text(FOREIGN)
    script = os.path.join(os.path.dirname(sys.executable), "cronguard")  # noqa: PTH118, PTH120
    environ = place.environ | {"PYTHONPATH": str(place.folder)}
    for program in [sys.executable, "-m", "cronguard"], [script]:
        done = subprocess.run(
            [*program, "run", "nightly", "--", "sh", "-c", "echo ran; exit 3"],
            env=environ,
            cwd=place.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (3, "ran\n"), done.stderr
    assert place.statuses() == ["failure", "failure"]


# --- cronguard cannot be imported at all ----------------------------------------------------------

UNGUARDED = """
    import asyncio

    configure(channels="console")

    @cron_guarded
    def bare():
        print("bare")

    @cron_guarded(job="nightly", threshold=1)
    async def nightly():
        with guard("block", threshold=3) as run:
            print(run.job)
        async with guard(job="block"):
            print("nightly")
        raise KeyError("bad")

    bare()
    try:
        asyncio.run(nightly())
    except KeyError:
        print("raised")
    from cronguard import ConfigError, JobOverlap
    try:
        raise JobOverlap("of the job's own")
    except JobOverlap:
        print("caught")
"""


@pytest.mark.parametrize(
    "missing",
    [
        ["wrapt"],
        ["cronguard.core.errors"],
        ["cronguard.guarding"],
        ["cronguard.process", "cronguard.process.stderr"],
    ],
)
def test_cronguard_cannot_be_imported(place, missing):
    """A dependency is not there, or a deploy is under way: jobs run unguarded, which is said."""
    script = place.write(UNGUARDED)
    before = f"import sys\nsys.modules.update(dict.fromkeys({missing}))\n"
    script.write_text(before + script.read_text())
    done = place.run(script)
    assert done.stdout == "bare\nblock\nnightly\nraised\ncaught\n", done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("cronguard: jobs run unguarded, since cronguard cannot be imported")
    assert missing[0] in line


def test_a_time_limit_ends_the_import(place):
    """What a signal handler of the program raises while cronguard is imported is the program's."""
    script = place.folder / "job.py"
    script.write_text(
        "import os, signal, sys\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'wrapt':\n"
        "            os.kill(os.getpid(), signal.SIGUSR1)\n"
        "def give_up(*_):\n"
        "    raise TimeoutError('too slow')\n"
        "signal.signal(signal.SIGUSR1, give_up)\n"
        "sys.meta_path.insert(0, Slow())\n"
        "try:\n"
        "    from cronguard import cron_guarded\n"
        "except TimeoutError:\n"
        "    print('gave up')\n"
    )
    done = place.run(script)
    assert (done.stdout, done.stderr) == ("gave up\n", "")


def test_a_folder_of_logs_costs_nothing(place):
    """It has the name of a module and hides none: nothing is loaded for it."""
    (place.folder / "logging").mkdir()
    done = place.run("""
        import sys
        @cron_guarded
        def nightly():
            pass
        nightly()
        print(*sorted({"httpx", "cronguard.privacy"} & set(sys.modules)))
    """)
    assert (done.stdout, done.stderr) == ("\n", "")


@pytest.mark.parametrize("files", [0, 600])
def test_a_folder_is_not_read_again(place, files):
    """Python has read it to find cronguard; one of 50,000 files would take a tenth of a second."""
    for number in range(files):
        (place.folder / f"part_{number}").touch()
    (place.folder / "queue.py").write_text(FOREIGN)
    (place.folder / "kept").mkdir()
    place.environ["CRONGUARD_STORE"] = f"sqlite:///{place.folder}/kept/runs.db"
    count = f"""
import sys
read = []
here = {str(place.folder)!r}
sys.addaudithook(lambda event, args: (event, *args) == ("os.listdir", here) and read.append(1))
sys.path_importer_cache.pop(here, None)
import cronguard
before = len(read)
cronguard.cron_guarded(job="nightly")(list)()
print(before, len(read), "cronguard.process.hidden" in sys.modules)
"""
    script = place.folder / "counting.py"
    script.write_text(count)
    assert place.run(script).stdout == "1 1 True\n"


def test_a_file_that_is_written_after_the_import(place):
    """The job itself writes it: it is not taken for Python's own."""
    check(place, behind(place, f"open('random.py', 'w').write({FOREIGN!r})\n"), "random.py")


def behind(place, before):
    """The job behind some lines of the program's own, run."""
    script = place.write(JOB)
    script.write_text(before + script.read_text())
    return place.run(script)


def test_a_name_that_cronguard_needs_not_is_the_programs(place):
    """Such as `code.py`: it is imported once, by the program."""
    (place.folder / "code.py").write_text('print("imported")\nmine = 42\n')
    done = behind(place, THEIRS.format("code"))
    assert done.stdout == "imported\nran\nran\nraised\n", done.stderr
    assert "hides" not in done.stderr
    assert place.statuses() == ["success", "failure"]


def test_a_path_that_is_written_in_a_roundabout_way(place):
    """The program's own file is known by it, and goes on to be the program's."""
    (place.folder / "jobs").mkdir()
    (place.folder / "random.py").write_text("mine = 42\n")
    roundabout = f'import sys; sys.path.insert(0, "{place.folder}/jobs/..")\n'
    check(place, behind(place, roundabout + THEIRS.format("random")), "random.py")


def test_what_cronguard_imports_is_known():
    """Whoever imports another module of Python's adds it to the list."""
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] in ("cli", "testing"):  # never beside a job
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.partition(".")[0])
    own = {name for name in imported & sys.stdlib_module_names if not name.startswith("_")}
    unknown = {name for name in own if hidden._is_a_file(name)} - hidden._NEEDED
    assert unknown == {"multiprocessing"}  # only where the program has imported Python's own
