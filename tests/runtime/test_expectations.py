"""What is expected of a job, through starts of every kind on several hosts, on every store."""

import pytest

from cronguard import cron_guarded
from cronguard.core.model import Expectations
from cronguard.guarding.recording import new_recording
from cronguard.runtime.check import declare
from cronguard.runtime.composition import installed
from cronguard.runtime.runtime import Guarded, Runtime
from cronguard.settings.loading import ChannelSettings, Settings
from cronguard.settings.options import check_options
from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.server.supabase import SupabaseStore
from cronguard.stores.sqlite.store import SQLiteStore
from cronguard.testing import MemoryStore

SIX, SEVEN = "0 6 * * *", "0 7 * * *"
SLACK = ChannelSettings("slack", "log")
PAGER = ChannelSettings("pager", "log", threshold=5)
LOG = ChannelSettings("log", "log")
LIMIT = 1800.0


def line(host, **options):
    """A line of a crontab, or a command typed by hand: ``cronguard run nightly``."""
    given = check_options({"job": "nightly"}) | check_options(options, "command")
    recording = new_recording(Guarded(given, "command"))
    recording.start()
    recording.end_as("success")


def code(host, **options):
    """A decorated function."""
    cron_guarded(lambda: None, job="nightly", **options)()


def look(host):
    """``cronguard check``, which declares what the host's settings say."""
    declare(host.store, host.settings.jobs)


def check_host(store, channels, **job):
    options = {"nightly": check_options(job, "file")} if job else {}
    return Runtime(Settings(store=store, channels=channels, jobs=options), store)


# (host, what happens there, its options) → (schedule, time zone, threshold, limit, channels)
HISTORY = [
    # A crontab line states what it gives, and nothing else.
    ("cron", line, {"schedule": SIX, "max_runtime": "1h"}, (SIX, "UTC", 2, 3600.0, "slack")),
    # A run by hand changes nothing, wherever it is made.
    ("laptop", line, {}, (SIX, "UTC", 2, 3600.0, "slack")),
    # One thing stated there is the job's; so are the channels of a start that states anything.
    ("laptop", line, {"threshold": 3}, (SIX, "UTC", 3, 3600.0, "log")),
    ("cron", line, {"schedule": SIX, "max_runtime": "1h"}, (SIX, "UTC", 3, 3600.0, "slack")),
    # Taken back.
    ("cron", line, {"threshold": "default", "max_runtime": "off"}, (SIX, "UTC", 2, None, "slack")),
    ("cron", line, {"schedule": "none"}, (None, "UTC", 2, None, "slack")),
    # Code states everything, defaults included.
    ("worker", code, {"threshold": 4}, (None, "UTC", 4, LIMIT, "slack pager")),
    # Settings declare a schedule: code that gives none leaves it alone, with its time zone.
    ("settings", look, {}, (SEVEN, "Europe/Oslo", 6, LIMIT, "slack pager")),
    ("worker", code, {}, (SEVEN, "Europe/Oslo", 2, LIMIT, "slack pager")),
    ("settings", look, {}, (SEVEN, "Europe/Oslo", 2, LIMIT, "slack pager")),
    ("laptop", line, {}, (SEVEN, "Europe/Oslo", 2, LIMIT, "slack pager")),
    # A start under those settings states them; its line goes before them.
    ("settings", line, {}, (SEVEN, "Europe/Oslo", 6, LIMIT, "log")),
    ("settings", line, {"threshold": 1}, (SEVEN, "Europe/Oslo", 1, LIMIT, "log")),
    # Code's own schedule goes before settings that do not change.
    ("worker", code, {"schedule": SIX}, (SIX, "UTC", 2, LIMIT, "slack pager")),
    ("settings", look, {}, (SIX, "UTC", 2, LIMIT, "slack pager")),
]


def play(store):
    hosts = {
        "cron": check_host(store, (SLACK,)),
        "laptop": check_host(store, (LOG,)),
        "worker": check_host(store, (SLACK, PAGER)),
        "settings": check_host(store, (LOG,), schedule=SEVEN, timezone="Europe/Oslo", threshold=6),
    }
    for number, (host, happens, options, wanted) in enumerate(HISTORY):
        with installed(hosts[host]):
            happens(hosts[host], **options)
        (watch,) = store.watches()
        expected = watch.expected
        channels = " ".join(each.channel for each in watch.channels)
        found = (
            *(expected.schedule, expected.timezone, expected.threshold, expected.max_runtime),
            channels,
        )
        assert found == wanted, (number, host, options)
    assert {record.status for record in store.history("nightly", limit=100)} == {"success"}


def test_on_sqlite(tmp_path):
    store = SQLiteStore(tmp_path / "runs.db")
    play(store)
    store.close()


def test_in_memory():
    play(MemoryStore())


@pytest.mark.one_python
def test_on_postgres(database):
    store = PostgresStore(database.url)
    play(store)
    store.close()


@pytest.mark.one_python
def test_on_supabase(project):
    store = SupabaseStore(project.url, project.service_key)
    play(store)
    store.close()


def test_the_process_goes_by_what_holds(tmp_path):
    """A command that states no limit is watched by the one that its job has."""
    store = SQLiteStore(tmp_path / "runs.db")
    host = check_host(store, (LOG,))
    with installed(host):
        line(host, max_runtime="7s", runbook="https://example.org/r")
        recording = new_recording(Guarded(check_options({"job": "nightly"}), "command"))
        assert recording.expected == Expectations()
        recording.start()
        assert recording.expected.max_runtime == 7.0
        assert recording.expected.runbook == "https://example.org/r"
        recording.end_as("success")
    store.close()
