"""Where the alerts of each job went at its last start on this host: a small file a job.

A variable that cron does not have sends alerts elsewhere, mostly to standard error, and nothing
fails by it. So a change is said: once in the log, and for a week by ``cronguard doctor``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cronguard.core.clock import moment, rfc3339
from cronguard.process import log
from cronguard.process.signals import tolerate

_MOST_CHARS = 10_000


class Change(NamedTuple):
    """A job whose channels are others than before."""

    job: str
    channels: str
    """Names with commas between."""
    before: str
    since: datetime


def note(path: Path, job: str, channels: str) -> None:
    """Write down where the job's alerts go now; log it if they went elsewhere before.

    Raises:
        OSError: It cannot be written down, so nothing is logged either.
    """
    before = _lines(path)[0]
    new = path.with_name(f"{path.name}.{os.getpid()}~")
    new.write_text(f"{channels}\n{before}\n{rfc3339(datetime.now(UTC))}\n", encoding="utf-8")
    new.replace(path)
    if before:
        log.notice(
            "alerts of %s go to %s from this host now, and went to %s before: if nobody meant that,"
            " look with cronguard doctor --as-cron",
            job,
            channels,
            before,
        )


def changes(folder: Path) -> Iterator[Change]:
    """Yield the jobs whose channels were others once, in the order of their names."""
    paths: list[Path] = []
    with tolerate(OSError):
        paths = sorted(folder.iterdir())
    for path in paths:
        channels, before, since = _lines(path)
        with tolerate(ValueError):
            at = moment(since)
            if before and at is not None:
                yield Change(path.name.replace("=", ":"), channels, before, at)


def _lines(path: Path) -> tuple[str, str, str]:
    text = ""
    with tolerate(OSError, ValueError):
        text = path.read_text(encoding="utf-8")[:_MOST_CHARS]
    first, second, third, *_ = [*text.splitlines(), "", "", ""]
    return first, second, third


__all__ = ["Change", "changes", "note"]
