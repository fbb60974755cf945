"""``cronguard snooze``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from cronguard.cli._arguments import find_job, job_argument
from cronguard.cli._open import jobs_of, open_runtime
from cronguard.cli._say import say
from cronguard.cli._times import distance, to_moment, to_span
from cronguard.times import readable


@click.command()
@job_argument()
@click.option("--for", "span", callback=to_span, metavar="DURATION", help="How long: 45m, 2h, 3d.")
@click.option("--until", callback=to_moment, metavar="TIME", help="Until when: 2026-11-24T08:00.")
@click.option("--off", is_flag=True, help="Let it alert again from now on.")
def command(job: str, span: timedelta | None, until: datetime | None, *, off: bool) -> None:
    """Keep a job from alerting for a while.

    Its runs are recorded and its streak is counted as ever. If it is still failing when the time is
    over, its next failure makes the alert up.

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
