"""The Supabase store without any server, on answers recorded from the real PostgREST.

``CRONGUARD_RECORD=1 python -m pytest -k supabase_cassettes`` records them afresh; it is
due whenever a request changes. Ids and times are fixed, so that the same requests come again.
"""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import vcr
from support.stack.gateway import token

from cronguard.core.errors import StoreConfigError
from cronguard.core.expectations import statements
from cronguard.core.model import ChannelRule, Failure, Outcome, Owner, Run, Schedule, Settlement
from cronguard.stores.server.schema import SCHEMA_VERSION
from cronguard.stores.server.supabase import SupabaseStore

pytestmark = pytest.mark.one_python

CASSETTES = Path(__file__).parent / "cassettes"
RECORDING = bool(os.environ.get("CRONGUARD_RECORD"))
ADDRESS = "http://project.supabase.test"
JOB = "assignment_reminder"
KEPT_HEADERS = {"content-type", "prefer", "accept", "content-profile", "content-length"}


def anonymous(request):
    """The request without keys, and at an address that does not exist."""
    request.uri = re.sub(r"^https?://[^/]+", ADDRESS, request.uri)
    request.headers = {
        name: value for name, value in request.headers.items() if name.lower() in KEPT_HEADERS
    }
    return request


def plain(response):
    """The answer with the headers that matter."""
    response["headers"] = {
        name: value for name, value in response["headers"].items() if name.lower() in KEPT_HEADERS
    }
    return response


@pytest.fixture
def store(request):
    """A store whose requests are answered from the cassette, or recorded onto it."""
    name = request.node.name.removeprefix("test_")
    recorder = vcr.VCR(
        cassette_library_dir=str(CASSETTES),
        record_mode="all" if RECORDING else "none",
        match_on=["method", "path", "body"],
        before_record_request=anonymous,
        before_record_response=plain,
        decode_compressed_response=True,
    )
    url, key = ADDRESS, token("service_role")
    if RECORDING:
        (CASSETTES / f"{name}.yaml").unlink(missing_ok=True)
        project = request.getfixturevalue("project")
        url, key = project.url, project.service_key
    if "refused" in name:
        key = token("service_role", secret="a secret that is not the one of this project")
    with recorder.use_cassette(f"{name}.yaml") as cassette:
        store = SupabaseStore(url, key)
        store.cassette = cassette
        yield store
        store.close()
        if not RECORDING:
            assert cassette.all_played


def run(number, **changes):
    at = datetime(2026, 1, number, 6, tzinfo=UTC)
    made = Run(
        f"0199a1b2-0000-7000-8000-{number:012}",
        JOB,
        at,
        Owner("worker-1", 42, "space-a", "7"),
        channels=(ChannelRule("slack"),),
        stated=statements(
            threshold=2, notify_recovery=True, runbook="https://wiki.example/reminder"
        ),
    )
    return made._replace(**changes)


def finish(store, made, status, **changes):
    failure = Failure("ValueError", "E42", "bad ‹…›", "reminders/send.py:42 in send_all")
    outcome = Outcome(
        status,
        made.started_at + timedelta(seconds=4.25),
        4.25,
        failure if "fail" in status else None,
    )
    return store.finish_run(made, outcome, started=True)._replace(**changes)


def test_two_failures_then_a_success(store):
    """One alert at the second failure, with the facts; count 0 on the third row; two requests a
    run."""
    counts = []
    for number, status in enumerate(["failure", "failure", "success"], 1):
        made = run(number)
        assert store.start_run(made, is_dead=lambda _: False).status == "running"
        counts.append(finish(store, made, status).consecutive_failure_count)
    assert counts == [1, 2, 0]
    assert RECORDING or store.cassette.play_count == 6
    first, recovered = store.claim_alerts(channels=["slack"], job=JOB)
    facts = json.loads(first.payload)
    assert facts.pop("alert_id") == first.alert_id
    assert facts == {
        "schema": "cronguard.alert/1",
        "kind": "failing",
        "job": JOB,
        "run_id": run(2).run_id,
        "consecutive_failure_count": 2,
        "threshold": 2,
        "error_type": "ValueError",
        "error_code": "E42",
        "error_message": "bad ‹…›",
        "error_location": "reminders/send.py:42 in send_all",
        "last_success_at": None,
        "started_at": "2026-01-02T06:00:00.000000Z",
        "finished_at": "2026-01-02T06:00:04.250000Z",
        "duration_seconds": 4.25,
        "host": "worker-1",
        "runbook": "https://wiki.example/reminder",
        "degraded": False,
        "test": False,
    }
    assert (first.kind, first.attempt, recovered.kind) == ("failing", 1, "recovered")
    assert store.settle_alert(first, Settlement("sent"))
    assert store.settle_alert(recovered, Settlement("pending", "http_503", 60.0))
    assert [alert.state for alert in store.alerts()] == ["pending", "sent"]


def test_a_crash_and_an_overlap(store):
    """Suspects of our own process space come back to be judged: a second request, only then."""
    store.start_run(run(1), is_dead=lambda _: False)
    asked = []
    answer = store.start_run(run(2), is_dead=lambda owner: asked.append(owner) or True)
    assert asked == [Owner("worker-1", 42, "space-a", "7")]
    assert (answer.status, answer.consecutive_failure_count) == ("running", 1)
    skipped = store.start_run(run(3), is_dead=lambda _: False)
    assert (skipped.status, skipped.held_by) == ("skipped", run(2).run_id)
    assert [row.status for row in store.history(JOB)] == ["skipped", "running", "crashed"]
    assert store.unlock(JOB) == 1


def test_what_is_shown(store):
    """Jobs, history and housekeeping, read back as the model's values."""
    plan = Schedule("0 6 * * *", "Europe/Oslo", 60.0)
    stated = statements(schedule=plan.cron, timezone=plan.timezone, grace=plan.grace)
    made = run(1, stated=stated)
    store.start_run(made, is_dead=lambda _: False)
    finish(store, made, "success")
    (job,) = store.jobs()
    assert (job.job, job.schedule, job.consecutive_failure_count) == (JOB, plan, 0)
    assert job.last_run.duration == 4.25
    assert job.last_success_at == made.started_at + timedelta(seconds=4.25)
    assert store.snooze(JOB, datetime(2026, 2, 1, tzinfo=UTC))
    assert not store.snooze("unknown", None)
    store.heartbeat([made.run_id], lease=90.0)
    assert store.prune(keep=timedelta(days=90)) == 0
    assert store.schema_version() == SCHEMA_VERSION


def test_a_refused_key(store):
    """The real answer to a key of another project."""
    with pytest.raises(StoreConfigError, match="refuses the key"):
        store.jobs()


def test_no_key_is_on_any_cassette():
    """Neither keys nor the recording machine's addresses."""
    files = sorted(CASSETTES.glob("*.yaml"))
    assert RECORDING or len(files) == 4
    for file in files:
        text = file.read_text().lower()
        for word in ("bearer", "apikey", "eyj", "sb_secret", "127.0.0.1", "localhost"):
            assert word not in text, (file.name, word)
