"""Runs, outcomes and states of jobs as JSON text and back, for a host's own keeping."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from cronguard.core.alert_rule import alert_rules, overlay
from cronguard.core.clock import moment, rfc3339, rfc3339_or_none
from cronguard.core.model import (
    ChannelRule,
    Expectations,
    Failure,
    JobState,
    Outcome,
    Owner,
    Run,
    Silence,
    Statement,
)

T = TypeVar("T")


def run_text(run: Run) -> str:
    """Return a run as text, with everything that a store gets of it."""
    facts = run._asdict() | {
        "started_at": rfc3339(run.started_at),
        "owner": run.owner._asdict(),
        "channels": [each._asdict() for each in run.channels],
        "stated": [each._asdict() for each in run.stated],
    }
    return json.dumps(facts | _for_version_1(run))


def run_of(text: str) -> Run:
    """Undo `run_text`; what a later version has added is passed over."""
    facts = json.loads(text)
    if "channels" not in facts:
        facts |= _of_version_1(facts)
    return Run(
        **_known(Run, facts)
        | {
            "started_at": moment(facts["started_at"]),
            "owner": Owner(**_known(Owner, facts["owner"])),
            "channels": tuple(ChannelRule(**_known(ChannelRule, e)) for e in facts["channels"]),
            "stated": tuple(Statement(**_known(Statement, e)) for e in facts["stated"]),
        }
    )


def _for_version_1(run: Run) -> dict[str, Any]:
    """Return what a process of version 1 reads, which shares the file until it is upgraded too."""
    expected = overlay(Expectations(), run.stated)
    return {
        "rules": [rule._asdict() for rule in alert_rules(run.channels, expected)],
        "schedule": expected.plan._asdict() if expected.plan else None,
        "max_runtime": expected.max_runtime,
        "runbook": expected.runbook,
    }


def _of_version_1(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the same in the words of this version; a start then named a rule for each channel."""
    plan = facts["schedule"]
    stated = {
        "max_runtime": facts["max_runtime"],
        "notify_recovery": any(rule["notify_recovery"] for rule in facts["rules"]),
        "runbook": facts["runbook"],
        "schedule": plan and plan["cron"],
    }
    return {
        "channels": [
            {**rule, "realert_every": rule["realert_every"] or 0} for rule in facts["rules"]
        ],
        "stated": [
            {"name": name, "value": value, "origin": "code"} for name, value in stated.items()
        ]
        + [
            {"name": name, "value": plan[name], "origin": "code"}
            for name in (("timezone", "grace") if plan else ())
        ],
    }


def outcome_text(outcome: Outcome) -> str:
    """Return an outcome as text; its error has been redacted before."""
    failure = outcome.failure
    facts: dict[str, Any] = outcome._asdict() | {
        "finished_at": rfc3339(outcome.finished_at),
        "failure": failure._asdict() if failure else None,
    }
    return json.dumps(facts)


def outcome_of(text: str) -> Outcome:
    """Undo `outcome_text`."""
    facts = json.loads(text)
    failure = facts["failure"]
    return Outcome(
        **_known(Outcome, facts)
        | {
            "finished_at": moment(facts["finished_at"]),
            "failure": Failure(**_known(Failure, failure)) if failure else None,
        }
    )


def state_text(state: JobState) -> str:
    """Return what is known of a job as text."""
    facts: dict[str, Any] = state._asdict() | {
        "announced": sorted(state.announced),
        "last_success_at": rfc3339_or_none(state.last_success_at),
        "snoozed_until": rfc3339_or_none(state.snoozed_until),
        "expected": state.expected._asdict(),
        "silence": _silence_facts(state.silence),
    }
    return json.dumps(facts)


def _silence_facts(silence: Silence | None) -> dict[str, Any] | None:
    if silence is None:
        return None
    return {
        **silence._asdict(),
        "since": rfc3339(silence.since),
        "announced": sorted(silence.announced),
    }


def _silence_of(facts: dict[str, Any] | None) -> Silence | None:
    """Return a silence from its JSON; None for none."""
    if not facts:
        return None
    since = datetime.fromisoformat(facts["since"])
    return Silence(since, int(facts["missed"]), bool(facts["over"]), frozenset(facts["announced"]))


def state_of(text: str) -> JobState:
    """Undo `state_text`. Raises ValueError, KeyError or TypeError for anything else."""
    facts = json.loads(text)
    return JobState(
        int(facts["consecutive_failure_count"]),
        facts["incident_id"],
        frozenset(facts["announced"]),
        moment(facts["last_success_at"]),
        facts["last_counted_run"],
        moment(facts["snoozed_until"]),
        Expectations(**_known(Expectations, facts.get("expected", {}))),
        _silence_of(facts.get("silence")),
    )


def readable(kind: Callable[[str], T], text: str) -> T | None:
    """Return what was written as text; None if it cannot be read any more."""
    try:
        return kind(text)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _known(kind: type[NamedTuple], facts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key in kind._fields}
