"""``cronguard unlock``."""

from __future__ import annotations

import click

from cronguard.cli._arguments import find_job, job_argument
from cronguard.cli._open import jobs_of, open_runtime
from cronguard.cli._say import plural, say


@click.command()
@job_argument()
def command(job: str) -> None:
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
