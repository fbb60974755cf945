"""One job: what one asks after an alert, in lines and as ``cronguard.status/3``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from cronguard.cli.output.alerts import alert_facts, became
from cronguard.cli.output.jobs import (
    health_facts,
    legend,
    option_text,
    rule_text,
    run_facts,
    stated_by,
    streak_text,
    strip,
    usual,
    usual_text,
)
from cronguard.cli.output.layout import COLOURS, pad, wrap
from cronguard.cli.output.lines import paint
from cronguard.cli.output.times import Times
from cronguard.core.clock import rfc3339
from cronguard.core.health import Health, State, explain
from cronguard.core.model import AlertRecord, Expectations, RunRecord, Source, Watch
from cronguard.core.rendering import duration, plain
from cronguard.core.run_states import FAILURES

RUNS = 100
"""How many runs are looked at for how long they usually take."""
ALERTS = 5
_STRIP = 50
_LABEL = 14
UNSCHEDULED = (
    "nobody states when it should start, so a run that never starts goes unseen: give it a schedule"
)
Fact = tuple[str, str]


class Detail(NamedTuple):
    """What is known of a job."""

    health: Health
    watch: Watch
    runs: Sequence[RunRecord]
    """The newest ones, newest first."""
    alerts: Sequence[AlertRecord]
    """The newest ones, newest first."""
    waits_for: frozenset[str] = frozenset()
    """Channels that alerts wait for and that are not set up here; empty if one of them is."""


def lines_of(detail: Detail, times: Times, columns: int) -> list[str]:
    """Return the lines that show the job; none is wider than ``columns`` where that can be."""
    health = detail.health
    said = _said(health, times)
    first, *rest = wrap(f"{plain(health.job)} {said}", columns)
    painted = said.partition(" since ")[0].replace(
        health.state, paint(health.state, COLOURS[health.state])
    )
    found = [first.replace(said.partition(" since ")[0], painted, 1), *rest, ""]
    for label, text in facts(detail, times, columns - _LABEL):
        start = pad(label, _LABEL)
        lines = [text] if label == "Last runs" else wrap(plain(text), max(columns - _LABEL, 20))
        for line in lines:
            found.append(start + line)
            start = " " * _LABEL
    found += ["", *_next_lines(detail, columns)]
    found.append(f"Times are in {times.name}.")
    return found


def _said(health: Health, times: Times) -> str:
    """Return how the job is doing, as what is said of it, each state by its word."""
    verb = "has had a" if health.state == "warning" else "has been"
    said = f"{verb} {health.state} since {times.at(health.since)}" if health.since else ""
    also = [_is(state) for state in health.states if state != health.state]
    return ", and ".join([said or _is(health.state), *also])


def _is(state: State) -> str:
    return "has a warning" if state == "warning" else f"is {state}"


def facts(detail: Detail, times: Times, room: int) -> Iterator[Fact]:
    """Yield what is known, as (label, text); a label is empty where it is the one before."""
    health = detail.health
    if health.problem is not None or health.state not in ("failing", "warning", "ok"):
        yield "Why", explain(health, times.now, times.plainly)
    yield "Streak", streak_text(health)
    yield from _error(_ended(health))
    yield from _runs(detail, times, room)
    if health.next_due:
        yield "Next due", times.at(health.next_due)
    elif health.expected.plan is None:
        yield "Next due", UNSCHEDULED
    if health.snoozed_until:
        yield "Snoozed", f"until {times.at(health.snoozed_until)}"
    yield from _labelled(
        "Notifies", map(rule_text, health.rules) if health.rules else ["nobody yet"]
    )
    yield from _labelled("Alerts", (_alert(each, times) for each in detail.alerts))
    yield from _labelled("Expected", _expected(detail.watch, times))
    if health.expected.runbook:
        yield "Runbook", health.expected.runbook


def _labelled(label: str, texts: Iterator[str] | Sequence[str]) -> Iterator[Fact]:
    for text in texts:
        yield label, text
        label = ""


def _ended(health: Health) -> RunRecord | None:
    """Return the last run; None for one that seems dead, which has a line of its own."""
    last = health.last_run
    is_dead = last is not None and any(run.run_id == last.run_id for run in health.dead)
    return None if is_dead else last


def _error(last: RunRecord | None) -> Iterator[Fact]:
    if last is None or last.failure is None:
        return
    code = f" ({last.failure.error_code})" if last.failure.error_code else ""
    yield "Error", f"{last.failure.error_type}{code}"
    if last.failure.error_message:
        yield "Message", last.failure.error_message
    if last.failure.error_location:
        yield "Where", last.failure.error_location


def _runs(detail: Detail, times: Times, room: int) -> Iterator[Fact]:
    health, last = detail.health, _ended(detail.health)
    if last is not None and last.status != "running":
        took = f" after {duration(last.duration)}" if last.duration is not None else ""
        yield "Last run", f"{last.status}{took}, started {times.at(last.started_at)}{_at(last)}"
    yield "Last success", times.at(health.last_success_at) if health.last_success_at else "never"
    yield from _labelled("Running", (_running(run, times) for run in health.running))
    yield from _labelled("Seems dead", (_dead(run, times) for run in health.dead))
    takes = usual(detail.runs)
    if takes is not None:
        yield "Usually takes", usual_text(takes)
    if detail.runs:
        shown = detail.runs[: max(min(_STRIP, room), 10)]
        yield "Last runs", strip(shown)
        yield "", f"the newest on the right: {legend(shown)}"


def _at(run: RunRecord) -> str:
    host = f", on {run.host}" if run.host else ""
    return f"{host} (pid {run.pid})" if run.pid else host


def _running(run: RunRecord, times: Times) -> str:
    elapsed = duration(max((times.now - run.started_at).total_seconds(), 0))
    return f"for {elapsed}, started {times.at(run.started_at)}{_at(run)}"


def _dead(run: RunRecord, times: Times) -> str:
    return f"its process is gone; started {times.at(run.started_at)}{_at(run)}"


def _alert(alert: AlertRecord, times: Times) -> str:
    decided = times.at(alert.created_at)
    return f"{alert.kind} to {alert.channel}, {decided}: {became(alert, times)}"


def _expected(watch: Watch, times: Times) -> Iterator[str]:
    """Yield what is expected, by who said so and since when; not what code leaves as it is."""
    usually = Expectations()._asdict()
    said: dict[Source | None, list[str]] = {}
    for name, value in watch.expected._asdict().items():
        source = watch.sources.get(name)
        is_silent = source is None or source.origin == "code"
        if name != "runbook" and not (is_silent and value == usually[name]):
            said.setdefault(source, []).append(f"{name} {option_text(name, value)}")
    for source, values in said.items():
        yield ", ".join(values) + _stated(source, times)


def _stated(source: Source | None, times: Times) -> str:
    if source is None:
        return ""
    return f" ({stated_by(source.origin)}, since {times.plainly(source.since)})"


def _next_lines(detail: Detail, columns: int) -> Iterator[str]:
    """Yield what to do next, each command with what it is for."""
    commands = dict(_commands(detail))
    if commands:
        yield "What to do next:"
    longest = max(map(len, commands), default=0)
    fits = all(longest + len(what) + 4 <= columns for what in commands.values())
    for command, what in commands.items():
        if fits:
            yield f"  {command:<{longest}}  {what}"
        else:
            yield from (f"  {command}", f"      {what}")


def _commands(detail: Detail) -> Iterator[Fact]:
    health, job = detail.health, detail.health.job
    if health.failures:
        there = {run.status for run in detail.runs}
        wrong = [each for each in FAILURES if each in there] or ["failure"]
        chosen = " ".join(f"--status {each}" for each in wrong)
        yield f"cronguard history {job} {chosen}", "every failure, with its error"
    elif detail.runs:
        yield f"cronguard history {job}", "its runs"
    if health.dead:
        yield "cronguard check", "counts the dead run as crashed, and alerts"
        yield f"cronguard unlock {job}", "lets it start at once, if that run is dead"
    if health.state == "late":
        yield "cronguard doctor --as-cron", "looks with cron's environment, on its host"
    if health.alerts_waiting:
        where = f", on a host that has {', '.join(sorted(detail.waits_for))}"
        what = f"sends what waits{where if detail.waits_for else ', now'}"
        yield f"cronguard deliver --job {job}", what
    if health.alerts_given_up:
        yield f"cronguard alerts {job} --state given-up", "why they were given up, what to do"
    if health.snoozed_until:
        yield f"cronguard snooze {job} --off", "lets it alert again"
    elif health.state in ("failing", "stuck", "late"):
        yield f"cronguard snooze {job} --for 2h", "no alerts while you mend it"


def job_facts(health: Health, now: datetime, detail: Detail | None = None) -> dict[str, Any]:
    """Return a job for JSON, with every key, and ``detail`` if it was asked for."""
    facts = health_facts(health, now)
    return {**facts, "detail": _detail_facts(detail)} if detail else facts


def _detail_facts(detail: Detail) -> dict[str, Any]:
    watch, takes = detail.watch, usual(detail.runs)
    return {
        "usual_seconds": {"p50": takes.p50, "p95": takes.p95, "runs": takes.number}
        if takes
        else None,
        "runs": [run_facts(run) for run in detail.runs],
        "alerts": [alert_facts(alert) for alert in detail.alerts],
        "rules": [
            {
                "channel": rule.channel,
                "threshold": rule.threshold,
                "realert_every": rule.realert_every,
                "notify_recovery": rule.notify_recovery,
            }
            for rule in detail.health.rules
        ],
        "expected": {
            name: {
                "value": value,
                "stated_by": source.origin if (source := watch.sources.get(name)) else None,
                "since": rfc3339(source.since) if source else None,
            }
            for name, value in watch.expected._asdict().items()
        },
    }
