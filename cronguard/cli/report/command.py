"""``cronguard report``."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cronguard.cli.arguments import find_job, job_argument, up_to
from cronguard.cli.backlog import refused_sentence, spool_sentence
from cronguard.cli.opening import describe_store, is_there, open_runtime
from cronguard.cli.output.lines import CommandError, plural, say
from cronguard.cli.output.times import to_span
from cronguard.cli.report.contents import make_report
from cronguard.cli.report.page import render
from cronguard.cli.report.reading import read
from cronguard.runtime.health import read_health

if TYPE_CHECKING:
    from cronguard.core.interfaces import Store

_LONGEST = timedelta(days=366)
_SHORTEST = timedelta(minutes=10)


def _to_window(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> timedelta | None:
    window = to_span(context, parameter, value)
    if window is not None and not _SHORTEST <= window <= _LONGEST:
        raise click.BadParameter(f"{value} is not from 10 minutes to 366 days")
    return window


@click.command()
@job_argument(many=True)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="Where to write it; - for standard output.",
)
@click.option(
    "--since",
    "window",
    metavar="DURATION",
    callback=_to_window,
    help="How far back the time axis goes, such as 24h or 30d.  [what fits the jobs]",
)
@click.option(
    "--limit", type=int, callback=up_to(1000), default=10, metavar="N", help="Runs of a job.  [10]"
)
def command(jobs: tuple[str, ...], output: str, window: timedelta | None, limit: int) -> None:
    """Write a page that shows how every job is doing.

    What is wrong comes first, then a lane for each job on one time axis: when it was due, when it
    ran, how long and how that ended; behind it the job's newest runs and alerts. One HTML file with
    everything in it, for a browser, a mail, a printer or an internal web server. It holds what
    `status`, `history` and `alerts` show: redacted messages, no secrets. A file that is there is
    replaced in one step. Needs the extra `report`.

    \b
    Examples:
      cronguard report -o report.html
      cronguard report nightly_export --since 30d --limit 100 -o nightly.html
      */15 * * * *  cronguard report -o /srv/www/jobs.html >/dev/null
    """
    runtime = open_runtime()
    store = runtime.store if is_there(runtime.store) else None
    now = datetime.now(UTC)
    healths = read_health(store, runtime.settings, now=now)
    if jobs:
        healths = [find_job(healths, name) for name in dict.fromkeys(jobs)]
    readings = read(store, healths, now, window=window, newest=limit)
    place = describe_store(runtime.settings, runtime.store)
    page = render(make_report(readings, place, limit=limit, notes=list(_notes(store))))
    if output == "-":
        say(page)
        return
    _write(Path(output), page)
    say(f"{output}: {plural(len(healths), 'job')}.")


def _notes(store: Store | None) -> Iterator[str]:
    for sentence in (spool_sentence, refused_sentence):
        if store is not None and (text := sentence(store)):
            yield f"{text}."


def _write(path: Path, page: str) -> None:
    """Replace the file in one step, so that nobody ever reads half of it."""
    draft = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    caught: OSError | None = None
    try:
        if path.is_dir():
            raise IsADirectoryError(21, os.strerror(21))
        draft.write_text(page, encoding="utf-8", errors="replace")
        draft.replace(path)
    except OSError as error:
        caught = error
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    if caught is not None:
        reason = os.strerror(caught.errno).lower() if caught.errno else "unknown"
        raise CommandError(f"{path} cannot be written ({reason}): name another file with -o")
