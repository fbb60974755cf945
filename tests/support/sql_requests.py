"""Requests of the SQL functions: a valid one of each, and what a random hand makes of them."""

import copy
import json
from datetime import UTC, datetime

from cronguard.core.clock import new_id
from cronguard.core.expectations import statements
from cronguard.core.model import ChannelRule, Expectations, Outcome, Owner, Run
from cronguard.runtime.check import check
from cronguard.settings.types import Settings
from cronguard.stores.server.schema import SCHEMA_VERSION
from cronguard.stores.server.values import outcome_json, run_json

ID = "0198e9a5-0000-7000-8000-000000000001"
TIME = "2026-01-01T00:00:00.000000Z"
RUN = run_json(
    Run(
        ID,
        "a",
        datetime(2026, 1, 1, tzinfo=UTC),
        Owner("h", 1, "space", "1"),
        (ChannelRule("slack"), ChannelRule("mail", 3, 0)),
        statements(**Expectations("0 6 * * *", runbook="https://example.org/r")._asdict()),
    )
)
END = outcome_json(Outcome("success", datetime(2026, 1, 1, tzinfo=UTC), 1.0))
ALERT = {"key": "k", "channel": "slack", "threshold": 2, "later": ["l"]}
VALID = {
    "start_run": RUN | {"dead": [ID], "ended": [ID]},
    "finish_run": RUN | {"started": True, "outcome": END, "notified": ["slack"]},
    "heartbeat": {"run_ids": [ID], "lease": 90.0, "ended": [ID]},
    "unlock": {"job": "a"},
    "sweep": {"space": "space", "dead": [ID], "ended": [ID], "lease": 90.0},
    "declare": {"job": "a", "stated": RUN["stated"]},
    "watches": {},
    "status": {},
    "starts": {"job": "a", "after": TIME, "limit": 5},
    "history": {"job": "a", "limit": 5, "statuses": ["failure"], "since": TIME},
    "recent": {"limit": 5},
    "activity": {"since": TIME, "step": 60.0},
    "announce_overrun": {"run_id": ID, "elapsed": 5.5, "message": "m", "alerts": [ALERT]},
    "announce_missed": {
        "job": "a",
        "judged_from": TIME,
        "judged_until": TIME,
        "seen_until": TIME,
        "silence": {"since": TIME, "missed": 3, "over": False},
        "message": "m",
        "alerts": [ALERT],
    },
    "forget": {"job": "a"},
    "snooze": {"job": "a", "until": TIME},
    "claim_alerts": {
        "channels": ["slack"],
        "job": "a",
        "force": False,
        "state": "pending",
        "limit": 5,
        "claim_for": 10.0,
    },
    "settle_alert": {
        "alert_id": ID,
        "attempt": 1,
        "state": "pending",
        "error_code": "x",
        "retry_in": 1.0,
    },
    "alerts_list": {"job": "a", "state": "dead", "limit": 5},
    "prune_plan": {},
    "prune": {"keep": 100.0, "kept": [ID], "after": ID, "limit": 5},
    "secret_get": {"name": "cronguard_x"},
    "secret_pad": {"name": "cronguard_x", "length": 3},
    "secret_set": {"name": "cronguard_x", "ticket": ID, "masked": "00"},
    "secret_unset": {"name": "cronguard_x"},
    "secrets": {},
}
VERSION_1 = {
    "start_run": {"rules": [{"channel": "slack", "threshold": 2, "realert_every": None}]},
    "finish_run": {"rules": [{"channel": "slack"}], "told": ["slack"]},
    "declare": {"plan": {"cron": "0 6 * * *", "timezone": "UTC", "grace": 5.0}},
}
DOCUMENTED = {"CG001", "CG004", "CG005", "CG020", "CG021", "CG022", "CG023"}
"""The SQLSTATEs with which the functions refuse a request."""
ODD = [
    *(None, True, False, 0, -1, 1, 2.0, 0.5, 1e308, -(10**30), 10**30, 2**31, 2**63, 1e-300),
    *("", " ", "x", "null", "a" * 300, "a" * 20_000, "\u2028\U0001f600", "now", "infinity", "NaN"),
    *("2026-02-31T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", TIME[:-1]),
    *("'; drop table cronguard_jobs; --", "-" * 36, ID.upper(), "https://u:p@example.org", "%s"),
    *([], {}, [[]], [None], [1, "x"], {"a": {"b": [{}]}}, [{"channel": 5}], [ALERT, 7], [ID] * 999),
    *({"value": None}, {"origin": "code"}, {"threshold": {"value": -1, "origin": "code"}}),
    json.loads("[" * 200 + "]" * 200),
]


def places(value, path=()):
    """Yield the path of every value in a request."""
    yield path
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(each, (*path, key))


def mutated(chance, request):
    """Return a request with up to three changes."""
    made = copy.deepcopy(request)
    for _ in range(chance.choice((1, 1, 2, 3))):
        *path, last = chance.choice([path for path in places(made) if path] or [("schema",)])
        inside = made
        for key in path:
            inside = inside[key]
        if chance.random() < 0.2:
            del inside[last]
        elif chance.random() < 0.1 and isinstance(inside, dict):
            name = chance.choice(("threshold", "channels", "job", "ended", "é", "x" * 99))
            inside[name] = chance.choice(ODD)
        else:
            inside[last] = copy.deepcopy(chance.choice(ODD))
        if not made:
            break
    return made


def drawn(chance):
    """Return the name of a function, and a request of it that is seldom as it should be."""
    name = chance.choice(list(VALID))
    valid = {"schema": SCHEMA_VERSION} | VALID[name]
    if "run_id" in valid and chance.random() < 0.7:
        valid["run_id"] = new_id()
    if chance.random() < 0.2 and name in VERSION_1:
        valid = {k: v for k, v in valid.items() if k not in ("channels", "stated")}
        valid |= {"schema": 1} | VERSION_1[name]
    return name, mutated(chance, valid) if chance.random() < 0.95 else valid


def works(store, job):
    """A start and a finish of the job, a sweep, a check, and everything that is looked at; whatever
    was asked before, no row is one that cronguard cannot have written."""
    run = Run(new_id(), job, datetime.now(UTC), Owner("x", 1), overlap="allow")
    assert store.start_run(run, is_dead=lambda _: False).status == "running"
    store.sweep(run.owner, is_dead=lambda _: False)
    assert store.finish_run(run, Outcome("success", datetime.now(UTC)), started=True)
    assert job in {watch.job for watch in store.watches()}
    assert job in {status.job for status in store.jobs()}
    assert store.history(job)[0].run_id == run.run_id
    store.alerts()
    assert store.damaged() == []
    report = check(store, _NoDelivery(), Settings(), now=datetime.now(UTC))
    assert job in {health.job for health in report.jobs}


class _NoDelivery:
    def deliver_all(self, **_):
        return []
