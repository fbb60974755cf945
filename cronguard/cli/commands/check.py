"""``cronguard check``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from cronguard.cli.arguments import json_option, quiet_option
from cronguard.cli.backlog import kept_alerts_sent, replay
from cronguard.cli.opening import describe_store, is_there, load_settings, open_runtime
from cronguard.cli.output.attempts import sent
from cronguard.cli.output.lines import emit, mark, plural, print_error, say
from cronguard.cli.output.progress import progress
from cronguard.cli.output.table import table
from cronguard.cli.output.times import stamp
from cronguard.core.clock import rfc3339_or_none

if TYPE_CHECKING:
    from cronguard.runtime.check import Problem, Report
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
    once. Exits 1 if anything is wrong, snoozed jobs apart, so a script can rely on it.

    Jobs that settings give a schedule ([tool.cronguard.job.NAME]) are expected from the first check
    on, even if they never ran.

    \b
    Examples:
      */5 * * * *  cronguard check --quiet    in a crontab: cron mails every line
      cronguard check --json | jq '.problems[].job'

    \b
    --json prints cronguard.check/1:
      {"schema", "store", "ok", "jobs": how many, "alerts_sent", "problems": [{"job",
       "kind": "crashed" | "overrun" | "missed" | "failing" | "undelivered", "message",
       "run_id", "since", "snoozed"}]}
    """
    loaded = load_settings()
    for problem in loaded.problems:
        print_error(problem)
    runtime = open_runtime(loaded.settings)
    place = describe_store(runtime.settings, runtime.store)
    with kept_alerts_sent(runtime):
        found = _check(runtime, quiet=quiet or as_json)
    if as_json:
        emit(
            "check/1",
            store=place,
            ok=found.ok and not loaded.problems,
            jobs=found.jobs,
            alerts_sent=sum(map(sent, found.attempts)),
            problems=[_facts(problem) for problem in found.problems],
        )
    elif not quiet:
        _show(found, place)
    if loaded.problems:
        return 2
    return 0 if found.ok else 1


def _check(runtime: Runtime, *, quiet: bool) -> Report:
    from cronguard.runtime.check import Report, check
    from cronguard.settings.loading import channel_rules
    from cronguard.settings.options import resolve_job

    settings = runtime.settings
    if not is_there(runtime.store) and not settings.jobs:
        return Report(0, (), ())  # a database that is not there is not made by looking at it

    replay(runtime.store, quiet=quiet)
    with progress("checking") as advance:
        tried = 0

        def report(_attempt: object) -> None:
            nonlocal tried
            tried += 1
            advance(tried, tried + 1)

        return check(
            runtime.store,
            runtime.dispatcher,
            settings.jobs,
            channels_for=lambda job: channel_rules(
                resolve_job({"job": job}, settings.jobs.get(job, {})), settings.channels
            ),
            now=datetime.now(UTC),
            report=report,
        )


def _facts(problem: Problem) -> dict[str, Any]:
    return {
        "job": problem.job,
        "kind": problem.kind,
        "message": problem.message,
        "run_id": problem.run_id,
        "since": rfc3339_or_none(problem.since),
        "snoozed": problem.snoozed,
    }


def _show(found: Report, place: str) -> None:
    delivered = sum(map(sent, found.attempts))
    if found.problems:
        now = datetime.now(UTC)
        table(
            ("JOB", "PROBLEM", "SINCE (UTC)", "WHAT"),
            [
                (
                    problem.job,
                    problem.kind,
                    stamp(problem.since, now, brief=True),
                    problem.message + (" (snoozed)" if problem.snoozed else ""),
                )
                for problem in found.problems
            ],
        )
    if delivered:
        say(f"Sent {plural(delivered, 'alert')}.")
    if not found.jobs:
        say(f"No job has run yet, and settings expect none. Runs will be recorded in {place}.")
    elif found.ok:
        known = " that is not snoozed" if found.problems else ""
        say(f"{mark('ok')} {plural(found.jobs, 'job')}, nothing wrong{known}.")
    else:
        wrong = len({problem.job for problem in found.problems if not problem.snoozed})
        say(
            f"{mark('error')} {plural(found.jobs, 'job')}, {wrong} in trouble. Recorded in {place}."
        )
