"""The testing requirements of the card, by name, for the reminder job on the real PostgREST."""

import subprocess
import sys
import time
from datetime import datetime

import pytest
from support import reminder
from support.hostile import answers, never_answers, serve
from support.reminder import EXAMPLE, Gateway, add, runs

RUNS = """
import sys
from reminders.gateway import GatewayError
from reminders.job import send_reminders
from support.reminder import RULE

for gateway in sys.argv[1:]:
    try:
        send_reminders("supabase", gateway, RULE)
    except GatewayError:
        pass
"""


class Cron:
    """Runs the job on a project; the alerting channel is a webhook that remembers its calls."""

    def __init__(self, place, folder):
        self.place, self.folder = place, folder
        self.channel = answers()

    def __call__(self, *outcomes, webhook):
        """Run the job in a process; returns how long that took, in seconds."""
        path = f"{EXAMPLE}:{reminder.readme.ROOT / 'tests'}"
        environ = reminder.environment(
            self.folder, **self.place.environ, PYTHONPATH=path, CRONGUARD_WEBHOOK_URL=webhook.url
        )
        with Gateway() as good, Gateway() as bad:
            bad.breaks_after = 0
            gateways = {"succeeds": good.url, "fails": bad.url}
            started = time.monotonic()
            subprocess.run(
                [sys.executable, "-c", RUNS, *[gateways[each] for each in outcomes]],
                env=environ,
                timeout=reminder.ENOUGH,
                check=True,
            )
            return time.monotonic() - started


@pytest.fixture
def cron(on_supabase, tmp_path):
    add(on_supabase, 1)
    return Cron(on_supabase, tmp_path)


def counts(cron):
    """``consecutive_failure_count`` of every row, oldest first."""
    return [run["streak"] for run in reversed(runs(cron.place))]


def test_channel_invoked_exactly_once_at_count_2_not_at_1_or_3_and_more(cron):
    """Each run is a process that has ended, and with it every delivery."""
    with serve(cron.channel) as webhook:
        cron("fails", webhook=webhook)
        assert (counts(cron), len(cron.channel.received)) == ([1], 0)
        cron("fails", webhook=webhook)
        assert (counts(cron), len(cron.channel.received)) == ([1, 2], 1)
        cron("fails", "fails", "fails", webhook=webhook)
    assert (counts(cron), len(cron.channel.received)) == ([1, 2, 3, 4, 5], 1)


def test_payload_structure_error_message_last_success_at_consecutive_failure_count(cron):
    """Two failed runs after a success: one call, whose three fields are those of the log."""
    with serve(cron.channel) as webhook:
        cron("succeeds", webhook=webhook)
        cron.place.rows("delete from reminders where true")
        cron("fails", "fails", webhook=webhook)
    (call,) = cron.channel.received
    latest, _, success = runs(cron.place)
    assert call.json["error_message"] == latest["message"]
    assert "HTTP 503" in call.json["error_message"]
    assert call.json["consecutive_failure_count"] == 2
    ((finished,),) = cron.place.rows(
        "select finished_at from cron_execution_logs where status = 'success'"
    )
    assert datetime.fromisoformat(call.json["last_success_at"]) == finished
    assert success["streak"] == 0
    assert [word for word in reminder.PRIVATE if word in call.body.decode()] == []


def test_reset_path_two_failures_followed_by_a_success(cron):
    """The new row's count is 0; the next failure is a first one, and silent."""
    with serve(cron.channel) as webhook:
        cron("fails", "fails", "succeeds", webhook=webhook)
        assert counts(cron) == [1, 2, 0]
        cron.place.rows("delete from reminders where true")
        cron("fails", webhook=webhook)
    assert counts(cron) == [1, 2, 0, 1]
    assert len(cron.channel.received) == 1


def test_timeout_path_slow_webhook_endpoint(cron):
    """The endpoint takes the call and never answers: rows are written, the process ends."""
    with serve(never_answers) as webhook:
        took = cron("fails", "fails", webhook=webhook)
        assert webhook.connections == 1
    assert counts(cron) == [1, 2]
    assert took < 30
    (waiting,) = cron.place.rows("select state, attempts from cronguard_alerts")
    assert waiting == ("pending", 1)
