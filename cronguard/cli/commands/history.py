"""``cronguard history``."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from cronguard.cli.arguments import find_job, job_argument, json_option, up_to
from cronguard.cli.opening import is_there, jobs_of, open_runtime
from cronguard.cli.output.facts import error_text, run_facts
from cronguard.cli.output.lines import emit, say
from cronguard.cli.output.table import table
from cronguard.cli.output.times import span, stamp


@click.command()
@job_argument()
@click.option(
    "--limit",
    "-n",
    type=int,
    callback=up_to(100_000),
    default=20,
    metavar="N",
    help="Show at most this many runs.  [20]",
)
@json_option
def command(job: str, limit: int, *, as_json: bool) -> None:
    """Show a job's runs, newest first.

    \b
    Examples:
      cronguard history nightly_export
      cronguard history nightly_export --limit 100 --json

    \b
    --json prints cronguard.history/1:
      {"schema", "job", "runs": [{"run_id", "status", "started_at", "finished_at",
       "duration_seconds", "consecutive_failure_count", "error_type", "error_code",
       "error_message", "error_location", "host", "pid"}]}
    """
    store = open_runtime().store
    runs = store.history(job, limit=limit) if is_there(store) else []
    if not runs:  # those of a forgotten job can still be read
        find_job(jobs_of(store), job)
    if as_json:
        emit("history/1", job=job, runs=[run_facts(record) for record in runs])
        return
    if not runs:
        say(f"{job} is known but has not run yet. Its runs will be listed here.")
        return
    now = datetime.now(UTC)
    hosts = {record.host for record in runs}
    table(
        ("STARTED (UTC)", "STATUS", "TOOK", "FAILURES", "HOST", "ERROR"),
        [
            (
                stamp(record.started_at, now),
                record.status,
                span(record.duration),
                "-" if (count := record.consecutive_failure_count) is None else count,
                record.host or "-" if len(hosts) > 1 else "",
                error_text(record),
            )
            for record in runs
        ],
    )
