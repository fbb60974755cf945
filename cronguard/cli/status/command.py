"""``cronguard status``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from shutil import get_terminal_size
from typing import NamedTuple

import click

from cronguard.cli.arguments import find_job, job_argument, json_option
from cronguard.cli.backlog import spool_sentence
from cronguard.cli.opening import describe_store, health_of, is_there, open_runtime
from cronguard.cli.output.layout import wrap
from cronguard.cli.output.lines import emit, mark, on_terminal, say
from cronguard.cli.output.times import times_of
from cronguard.cli.status import detail, overview
from cronguard.cli.status.detail import job_facts
from cronguard.cli.status.overview import Screen
from cronguard.core.errors import StoreError
from cronguard.core.health import Health, needs_attention
from cronguard.core.model import MOST_ALERTS, Watch
from cronguard.runtime.health import read_history
from cronguard.runtime.runtime import Runtime

_ENDLESS = 10_000
"""Columns of what is no terminal."""


class Wanted(NamedTuple):
    """What is to be shown."""

    jobs: tuple[str, ...] = ()
    """These only; empty for all."""
    is_failing: bool = False
    is_whole: bool = False

    @property
    def is_one(self) -> bool:
        """Tell whether all about one job is asked for."""
        return len(self.jobs) == 1 and not self.is_failing


@click.command()
@job_argument(many=True)
@click.option(
    "--failing", is_flag=True, help="Only jobs that need somebody: those `check` exits 1 for."
)
@click.option("--all", "whole", is_flag=True, help="A line for each job, however many there are.")
@click.option("--watch", "watched", is_flag=True, help="Draw it again every 5 s; Ctrl-C ends it.")
@json_option
def command(
    jobs: tuple[str, ...], *, failing: bool, whole: bool, watched: bool, as_json: bool
) -> None:
    """Show how every job is doing, or all about one.

    What is wrong comes first, a line a job. A job is failing (its streak has reached a threshold),
    stuck (a run goes on past its max_runtime), late (it did not start when it was due), warning
    (it failed, below the threshold), new (never ran) or ok. On a terminal that is too short for
    all, jobs that are well are named together. Of one job: since when and why, the last error, how
    long it usually takes, its last runs, whom it notifies, and what to do next.

    Exits 0 whatever the jobs' state is; `check` is for scripts.

    \b
    Examples:
      cronguard status
      cronguard status --failing
      cronguard status nightly_export
      cronguard status --watch
      cronguard status --json | jq -r '.jobs[] | select(.needs_attention) | .job'

    \b
    --json prints cronguard.status/3:
      {"schema", "store", "jobs": [{"job", "state": "failing" | "stuck" | "late" |
       "warning" | "new" | "ok", "why", "since", "needs_attention", "also": [states],
       "consecutive_failure_count", "threshold", "running", "running_since",
       "uncounted_crashes", "last_run": a run as in `history` or null,
       "last_success_at", "next_due_at", "missed", "snoozed_until", "schedule",
       "timezone", "grace_seconds", "max_runtime_seconds", "channels", "runbook",
       "alerts_waiting", "alerts_waiting_since", "alerts_given_up"}]}
      and, of jobs that are named, "detail": {"usual_seconds": {"p50", "p95", "runs"} or
       null, "runs", "alerts": as in `alerts`, "rules": [{"channel", "threshold",
       "realert_every", "notify_recovery"}], "expected": {name: {"value", "stated_by",
       "since"}}}
    """
    if watched and (as_json or not on_terminal()):
        raise click.UsageError("--watch draws on a terminal: leave it out for --json or a file")
    runtime, wanted = open_runtime(), Wanted(jobs, failing, whole)
    if as_json:
        _emit(runtime, wanted)
    elif watched:
        _watch(runtime, wanted)
    elif not on_terminal() and not wanted.is_one:
        _print_plain(runtime, wanted)
    else:
        for line in _lines(runtime, wanted, _screen()):
            say(line)


def _screen() -> Screen:
    columns, lines = get_terminal_size()
    return Screen(columns, lines - 1) if on_terminal() else Screen(_ENDLESS)


class _View(NamedTuple):
    """The jobs as they are now."""

    now: datetime
    healths: Sequence[Health]
    shown: Sequence[Health]
    """Those of them that are wanted."""


def _view(runtime: Runtime, wanted: Wanted) -> _View:
    now = datetime.now(UTC)
    found = health_of(runtime)
    if wanted.jobs:
        found = [find_job(found, name) for name in dict.fromkeys(wanted.jobs)]
    shown = [each for each in found if not wanted.is_failing or needs_attention(each, now)]
    return _View(now, found, shown)


def _detail(runtime: Runtime, health: Health) -> detail.Detail:
    store, job = runtime.store, health.job
    if not is_there(store):
        return detail.Detail(health, Watch(job, health.expected), (), ())
    watches = {watch.job: watch for watch in store.watches()}
    return detail.Detail(
        health,
        watches.get(job, Watch(job, health.expected)),
        read_history(store, job, health, limit=detail.RUNS),
        store.alerts(job=job, limit=detail.ALERTS),
        _waits_for(runtime, health),
    )


def _waits_for(runtime: Runtime, health: Health) -> frozenset[str]:
    """Return the channels that a job's alerts wait for; none if one of them is set up here."""
    if not health.alerts_waiting:
        return frozenset()
    waiting = runtime.store.alerts(state="pending", job=health.job, limit=MOST_ALERTS)
    names = frozenset(each.channel for each in waiting)
    return (
        names if names.isdisjoint(each.name for each in runtime.settings.channels) else frozenset()
    )


def _emit(runtime: Runtime, wanted: Wanted) -> None:
    view = _view(runtime, wanted)
    details = {each.job: _detail(runtime, each) for each in view.shown if wanted.jobs}
    emit(
        "status/3",
        store=describe_store(runtime.settings, runtime.store),
        jobs=[job_facts(each, view.now, details.get(each.job)) for each in view.shown],
    )


def _print_plain(runtime: Runtime, wanted: Wanted) -> None:
    view = _view(runtime, wanted)
    if view.shown:
        overview.print_plain(view.shown, view.now)
    for line in _foot(runtime, wanted, view):
        say(line)


def _lines(runtime: Runtime, wanted: Wanted, screen: Screen) -> list[str]:
    """Return what a terminal shows."""
    view = _view(runtime, wanted)
    if wanted.is_one:
        (health,) = view.healths
        times = times_of(health.expected.timezone, view.now)
        return detail.lines_of(_detail(runtime, health), times, screen.columns)
    foot = _foot(runtime, wanted, view, screen.columns)
    if not view.shown:
        return foot
    room = screen._replace(lines=screen.lines and screen.lines - len(foot))
    return [*overview.lines_of(view.shown, view.now, room, is_whole=wanted.is_whole), *foot]


def _foot(runtime: Runtime, wanted: Wanted, view: _View, columns: int = _ENDLESS) -> list[str]:
    place = describe_store(runtime.settings, runtime.store)
    if not view.healths:
        return [
            "No job has run yet. Guard one:",
            "  cronguard run nightly -- ./nightly.sh     in a crontab line",
            '  @cron_guarded(job="nightly")              on a Python function',
            *wrap(f"Runs will be recorded in {place}.", columns),
        ]
    lines = overview.summary(view.healths, columns)
    if wanted.is_failing and not view.shown:
        lines.insert(0, f"{mark('ok')} No job needs anybody.")
    elif wanted.is_failing:
        need = "needs" if len(view.shown) == 1 else "need"
        lines.append(f"{len(view.shown):,} of them {need} somebody; the others are not shown.")
    if sentence := overview.undelivered(view.healths, view.now):
        lines += wrap(sentence, columns)
    lines += wrap(f"Recorded in {place}.", columns)
    if kept := spool_sentence(runtime.store):
        lines += wrap(f"{kept}.", columns)
    return lines


def _watch(runtime: Runtime, wanted: Wanted) -> None:
    from cronguard.cli.status.watching import SECONDS, watch

    _view(runtime, wanted)  # a job that is not known is said before the screen changes
    shown: list[str] = []

    def draw(columns: int, lines: int) -> list[str]:
        nonlocal shown
        at = f"{datetime.now().astimezone():%H:%M:%S}"
        try:
            shown = _lines(runtime, wanted, Screen(columns, lines - 1))
        except StoreError as error:
            return [f"{at}  {mark('error')} {error}; below is what was there before.", *shown]
        return [f"{at}  every {SECONDS:.0f} s, Ctrl-C ends", *shown]

    watch(draw)
