"""The time zone of a schedule that ``cronguard run`` is given: cron's own, unless one is named."""

import json

import pytest
from support.cli import Cli
from support.processes import Place

pytestmark = pytest.mark.one_python

SEVEN = ("--schedule", "0 7 * * *")


@pytest.fixture
def cli(tmp_path):
    return Cli(tmp_path)


def plan(cli):
    """The schedule and the time zone that the store has."""
    (job,) = json.loads(cli("status", "--json").stdout)["jobs"]
    return job["schedule"], job["timezone"]


def test_a_schedule_is_in_the_zone_of_the_host(cli):
    """What is stored is the zone's name, so `check` on a host in another zone judges the same."""
    done = cli("run", "nightly", *SEVEN, "--", "true", env={"TZ": ":Europe/Oslo"})
    assert done.stderr == ""
    assert plan(cli) == ("0 7 * * *", "Europe/Oslo")
    expected = json.loads(cli("doctor", "--json").stdout)["expected"]
    assert ("timezone", "Europe/Oslo", "cronguard run") in {
        (each["key"], each["value"], each["source"]) for each in expected
    }


def test_a_job_that_was_stored_in_utc(cli):
    """From its next start on it is expected in the host's zone."""
    cli("run", "nightly", *SEVEN, "--timezone", "UTC", "--", "true")
    cli("run", "nightly", *SEVEN, "--", "true", env={"TZ": "Europe/Oslo"})
    assert plan(cli) == ("0 7 * * *", "Europe/Oslo")
    assert cli("check", env={"TZ": "UTC"}).returncode == 0


def test_a_run_without_a_schedule_states_no_zone(cli):
    """Nor does one by hand change the stored one, whatever the shell's zone."""
    cli("run", "nightly", *SEVEN, "--timezone", "Europe/Oslo", "--", "true")
    cli("run", "nightly", "--", "true", env={"TZ": "Asia/Tokyo"})
    assert plan(cli) == ("0 7 * * *", "Europe/Oslo")
    cli("run", "nightly", "--schedule", "none", "--", "true", env={"TZ": "Asia/Tokyo"})
    assert plan(cli)[0] is None


@pytest.mark.parametrize("given", ["default", "none"])
def test_taking_the_zone_back(cli, given):
    """The default of the command line is the host's zone."""
    cli("run", "nightly", *SEVEN, "--timezone", "Asia/Tokyo", "--", "true")
    cli("run", "nightly", "--timezone", given, "--", "true", env={"TZ": "Europe/Oslo"})
    assert plan(cli) == ("0 7 * * *", "Europe/Oslo")


def test_the_zone_in_settings_stands(cli):
    """It was chosen for the job; a mistyped one there leaves the schedule of the line out."""
    settings = cli.folder / "cronguard.toml"
    settings.write_text('[job.nightly]\ntimezone = "Asia/Tokyo"\n')
    cli("run", "nightly", *SEVEN, "--", "true", env={"TZ": "Europe/Oslo"})
    assert plan(cli) == ("0 7 * * *", "Asia/Tokyo")
    settings.write_text('[job.weekly]\ntimezone = "Asia/Tokio"\n')
    done = cli("run", "weekly", *SEVEN, "--", "true", env={"TZ": "Europe/Oslo"})
    assert "timezone 'Asia/Tokio' is not known (did you mean 'Asia/Tokyo'?)" in done.stderr
    settings.unlink()
    jobs = {each["job"]: each for each in json.loads(cli("status", "--json").stdout)["jobs"]}
    assert jobs["weekly"]["schedule"] is None


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        (("--timezone", "Europe/Olso", *SEVEN), ""),
        ((*SEVEN, "--timezone=Europe/Olso"), ""),
        ((*SEVEN, "--timezone"), ""),
        ((*SEVEN, "--time-zone", "Europe/Oslo"), ""),
        (("--timezone", "Europe/Olso"), '[job.nightly]\nschedule = "0 7 * * *"\n'),
        (("--timezone", "Europe/Olso", *SEVEN), '[job.nightly]\ntimezone = "Asia/Tokyo"\n'),
    ],
)
def test_a_mistaken_zone_makes_nobody_late(cli, line, settings):
    """In another zone the schedule would mean other times: what is stored stands, or nothing."""
    (cli.folder / "cronguard.toml").write_text(settings)
    done = cli("run", "nightly", *line, "--", "true", env={"TZ": "UTC"})
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert plan(cli)[0] is None


def test_code_keeps_utc(tmp_path, cli):
    """A decorator says the same on every host; a mistyped zone in settings leaves it out."""
    place = Place(tmp_path)
    script = place.write("""
        @cron_guarded(schedule="0 7 * * *")
        def nightly():
            pass
        nightly()
    """)
    place.run(script, env={"TZ": "Europe/Oslo"})
    assert plan(cli) == ("0 7 * * *", "UTC")
    place.path.unlink()
    (tmp_path / "cronguard.toml").write_text('[job.nightly]\ntimezone = "Europe/Olso"\n')
    assert "did you mean 'Europe/Oslo'" in place.run(script).stderr
    (tmp_path / "cronguard.toml").unlink()
    assert plan(cli)[0] is None
