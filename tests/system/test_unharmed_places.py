"""Processes in bad places: no home, no right to write, something else where the log should be.

The job runs to its end and ends as it would have; one line says what is wrong and what to do.
"""

import contextlib
import os
import subprocess
import sys

import pytest
from support.aftermath import assert_place_goes_on
from support.processes import Place, respect_modes

JOB = """
    import sys

    @cron_guarded
    def nightly():
        print("working")
        if "fail" in sys.argv:
            raise ValueError("the job's own")

    nightly()
    print("done")
    """


def run_text(command, **options):
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, **options
    )


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    assert_place_goes_on(made)


HOMELESS = (
    """
    import os, pathlib
    from cronguard.settings import store_url

    store_url._PERSISTENT_TEMP = pathlib.Path(__file__).parent  # for /var/tmp
    """
    + JOB
)


def check_unharmed(place, *, says=None, job=JOB, **options):
    """The job works, and fails in its own way; returns what was said on standard error."""
    script = place.write(job)
    good = place.run(script, **options)
    assert (good.returncode, good.stdout) == (0, "working\ndone\n"), good.stderr
    assert "Traceback" not in good.stderr
    bad = place.run(script, "fail", **options)
    assert (bad.returncode, bad.stdout) == (1, "working\n")
    assert "\nValueError: the job's own\n" in bad.stderr
    said = good.stderr.strip().splitlines()
    if says is None:
        assert not said
    else:
        assert len(said) <= 2
        assert says in good.stderr
    return good.stderr


def test_all_is_well(place):
    """Nothing is said, and the file is the user's own."""
    check_unharmed(place)
    assert place.statuses() == ["success", "failure"]
    assert place.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("used", [True, False])
def test_a_job_run_while_the_interpreter_is_taken_down(place, used):
    """It runs, although nothing can be imported any more; what it raises is its own."""
    script = place.write(
        """
        import os, sys
        from cronguard import cron_guarded

        write = os.write

        @cron_guarded(threshold=1)
        def nightly(fail=False):
            if fail:
                raise ValueError
            return b"ran "

        class Last:
            def __del__(self, nightly=nightly, error=ValueError):
                try:
                    write(1, nightly())
                    nightly(fail=True)
                except error:
                    write(1, b"its own")

        if "used" in sys.argv:
            nightly()
        last = Last()
        """
    )
    done = place.run(script, *(["used"] if used else []))
    assert (done.returncode, done.stdout) == (0, "ran its own"), done.stderr


def test_a_block_that_is_left_while_the_interpreter_is_taken_down(place):
    """Its run is found by the next start; SQLite is not asked for anything by then."""
    code = """
        import os

        def job(write=os.write):
            with guard(job="nightly"):
                try:
                    yield
                finally:
                    write(1, b"left")

        held = job()
        next(held)
        """
    done = place.run(code)
    assert (done.returncode, done.stdout) == (0, "left"), done.stderr
    assert place.run("with guard(job='nightly'): pass").returncode == 0
    assert place.statuses() == ["crashed", "success"]


@pytest.mark.one_python
def test_a_damaged_file(place):
    """It is left as it is."""
    place.path.write_bytes(b"This is not a database, but it may be somebody's thesis." * 100)
    before = place.path.read_bytes()
    check_unharmed(place, says="is not a SQLite database")
    assert place.path.read_bytes() == before


@pytest.mark.one_python
def test_a_file_that_broke_later(place):
    """A log whose inside is garbage is not thrown away either."""
    check_unharmed(place)
    size = place.path.stat().st_size
    with place.path.open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(size - 100))
    for leftover in place.folder.glob("runs.db-*"):
        leftover.unlink()
    before = place.path.read_bytes()
    check_unharmed(place, says="damaged")
    assert place.path.read_bytes()[:100] == before[:100]


@pytest.mark.one_python
def test_a_directory_in_its_place(place):
    """A mistaken path."""
    place.path.mkdir()
    check_unharmed(place, says="there is a folder in its place")


@pytest.mark.one_python
@pytest.mark.parametrize("device", ["/dev/null", "/dev/full"])
def test_a_device_in_its_place(place, device):
    """What is written there is gone: no disk is full, and none fails."""
    environ = {"CRONGUARD_STORE": f"sqlite:///{device}"}
    check_unharmed(place, says="which keeps nothing", env=environ)


@pytest.mark.one_python
def test_a_file_where_a_folder_should_be(place):
    """A mistaken path, the other way round."""
    (place.folder / "file").touch()
    environ = {"CRONGUARD_STORE": f"sqlite:///{place.folder / 'file' / 'runs.db'}"}
    check_unharmed(place, says=" is a file, not a folder: move that file away", env=environ)


@pytest.mark.one_python
def test_a_folder_that_is_not_there_yet(place):
    """It is made."""
    path = place.folder / "a" / "b" / "runs.db"
    check_unharmed(place, env={"CRONGUARD_STORE": f"sqlite:///{path}"})
    assert path.exists()


def test_no_environment_at_all(place):
    """Neither HOME nor PATH: the default store is in a private folder of its own."""
    check_unharmed(place, job=HOMELESS, env=dict.fromkeys(("HOME", "PATH", "CRONGUARD_STORE")))
    (folder,) = place.folder.glob("cronguard-*")
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.one_python
@pytest.mark.parametrize("home", ["", "relative", "/nonexistent/home", "/dev/null"])
def test_a_home_that_is_none(place, home):
    """Whatever the system says about it."""
    check_unharmed(place, job=HOMELESS, env={"HOME": home, "CRONGUARD_STORE": None})


def test_a_working_directory_that_is_gone(place):
    """It was deleted under us."""
    gone = place.folder / "gone"
    script = place.write(JOB)
    code = f"import os; os.mkdir({str(gone)!r}); os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})"
    # A script and not -c: with that, CPython 3.13.0 itself cannot import socket there.
    start = place.folder / "start.py"
    start.write_text(f"{code}; import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")
    done = run_text([sys.executable, str(start)], env=place.environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "working\ndone\n", "")
    assert place.statuses() == ["success"]


@pytest.mark.one_python
def test_a_host_that_is_called_anything(place):
    """Linux lets a host's name be any bytes; what is no text is shown as unreadable."""
    check_unharmed(
        place,
        job="\n    import socket\n    socket.gethostname = lambda: 'web\\udcff\\n1'\n" + JOB,
    )
    assert place.rows("SELECT DISTINCT host FROM cron_execution_logs") == [("web\ufffd 1",)]


def test_a_main_module_whose_file_is_no_path(place):
    """Some launchers put in its place what they like."""
    check_unharmed(place, job="\n    __file__ = 5\n" + JOB)
    assert place.statuses() == ["success", "failure"]


@pytest.mark.one_python
def test_settings_that_are_wrong(place):
    """Each is said once, the right ones are used, the job runs."""
    (place.folder / "cronguard.toml").write_text('chanels = ["console"]\nthreshold = 3\n')
    environ = {"CRONGUARD_CHANNELS": "console,carrier-pigeon", "CRONGUARD_STORE_TIMEOUT": "soon"}
    script = place.write(JOB)
    done = place.run(script, env=environ)
    assert (done.returncode, done.stdout) == (0, "working\ndone\n")
    assert "chanels" in done.stderr
    assert "carrier-pigeon" in done.stderr
    assert "Traceback" not in done.stderr
    assert place.statuses() == ["success"]


@pytest.mark.one_python
def test_settings_that_cannot_be_read(place):
    """Binary rubbish, and a directory."""
    (place.folder / "cronguard.toml").write_bytes(os.urandom(2000))
    assert "cronguard.toml" in place.run(JOB).stderr
    (place.folder / "cronguard.toml").unlink()
    (place.folder / "cronguard.toml").mkdir()
    assert place.run(JOB).returncode == 0
    assert place.statuses() == ["success"] * 2


@pytest.mark.one_python
def test_a_store_of_an_unknown_kind(place):
    """One line; the default store is used."""
    check_unharmed(
        place, says="'carrierpigeon' is not known", env={"CRONGUARD_STORE": "carrierpigeon://loft"}
    )


SPEAKS = """
    import pathlib, sys
    from cronguard.core import model

    model.DELIVERY_SECONDS = 2.0

    @cron_guarded(threshold=1)
    def nightly(fail):
        if fail:
            raise ValueError
        pathlib.Path("worked").touch()

    nightly(False)
    try:
        nightly(True)
    except ValueError:
        pathlib.Path("raised").touch()
    """


@pytest.mark.parametrize("store", ["well", "broken"])
@pytest.mark.parametrize(
    "streams", ["2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-", "2>/dev/full", "2>&1 >/dev/null | true"]
)
def test_streams_that_are_closed_or_full(place, streams, store):
    """Nothing to write to: the exit code is the job's all the same, and no database becomes
    standard error."""
    script = place.write(SPEAKS)
    broken = {"CRONGUARD_STORE": "sqlite:////dev/null/runs.db"} if store == "broken" else {}
    done = run_text(
        ["/bin/sh", "-c", f"{{ {sys.executable} {script}; echo $? > code; }} {streams}"],
        cwd=place.folder,
        env={**place.environ, **broken},
    )
    assert (place.folder / "code").read_text() == "0\n", done.stderr
    assert (place.folder / "worked").exists()
    assert (place.folder / "raised").exists()
    if store == "well":
        assert place.statuses() == ["success", "failure"]


@pytest.mark.parametrize("store", ["well", "broken"])
def test_standard_error_that_nobody_reads(place, store):
    """Its pipe is full: the process ends all the same, and as it would have."""
    broken = {"CRONGUARD_STORE": "sqlite:////dev/null/runs.db"} if store == "broken" else {}
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 1024)
        os.set_blocking(writer, True)
        done = place.run(SPEAKS, stderr=writer, env=broken)
    finally:
        os.close(reader)
        os.close(writer)
    assert done.returncode == 0
    assert (place.folder / "raised").exists()


@pytest.mark.parametrize(
    "end", ["pass", "raise ValueError", "configure()", "os.waitpid(fork(), 0)"]
)
def test_a_job_that_closes_every_file(place, end):
    """As daemons do: the database is never written to what is then opened under its numbers."""
    code = f"""
        import os, pathlib

        text = "the job's own\\n" * 5000

        def fork():
            if (child := os.fork()) == 0:
                os._exit(0)
            return child

        @cron_guarded(threshold=1)
        def nightly(files):
            os.closerange(3, 100)
            for number in range(20):
                files.append(open(f"own-{{number}}", "w+"))
                files[-1].write(text)
                files[-1].flush()
            {end}

        files = []
        for _ in range(2):
            try:
                nightly(files)
            except ValueError:
                print("raised")
        for number, file in enumerate(files[-20:]):
            file.write("and more")
            file.close()
            assert pathlib.Path(f"own-{{number}}").read_text() == text + "and more"
        """
    place.environ["PYTHONWARNINGS"] = "ignore"
    done = place.run(code)
    assert done.returncode == 0, done.stderr
    assert "was closed by this program" in done.stderr
    assert done.stdout == ("raised\n" * 2 if "raise" in end else "")
    assert ("nightly is failing" in done.stderr) is ("raise" in end)
    assert place.rows("PRAGMA integrity_check") == [("ok",)]
    with_next = place.run("with guard(job='nightly'): pass")
    assert with_next.returncode == 0, with_next.stderr
    # The first outcome waited in the spool. The second found that closed as well, and was lost.
    assert "1 outcome is lost with this process" in done.stderr
    first = "failure" if "raise" in end else "success"
    assert place.statuses() == [first, "crashed", "success"]


# --- as a user who may not -----------------------------------------------------------------------


@pytest.fixture
def unprivileged():
    return respect_modes()


@pytest.mark.one_python
def test_a_folder_that_cannot_be_written(place, unprivileged):
    """No log can be made there."""
    script = place.write(JOB)
    place.folder.chmod(0o555)
    try:
        done = place.run(script, wrapper=unprivileged)
    finally:
        place.folder.chmod(0o755)
    assert (done.returncode, done.stdout) == (0, "working\ndone\n"), done.stderr
    assert "runs.db cannot be opened" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


@pytest.mark.one_python
@pytest.mark.parametrize("whole", [True, False], ids=["file and folder", "file"])
def test_a_file_that_cannot_be_written(place, unprivileged, whole):
    """It may be read only: it stays as it is."""
    script = place.write(JOB)
    assert place.run(script).returncode == 0
    before = place.path.read_bytes()
    place.path.chmod(0o444)
    if whole:
        place.folder.chmod(0o555)
    try:
        done = place.run(script, wrapper=unprivileged)
    finally:
        place.folder.chmod(0o755)
    assert (done.returncode, done.stdout) == (0, "working\ndone\n"), done.stderr
    assert "runs.db" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert place.path.read_bytes() == before


@pytest.mark.one_python
def test_folders_that_cannot_be_entered(place, unprivileged):
    """HOME, the store and the settings are all behind a closed door."""
    script = place.write(JOB)
    inside = place.folder / "door" / "inside"
    inside.mkdir(parents=True)
    environ = {
        "HOME": str(inside),
        "XDG_STATE_HOME": str(inside),
        "CRONGUARD_CONFIG": str(inside / "cronguard.toml"),
        "CRONGUARD_STORE": f"sqlite:///{inside / 'runs.db'}",
    }
    inside.parent.chmod(0o000)
    try:
        done = place.run(script, env=environ, wrapper=unprivileged)
    finally:
        inside.parent.chmod(0o755)
    assert (done.returncode, done.stdout) == (0, "working\ndone\n"), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.one_python
def test_a_working_directory_that_cannot_be_read(place, unprivileged):
    """cron starts jobs of one user in the folder of another."""
    script = place.write(JOB)
    closed = place.folder / "closed"
    closed.mkdir()
    code = f"import os, runpy; os.chdir({str(closed)!r}); os.chmod({str(closed)!r}, 0)"
    start = f"{code}; runpy.run_path({str(script)!r}, run_name='__main__')"
    try:
        done = run_text([*unprivileged, sys.executable, "-c", start], env=place.environ)
    finally:
        closed.chmod(0o755)
    assert (done.returncode, done.stdout, done.stderr) == (0, "working\ndone\n", "")
    assert place.statuses() == ["success"]
