"""``cronguard status``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from cronguard.cli.arguments import find_job, job_argument, json_option
from cronguard.cli.backlog import spool_sentence
from cronguard.cli.opening import describe_store, health_of, open_runtime
from cronguard.cli.output.facts import health_facts, state_counts
from cronguard.cli.output.lines import emit, plural, say
from cronguard.cli.output.table import table
from cronguard.cli.output.times import distance, stamp
from cronguard.core.health import Health, by_urgency


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
    --json prints cronguard.status/2:
      {"schema", "store", "jobs": [{"job", "state": "failing" | "stuck" | "late" |
       "warning" | "new" | "ok", "why", "since", "needs_attention", "also": [states],
       "consecutive_failure_count", "threshold", "running", "running_since",
       "uncounted_crashes", "last_run": a run as in `history` or null,
       "last_success_at", "next_due_at", "missed", "snoozed_until", "schedule",
       "timezone", "grace_seconds", "max_runtime_seconds", "channels", "runbook",
       "alerts_pending", "alerts_pending_since", "alerts_dead"}]}
    """
    runtime = open_runtime()
    place = describe_store(runtime.settings, runtime.store)
    found = health_of(runtime)
    if jobs:
        found = [find_job(found, name) for name in dict.fromkeys(jobs)]
    if as_json:
        now = datetime.now(UTC)
        emit("status/2", store=place, jobs=[health_facts(health, now) for health in found])
        return
    if not found:
        say("No job has run yet. Guard one:")
        say("  cronguard run nightly -- ./nightly.sh     in a crontab line")
        say('  @cron_guarded(job="nightly")              on a Python function')
        say(f"Runs will be recorded in {place}.")
        return
    _show(found)
    say(f"{plural(len(found), 'job')}: {state_counts(found)}. Recorded in {place}.")
    if kept := spool_sentence(runtime.store):
        say(f"{kept}.")


def _show(found: Sequence[Health]) -> None:
    now = datetime.now(UTC)
    columns = ("JOB", "STATE", "FAILURES", "LAST RUN (UTC)", "RESULT", "LAST SUCCESS (UTC)", "NOTE")
    rows = []
    for health in by_urgency(found):
        last = health.last_run
        rows.append(
            (
                health.job,
                health.state,
                health.failures,
                stamp(last.started_at if last else None, now, brief=True),
                last.status if last else "-",
                stamp(health.last_success_at, now, never="never", brief=True),
                "; ".join(_notes(health, now)),
            )
        )
    table(columns, rows)


def _notes(health: Health, now: datetime) -> list[str]:
    notes = [] if health.state in ("new", "ok") else [health.why]
    if len(health.running) > 1:
        notes.append(f"{len(health.running)} running")
    if health.alerts_waiting:
        notes.append(f"{plural(health.alerts_waiting, 'alert')} pending")
    if health.alerts_dead:
        notes.append(f"{plural(health.alerts_dead, 'alert')} given up (cronguard deliver --dead)")
    if health.snoozed_until:
        notes.append(f"snoozed, wakes {distance(health.snoozed_until, now)}")
    return notes
