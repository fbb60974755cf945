"""The work of ``cronguard check``: find failures that no process saw, and send their alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from cronguard.core import schedule
from cronguard.core.alert_rule import alert_rules, is_snoozed
from cronguard.core.clock import readable
from cronguard.core.damage import watch_problem
from cronguard.core.errors import ConfigError
from cronguard.core.interfaces import Store
from cronguard.core.model import AlertRule, ChannelRule, JobStatus, RunRecord, Watch
from cronguard.core.rendering import duration
from cronguard.process.identity import current_owner, is_dead
from cronguard.settings.options import resolve_job

if TYPE_CHECKING:
    from cronguard.runtime.delivery import Attempt, Dispatcher

ProblemKind: TypeAlias = Literal["crashed", "overrun", "missed", "failing", "undelivered"]
ChannelsFor: TypeAlias = Callable[[str], tuple[ChannelRule, ...]]

_MIN_WAITING_AGE = timedelta(minutes=1)
"""A pending alert younger than this may be being sent by the process that decided it."""
_STARTS_PER_PAGE = 10_000


class Problem(NamedTuple):
    """Something that is wrong with a job now."""

    kind: ProblemKind
    job: str
    message: str
    run_id: str | None = None
    since: datetime | None = None
    """When it began; None if there is no single time."""
    snoozed: bool = False
    """Whether the job is snoozed: the problem is shown, but does not make the check fail."""


class Report(NamedTuple):
    """What a check found."""

    jobs: int
    problems: tuple[Problem, ...]
    attempts: tuple[Attempt, ...]
    """Every attempt to send an alert, in the order in which they ended."""

    @property
    def ok(self) -> bool:
        """Tell whether nothing is wrong except with snoozed jobs."""
        return all(problem.snoozed for problem in self.problems)


def check(
    store: Store,
    dispatcher: Dispatcher,
    configured: Mapping[str, Mapping[str, Any]],
    *,
    channels_for: ChannelsFor,
    now: datetime,
    report: Callable[[Attempt], None] | None = None,
) -> Report:
    """Check every job. Several hosts may do so at once: each problem is announced once.

    Args:
        store: Where the jobs are kept.
        dispatcher: Sends the alerts that are due.
        configured: The jobs' tables in the settings.
        channels_for: Returns the channels of a job that never ran.
        now: The current time.
        report: Called with every attempt to send an alert.

    Raises:
        StoreError: The store does not answer.
    """
    declare(store, configured)
    crashed = store.sweep(current_owner(), is_dead=is_dead)
    watches = store.watches()
    statuses = {status.job: status for status in store.jobs()}
    found = [_crashed(record) for record in crashed]
    for watch in watches:
        rules = alert_rules(watch.channels or channels_for(watch.job), watch.expected)
        status = statuses.get(watch.job)
        if wrong := watch_problem(watch):
            found.append(Problem("missed", watch.job, f"cannot be judged, since its {wrong}"))
            continue
        found += _overruns(store, watch, rules, now)
        try:
            found += _missed(store, watch, rules, status, now)
        except (ConfigError, ValueError, OverflowError) as error:
            said = str(error) if isinstance(error, ConfigError) else "its times cannot be judged"
            found.append(Problem("missed", watch.job, said))
        found += _failing(watch, rules)
    attempts = dispatcher.deliver_all(force=False, report=report)
    found += _undelivered(store, attempts, now)
    snoozed = {watch.job for watch in watches if is_snoozed(watch.snoozed_until, now)}
    problems = [problem._replace(snoozed=problem.job in snoozed) for problem in found]
    return Report(len(watches), tuple(sorted(problems, key=lambda each: each.job)), tuple(attempts))


def declare(store: Store, configured: Mapping[str, Mapping[str, Any]]) -> None:
    """Declare the jobs that have a schedule in the settings, before their first run."""
    for name, options in configured.items():
        stated = resolve_job({"job": name}, options, "settings").stated
        if any(each.name == "schedule" for each in stated):
            store.declare(name, stated, host=current_owner().host)


def _crashed(record: RunRecord) -> Problem:
    count = record.consecutive_failure_count
    text = f"its process is gone; {_in_a_row(count)}"
    return Problem("crashed", record.job, text, record.run_id, record.started_at)


def _overruns(
    store: Store, watch: Watch, rules: Sequence[AlertRule], now: datetime
) -> Iterator[Problem]:
    limit = watch.expected.max_runtime
    if limit is None:
        return
    for record in watch.running:
        elapsed = (now - record.started_at).total_seconds()
        news = schedule.overrun(record.run_id, watch.job, elapsed, limit)
        if news is not None:
            store.announce_overrun(news, rules)
            text = f"{news.message}: {duration(elapsed)} so far"
            yield Problem("overrun", watch.job, text, record.run_id, record.started_at)


def _missed(
    store: Store,
    watch: Watch,
    rules: Sequence[AlertRule],
    status: JobStatus | None,
    now: datetime,
) -> Iterator[Problem]:
    plan = watch.expected.plan
    if plan is None:
        return
    missed = schedule.judge(watch, _starts(store, watch, now), now)
    if missed is not None:
        store.announce_missed(missed, rules)
    late = schedule.lateness(watch, status.last_start_at if status else None, now)
    if late is not None and late.since is not None:
        text = schedule.missed_sentence(plan, late.number, late.since, late.latest)
        yield Problem("missed", watch.job, text, since=late.since)
    elif missed is not None and missed.message is not None:
        yield Problem("missed", watch.job, missed.message, since=missed.latest)


def _starts(store: Store, watch: Watch, now: datetime) -> Iterator[datetime]:
    after = schedule.first_start(watch, now)
    while True:
        page = store.starts(watch.job, after=after, limit=_STARTS_PER_PAGE)
        yield from page
        if len(page) < _STARTS_PER_PAGE:
            return
        after = page[-1]


def _failing(watch: Watch, rules: Sequence[AlertRule]) -> Iterator[Problem]:
    count = watch.consecutive_failure_count
    if count >= min((rule.threshold for rule in rules), default=watch.expected.threshold):
        last = watch.last_success_at
        worked = f"last worked at {readable(last)}" if last else "never worked"
        yield Problem("failing", watch.job, f"{_in_a_row(count)}; {worked}", since=last)


def _undelivered(store: Store, attempts: Sequence[Attempt], now: datetime) -> Iterator[Problem]:
    tried = {attempt.delivery.alert_id for attempt in attempts}
    waiting: dict[tuple[str, str, str], list[datetime]] = {}
    for alert in (*store.alerts(state="pending"), *store.alerts(state="dead")):
        dead = alert.state == "dead"
        if dead or alert.alert_id in tried or now - alert.created_at > _MIN_WAITING_AGE:
            fate = "given up (cronguard deliver --dead tries again)" if dead else "still waiting"
            waiting.setdefault((alert.job, alert.channel, fate), []).append(alert.created_at)
    for (job, channel, fate), times in waiting.items():
        alerts = "an alert" if len(times) == 1 else f"{len(times)} alerts"
        yield Problem("undelivered", job, f"{alerts} for {channel} {fate}", since=min(times))


def _in_a_row(count: int | None) -> str:
    return "1 failure" if count == 1 else f"{count} failures in a row"
