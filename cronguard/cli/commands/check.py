"""``cronguard check``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from cronguard.cli.arguments import json_option, quiet_option
from cronguard.cli.backlog import kept_alerts_sent, replay
from cronguard.cli.opening import describe_store, is_there, load_settings, open_runtime
from cronguard.cli.output.alerts import sent
from cronguard.cli.output.jobs import health_facts, state_counts
from cronguard.cli.output.layout import table
from cronguard.cli.output.lines import emit, mark, plural, progress, say
from cronguard.cli.output.times import distance, stamp
from cronguard.core.clock import rfc3339_or_none
from cronguard.core.health import by_urgency

if TYPE_CHECKING:
    from cronguard.core.health import Health
    from cronguard.core.model import RunRecord
    from cronguard.runtime.check import Report, Undelivered
    from cronguard.runtime.runtime import Runtime


@click.command()
@quiet_option
@json_option
def command(*, quiet: bool, as_json: bool) -> int:
    """Find what broke unseen, and alert.

    A job cannot tell by itself that it was killed, that it hangs, or that it did not start. This
    looks: it ends the runs whose process is gone, announces runs that go on past their max_runtime
    and schedules that nobody kept, and sends every alert that is due. Run it every few minutes from
    a host that is up, best not the jobs' own; from several at once, each thing is still announced
    once. Exits 1 while a job is failing, stuck or late and not snoozed, and while an alert is given
    up or has waited for more than a minute, so a script can rely on it.

    Jobs that settings give a schedule ([tool.cronguard.job.NAME]) are expected from the first check
    on, even if they never ran.

    \b
    Examples:
      */5 * * * *  cronguard check --quiet    in a crontab: cron mails every line
      cronguard check --json | jq '.jobs[] | select(.needs_attention) | .job'

    \b
    --json prints cronguard.check/3:
      {"schema", "store", "ok", "alerts_sent", "jobs": [a job as in `status`],
       "crashed": [{"job", "run_id", "started_at"}] that this check counted first,
       "undelivered": [{"job", "channel", "given_up", "alerts": how many, "since"}]}
    """
    loaded = load_settings(say_problems=True)
    runtime = open_runtime(loaded.settings)
    place = describe_store(runtime.settings, runtime.store)
    now = datetime.now(UTC)
    with kept_alerts_sent(runtime):
        found = _check(runtime, now, quiet=quiet or as_json)
    if as_json:
        emit(
            "check/3",
            store=place,
            ok=found.ok and not loaded.problems,
            alerts_sent=sum(map(sent, found.attempts)),
            jobs=[health_facts(health, now) for health in found.jobs],
            crashed=[_run_facts(run) for run in found.crashed],
            undelivered=[_alert_facts(each) for each in found.undelivered],
        )
    elif not quiet:
        _show(found, place, now)
    if loaded.problems:
        return 2
    return 0 if found.ok else 1


def _check(runtime: Runtime, now: datetime, *, quiet: bool) -> Report:
    from cronguard.runtime.check import Report, check

    settings = runtime.settings
    if not is_there(runtime.store) and not settings.jobs:
        # a database that is not there is not made by looking at it
        return Report((), frozenset(), (), (), ())

    replay(runtime.store, quiet=quiet)
    with progress("checking") as advance:
        tried = 0

        def report(_attempt: object) -> None:
            nonlocal tried
            tried += 1
            advance(tried, tried + 1)

        return check(runtime.store, runtime.dispatcher, settings, now=now, report=report)


def _run_facts(run: RunRecord) -> dict[str, Any]:
    return {"job": run.job, "run_id": run.run_id, "started_at": rfc3339_or_none(run.started_at)}


def _alert_facts(alerts: Undelivered) -> dict[str, Any]:
    return {
        "job": alerts.job,
        "channel": alerts.channel,
        "given_up": alerts.dead,
        "alerts": alerts.number,
        "since": rfc3339_or_none(alerts.since),
    }


def _show(found: Report, place: str, now: datetime) -> None:
    rows: list[tuple[str, str, str, str]] = [
        (each.job, each.state, stamp(each.since, now, brief=True), _why(each, now))
        for each in by_urgency(found.jobs)
        if each.state not in ("new", "ok")
    ]
    states: dict[str, str] = {each.job: each.state for each in found.jobs}
    for alerts in found.undelivered:
        since = stamp(alerts.since, now, brief=True)
        rows.append((alerts.job, states.get(alerts.job, "-"), since, _waiting(alerts)))
    if rows:
        table(("JOB", "STATE", "SINCE (UTC)", "WHAT"), rows)
    delivered = sum(map(sent, found.attempts))
    if delivered:
        say(f"Sent {plural(delivered, 'alert')}.")
    waiting = sum(each.alerts_waiting for each in found.jobs)
    young = waiting - sum(each.number for each in found.undelivered if not each.dead)
    if young > 0:
        say(f"{plural(young, 'alert')} of the last minute not sent yet: cronguard alerts says why.")
    if not found.jobs:
        say(f"No job has run yet, and settings expect none. Runs will be recorded in {place}.")
        return
    jobs, counts = plural(len(found.jobs), "job"), state_counts(found.jobs)
    if found.ok:
        verdict = "nothing to be done about" if rows else "nothing wrong"
        say(f"{mark('ok')} {jobs}, {verdict}: {counts}.")
    else:
        say(f"{mark('error')} {jobs}: {counts}. Recorded in {place}.")


def _why(health: Health, now: datetime) -> str:
    if health.snoozed_until is None:
        return health.why
    return f"{health.why} (snoozed, wakes {distance(health.snoozed_until, now)})"


def _waiting(alerts: Undelivered) -> str:
    what = "an alert" if alerts.number == 1 else f"{alerts.number} alerts"
    fate = "given up (cronguard deliver --given-up tries again)" if alerts.dead else "still waiting"
    return f"{what} for {alerts.channel} {fate}"
