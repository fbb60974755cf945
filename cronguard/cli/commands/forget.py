"""``cronguard forget``."""

from __future__ import annotations

import click

from cronguard.cli._arguments import find_job, job_argument
from cronguard.cli._kept import replay
from cronguard.cli._open import jobs_of, open_runtime
from cronguard.cli._say import complain, plural, say


@click.command()
@job_argument()
def command(job: str) -> None:
    """Retire a job: nothing is expected of it any more.

    Its streak, its schedule and its alerts that have not gone out are removed, and `status` and
    `check` no longer know it. Its runs can still be read with `history` until they are pruned. If
    it ever runs again, it begins anew.

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
        complain(f"{job} is running now: it will be back when that run ends")
    if "schedule" in runtime.settings.jobs.get(job, {}):
        file = runtime.settings.file or "configure()"
        complain(f"settings still expect {job}: remove [job.{job}] from {file}, or check knows it")
