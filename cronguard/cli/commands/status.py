"""``cronguard status``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from cronguard.cli.arguments import find_job, job_argument, json_option
from cronguard.cli.backlog import spool_sentence
from cronguard.cli.opening import describe_store, jobs_of, open_runtime
from cronguard.cli.output.facts import job_facts, state
from cronguard.cli.output.lines import emit, plural, say
from cronguard.cli.output.table import table
from cronguard.cli.output.times import distance, stamp
from cronguard.core.alert_rule import is_snoozed
from cronguard.core.model import JobStatus


@click.command()
@job_argument(many=True)
@json_option
def command(jobs: tuple[str, ...], *, as_json: bool) -> None:
    """Show every job at a glance.

    Its streak of failures, its last run and last success, and alerts that have not gone out. Exits
    0 whatever the jobs' state is.

    \b
    Examples:
      cronguard status
      cronguard status nightly_export invoices
      cronguard status --json | jq '.jobs[] | select(.state == "failing")'

    \b
    --json prints cronguard.status/1:
      {"schema", "store", "jobs": [{"job", "state": "ok" | "failing" | "never",
       "consecutive_failure_count", "running", "last_run": a run as in `history` or null,
       "last_success_at", "snoozed_until", "schedule", "timezone", "grace_seconds",
       "alerts_pending", "alerts_dead"}]}
    """
    runtime = open_runtime()
    place = describe_store(runtime.settings, runtime.store)
    found = jobs_of(runtime.store)
    if jobs:
        found = [find_job(found, name) for name in dict.fromkeys(jobs)]
    if as_json:
        emit("status/1", store=place, jobs=[job_facts(status) for status in found])
        return
    if not found:
        say("No job has run yet. Guard one:")
        say("  cronguard run nightly -- ./nightly.sh     in a crontab line")
        say('  @cron_guarded(job="nightly")              on a Python function')
        say(f"Runs will be recorded in {place}.")
        return
    _show(found)
    failing = sum(state(status) == "failing" for status in found)
    say(f"{plural(len(found), 'job')}, {failing} failing. Recorded in {place}.")
    if kept := spool_sentence(runtime.store):
        say(f"{kept}.")


def _show(found: Sequence[JobStatus]) -> None:
    now = datetime.now(UTC)
    columns = ("JOB", "STATE", "FAILURES", "LAST RUN (UTC)", "RESULT", "LAST SUCCESS (UTC)", "NOTE")
    rows = []
    for status in found:
        last = status.last_run
        rows.append(
            (
                status.job,
                state(status),
                status.consecutive_failure_count,
                stamp(last.started_at if last else None, now, brief=True),
                last.status if last else "-",
                stamp(status.last_success_at, now, never="never", brief=True),
                "; ".join(_notes(status, now)),
            )
        )
    table(columns, rows)


def _notes(status: JobStatus, now: datetime) -> list[str]:
    notes = []
    if status.running > 1:
        notes.append(f"{status.running} running")
    if status.alerts_pending:
        notes.append(f"{plural(status.alerts_pending, 'alert')} pending")
    if status.alerts_dead:
        notes.append(f"{plural(status.alerts_dead, 'alert')} given up (cronguard deliver --dead)")
    if status.snoozed_until and is_snoozed(status.snoozed_until, now):
        notes.append(f"snoozed, wakes {distance(status.snoozed_until, now)}")
    return notes
