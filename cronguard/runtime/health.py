"""The health of every job, read from a store with nothing written: what every face shows.

`cronguard.core.health.judge` says what it means; here is where it comes from: the store's rows,
what this host keeps for the store, the processes of this host, and the jobs that settings declare.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cronguard.core.alert_rule import alert_rules
from cronguard.core.damage import UNREADABLE
from cronguard.core.health import Health, judge, judged, kept_record, with_kept
from cronguard.core.interfaces import Store
from cronguard.core.model import (
    ChannelRule,
    JobStatus,
    KeptRun,
    Owner,
    RunRecord,
    RunStatus,
    Watch,
)
from cronguard.process.identity import current_owner, is_dead
from cronguard.settings.loading import channel_rules
from cronguard.settings.options import resolve_job
from cronguard.settings.types import Settings


def read_health(
    store: Store | None,
    settings: Settings,
    *,
    now: datetime | None = None,
    jobs: Collection[str] | None = None,
) -> list[Health]:
    """Return how every job is doing, sorted by name. Nothing is written, nobody is alerted.

    Jobs that the settings declare and that the store does not know are among them, as ``new``; so
    are jobs whose row is damaged, which are never ``ok``: see `Health.problem`.

    Args:
        store: Where the jobs are kept, best with this host's spool before it
            (`Runtime.store`); None for a database that is not there yet.
        settings: The jobs' tables, and the channels of jobs that never ran.
        now: The current time; None for that of this host.
        jobs: Only these jobs; None for all.

    Raises:
        StoreError: The store does not answer.
    """
    now = now or datetime.now(UTC)
    seen = _seen(store)
    dead = _dead(seen)
    if dead:  # a process may have recorded its end, and gone, since its row was read
        seen = _seen(store)
        dead &= _dead(seen)
    names = {*seen.statuses, *seen.watches, *seen.kept, *seen.damaged, *settings.jobs}
    return [
        _judge(name, seen, dead, settings, now)
        for name in sorted(names if jobs is None else names.intersection(jobs))
    ]


def _judge(
    name: str, seen: _Seen, dead: Collection[str], settings: Settings, now: datetime
) -> Health:
    watch = seen.watches.get(name) or _declared(name, settings.jobs.get(name, {}))
    status = seen.statuses.get(name) or JobStatus(name, watch.consecutive_failure_count)
    kept, open_ids = seen.kept.get(name, ()), {run.run_id for run in watch.running}
    ended = [
        kept_record(each)
        for each in kept
        if each.outcome is not None and (not each.started or each.run.run_id in open_ids)
    ]
    status, watch = with_kept(status, watch, kept)
    channels = watch.channels or channels_of(name, settings)
    return judge(
        status,
        watch,
        rules=alert_rules(channels, watch.expected),
        dead=dead,
        kept=ended,
        problem=seen.damaged.get(name),
        now=now,
    )


def read_history(
    store: Store,
    job: str,
    health: Health | None,
    *,
    limit: int,
    statuses: Collection[RunStatus] = (),
    since: datetime | None = None,
) -> list[RunRecord]:
    """Return a job's newest runs as `judged` says, newest first. Nothing is written.

    Args:
        store: Where the job is kept.
        job: The job's name.
        health: How it is doing, as just read from this store; None for one that was forgotten.
        limit: The most runs to return, of those that the other arguments leave.
        statuses: Only runs with one of these; empty for every status.
        since: Only runs that started then or later.

    Raises:
        StoreError: The store does not answer.
    """
    only: dict[str, Any] = {} if since is None else {"since": since}
    if statuses:  # what looks open in the store may have ended, and be what is asked for
        only["statuses"] = statuses if health is None else tuple({*statuses, "running"})
    if health is None:
        return store.history(job, limit=limit, **only)
    room = limit + len(health.running) + len(health.dead) + len(health.kept)
    return [
        run
        for run in judged(store.history(job, limit=room, **only), health, limit=room)
        if (not statuses or run.status in statuses) and (since is None or run.started_at >= since)
    ][:limit]


class _Seen(NamedTuple):
    """What a store, and this host for it, say of the jobs now."""

    statuses: Mapping[str, JobStatus]
    watches: Mapping[str, Watch]
    kept: Mapping[str, Sequence[KeptRun]]
    damaged: Mapping[str, str]


def _seen(store: Store | None) -> _Seen:
    if store is None:
        return _Seen({}, {}, {}, {})
    kept: dict[str, list[KeptRun]] = {}
    for each in getattr(store, "kept", list)():
        kept.setdefault(each.run.job, []).append(each)
    return _Seen(
        {each.job: each for each in store.jobs()},
        {each.job: each for each in store.watches()},
        kept,
        {each.key: each.problem for each in store.damaged() if each.table == "cronguard_jobs"},
    )


def _dead(seen: _Seen) -> frozenset[str]:
    """Return the ids of all runs whose process is gone and whose end nobody has."""
    running = [run for watch in seen.watches.values() for run in watch.running]
    ended = set()
    for each in (one for kept in seen.kept.values() for one in kept):
        if each.outcome is not None:
            ended.add(each.run.run_id)
        else:
            running.append(kept_record(each))
    return dead_runs(run for run in running if run.run_id not in ended)


def channels_of(job: str, settings: Settings) -> tuple[ChannelRule, ...]:
    """Return the channels that settings give a job, for one of which no run has said any."""
    return channel_rules(resolve_job({"job": job}, settings.jobs.get(job, {})), settings.channels)


def dead_runs(
    running: Iterable[RunRecord],
    *,
    here: Owner | None = None,
    is_gone: Callable[[Owner], bool] = is_dead,
) -> frozenset[str]:
    """Return the ids of the runs whose process is gone, as `Store.sweep` judges and without it.

    In this process space the process itself is looked for, elsewhere the lease decides.
    """
    space = (here or current_owner()).space

    def is_over(run: RunRecord) -> bool:
        owner = run.owner
        if owner is None or owner.space is None or owner.space != space:
            return run.lease_over
        try:
            return is_gone(owner)
        except UNREADABLE:  # a row that was written by hand
            return False

    return frozenset(run.run_id for run in running if is_over(run))


def _declared(job: str, options: Mapping[str, Any]) -> Watch:
    """Return what settings expect of a job that the store does not know."""
    resolved = resolve_job({"job": job}, options, "settings")
    values: Any = {each.name: each.value for each in resolved.stated}
    return Watch(job, Watch(job).expected._replace(**values))
