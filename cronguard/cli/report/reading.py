"""What a page about all jobs is made of, read from the store in a handful of queries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from cronguard.cli.report.axis import Axis, fitting_window, make_axis
from cronguard.cli.report.lanes import SLOTS
from cronguard.core.health import Health, judged
from cronguard.core.interfaces import Store
from cronguard.core.model import Activity, AlertRecord, RunRecord

NEWEST = 50
"""How many runs of a job are read at least: from which one tells how long it usually takes."""
_ALERTS = 1000
_PLAN = ("schedule", "timezone", "grace")
Row = TypeVar("Row", Activity, AlertRecord, RunRecord)


class Readings(NamedTuple):
    """What a store says, by job. Runs and alerts are newest first."""

    axis: Axis
    healths: Sequence[Health]
    runs: Mapping[str, Sequence[RunRecord]]
    activity: Mapping[str, Sequence[Activity]]
    alerts: Mapping[str, Sequence[AlertRecord]]
    scheduled_since: Mapping[str, datetime]
    """Since when the schedule of a job holds, where somebody has stated it."""


def read(
    store: Store | None,
    healths: Sequence[Health],
    now: datetime,
    *,
    window: timedelta | None = None,
    newest: int = NEWEST,
) -> Readings:
    """Read what there is to show of these jobs; nothing is written.

    Args:
        store: Where the jobs are kept; None for a database that is not there yet.
        healths: How the jobs are doing.
        now: The current time.
        window: How far back to look; None for as far as fits what there is.
        newest: How many runs of each job are wanted.
    """
    limit = max(newest, NEWEST)
    zones = {each.expected.timezone for each in healths if each.expected.schedule}
    if store is None or not healths:
        return Readings(make_axis(now, window or timedelta(days=1), zones), healths, {}, {}, {}, {})
    jobs = {each.job for each in healths}
    recent = _by_job(store.recent(limit=limit), jobs)
    runs = {each.job: judged(recent.get(each.job, ()), each, limit=limit) for each in healths}
    is_whole = all(len(each) < limit for each in runs.values())
    axis = make_axis(now, window or fitting_window(runs, now, is_whole=is_whole), zones)
    step = (axis.now - axis.since).total_seconds() / SLOTS
    stated = {watch.job: [watch.sources.get(name) for name in _PLAN] for watch in store.watches()}
    return Readings(
        axis,
        healths,
        runs,
        _by_job(store.activity(since=axis.since, step=step), jobs),
        _by_job(store.alerts(limit=_ALERTS), jobs),
        {
            job: max(source.since for source in sources if source is not None)
            for job, sources in stated.items()
            if sources[0] is not None
        },
    )


def _by_job(rows: Iterable[Row], jobs: Collection[str]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.job in jobs:
            found.setdefault(row.job, []).append(row)
    return found
