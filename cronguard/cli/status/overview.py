"""All jobs: what is wrong first, one line a job, in words that fit without hiding anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from cronguard.cli.output.jobs import error_text, state_counts
from cronguard.cli.output.layout import COLOURS, cut, pad, table, width, wrap
from cronguard.cli.output.lines import paint, plural
from cronguard.cli.output.times import short_distance, short_span
from cronguard.core.clock import readable
from cronguard.core.health import STATES, Health, by_urgency, has_undelivered, needs_attention
from cronguard.core.rendering import plain

_STATE, _TIME, _GAP = 7, 8, 2
"""Columns of the longest state, of the longest short distance, and between two columns."""
_MIN_WHAT = 23
_MIN_WITH_TIMES = 60
"""A terminal narrower than that shows no times in its columns."""
_FOLDED = "cronguard status --all gives each job a line."
_WITHOUT_TIMES = "A wider window shows last runs and when each is due."


class Screen(NamedTuple):
    """How much there is room for."""

    columns: int
    lines: int | None = None
    """None for any number."""


def is_quiet(health: Health, now: datetime) -> bool:
    """Tell whether nobody need look at the job."""
    return health.state in ("ok", "new") and not needs_attention(health, now)


def in_order(healths: Sequence[Health], now: datetime) -> list[Health]:
    """Return the jobs, those first that somebody should look at."""
    return sorted(by_urgency(healths), key=lambda each: is_quiet(each, now))


def summary(healths: Sequence[Health], columns: int) -> list[str]:
    """Return ``50 jobs: 5 failing, 2 late, 43 ok.`` in lines, coloured on a terminal."""
    lines = wrap(f"{plural(len(healths), 'job')}: {state_counts(healths)}.", columns)
    for state in STATES:
        found = re.compile(rf"\d+ {state}\b")
        lines = [found.sub(lambda text: paint(text[0], COLOURS[state]), line) for line in lines]  # noqa: B023  # used at once
    return lines


def undelivered(healths: Sequence[Health], now: datetime) -> str | None:
    """Return a sentence on the alerts that did not arrive; None if all did."""
    dead = sum(each.alerts_given_up for each in healths)
    waiting = sum(each.alerts_waiting for each in healths if has_undelivered(each, now))
    said = [f"{waiting:,} waiting"] if waiting else []
    said += [f"{dead:,} given up"] if dead else []
    return f"Alerts that did not arrive: {', '.join(said)}; see cronguard alerts." if said else None


def print_plain(healths: Sequence[Health], now: datetime) -> None:
    """Print every job whole, for a file or another program: the same every time it is asked."""
    table(
        ("STATE", "JOB", "LAST RUN (UTC)", "NEXT DUE (UTC)", "WHAT"),
        [
            (
                each.state,
                each.job,
                _utc(each.last_run.started_at if each.last_run else None),
                _utc(each.next_due),
                "; ".join([each.why, *plain_notes(each)]),
            )
            for each in in_order(healths, now)
        ],
    )


def _utc(when: datetime | None) -> str:
    return "-" if when is None else readable(when).removesuffix(" UTC")


def lines_of(
    healths: Sequence[Health], now: datetime, screen: Screen, *, is_whole: bool = False
) -> list[str]:
    """Return the lines of a terminal; ``is_whole`` gives each job one, even where it is well.

    Otherwise the jobs that are well are folded to their names, then to their number, where their
    lines do not fit.
    """
    ordered = in_order(healths, now)
    wrong = [each for each in ordered if not is_quiet(each, now)]
    quiet = [each for each in ordered if is_quiet(each, now)]
    rows = _Rows(ordered, now, screen.columns)
    begin = [rows.head(), *map(rows.line, wrong)]
    end = [] if rows.has_times else wrap(_WITHOUT_TIMES, screen.columns)
    whole = [*begin, *map(rows.line, quiet), *end]
    if is_whole or screen.lines is None or len(whole) <= screen.lines or not quiet:
        return whole
    shown = begin if wrong else []
    folded = [*shown, *_names(quiet, now, screen.columns)]
    if len(folded) >= screen.lines:
        folded = [*shown, *_numbers(quiet)]
    return [*folded, *wrap(_FOLDED, screen.columns), *end]


def _names(quiet: Sequence[Health], now: datetime, columns: int) -> Iterator[str]:
    """Yield the names of the jobs that are well, state by state."""
    for state in ("new", "ok"):
        named = [_named(each, now) for each in quiet if each.state == state]
        if named:
            start = pad(state, _STATE + _GAP)
            first, *rest = wrap(", ".join(named), columns - width(start))
            yield paint(state, COLOURS[state]) + start[len(state) :] + first
            yield from (" " * width(start) + line for line in rest)


def _named(health: Health, now: datetime) -> str:
    said = ", ".join(notes(health, now))
    return plain(f"{health.job} ({said})" if said else health.job)


def _numbers(quiet: Sequence[Health]) -> Iterator[str]:
    for state in ("new", "ok"):
        number = sum(each.state == state for each in quiet)
        if number:
            jobs = plural(number, "job")
            yield paint(state, COLOURS[state]) + pad("", _STATE + _GAP - len(state)) + jobs


class _Rows:
    """Lines of one width for jobs."""

    def __init__(self, healths: Sequence[Health], now: datetime, columns: int) -> None:
        self._now = now
        self.has_times = columns >= _MIN_WITH_TIMES
        rest = columns - _STATE - _GAP * 2 - (2 * (_TIME + _GAP) if self.has_times else 0)
        longest = max((width(plain(each.job)) for each in healths), default=0)
        self._job = max(min(longest, rest - min(_MIN_WHAT, rest // 2)), len("JOB"))
        self._what = rest - self._job

    def head(self) -> str:
        return self._joined("STATE  ", "JOB", "LAST RUN", "NEXT DUE", "WHAT").rstrip()

    def line(self, health: Health) -> str:
        last = health.last_run
        state = paint(health.state, COLOURS[health.state]) + " " * (_STATE - len(health.state))
        return self._joined(
            state,
            plain(health.job),
            short_distance(last.started_at, self._now) if last else "-",
            short_distance(health.next_due, self._now) if health.next_due else "-",
            self._fitting(health),
        ).rstrip()

    def _fitting(self, health: Health) -> str:
        text = ""
        for text in map(plain, wordings(health, self._now)):  # the last one is used
            if width(text) <= self._what:
                break
        return cut(text, self._what)

    def _joined(self, state: str, job: str, last: str, due: str, what: str) -> str:
        times = (pad(last, _TIME), pad(due, _TIME)) if self.has_times else ()
        return (" " * _GAP).join((state, pad(_cut_middle(job, self._job), self._job), *times, what))


def _cut_middle(name: str, room: int) -> str:
    """Return the name in ``room`` columns; both of its ends say which one it is."""
    if width(name) <= room:
        return name
    end = (room - 1) // 2
    return name[: room - 1 - end] + "…" + name[len(name) - end :]


# --- how a job is doing in a few words; `Health.why` is the sentence ------------------------------


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
