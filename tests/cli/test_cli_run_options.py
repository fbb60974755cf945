"""``cronguard run``: what its options, right and wrong, and its surroundings do to a run."""

import json
import sys

import pytest
from support.cli import Cli, read_until

pytestmark = pytest.mark.one_python

PYTHON = [sys.executable, "-c"]


@pytest.fixture
def cli(tmp_path):
    return Cli(tmp_path)


DECORATED = """
import cronguard
@cronguard.cron_guarded(job="nightly")
def work():
    raise SystemExit(3)
work()
"""


def test_the_same_job_decorated_inside_is_this_run(cli):
    """One row; of another name, a run of its own."""
    assert cli("run", "nightly", "--", *PYTHON, DECORATED).returncode == 3
    assert len(cli.runs("nightly")) == 1
    cli("run", "outer", "--", *PYTHON, DECORATED)
    assert (len(cli.runs("outer")), len(cli.runs("nightly"))) == (1, 2)


def test_a_run_beside_another_is_skipped(cli):
    """Exits 0 with a line that says why, or 75 with --overlap raise; --overlap allow runs it."""
    with cli.start("run", "nightly", "--", "sh", "-c", "echo ready; read line") as first:
        read_until(first.stdout, b"ready\n")
        second = cli("run", "nightly", "--", "echo", "beside")
        assert (second.returncode, second.stdout) == (0, "")
        assert second.stderr.startswith("cronguard: nightly was skipped: ")
        assert second.stderr.count("\n") == 1
        assert cli.last("nightly")[0] == "skipped"
        refused = cli("run", "nightly", "--overlap", "raise", "--", "echo", "beside")
        assert (refused.returncode, refused.stdout) == (75, "")
        assert refused.stderr == second.stderr
        assert cli.last("nightly")[0] == "skipped"
        allowed = cli("run", "nightly", "--overlap", "allow", "--", "echo", "beside")
        assert allowed.stdout == "beside\n"
        first.stdin.close()


def test_options_rule_the_run(cli):
    """As the decorator's arguments do: here --threshold and --runbook."""
    options = [
        "--threshold",
        "1",
        "--runbook",
        "https://example.org/nightly",
        "--max-runtime",
        "off",
    ]
    done = cli("run", "nightly", *options, "--", "false")
    assert "nightly is failing: 1 failure" in done.stderr
    assert "https://example.org/nightly" in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nightly", "touch", "ran"], "two dashes"),
        (["nightly", "sh", "-c", "touch ran"], "two dashes"),
        (["nightly", "--treshold", "2", "touch", "ran"], "two dashes"),
        (["nightly", "--"], "no command"),
        (["nightly", "--max-runtime", "soon", "--"], "no command"),
    ],
)
def test_wrong_usage_runs_nothing(cli, args, said):
    """Where it cannot be told what to run: one line that says what to do instead, exit 2."""
    done = cli("run", *args)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.startswith("cronguard: ")
    assert done.stderr.count("\n") == 1
    assert not (cli.folder / "ran").exists()


WRONG = {
    "--threshold": "0",
    "--realert-every": "-1",
    "--overlap": "skp",
    "--max-runtime": "soon",
    "--schedule": "@nightly",
    "--timezone": "Oslo",
    "--grace": "later",
    "--channel": "no such",
    "--runbook": "http://wiki.example.org",
}


def test_a_wrong_value_leaves_what_is_stored(cli):
    """The command runs, the fault is one line, and the job keeps what it had of it."""
    right = ["--threshold", "17", "--schedule", "0 6 * * *", "--timezone", "Europe/Oslo"]
    right += ["--grace", "9m", "--max-runtime", "2h", "--realert-every", "3"]
    cli("run", "nightly", *right, "--runbook", "https://wiki.example.org", "--", "true")
    (before,) = json.loads(cli("status", "--json").stdout)["jobs"]
    for option, value in WRONG.items():
        done = cli("run", "nightly", option, value, "--", "sh", "-c", "echo ran; exit 3")
        assert (done.returncode, done.stdout) == (3, "ran\n"), option
        assert option in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    (after,) = json.loads(cli("status", "--json").stdout)["jobs"]
    expected = ("threshold", "realert_every", "schedule", "timezone", "grace_seconds", "runbook")
    assert [after.get(name) for name in expected] == [before.get(name) for name in expected]
    assert [run.status for run in cli.runs("nightly")] == [*["failure"] * len(WRONG), "success"]


@pytest.mark.parametrize(
    ("before", "job", "said"),
    [
        (["--thresold", "2", "nightly"], "nightly", ["'--threshold'"]),
        (["nightly", "--thresold", "2"], "nightly", ["'--threshold'"]),
        (["nightly", "--thresold=2"], "nightly", ["'--threshold'"]),
        (["nightly", "--realert-evry", "-1"], "nightly", ["'--realert-every'"]),
        (["--verbose", "nightly"], "nightly", ["--verbose"]),
        (["-v", "nightly"], "nightly", ["-v"]),
        (["--verbose", "--grace", "5m", "nightly"], "nightly", ["--verbose"]),
        (["nightly", "--max-runtime"], "nightly", ["--max-runtime needs a value"]),
        (["--grace", "--notify-recovery", "nightly"], "nightly", ["--grace needs a value"]),
        (["nightly", "--no-output=yes"], "nightly", ["--no-output takes no value"]),
        (["nightly", "extra"], "nightly", ["'extra' has no place"]),
        (["--bogus", "1", "--grace", "x", "nightly"], "nightly", ["--bogus", "--grace"]),
        ([], None, ["not recorded"]),
        (["--bogus"], None, ["--bogus", "not recorded"]),
        (["--threshold", "3"], None, ["not recorded"]),
        (["a b"], None, ["job name 'a b'"]),
        (["x" * 200], None, ["too long"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_is_wrong_before_the_dashes_is_left_out(cli, before, job, said):
    """The command runs and passes its code through; each fault is one line, in order."""
    done = cli("run", *before, "--", "sh", "-c", "echo ran; exit 3", "--treshold")
    assert (done.returncode, done.stdout) == (3, "ran\n")
    lines = done.stderr.splitlines()
    assert len(lines) == len(said), done.stderr
    assert all(word in line for word, line in zip(said, lines, strict=True)), done.stderr
    if job is None:
        assert not cli.path.exists() or cli.runs("nightly") == []
    else:
        assert cli.last(job) == ("failure", "3")


def test_what_is_wrong_before_run_is_left_out(cli):
    """An option of the whole command that there is not keeps no job from running either."""
    done = cli("--verbose", "run", "nightly", "--", "sh", "-c", "exit 3")
    assert done.returncode == 3
    assert "'--verbose'" in done.stderr
    assert cli.last("nightly") == ("failure", "3")
    assert cli("--verbose", "status").returncode == 2


def test_right_options_beside_wrong_ones_rule_the_run(cli):
    """Recorded with what is valid."""
    done = cli("run", "nightly", "--grace", "soon", "--threshold", "1", "--bogus", "--", "false")
    assert "nightly is failing: 1 failure" in done.stderr


@pytest.mark.parametrize(
    "environ",
    [
        {"CRONGUARD_STORE": "nonsense://x"},
        {"CRONGUARD_STORE": "sqlite:////proc/no/such.db"},
        {"CRONGUARD_CONFIG": "missing.toml"},
        {"CRONGUARD_CHANNELS": "no-such-channel"},
        {"CRONGUARD_STORE_TIMEOUT": "soon"},
    ],
    ids=lambda environ: next(iter(environ)),
)
def test_wrong_settings_never_keep_a_command_from_running(cli, environ):
    """It runs, passes its code through, and a line says what is wrong."""
    done = cli("run", "nightly", "--", "sh", "-c", "echo ran; exit 3", env=environ)
    assert (done.returncode, done.stdout) == (3, "ran\n")
    assert done.stderr.startswith("cronguard: ")


def test_a_damaged_database_never_keeps_a_command_from_running(cli):
    """It runs, a line says what is wrong, and the file is left as it is."""
    cli.path.write_bytes(b"not a database" * 1000)
    done = cli("run", "nightly", "--", "sh", "-c", "exit 3")
    assert done.returncode == 3
    assert "not a SQLite database" in done.stderr
    assert cli.path.read_bytes() == b"not a database" * 1000
