"""``cronguard alerts``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from cronguard.cli.arguments import (
    complete_jobs,
    find_job,
    is_utf8,
    json_option,
    limit_option,
    since_option,
    timezone_of,
)
from cronguard.cli.opening import health_of, is_there, open_runtime
from cronguard.cli.output.alerts import STATES, advice, alert_facts, show_alerts
from cronguard.cli.output.layout import say_wrapped
from cronguard.cli.output.lines import emit, say
from cronguard.cli.output.times import since_moment, times_of, zone_named

if TYPE_CHECKING:
    from cronguard.core.model import AlertRecord


@click.command()
@click.argument("job", metavar="[JOB]", required=False, shell_complete=complete_jobs)
@click.option(
    "--state",
    type=click.Choice(list(STATES), case_sensitive=False),
    help="Only those that wait, were sent, or were given up.",
)
@since_option("Only those that were decided since then")
@limit_option("alerts")
@json_option
def command(
    job: str | None,
    state: str | None,
    since: timedelta | datetime | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Show the alerts: sent, waiting, given up.

    Newest first: what each was about, whom it went to, and what became of it. One that waits goes
    out with the job's next run, or with `check` or `deliver`; one that was given up is sent only by
    `deliver --given-up`, once its channel is corrected. Exits 0 whatever became of them.

    \b
    Examples:
      cronguard alerts
      cronguard alerts nightly_export --since 7d
      cronguard alerts --state given-up

    \b
    --json prints cronguard.alerts/1:
      {"schema", "alerts": [{"alert_id", "job", "kind": "failing" | "still_failing" | "recovered" |
       "overrun" | "missed" | "test", "channel", "state": "waiting" | "sent" | "given-up",
       "attempts", "created_at", "next_attempt_at", "settled_at", "error_code"}]}
    """
    runtime = open_runtime()
    store, now = runtime.store, datetime.now(UTC)
    healths = health_of(runtime) if job is not None else []
    timezone = timezone_of(next((each for each in healths if each.job == job), None))
    begin = None if since is None else since_moment(since, now, zone_named(timezone))
    found: Sequence[AlertRecord] = ()
    if is_there(store) and (job is None or is_utf8(job)):
        found = store.alerts(state=STATES[state] if state else None, job=job, limit=limit)
    shown = [each for each in found if begin is None or each.created_at >= begin]
    if not found and job is not None:
        find_job(healths, job)
    if as_json:
        emit("alerts/1", alerts=[alert_facts(each) for each in shown])
        return
    if not shown:
        say(_nothing(job, state, is_limited=begin is not None))
        return
    show_alerts(shown, times_of(timezone, now), with_job=job is None)
    if len(shown) == limit:
        say(f"The newest {limit:,}; --limit shows more.")
    for sentence in advice(shown, runtime.settings):
        say_wrapped(sentence)


def _nothing(job: str | None, state: str | None, *, is_limited: bool) -> str:
    about = f" of {job}" if job else ""
    if state == "waiting":
        return f"No alert{about} is waiting to be sent."
    if state == "given-up":
        return f"No alert{about} was given up."
    was = "was sent" if state == "sent" else "was decided"
    if is_limited:
        return f"No alert{about} {was} since then."
    return f"No alert{about} {was} yet. Try the way to your team: cronguard test-alert"
