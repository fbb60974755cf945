"""The time zone of the host, as cron and the C library find it, by the name that others know."""

import shutil
import zoneinfo
from pathlib import Path

import pytest

from cronguard.settings.host_zone import host_zone

pytestmark = pytest.mark.one_python

RULE = "CET-1CEST,M3.5.0,M10.5.0/3"
SYSTEM = next((Path(each) for each in zoneinfo.TZPATH if (Path(each) / "UTC").exists()), None)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "proc" / "1").mkdir(parents=True)
    return tmp_path


def link(root, target):
    (root / "etc" / "localtime").symlink_to(target)


def copy(root, zone):
    assert SYSTEM is not None, "the time zone database is missing: install tzdata"
    shutil.copy(SYSTEM / zone, root / "etc" / "localtime")


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"TZ": "Europe/Oslo"}, "Europe/Oslo"),
        ({"TZ": ":Europe/Oslo"}, "Europe/Oslo"),
        ({"TZ": "/usr/share/zoneinfo/Europe/Oslo"}, "Europe/Oslo"),
        ({"TZ": ":/usr/share/zoneinfo/posix/Europe/Oslo"}, "Europe/Oslo"),
        ({"TZ": ""}, "UTC"),
        ({"TZ": "Etc/UTC"}, "UTC"),
        ({"TZ": "UTC0"}, "UTC"),
        ({"TZ": "GMT"}, "UTC"),
        ({"TZ": ":/etc/localtime"}, "Asia/Tokyo"),
        ({"TZ": RULE}, None),
        ({"TZ": "Europe/Olso"}, None),
        ({"TZ": "Europe"}, None),
        ({"CRON_TZ": "Europe/Oslo", "TZ": "Asia/Kolkata"}, "Europe/Oslo"),
        ({"CRON_TZ": "", "TZ": "Asia/Kolkata"}, "Asia/Kolkata"),
        ({"CRON_TZ": RULE}, None),
        ({}, "Asia/Tokyo"),
    ],
    ids=str,
)
def test_what_variables_say(root, environ, name):
    """CRON_TZ before TZ, TZ before the link; a rule or a mistyped name is no name."""
    link(root, "/usr/share/zoneinfo/Asia/Tokyo")
    assert host_zone(environ, root) == name


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/usr/share/zoneinfo/Europe/Oslo", "Europe/Oslo"),
        ("../usr/share/zoneinfo/America/Argentina/Salta", "America/Argentina/Salta"),
        ("/var/db/timezone/zoneinfo/Europe/Oslo", "Europe/Oslo"),
        ("/usr/share/zoneinfo/Etc/UTC", "UTC"),
        ("/nowhere", None),
    ],
)
def test_what_the_link_says(root, target, name):
    """As Debian, Red Hat and macOS have it; one that leads nowhere is no name."""
    link(root, target)
    assert host_zone({}, root) == name


def test_a_link_to_a_link(root):
    """The first one that names a zone counts."""
    (root / "etc" / "zone").symlink_to("/usr/share/zoneinfo/Europe/Oslo")
    link(root, "zone")
    assert host_zone({}, root) == "Europe/Oslo"


def test_a_host_that_sets_none(root):
    """The C library's zone is then UTC."""
    assert host_zone({}, root) == "UTC"


def test_a_copy_of_the_rules(root):
    """Its name is in /etc/timezone, if those are its rules; a mounted file may be another's."""
    copy(root, "Europe/Oslo")
    assert host_zone({}, root) is None
    for name, found in ("Europe/Oslo", "Europe/Oslo"), ("Etc/UTC", None), ("Europe/Olso", None):
        (root / "etc" / "timezone").write_text(f"{name}\n")
        assert host_zone({}, root) == found


def test_a_copy_of_utc(root):
    """It needs no name beside it."""
    copy(root, "UTC")
    assert host_zone({}, root) == "UTC"


def test_what_is_no_rules(root):
    """A damaged file names nothing."""
    (root / "etc" / "localtime").write_bytes(b"TZif?")
    assert host_zone({}, root) is None


def test_a_container_started_with_tz(root):
    """Cron goes by it, and does not pass it on; what the job has of its own comes first."""
    link(root, "/usr/share/zoneinfo/Etc/UTC")
    environ = root / "proc" / "1" / "environ"
    environ.write_bytes(b"PATH=/bin\0TZ=Europe/Oslo\0HOME=/\0")
    assert host_zone({}, root) == "Europe/Oslo"
    assert host_zone({"TZ": "Asia/Tokyo"}, root) == "Asia/Tokyo"
    environ.write_bytes(b"PATH=/bin\0NOTZ=Europe/Oslo\0")
    assert host_zone({}, root) == "UTC"
