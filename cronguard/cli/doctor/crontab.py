"""The user's crontab: what it sets, and whether its jobs are expected when cron starts them."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from cronguard.cli.doctor.findings import Check
from cronguard.core.alert_rule import EARLY_SECONDS
from cronguard.core.errors import ConfigError
from cronguard.core.model import Expectations, Schedule, Watch
from cronguard.core.schedule import occurrences
from cronguard.settings.host_zone import host_zone
from cronguard.settings.options import check_option, resolve_job

_PATIENCE_SECONDS = 5.0
_ASSIGNMENT = re.compile(r"""\s*(["']?)([A-Za-z_]\w*)\1\s*=\s*(["']?)(.*?)\3\s*""")
_LINE = re.compile(r"\s*(@[a-z]+|(?:[^\s@#]\S*\s+){4}\S+)\s+(\S.*)")
_SEASONS = tuple(timedelta(days=91 * number) for number in range(4))
_YEAR = timedelta(days=366)
_MOST_COMPARED = 60
"""How many occurrences are compared in each season."""


class Line(NamedTuple):
    """A line of a crontab that runs ``cronguard run``."""

    number: int
    when: str
    """As written: five fields, or a word such as ``@daily``."""
    job: str
    options: Mapping[str, Any]
    """What is valid of its options."""
    unclear: frozenset[str]
    """Options whose value is wrong."""
    environ: Mapping[str, str]
    """What the crontab sets above it."""


def read() -> str:
    """Return the user's crontab; an empty text if there is none."""
    try:
        done = subprocess.run(
            ["crontab", "-l"],  # noqa: S607  # wherever it is
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def variables(text: str) -> dict[str, str]:
    """Return what a crontab sets."""
    found = map(_ASSIGNMENT.fullmatch, text.splitlines())
    return {parts[2]: parts[4] for parts in found if parts}


def lines(text: str) -> Iterator[Line]:
    """Yield the lines that run ``cronguard run``."""
    environ: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if parts := _ASSIGNMENT.fullmatch(line):
            environ = {**environ, parts[2]: parts[4]}
        elif (parts := _LINE.fullmatch(line)) and (words := _run_words(parts[2])):
            given = _given(words)
            job = given.pop("job", None)
            options, unclear = _checked(given)
            if isinstance(job, str):
                yield Line(number, parts[1], job, options, unclear, environ)


def _run_words(command: str) -> list[str]:
    """Return what stands between ``cronguard run`` and the two dashes; empty if nothing does."""
    with suppress(ValueError):  # quotes that do not close: the shell will say so
        words = shlex.split(command)
        for index in range(1, len(words)):
            if words[index] == "run" and words[index - 1].rpartition("/")[2] == "cronguard":
                rest = words[index + 1 :]
                return rest[: rest.index("--")] if "--" in rest else []
    return []


def _given(words: list[str]) -> dict[str, Any]:
    from cronguard.cli.run.command import command

    context = command.make_context("run", [*words, "--", "true"], resilient_parsing=True)
    return {key: value for key, value in context.params.items() if value not in (None, (), False)}


def _checked(given: Mapping[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    options, unclear = {}, set()
    for key in ("schedule", "timezone", "grace"):
        if key in given:
            try:
                options[key] = check_option(key, given[key], "command")
            except ConfigError:
                unclear.add(key)
    return options, frozenset(unclear)


def expectations(
    text: str,
    configured: Mapping[str, Mapping[str, Any]],
    watches: Sequence[Watch],
) -> Iterator[Check]:
    """Look for jobs that are expected at other times than cron starts them, or at none.

    Args:
        text: The crontab.
        configured: The jobs' tables in settings.
        watches: What the store keeps of each job.
    """
    stored = {watch.job: watch.expected for watch in watches}
    for line in lines(text):
        starts = _starts(line)
        with suppress(ConfigError):  # of a schedule that this host cannot evaluate
            if starts is not None and not line.unclear:
                found = _problem(line, starts, configured.get(line.job, {}), stored.get(line.job))
                if found is not None:
                    yield Check("crontab", "warning", f"line {line.number} {found}")


def _starts(line: Line) -> Schedule | None:
    """Return when cron starts the line; None if that cannot be told, as at a reboot."""
    zone = host_zone({name: line.environ[name] for name in ("CRON_TZ",) if name in line.environ})
    with suppress(ConfigError):
        cron = check_option("schedule", line.when)
        return Schedule(str(cron), zone, 0.0) if zone is not None else None
    return None


def _problem(
    line: Line,
    starts: Schedule,
    configured: Mapping[str, Any],
    stored: Expectations | None,
) -> str | None:
    given = dict(line.options)
    if given.get("schedule") and "timezone" not in {*given, *configured}:
        given["timezone"] = host_zone(line.environ) or "UTC"
    stated = resolve_job({"job": line.job, **given}, configured, "command").stated
    expected = (stored or Expectations())._replace(
        **{each.name: each.value for each in stated}  # type: ignore[arg-type]  # by name
    )
    what = f"starts {line.job} at {starts.cron} ({starts.timezone})"
    plan = expected.plan
    if plan is None:
        return (
            f"{what}, but nobody states that it should, so a run that never starts goes unseen:"
            f' add --schedule "{line.when}" to it'
        )
    if plan[:2] == starts[:2] or _meets(starts, plan):
        return None
    said = f"{what}, but it is expected at {plan.cron} ({plan.timezone}), so it will be called late"
    if plan.timezone != starts.timezone:
        return f"{said}: write --timezone {starts.timezone} on that line"
    return f"{said}: give both the same times"


def _meets(starts: Schedule, plan: Schedule) -> bool:
    """Tell whether cron starts a run at each time at which one is expected, in each season."""
    now = datetime.now(UTC)
    return all(
        _is_met(starts, due, plan.grace)
        for season in _SEASONS
        for due in islice(occurrences(plan, now + season, now + season + _YEAR), _MOST_COMPARED)
    )


def _is_met(starts: Schedule, due: datetime, grace: float) -> bool:
    before = due - timedelta(seconds=EARLY_SECONDS)
    return next(occurrences(starts, before, due + timedelta(seconds=grace)), None) is not None


__all__ = ["Line", "expectations", "lines", "read", "variables"]
