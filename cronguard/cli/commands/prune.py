"""``cronguard prune``."""

from __future__ import annotations

from datetime import timedelta

import click

from cronguard.cli._arguments import quiet_option
from cronguard.cli._open import jobs_of, open_store
from cronguard.cli._progress import progress
from cronguard.cli._say import plural, say
from cronguard.cli._times import to_span
from cronguard.render import duration


@click.command()
@click.option(
    "--keep",
    callback=to_span,
    required=True,
    metavar="DURATION",
    help="Keep runs that ended within this time: 90d, 12w.",
)
@quiet_option
def command(keep: timedelta, *, quiet: bool) -> None:
    """Delete old runs.

    Alerts that were sent as long ago go with them. A job's newest run, its streak and the time of
    its last success stay, and so do runs that are still open and alerts that have not gone out.

    \b
    Example, weekly in a crontab:
      0 4 * * 0  cronguard prune --keep 90d --quiet
    """
    store = open_store()
    deleted = 0
    if jobs_of(store):
        with progress("pruning") as advance:
            deleted = store.prune(keep=keep, progress=advance)
    if not quiet:
        say(f"Deleted {plural(deleted, 'run')} that ended more than {_words(keep)} ago.")


def _words(keep: timedelta) -> str:
    return plural(keep.days, "day") if keep.days else duration(keep.total_seconds()) or ""
