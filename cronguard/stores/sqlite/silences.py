"""The silence in a job's row: occurrences of its schedule that nobody kept; few jobs have one."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

from cronguard.core.alert_rule import ends_silence
from cronguard.core.clock import rfc3339
from cronguard.core.model import JobState, Run, Silence


def silence_of(text: str | None) -> Silence | None:
    """Return the silence that `save_silence` wrote; None for None. Raises ValueError."""
    if text is None:
        return None
    since, missed, over, announced = text.split("|")
    begin = datetime.fromisoformat(since)
    if begin.tzinfo is None:
        raise ValueError("a time without a zone")
    channels = frozenset(announced.split(",") if announced else ())
    return Silence(begin, int(missed), over == "1", channels)


def readable_silence(text: str) -> Silence | None:
    """Return the same; None for a text that nobody can read, so that the job goes on."""
    try:
        return silence_of(text)
    except ValueError:
        return None


def save_silence(db: sqlite3.Connection, job: str, silence: Silence | None) -> None:
    """Write a job's silence; None for none."""
    text = None
    if silence is not None:
        since, missed, over, announced = silence
        text = f"{rfc3339(since)}|{missed}|{over:d}|{','.join(sorted(announced))}"
    db.execute("UPDATE cronguard_jobs SET silence = ? WHERE job = ?", (text, job))


def end_silence(db: sqlite3.Connection, run: Run, state: JobState) -> JobState:
    """Note that a start has ended a silence, unless it is one from before it; the state then."""
    silence = state.silence
    if silence is None or silence.over or not ends_silence(silence, run.started_at):
        return state
    ended = silence._replace(over=True)
    save_silence(db, run.job, ended)
    # What was missed before the start is part of the silence, judged or not; what was missed since,
    # where the start is told late, is another one.
    judged = run.started_at - timedelta(seconds=state.expected.grace)
    db.execute(
        "UPDATE cronguard_jobs SET judged_until = ? WHERE job = ?", (rfc3339(judged), run.job)
    )
    return state._replace(silence=ended)
