"""Cronguard itself stops working under a job: its files go, or what it needs of the system does.

The job runs every time, all outcomes are recorded in the end with the exact streak, each incident
is told once, and the next run of the job starts.
"""

import textwrap

import pytest
from support import faults
from support.processes import Place


@pytest.fixture
def place(tmp_path):
    """A place where cronguard is imported from ``site``, which a script may break."""
    made = Place(tmp_path)
    made.environ["PYTHONPATH"] = str(faults.install(tmp_path))
    return made


def outcomes(place):
    return place.rows(
        "SELECT status, consecutive_failure_count FROM cron_execution_logs"
        " WHERE job = 'nightly' ORDER BY rowid"
    )


def check_aftermath(place):
    """The next run starts with the default overlap, and no row of an ended run goes on."""
    done = place.run('with guard(job="nightly"):\n    print("it ran")')
    assert done.stdout == "it ran\n", done.stderr
    assert outcomes(place)[-1] == ("success", 0)
    assert "running" not in place.statuses()


def check_long_lived(place, fault, job, *args):
    done = place.run(
        faults.script(faults.FAULTS[fault], faults.JOBS[job], faults.LONG_LIVED), *args
    )
    assert done.returncode == 0, done.stderr
    assert outcomes(place) == faults.EXPECTED, done.stderr
    assert "hunter2" not in done.stderr
    if fault != "no memory":  # of which Python says itself that it ended a thread
        assert "Traceback" not in done.stderr
    check_aftermath(place)
    return done.stderr


@pytest.mark.parametrize("fault", ["removed", "no descriptors"])
def test_a_worker_goes_on(place, fault):
    """The outcomes of a worker of which a second has passed are written as they come."""
    said = check_long_lived(place, fault, "sync")
    assert said.count("cronguard: nightly is failing: 2 failures in a row") == 2
    assert "kept" not in said


def test_nothing_can_be_imported_at_all(place):
    """A job is run asynchronously, and its log lines have nowhere to go."""
    check_long_lived(place, "no import", "async", "cold")


def test_what_the_spool_reads_is_read_before(place):
    """The log's folder and the package go together: the local database is made all the same."""
    place.path = place.folder / "data" / "runs.db"
    code = """
        run(False)
        wait_until_prepared()
        from cronguard.runtime.composition import current
        current().store.close()
        shutil.rmtree(package)
        Path("data").rename("away")
        Path("data").write_text("in the way")
        run(True)
        print(current().store.waiting(), current().store._backlog.in_memory)
        Path("data").unlink()
        Path("away").rename("data")
        sys.modules["cronguard.stores.spool.backlog"].REPLAY_SECONDS = 60.0
        run(True)
    """
    done = place.run(
        faults.script("import shutil", faults.JOBS["sync"], code),
        env={"CRONGUARD_STORE": f"sqlite:///{place.path}"},
    )
    assert done.stdout == "1 False\n", done.stderr
    assert outcomes(place) == [("success", 0), ("failure", 1), ("failure", 2)]


CASES = [
    pytest.param(fault, job, marks=[] if job == "sync" else pytest.mark.one_python)
    for fault in faults.FAULTS
    for job in faults.JOBS
    if (fault, job) != ("no memory", "async")
]
"""How a job is guarded makes no difference to what the interpreter does where something is gone.

An asynchronous run takes threads, and CPython 3.11 hangs, once in some ten times, where several
have no memory to begin: one asks for memory again and again and never gives the interpreter's lock
back. What can be done about such threads has its tests in `process/test_threads.py`."""


@pytest.mark.long
@pytest.mark.parametrize(("fault", "job"), CASES)
def test_a_worker_goes_on_whatever_breaks(place, fault, job):
    """Each way in which a job is guarded, each fault."""
    said = check_long_lived(place, fault, job)
    assert 1 <= said.count("cronguard: nightly is failing: 2 failures in a row") <= 2


@pytest.mark.long
@pytest.mark.parametrize(("fault", "job"), CASES)
def test_a_worker_breaks_in_its_first_second(place, fault, job):
    """What a failure needs is not loaded yet: outcomes wait, and somebody is told at once."""
    check_long_lived(place, fault, job, "cold")


@pytest.mark.needs_root("becomes another user")
@pytest.mark.parametrize("job", faults.JOBS)
def test_a_worker_becomes_another_user(place, job):
    """Who may read neither the log nor cronguard's files."""
    place.folder.chmod(0o700)
    code = faults.script(faults.ANOTHER_USER, faults.JOBS[job], faults.LONG_LIVED)
    done = place.run(code)
    assert done.returncode == 0, done.stderr
    assert outcomes(place) == faults.EXPECTED, done.stderr
    check_aftermath(place)


# --- across processes -----------------------------------------------------------------------------

CRON = """
    def broken(fail):
        wait_until_prepared()
        break_it()
        work(fail)
    @cron_guarded(job="nightly", threshold=2)
    def nightly(fail):
        broken(fail)
    be_patient()
    try:
        nightly("fail" in sys.argv)
    except ValueError:
        pass
    mend_it()
"""


ABOUT_FILES = {"upgraded", "half written", "no descriptors", "no path"}
"""What any Python meets as the oldest does."""


@pytest.mark.long
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, marks=pytest.mark.one_python if fault in ABOUT_FILES else [])
        for fault in faults.FAULTS
    ],
)
def test_a_job_breaks_it_each_time(place, fault):
    """A job of cron's, such as the one that deploys."""
    said = ""
    for fail in True, True, True, False, True:
        code = faults.script(faults.FAULTS[fault], CRON)
        done = place.run(code, *(["fail"] if fail else []))
        assert done.returncode == 0, done.stderr
        said += done.stderr
    counts = [count for _, count in outcomes(place)]
    assert counts == [1, 2, 3, 0, 1], said
    assert "nightly is failing" in said or "nightly failed" in said
    check_aftermath(place)


# --- cronguard run --------------------------------------------------------------------------------


def run_command(place, command):
    code = "import sys\nfrom cronguard.cli import main\nsys.argv[0] = 'cronguard'\nsys.exit(main())"
    return place.run(code, "run", "nightly", "--", "sh", "-c", command)


@pytest.mark.parametrize(
    "breaking", ["rm -r site/cronguard", "mv site/cronguard away && mkdir site/cronguard"]
)
def test_a_command_that_takes_cronguard_away(place, breaking):
    """Its exit code stays its own, its end is recorded, and it is told of."""
    said = ""
    for code in 3, 3, 0, 4:
        done = run_command(place, f"{breaking}; echo it broke >&2; exit {code}")
        assert done.returncode == code, done.stderr
        said += done.stderr
        faults.shutil.rmtree(place.folder / "site", ignore_errors=True)
        faults.shutil.rmtree(place.folder / "away", ignore_errors=True)
        faults.shutil.copytree(place.folder / "other", place.folder / "site")
    assert outcomes(place) == [("failure", 1), ("failure", 2), ("success", 0), ("failure", 1)], said
    assert said.count("cronguard: nightly is failing: 2 failures in a row") == 1
    assert run_command(place, "true").returncode == 0
    assert "running" not in place.statuses()


# --- nothing can be kept --------------------------------------------------------------------------

THREE_FAILURES = """
    @cron_guarded(threshold=1)
    def nightly():
        print("ran")
        raise ValueError("bad")
    for _ in range(3):
        try:
            nightly()
        except ValueError:
            print("raised")
"""


def told(done):
    """The lines on standard error that say that the job fails."""
    assert done.stdout.split() == ["ran", "raised"] * 3, done.stderr
    sayings = "nightly is failing", "nightly failed", "an alert of nightly waits"
    lines = done.stderr.splitlines()
    return [each for each in lines if each.startswith(tuple(f"cronguard: {x}" for x in sayings))]


@pytest.mark.parametrize("missing", ["sqlite3", "_sqlite3", "queue", "json"])
def test_python_lacks_a_module(place, missing):
    """As where Python was built without it: the job runs, and its failure is told once."""
    code = textwrap.dedent(f'import sys\nsys.modules["{missing}"] = None\n')
    done = place.run(code + textwrap.dedent(THREE_FAILURES), env={"CRONGUARD_STORE": None})
    assert len(told(done)) == 1, done.stderr


@pytest.mark.parametrize(
    "closed", ["os.close(2)", "os.dup2(os.open('own', os.O_RDWR|os.O_CREAT), 2)"]
)
def test_the_last_line_goes_to_standard_error_alone(place, closed):
    """A program has put another file in its place: nothing is written to that."""
    code = f"""
        import os, sys
        sys.modules["json"] = None
        with guard(job="other"):
            pass
        {closed}
        os.open("own", os.O_RDWR | os.O_CREAT)
    """
    code = textwrap.dedent(code) + textwrap.dedent(THREE_FAILURES)
    place.run(code)
    assert "cronguard: nightly failed" not in (place.folder / "own").read_text()
