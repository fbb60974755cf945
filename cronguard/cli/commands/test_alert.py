"""``cronguard test-alert``."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import click

from cronguard.cli.arguments import complete_channels, complete_jobs, json_option, no_such_job
from cronguard.cli.opening import jobs_of, load_settings, open_runtime, store_on_demand
from cronguard.cli.output.alerts import attempt_facts, attempt_line, sent
from cronguard.cli.output.lines import SettingsError, emit, print_error, say
from cronguard.core.clock import rfc3339, rfc3339_or_none
from cronguard.core.errors import ConfigError, CronguardError
from cronguard.core.model import DELIVERY_SECONDS, Alert, Delivery, JobStatus, Settlement

if TYPE_CHECKING:
    from cronguard.core.interfaces import Store
    from cronguard.runtime.delivery import Attempt
    from cronguard.settings.types import ChannelSettings, Settings

STAND_IN = "test-alert"
"""The job that a test alert is about when none is named."""


@click.command()
@click.option(
    "--channel",
    "names",
    multiple=True,
    metavar="NAME",
    help="Send to this channel only; may be repeated. Without it: to every one that a job's alerts"
    " go to.",
    shell_complete=complete_channels,
)
@click.option(
    "--job",
    metavar="JOB",
    help="Make it an alert about this job, sent where that job's alerts go.",
    shell_complete=complete_jobs,
)
@json_option
def command(names: tuple[str, ...], job: str | None, *, as_json: bool) -> int:
    """Send a test alert for real.

    Every channel at once, so it takes as long as the slowest, five seconds at most. A line a
    channel says whether the other side took it; exits 1 if any did not. The alert is marked as a
    test. No run is recorded and no streak changes; it needs neither a job nor a store.

    \b
    Examples:
      cronguard test-alert
      cronguard test-alert --channel slack --channel oncall
      cronguard test-alert --job nightly_export

    \b
    --json prints cronguard.test-alert/1:
      {"schema", "ok", "results": [{"channel", "alert_id", "job", "kind": "test", "ok",
       "seconds", "error_code", "detail"}]}
    """
    loaded = load_settings()
    if loaded.problems:
        raise SettingsError(*loaded.problems)
    for warning in loaded.warnings:
        print_error(warning)  # a mistyped variable must not look like a success on the console
    about = _about(loaded.settings, job)
    channels = _channels(loaded.settings, names, job)
    attempts = _send(loaded.settings, channels, about, is_quiet=as_json)
    if as_json:
        emit(
            "test-alert/1",
            ok=all(map(sent, attempts)),
            results=[attempt_facts(attempt) for attempt in attempts],
        )
    return 0 if all(map(sent, attempts)) else 1


def _about(settings: Settings, job: str | None) -> JobStatus:
    """Return what is known of the job, so that the alert looks as a real one would."""
    from cronguard.settings.job_values import check_job_name

    if job is None:
        return JobStatus(STAND_IN, 0)
    known: list[JobStatus] = []
    try:
        known = jobs_of(open_runtime(settings).store)
    except CronguardError as error:
        print_error(f"{error}; sending without what is known of {check_job_name(job)}")
    for status in known:
        if status.job == job:
            return status
    if job not in settings.jobs and known:
        print_error(no_such_job(job, [status.job for status in known]) + "; sending all the same")
    return JobStatus(check_job_name(job), 0)


def _channels(
    settings: Settings, names: Sequence[str], job: str | None
) -> tuple[ChannelSettings, ...]:
    from cronguard.settings.loading import channel_named

    ready = {channel.name: channel for channel in settings.channels}
    chosen = names or (settings.jobs.get(job, {}).get("channels") if job else None)
    if not chosen:
        return tuple(channel for channel in settings.channels if channel.default)
    found = []
    for name in dict.fromkeys(chosen):
        try:
            found.append(ready.get(name) or channel_named(name, os.environ))
        except ConfigError as error:
            raise ConfigError(str(error).removeprefix("channels: ")) from None
    return tuple(found)


def _send(
    settings: Settings, channels: Sequence[ChannelSettings], about: JobStatus, *, is_quiet: bool
) -> list[Attempt]:
    from cronguard.runtime.channel_factory import build_channel
    from cronguard.runtime.delivery import Dispatcher

    by_name = {channel.name: channel for channel in channels}
    width = max(map(len, by_name))

    def report(attempt: Attempt) -> None:
        if is_quiet:
            return
        name = f"{attempt.delivery.channel:<{width}}"
        say(attempt_line(attempt, name, f"not sent after {attempt.seconds:.2f} s: "))

    with store_on_demand(settings) as store:
        dispatcher = Dispatcher(
            cast("Store", _NoOutbox()),
            tuple(by_name),
            lambda name: build_channel(by_name[name], store, settings.proxy),
        )
        return dispatcher.deliver(
            [_delivery(name, settings, about) for name in by_name],
            deadline=time.monotonic() + DELIVERY_SECONDS,
            report=report,
        )


def _delivery(channel: str, settings: Settings, about: JobStatus) -> Delivery:
    from cronguard.core.clock import new_id
    from cronguard.core.payload import encode
    from cronguard.process.identity import current_owner

    options = settings.jobs.get(about.job, {})
    alert = Alert(
        alert_id=new_id(),
        kind="test",
        job=about.job,
        consecutive_failure_count=about.consecutive_failure_count,
        threshold=options.get("threshold"),
        last_success_at=rfc3339_or_none(about.last_success_at),
        started_at=rfc3339(datetime.now(UTC)),
        host=current_owner().host,
        runbook=options.get("runbook"),
        test=True,
    )
    return Delivery(alert.alert_id, alert.job, channel, "test", 1, encode(alert))


class _NoOutbox:
    """What a `Dispatcher` settles with when nothing is to be written down."""

    def settle_alert(self, _delivery: Delivery, _settlement: Settlement) -> bool:
        return True
