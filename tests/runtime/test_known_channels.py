"""Where a job's alerts go from this host: a change is said once in the log, and by doctor."""

import json
import subprocess
import sys

import pytest
from support.processes import Place

pytestmark = pytest.mark.one_python

JOB = """
    import logging, sys
    if "log" in sys.argv:
        logging.basicConfig(filename="job.log", level=logging.WARNING)
    @cron_guarded(job="nightly:eu")
    def job(): pass
    job()
    job()
    """
SLACK = {"CRONGUARD_SLACK_WEBHOOK_URL": "https://hooks.slack.example/S3NTINEL"}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def doctor(place, **environ):
    done = subprocess.run(
        [sys.executable, "-m", "cronguard", "doctor", "--json"],
        env=place.environ | environ,
        cwd=place.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return [
        (check["status"], check["message"])
        for check in json.loads(done.stdout)["checks"]
        if check["check"] == "channels of nightly:eu"
    ]


def test_a_change_is_said_once(place):
    """In the log, and not on standard error, which cron mails; doctor says it for a while."""
    log = place.folder / "job.log"
    for environ, lines in ((SLACK, 0), (SLACK, 0), ({}, 1), ({}, 1), (SLACK, 2)):
        done = place.run(JOB, "log", env=environ)
        assert (done.stdout, done.stderr) == ("", "")
        text = log.read_text() if log.exists() else ""
        assert len(text.splitlines()) == lines
    first, second = text.splitlines()
    assert "alerts of nightly:eu go to console from this host now, and went to slack" in first
    assert "go to slack from this host now, and went to console before" in second
    assert "S3NTINEL" not in text
    ((status, message),) = doctor(place)
    assert status == "warning"
    assert message.startswith("its alerts go to slack from this host since ")
    assert "cronguard doctor --as-cron" in message


def test_no_log_no_word(place):
    """A job that configures no logging says nothing when all goes well."""
    for environ in ({}, SLACK, {}):
        done = place.run(JOB, env=environ)
        assert (done.returncode, done.stderr) == (0, "")
    assert len(doctor(place)) == 1


def test_a_command_says_nothing_of_it(place):
    """`cronguard run` writes its log lines to standard error: doctor alone says it."""
    for environ in ({}, SLACK):
        command = [sys.executable, "-m", "cronguard", "run", "nightly:eu", "--", "true"]
        done = subprocess.run(
            command,
            env=place.environ | environ,
            cwd=place.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        assert (done.stdout, done.stderr) == ("", "")
    assert len(doctor(place)) == 1


def test_nothing_changed_nothing_said(place):
    """Nor is it a change that there is a job at all."""
    place.run(JOB, env=SLACK)
    place.run(JOB, env=SLACK)
    assert doctor(place) == []


@pytest.mark.parametrize("what", ["file", "garbage", "folder"])
def test_a_memory_that_cannot_be_used(place, what):
    """The job runs, and nothing is said."""
    folder = place.path.with_name(f"{place.path.name}.channels")
    folder.parent.mkdir(parents=True, exist_ok=True)
    if what == "file":
        folder.write_text("")
    else:
        folder.mkdir()
        if what == "garbage":
            (folder / "nightly=eu").write_bytes(b"\xff\xfe\0" * 100_000)
        else:
            (folder / "nightly=eu").mkdir()
    done = place.run(JOB, "log")
    assert (done.returncode, done.stderr) == (0, "")
    assert place.statuses("nightly:eu") == ["success", "success"]
    assert doctor(place) == []
