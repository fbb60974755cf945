"""How a job is doing in a few words, for a line among many; `Health.why` is the sentence."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cronguard.cli.output.facts import error_text
from cronguard.cli.output.lines import plural
from cronguard.cli.output.times import short_span
from cronguard.core.clock import readable
from cronguard.core.health import Health


def wordings(health: Health, now: datetime) -> Iterator[str]:
    """Yield what is wrong with a job and what else is to be known, the longest wording first.

    The last one is the shortest; it may have to be cut all the same. The shorter ones leave out
    alerts that did not arrive where something else is wrong too.
    """
    snoozed, others, alerts = _snoozed(health, now), _activity(health, now), _alerts(health)
    wrong = [text for text in _wrong(health, now) if text]
    for text in wrong or [""]:
        yield "; ".join(filter(None, (*snoozed, text, *others, *alerts)))
    for text in wrong:
        yield "; ".join((*snoozed, text, *others))


def _wrong(health: Health, now: datetime) -> Iterator[str]:
    if health.problem is not None:
        yield health.why
    elif health.state in ("failing", "warning"):
        yield from _failures(health, now)
    elif health.state == "stuck":
        limit = health.expected.max_runtime
        most = f", at most {short_span(limit)}" if limit else ""
        yield f"running for {_ago(health.running_since, now)}{most}"
    elif health.state == "late":
        several = f"missed {health.missed:,} times, first" if health.missed > 1 else "no start, due"
        yield f"{several} {_ago(health.since, now)} ago"
    elif health.state == "new":
        yield "never ran"


def _failures(health: Health, now: datetime) -> Iterator[str]:
    ago = _ago(health.since, now) if health.since else ""
    if health.failures == 1:
        count = short = f"failed {ago} ago" if ago else "failed once"
    else:
        within = f" in {ago}" if ago else ""
        count, short = f"{health.failures:,} failures{within}", f"{health.failures:,}x{within}"
    last = health.last_run
    if health.dead:
        yield f"{count}, a process is gone"
        yield f"{short}, a process is gone"
    elif last is None or last.failure is None:
        yield count
    else:
        code = f" ({last.failure.error_code})" if last.failure.error_code else ""
        name = last.failure.error_type.rpartition(".")[2]
        yield f"{count}: {error_text(last)}"
        yield f"{count}: {name}{code}"
        yield f"{short}: {name}{code}"


def notes(health: Health, now: datetime) -> list[str]:
    """Return what is to be known of a job that is well, in the words of a terminal."""
    return [*_snoozed(health, now), *_activity(health, now), *_alerts(health)]


def plain_notes(health: Health) -> list[str]:
    """Return the same with times that do not change while one looks."""
    since, until = health.running_since, health.snoozed_until
    found = [f"running since {readable(since)}"] if since else []
    found += _alerts(health)
    return [*found, f"snoozed until {readable(until)}"] if until else found


def _snoozed(health: Health, now: datetime) -> list[str]:
    until = health.snoozed_until
    return [] if until is None else [f"snoozed {short_span((until - now).total_seconds())}"]


def _activity(health: Health, now: datetime) -> list[str]:
    if health.running and health.state != "stuck":
        return [f"running for {_ago(health.running_since, now)}"]
    gone = health.dead and health.state not in ("failing", "warning")
    return ["a run's process is gone"] if gone else []


def _alerts(health: Health) -> list[str]:
    found = []
    if health.alerts_given_up:
        found.append(f"{plural(health.alerts_given_up, 'alert')} given up")
    if health.alerts_waiting:
        found.append(f"{plural(health.alerts_waiting, 'alert')} waiting")
    return found


def _ago(when: datetime | None, now: datetime) -> str:
    return "?" if when is None else short_span(max((now - when).total_seconds(), 0))
