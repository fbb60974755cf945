"""The name of the time zone that cron goes by on this host, for a schedule that names none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cronguard.core.errors import ConfigError
from cronguard.process.signals import is_there, tolerate
from cronguard.settings.job_values import check_timezone

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_UTC_NAMES = frozenset({"UTC", "UCT", "GMT", "GMT0", "UTC0", "Greenwich", "Universal", "Zulu"})
_FOLDER = "zoneinfo/"
_MOST_LINKS = 8


def host_zone(environ: Mapping[str, str], root: Path = Path("/")) -> str | None:
    """Return the IANA name of the time zone that cron and the C library go by here.

    It comes from ``CRON_TZ``, ``TZ``, a container's ``TZ``, the link ``/etc/localtime``, or
    ``/etc/timezone`` if that says the same as the file ``/etc/localtime``. A host that sets none of
    them is in UTC.

    Args:
        environ: The environment variables.
        root: The folder that holds ``etc``.

    Returns:
        None if the zone has no name that can be found: it is a rule such as ``CET-1CEST``, or
        unknown.
    """
    variables = (environ.get("CRON_TZ") or None, environ.get("TZ"), _container_zone(root))
    value = next((each for each in variables if each is not None), None)
    if value == "":
        return "UTC"
    if value is not None and value.removeprefix(":") != "/etc/localtime":
        return _named(value.removeprefix(":"))
    return _named_in_files(root / "etc")


def _container_zone(root: Path) -> str | None:
    """Return the TZ that a container's first process has and cron goes by; None for none.

    Debian's cron does not pass it on to jobs. Elsewhere that process has none, or may not be read.
    """
    with tolerate(OSError):
        for variable in (root / "proc/1/environ").read_bytes().split(b"\0"):
            if variable.startswith(b"TZ="):
                return os.fsdecode(variable[3:])
    return None


def _named(text: str) -> str | None:
    """Return the zone that a text or a path names; None if there is none."""
    name = text.strip().rpartition(_FOLDER)[2]
    name = name.removeprefix("posix/").removeprefix("right/")
    if name.removeprefix("Etc/") in _UTC_NAMES:
        return "UTC"
    with tolerate(ConfigError):
        return check_timezone("timezone", name)
    return None


def _named_in_files(folder: Path) -> str | None:
    link = folder / "localtime"
    if not is_there(link, follow=False):
        return "UTC"
    with tolerate(OSError):  # at the end of the links
        target = str(link)
        for _ in range(_MOST_LINKS):
            target = os.path.join(os.path.dirname(target), os.readlink(target))  # noqa: PTH115, PTH118, PTH120  # as written
            if _FOLDER in target and (name := _named(target)):
                return name
    return _named_beside(link, folder / "timezone")


def _named_beside(rules: Path, beside: Path) -> str | None:
    """Return the name in a file beside a copy of a zone's rules, if that is what they are."""
    from zoneinfo import ZoneInfo  # few hosts have a copy in place of the link

    with tolerate(OSError, ValueError, KeyError):
        with rules.open("rb") as file:
            actual = ZoneInfo.from_file(file)
        if _agree(actual, ZoneInfo("UTC")):
            return "UTC"
        name = _named(beside.read_text(encoding="utf-8").partition("\n")[0])
        if name is not None and _agree(actual, ZoneInfo(name)):
            return name
    return None


def _agree(one: ZoneInfo, other: ZoneInfo) -> bool:
    """Tell whether two zones have the same time for a year."""
    now = datetime.now(UTC)
    weeks = (now + timedelta(weeks=number) for number in range(53))
    return all(
        week.astimezone(one).utcoffset() == week.astimezone(other).utcoffset() for week in weeks
    )


__all__ = ["host_zone"]
