"""``cronguard snooze``, ``unlock``, ``forget`` and ``prune``: a job's and the log's upkeep."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from cronguard.cli.arguments import find_job, job_argument, quiet_option
from cronguard.cli.backlog import replay
from cronguard.cli.opening import jobs_of, open_runtime, open_store
from cronguard.cli.output.lines import on_terminal, plural, print_error, progress, say
from cronguard.cli.output.times import distance, to_moment, to_span
from cronguard.core.clock import readable
from cronguard.core.rendering import duration

if TYPE_CHECKING:
    from cronguard.core.interfaces import Store

_SHORT = timedelta(days=1)
_MINUTE = timedelta(minutes=1)


@click.command()
@job_argument()
@click.option("--for", "span", callback=to_span, metavar="DURATION", help="How long: 45m, 2h, 3d.")
@click.option("--until", callback=to_moment, metavar="TIME", help="Until when: 2026-11-24T08:00.")
@click.option("--off", is_flag=True, help="Let it alert again from now on.")
def snooze(job: str, span: timedelta | None, until: datetime | None, *, off: bool) -> None:
    """Keep a job from alerting for a while.

    Its runs are recorded and its streak is counted as ever. If it is still failing when the time is
    over, the alert is sent at its next failure.

    \b
    Examples:
      cronguard snooze nightly_export --for 2h
      cronguard snooze nightly_export --until 2026-11-24T08:00
      cronguard snooze nightly_export --off
    """
    if [span is not None, until is not None, off].count(True) != 1:
        raise click.UsageError("say how long: give one of --for 2h, --until TIME and --off")
    now = datetime.now(UTC)
    wakes = now + span if span else until
    if wakes is not None and wakes <= now:
        raise click.UsageError("--until is in the past: give a time to come, or --off")
    store = open_runtime().store
    find_job(jobs_of(store), job)
    store.snooze(job, wakes)
    if wakes is None:
        say(f"{job} alerts again.")
    else:
        say(f"{job} will not alert until {readable(wakes)} ({distance(wakes, now)}).")


@click.command()
@job_argument()
def unlock(job: str) -> None:
    """Let a job start although a run of it is open.

    Takes the job's lease from the run that holds it. That run goes on and may still finish; what it
    does is not stopped. A run whose process died on this machine needs no unlocking: the next start
    finds that out by itself.

    \b
    Example:
      cronguard unlock nightly_export
    """
    store = open_runtime().store
    find_job(jobs_of(store), job)
    freed = store.unlock(job)
    if freed:
        say(f"{job} can start again; {plural(freed, 'open run')} let go of it.")
    else:
        say(f"No open run holds {job}: it can start.")


@click.command()
@job_argument()
def forget(job: str) -> None:
    """Retire a job: nothing is expected of it any more.

    Its streak, its schedule and its alerts that have not gone out are removed, and `status` and
    `check` no longer know it. Its runs can still be read with `history` until they are pruned. If
    it ever runs again, it starts from zero.

    \b
    Example:
      cronguard forget nightly_export
    """
    runtime = open_runtime()
    store = runtime.store
    replay(store)
    status = find_job(jobs_of(store), job)
    store.forget(job)
    waiting = status.alerts_pending + status.alerts_dead
    gone = f", with {plural(waiting, 'alert')} that had not gone out" if waiting else ""
    say(f"{job} is forgotten{gone}; cronguard history {job} still shows its runs.")
    if status.running:
        print_error(f"{job} is running now: it will be back when that run ends")
    if "schedule" in runtime.settings.jobs.get(job, {}):
        file = runtime.settings.file or "configure()"
        print_error(
            f"settings still expect {job}: remove [job.{job}] from {file}, or check knows it"
        )


@click.command()
@click.option(
    "--keep",
    callback=to_span,
    required=True,
    metavar="DURATION",
    help="Keep runs that ended within this time: 90d, 12w.",
)
@click.option("--dry-run", is_flag=True, help="Say how many runs would be deleted; delete none.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask; also with --keep below a day.")
@quiet_option
def prune(keep: timedelta, *, dry_run: bool, yes: bool, quiet: bool) -> None:
    """Delete old runs.

    Alerts that were sent as long ago go with them. A job's newest run, its streak and the time of
    its last success stay, and so do runs that are still open and alerts that have not gone out.
    On a terminal it asks before.

    \b
    Example, weekly in a crontab:
      0 4 * * 0  cronguard prune --keep 90d --quiet
    """
    if keep < _SHORT and not (yes or dry_run):
        raise click.UsageError(
            f"--keep {_words(keep)} would delete nearly everything: add --yes if it is meant"
        )
    store = open_store()
    if not jobs_of(store):
        deleted = 0
    elif dry_run or (not (yes or quiet) and _is_typed()):
        deleted = store.prune(keep=keep, dry_run=True)
        if not dry_run and deleted:
            click.confirm(f"Delete {_what(deleted, keep)}?", abort=True)
            deleted = _prune(store, keep)
    else:
        deleted = _prune(store, keep)
    if not quiet:
        say(f"{'Would delete' if dry_run else 'Deleted'} {_what(deleted, keep)}.")


def _prune(store: Store, keep: timedelta) -> int:
    with progress("pruning") as advance:
        return store.prune(keep=keep, progress=advance)


def _is_typed() -> bool:
    """Tell whether somebody is there to answer."""
    return sys.stdin.isatty() and on_terminal()


def _what(runs: int, keep: timedelta) -> str:
    return f"{plural(runs, 'run')} that ended more than {_words(keep)} ago"


def _words(keep: timedelta) -> str:
    if keep.days:
        return plural(keep.days, "day")
    if keep < _MINUTE:
        return plural(round(keep.total_seconds()), "second")
    return duration(keep.total_seconds()) or ""
