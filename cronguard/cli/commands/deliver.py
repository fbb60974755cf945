"""``cronguard deliver``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cronguard.cli.arguments import complete_jobs, find_job
from cronguard.cli.backlog import kept_alerts_sent, replay
from cronguard.cli.opening import jobs_of, load_settings, open_runtime
from cronguard.cli.output.alerts import attempt_line, is_partial, sent
from cronguard.cli.output.lines import on_terminal, plural, progress, say
from cronguard.core.model import MOST_ALERTS

if TYPE_CHECKING:
    from cronguard.core.model import DeliveryState
    from cronguard.runtime.delivery import Attempt
    from cronguard.runtime.runtime import Runtime

_MANY = 20


@click.command()
@click.option("--job", metavar="JOB", help="Only alerts of this job.", shell_complete=complete_jobs)
@click.option(
    "--given-up",
    "--dead",
    "given_up",
    is_flag=True,
    help="Try again what was given up, instead of what waits.",
)
def command(job: str | None, *, given_up: bool) -> int:
    """Send every alert that is still waiting.

    Tries each once, now, whatever its back-off; what another process is sending at this moment is
    left to it. Only channels that are set up here are used. Exits 1 if something is left waiting;
    alerts that were given up do not count, unless --given-up asks for them.

    \b
    Examples:
      cronguard deliver
      cronguard deliver --job nightly_export
      cronguard deliver --given-up
    """
    loaded = load_settings(say_problems=True)
    runtime = open_runtime(loaded.settings)
    with kept_alerts_sent(runtime):
        replay(runtime.store)
        known = jobs_of(runtime.store)
    if job is not None:
        find_job(known, job)
    concerned = [status for status in known if job in (None, status.job)]
    total = sum(each.alerts_dead if given_up else each.alerts_pending for each in concerned)
    if not total:
        say("No alert was given up." if given_up else "No alert is waiting to be sent.")
        return 2 if loaded.problems else 0

    done = _deliver(runtime, job, total, given_up=given_up)
    left = _left(runtime, job)
    if loaded.problems:
        return 2
    return 1 if left or (given_up and not all(map(sent, done))) else 0


def _deliver(runtime: Runtime, job: str | None, total: int, *, given_up: bool) -> list[Attempt]:
    """Print a line a try; of many, watched on a terminal, only the failures and a sum."""
    at_length = total <= _MANY or not on_terminal()
    done: list[Attempt] = []
    with progress("sending") as advance:

        def report(attempt: Attempt) -> None:
            done.append(attempt)
            if at_length:
                say(_line(attempt))
            else:
                advance(len(done), total)

        state: DeliveryState = "dead" if given_up else "pending"
        runtime.dispatcher.deliver_all(job=job, state=state, report=report)
    if not at_length:
        for attempt in done:
            if not sent(attempt) or is_partial(attempt):
                say(_line(attempt))
        say(f"Sent {sum(map(sent, done)):,} of {plural(total, 'alert')}.")
    return done


def _line(attempt: Attempt) -> str:
    delivery = attempt.delivery
    what = f"{delivery.job}, {delivery.kind} → {delivery.channel}"
    fate = "given up" if attempt.settlement.state == "dead" else "still waiting"
    return attempt_line(attempt, what, f"{fate}, ")


def _left(runtime: Runtime, job: str | None) -> bool:
    store = runtime.store
    waiting = [s for s in store.jobs() if job in (None, s.job) and s.alerts_pending]
    if not waiting:
        return False
    count = sum(status.alerts_pending for status in waiting)
    alerts = store.alerts(state="pending", job=job, limit=MOST_ALERTS)
    names = {record.channel for record in alerts}
    foreign = sorted(names - {channel.name for channel in runtime.settings.channels})
    where = f"set up {', '.join(foreign)} here, or deliver where it is" if foreign else ""
    say(
        f"{plural(count, 'alert')} still waiting, for {', '.join(sorted(names))};"
        f" {where or 'see cronguard doctor'}"
    )
    return True
