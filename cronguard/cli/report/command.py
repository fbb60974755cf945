"""``cronguard report``."""

from __future__ import annotations

import contextlib
import os
import secrets
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import click

from cronguard.cli.arguments import find_job, job_argument, up_to
from cronguard.cli.opening import describe_store, health_of, open_runtime
from cronguard.cli.output.lines import CommandError, plural, say
from cronguard.cli.report.contents import Report, collect
from cronguard.core.install import how_to_install


@click.command()
@job_argument(many=True)
@click.option(
    "-o", "--output", required=True, metavar="FILE", help="Where to write it; - for the output."
)
@click.option(
    "--limit", type=int, callback=up_to(1000), default=20, metavar="N", help="Runs of a job.  [20]"
)
def command(jobs: tuple[str, ...], output: str, limit: int) -> None:
    """Write a page that shows every job, its newest runs and alerts.

    One HTML file with everything in it, for a browser, a mail or an internal web server. It holds
    what `status` and `history` show: redacted messages, no secrets. A file that is there is
    replaced in one step. Needs the extra `report`.

    \b
    Examples:
      cronguard report -o report.html
      cronguard report nightly_export --limit 100 -o nightly.html
      */15 * * * *  cronguard report -o /srv/www/jobs.html >/dev/null
    """
    runtime = open_runtime()
    found = health_of(runtime)
    if jobs:
        found = [find_job(found, name) for name in dict.fromkeys(jobs)]
    place = describe_store(runtime.settings, runtime.store)
    page = _rendered(collect(runtime.store, found, place, datetime.now(UTC), limit=limit))
    if output == "-":
        say(page)
        return
    _write(Path(output), page)
    say(f"{output}: {plural(len(found), 'job')}.")


def _rendered(report: Report) -> str:
    try:
        from jinja2 import Environment  # an extra, for this command alone
    except ImportError:
        raise CommandError(
            f"the report needs Jinja2, which is not installed: {how_to_install('report')}"
        ) from None
    pages = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = pages.from_string((files(__package__) / "report.html").read_text(encoding="utf-8"))
    return template.render(report=report)


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
