"""``cronguard history``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, cast

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
from cronguard.cli.opening import health_of, is_there, open_runtime
from cronguard.cli.output.jobs import error_text, run_facts
from cronguard.cli.output.layout import table
from cronguard.cli.output.lines import emit, say
from cronguard.cli.output.times import Times, since_moment, span, times_of, zone_named
from cronguard.core.run_states import RUN_STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cronguard.core.health import Health
    from cronguard.core.interfaces import Store
    from cronguard.core.model import RunRecord, RunStatus


_STATES = "\n".join(f"  {name:<9}  a run that {each.meaning}" for name, each in RUN_STATES.items())


@click.command(epilog=f"\b\nEach status:\n{_STATES}")
@job_argument()
@click.option(
    "--status",
    "statuses",
    type=click.Choice(list(RUN_STATES), case_sensitive=False),
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

    A run whose process is gone is crashed, although nobody may have counted it yet. With --status
    and --since, --limit counts the runs that they leave. On a terminal times are those of the job's
    time zone, elsewhere UTC.

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
    healths = health_of(runtime)
    health = next((each for each in healths if each.job == job), None)
    timezone = timezone_of(health)
    wanted = _Wanted(
        cast("tuple[RunStatus, ...]", statuses),
        None if since is None else since_moment(since, now, zone_named(timezone)),
    )
    runs = _read(runtime.store, job, health, wanted, limit)
    is_all = wanted == _Wanted()
    has_run = bool(runs) or (not is_all and bool(_read(runtime.store, job, health, _Wanted(), 1)))
    if not has_run and health is None:  # a forgotten job's runs can still be read
        find_job(healths, job)
    if as_json:
        emit("history/1", job=job, runs=[run_facts(record) for record in runs])
    elif runs:
        _show(runs, times_of(timezone, now))
        if len(runs) == limit:
            say(f"The newest {limit:,}; --limit shows more.")
    elif has_run:
        say(f"No run of {job} is like that. Without --status and --since: cronguard history {job}")
    else:
        say(f"{job} is known but has not run yet. Its runs will be listed here.")


class _Wanted(NamedTuple):
    """Which runs are wanted; by default all."""

    statuses: tuple[RunStatus, ...] = ()
    since: datetime | None = None


def _read(
    store: Store, job: str, health: Health | None, wanted: _Wanted, limit: int
) -> list[RunRecord]:
    from cronguard.runtime.health import read_history

    if not (is_there(store) and is_utf8(job)):
        return []
    return read_history(
        store, job, health, limit=limit, statuses=wanted.statuses, since=wanted.since
    )


def _show(runs: Sequence[RunRecord], times: Times) -> None:
    hosts = {record.host for record in runs}
    table(
        (f"STARTED ({times.name})", "STATUS", "TOOK", "FAILURES", "HOST", "ERROR"),
        [
            (
                times.briefly(record.started_at),
                record.status,
                _took(record, times.now),
                "-" if (count := record.consecutive_failure_count) is None else count,
                record.host or "-" if len(hosts) > 1 else "",
                error_text(record),
            )
            for record in runs
        ],
    )


def _took(record: RunRecord, now: datetime) -> str:
    if record.status != "running":
        return span(record.duration)
    return f"{span(max((now - record.started_at).total_seconds(), 0))} so far"
