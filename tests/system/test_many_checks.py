"""Three hosts check every second while jobs fail, hang, die and fall silent: each alert once."""

import threading
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime

import pytest
from support.hostile import answers, serve
from support.processes import Place

from cronguard.core.clock import new_id
from cronguard.core.expectations import statements
from cronguard.core.model import ChannelRule, Failure, Outcome, Owner, Run
from cronguard.process.identity import current_owner
from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.server.supabase import SupabaseStore
from cronguard.stores.sqlite.store import SQLiteStore

pytestmark = pytest.mark.one_python

HOSTS = 3
PATIENCE = 600
FAILING, HUNG, SILENT, KILLED = (
    [f"{kind}.{number}" for number in range(many)]
    for kind, many in (("failing", 15), ("hung", 10), ("silent", 15), ("killed", 10))
)
CHANNELS = (ChannelRule("webhook"),)
STATED = statements(notify_recovery=True, max_runtime=None)
EXPECTED = {
    **dict.fromkeys(FAILING, STATED),
    **dict.fromkeys(KILLED, STATED),
    **dict.fromkeys(HUNG, statements(max_runtime=2.0)),
    **dict.fromkeys(
        SILENT,
        statements(notify_recovery=True, max_runtime=None, schedule="*/3 * * * * *", grace=2.0),
    ),
}
CHECKS = """
    import select, sys
    from cronguard.cli import main

    while not select.select([sys.stdin], [], [], 1.0)[0]:
        main(["check", "--quiet"])
        print("checked", flush=True)
    """


class Team:
    """A store, the hosts that check it every second, and what they have sent."""

    def __init__(self, store, place, hook):
        self.store, self.hook = store, hook
        self._looks = [0] * HOSTS
        self._looked = threading.Condition()
        self._hosts = [place.start(CHECKS, stdin=-1, stderr=None) for _ in range(HOSTS)]
        self._readers = [
            threading.Thread(target=self._count, args=(number,)) for number in range(HOSTS)
        ]
        for reader in self._readers:
            reader.start()

    def _count(self, number):
        for _ in self._hosts[number].stdout:
            with self._looked:
                self._looks[number] += 1
                self._looked.notify_all()

    def wait_for_looks(self, many):
        """Every host begins and ends so many checks from now on."""
        with self._looked:
            wanted = [looks + many + 1 for looks in self._looks]
            assert self._looked.wait_for(
                lambda: all(now >= then for now, then in zip(self._looks, wanted, strict=True)),
                PATIENCE,
            )

    def wait_for_silences(self):
        """A start keeps a job from being late for ten seconds, however quick the checks are."""
        give_up = time.monotonic() + PATIENCE
        silent = set()
        while silent != set(SILENT):
            assert time.monotonic() < give_up, set(SILENT) - silent
            self.wait_for_looks(1)
            silent = {
                each.job
                for each in self.store.watches()
                if each.silence is not None and not each.silence.over
            }

    def start(self, job, owner=None, **changes):
        run = Run(
            new_id(), job, datetime.now(UTC), owner or current_owner(), CHANNELS, EXPECTED[job]
        )
        self.store.start_run(run._replace(**changes), is_dead=lambda _: False)
        return run

    def finish(self, run, status):
        failure = Failure("ValueError") if status == "failure" else None
        self.store.finish_run(run, Outcome(status, datetime.now(UTC), 0.1, failure), started=True)

    def sent(self):
        """The alerts that came over the wire. One may come twice there, with the same id, where a
        busy machine takes longer to send than a claim lasts."""
        return {request.json["alert_id"]: request.json for request in list(self.hook.received)}

    def close(self):
        for host in self._hosts:
            host.kill()
        for host, reader in zip(self._hosts, self._readers, strict=True):
            reader.join()
            host.stdin.close()
            host.stdout.close()
            host.wait()
        self.store.close()


@pytest.fixture
def team(request, tmp_path):
    place, kind = Place(tmp_path), request.param
    if kind == "sqlite":
        store = SQLiteStore(place.path, timeout=60)
    else:
        project = request.getfixturevalue("project")
        url = project.database.url
        place.environ |= {"CRONGUARD_STORE": "env:DATABASE_URL", "DATABASE_URL": url}
        store = PostgresStore(url, timeout=60)
        if kind == "supabase":
            place.environ |= {
                "CRONGUARD_STORE": "supabase",
                "SUPABASE_URL": project.url,
                "SUPABASE_SECRET_KEY": project.secret_key,
            }
            store = SupabaseStore(project.url, project.secret_key, timeout=60)
    hook = answers(204, b"")
    with serve(hook) as server:
        place.environ |= {
            "CRONGUARD_CHANNELS": "webhook",
            "CRONGUARD_WEBHOOK_URL": server.url,
            "CRONGUARD_STORE_TIMEOUT": "60",
        }
        with closing(Team(store, place, hook)) as made:
            yield made


def one_round(team):
    """All of them start well; then they fail, hang, die and fall silent, until that was seen."""
    for job in (*FAILING, *KILLED, *SILENT):
        team.finish(team.start(job), "success")
    hung = [team.start(job) for job in HUNG]
    for _ in range(3):
        for job in FAILING:
            team.finish(team.start(job), "failure")
    gone = Owner("elsewhere", 1, "gone", "1")
    for _ in range(2):
        for job in KILLED:
            team.start(job, gone, overlap="allow", lease=1e-6)
    team.wait_for_looks(8)
    team.wait_for_silences()
    for run in hung:
        team.finish(run, "success")


@pytest.mark.parametrize(
    ("team", "seconds"),
    [
        ("sqlite", 0),
        pytest.param("postgres", 0, marks=pytest.mark.long),
        pytest.param("supabase", 0, marks=pytest.mark.long),
        pytest.param("sqlite", 300, marks=pytest.mark.soak),
        pytest.param("postgres", 300, marks=pytest.mark.soak),
        pytest.param("supabase", 300, marks=pytest.mark.soak),
    ],
    indirect=["team"],
)
def test_three_hosts_that_check_every_second(team, seconds):
    """Each incident, silence and step of an overrun is told of once, and each end once."""
    rounds, begun = 0, time.monotonic()
    while not rounds or time.monotonic() - begun < seconds:
        one_round(team)
        rounds += 1
    team.wait_for_looks(2)
    decided = team.store.alerts(limit=100_000)
    assert {each.state for each in decided} == {"sent"}
    sent = team.sent()
    assert sent.keys() == {each.alert_id for each in decided}
    found = Counter((each["job"], each["kind"]) for each in sent.values())
    ends = rounds - 1  # the last round's are still to come
    wanted = {(job, "failing"): rounds for job in (*FAILING, *KILLED)}
    wanted |= {(job, "missed"): rounds for job in SILENT}
    wanted |= {(job, "recovered"): ends for job in (*FAILING, *KILLED, *SILENT) if ends}
    assert {key: found[key] for key in wanted} == wanted
    assert {job for job, kind in found if kind == "overrun"} == set(HUNG)
    assert found.keys() - wanted.keys() == {(job, "overrun") for job in HUNG}
    overruns = [each for each in sent.values() if each["kind"] == "overrun"]
    steps = Counter((each["run_id"], each["error_message"]) for each in overruns)
    assert set(steps.values()) == {1}
