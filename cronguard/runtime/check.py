"""The work of ``cronguard check``: find failures that no process saw, and send their alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from cronguard.core import schedule
from cronguard.core.alert_rule import alert_rules
from cronguard.core.damage import UNREADABLE, watch_problem
from cronguard.core.errors import ConfigError
from cronguard.core.health import MAX_WAITING, Health, needs_attention
from cronguard.core.interfaces import Store
from cronguard.core.model import MOST_ALERTS, AlertRule, RunRecord, Watch
from cronguard.process.identity import current_owner, is_dead
from cronguard.runtime.health import channels_of, read_health
from cronguard.settings.options import resolve_job
from cronguard.settings.types import Settings

if TYPE_CHECKING:
    from cronguard.runtime.delivery import Attempt, Dispatcher

_STARTS_PER_PAGE = 10_000


class Undelivered(NamedTuple):
    """Alerts of a job for one channel that were given up, or have waited too long."""

    job: str
    channel: str
    dead: bool
    """Whether they were given up."""
    number: int
    since: datetime
    """When the first of them was decided."""


class Report(NamedTuple):
    """What a check found."""

    jobs: tuple[Health, ...]
    """How every job is doing now, by name."""
    attention: frozenset[str]
    """The jobs for which `health.needs_attention` holds."""
    crashed: tuple[RunRecord, ...]
    """The dead runs that this check was the first to count."""
    undelivered: tuple[Undelivered, ...]
    attempts: tuple[Attempt, ...]
    """Every attempt to send an alert, in the order in which they ended."""

    @property
    def ok(self) -> bool:
        """Tell whether nothing is wrong except with snoozed jobs, and every alert arrives."""
        return not self.attention and not self.undelivered


def check(
    store: Store,
    dispatcher: Dispatcher,
    settings: Settings,
    *,
    now: datetime,
    report: Callable[[Attempt], None] | None = None,
) -> Report:
    """Check every job. Several hosts may do so at once: each problem is announced once.

    Args:
        store: Where the jobs are kept.
        dispatcher: Sends the alerts that are due.
        settings: The jobs' tables, and the channels of jobs that never ran.
        now: The current time.
        report: Called with every attempt to send an alert.

    Raises:
        StoreError: The store does not answer.
    """
    declare(store, settings.jobs)
    crashed = store.sweep(current_owner(), is_dead=is_dead)
    for watch in store.watches():
        if watch_problem(watch) is None:
            rules = alert_rules(watch.channels or channels_of(watch.job, settings), watch.expected)
            _announce_overruns(store, watch, rules, now)
            _announce_missed(store, watch, rules, now)
    attempts = dispatcher.deliver_all(force=False, report=report)
    jobs = read_health(store, settings, now=now)
    attention = frozenset(each.job for each in jobs if needs_attention(each, now))
    return Report(
        tuple(jobs), attention, tuple(crashed), tuple(_undelivered(store, now)), tuple(attempts)
    )


def declare(store: Store, configured: Mapping[str, Mapping[str, Any]]) -> None:
    """Declare the jobs that have a schedule in the settings, before their first run."""
    for name, options in configured.items():
        stated = resolve_job({"job": name}, options, "settings").stated
        if any(each.name == "schedule" for each in stated):
            store.declare(name, stated, host=current_owner().host)


def _announce_overruns(
    store: Store, watch: Watch, rules: Sequence[AlertRule], now: datetime
) -> None:
    limit = watch.expected.max_runtime
    if limit is None:
        return
    for record in watch.running:
        elapsed = (now - record.started_at).total_seconds()
        news = schedule.overrun(record.run_id, watch.job, elapsed, limit)
        if news is not None:
            store.announce_overrun(news, rules)


def _announce_missed(store: Store, watch: Watch, rules: Sequence[AlertRule], now: datetime) -> None:
    if watch.expected.plan is None or watch.running:
        return  # while a run is open nothing is missed: when it ends, it is judged
    try:
        missed = schedule.judge(watch, _starts(store, watch, now), now)
    except (ConfigError, *UNREADABLE):
        return  # `Health.problem` says so
    if missed is not None:
        store.announce_missed(missed, rules)


def _starts(store: Store, watch: Watch, now: datetime) -> Iterator[datetime]:
    after = schedule.first_start(watch, now)
    while True:
        page = store.starts(watch.job, after=after, limit=_STARTS_PER_PAGE)
        yield from page
        if len(page) < _STARTS_PER_PAGE:
            return
        after = page[-1]


def _undelivered(store: Store, now: datetime) -> Iterator[Undelivered]:
    found: dict[tuple[str, str, bool], list[datetime]] = {}
    pending = store.alerts(state="pending", limit=MOST_ALERTS)
    for alert in (*pending, *store.alerts(state="dead", limit=MOST_ALERTS)):
        dead = alert.state == "dead"
        if dead or now - alert.created_at > MAX_WAITING:
            found.setdefault((alert.job, alert.channel, dead), []).append(alert.created_at)
    for (job, channel, dead), times in sorted(found.items()):
        yield Undelivered(job, channel, dead, len(times), min(times))
