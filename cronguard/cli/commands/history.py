"""``cronguard history``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast, get_args

import click

from cronguard.cli.arguments import (
    find_job,
    is_utf8,
    job_argument,
    json_option,
    limit_option,
    since_option,
    timezone_of,
)
from cronguard.cli.opening import is_there, jobs_of, open_runtime
from cronguard.cli.output.facts import error_text, run_facts
from cronguard.cli.output.lines import emit, say
from cronguard.cli.output.table import table
from cronguard.cli.output.times import Times, since_moment, span, times_of, zone_named
from cronguard.core.model import RunStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cronguard.core.interfaces import Store
    from cronguard.core.model import RunRecord


_DEAD = "its process is gone: the job's next start, or cronguard check, counts it as crashed"


@click.command()
@job_argument()
@click.option(
    "--status",
    "statuses",
    type=click.Choice(get_args(RunStatus), case_sensitive=False),
    multiple=True,
    help="Only runs with this status; may be repeated.",
)
@since_option("Only runs that started since then")
@limit_option("runs")
@json_option
def command(
    job: str,
    statuses: tuple[str, ...],
    since: timedelta | datetime | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Show a job's runs, newest first.

    With --status and --since, --limit counts the runs that they leave. On a terminal times are
    those of the job's time zone, elsewhere UTC.

    \b
    Examples:
      cronguard history nightly_export
      cronguard history nightly_export --status failure --status crashed --since 7d
      cronguard history nightly_export --limit 100 --json

    \b
    --json prints cronguard.history/1:
      {"schema", "job", "runs": [{"run_id", "status", "started_at", "finished_at",
       "duration_seconds", "consecutive_failure_count", "error_type", "error_code",
       "error_message", "error_location", "host", "pid"}]}
    """
    runtime, now = open_runtime(), datetime.now(UTC)
    store = runtime.store
    timezone = timezone_of(jobs_of(store), job)
    only: dict[str, Any] = {}
    if statuses:
        only["statuses"] = cast("tuple[RunStatus, ...]", statuses)
    if since is not None:
        only["since"] = since_moment(since, now, zone_named(timezone))
    runs = store.history(job, limit=limit, **only) if is_there(store) and is_utf8(job) else []
    has_run = bool(runs) or (bool(only) and _has_run(store, job))
    if not has_run and job not in runtime.settings.jobs:  # a forgotten job's can still be read
        find_job(jobs_of(store), job)
    if as_json:
        emit("history/1", job=job, runs=[run_facts(record) for record in runs])
    elif runs:
        _show(runs, times_of(timezone, now), _dead(store, job, runs))
        if len(runs) == limit:
            say(f"The newest {limit:,}; --limit shows more.")
    elif has_run:
        say(f"No run of {job} is like that. Without --status and --since: cronguard history {job}")
    else:
        say(f"{job} is known but has not run yet. Its runs will be listed here.")


def _has_run(store: Store, job: str) -> bool:
    return is_there(store) and is_utf8(job) and bool(store.history(job, limit=1))


def _dead(store: Store, job: str, runs: Sequence[RunRecord]) -> frozenset[str]:
    """Return the ids of those runs that look open and whose process is gone."""
    if all(record.status != "running" for record in runs):
        return frozenset()
    from cronguard.runtime.health import dead_runs

    return dead_runs(run for watch in store.watches() if watch.job == job for run in watch.running)


def _show(runs: Sequence[RunRecord], times: Times, dead: frozenset[str]) -> None:
    hosts = {record.host for record in runs}
    table(
        (f"STARTED ({times.name})", "STATUS", "TOOK", "FAILURES", "HOST", "ERROR"),
        [
            (
                times.briefly(record.started_at),
                record.status,
                _took(record, times.now, dead),
                "-" if (count := record.consecutive_failure_count) is None else count,
                record.host or "-" if len(hosts) > 1 else "",
                _DEAD if record.run_id in dead else error_text(record),
            )
            for record in runs
        ],
    )


def _took(record: RunRecord, now: datetime, dead: frozenset[str]) -> str:
    if record.status != "running" or record.run_id in dead:
        return span(record.duration)
    return f"{span(max((now - record.started_at).total_seconds(), 0))} so far"
