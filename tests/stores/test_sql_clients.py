"""An older client and today's, before and after the migration, and after a downgrade: nothing lost.

Each run is a process of its own, as cron starts it. A client of version N is today's that says N in
its requests, since that is all that the SQL functions know of it.
"""

import contextlib
import json

import psycopg
import pytest
from support.processes import Place
from support.schema import RELEASED, apply, catalog
from support.stack.client import Project

from cronguard.stores.server.schema import SCHEMA_VERSION, migration_sql

pytestmark = pytest.mark.one_python

RUNS = """
    import contextlib, json, sys
    from cronguard.stores.server import functions, values

    functions.SCHEMA_VERSION = values.SCHEMA_VERSION = int(sys.argv[1])
    for outcome in sys.argv[2:]:
        with contextlib.suppress(ValueError), guard(job="nightly", threshold=2):
            if outcome == "failure":
                raise ValueError
"""


class Client:
    """A host whose cronguard is of one version; it alerts on standard error."""

    def __init__(self, folder, version, environ):
        folder.mkdir()
        self.place, self.version = Place(folder), version
        self.place.environ |= environ | {"CRONGUARD_STORE_TIMEOUT": "60"}  # it is there
        self.script = self.place.write(RUNS)
        self.alerts = 0
        """How many it sent."""

    def runs(self, *outcomes):
        """Runs of one process; what it said that is no alert."""
        done = self.place.run(self.script, self.version, *outcomes)
        assert done.returncode == 0, done.stderr
        self.alerts += done.stderr.count("cronguard: nightly is failing")
        return [line for line in done.stderr.splitlines() if "runs are kept" in line]

    def doctor(self):
        """What doctor says of store and schema that is not well."""
        done = self.place.run(
            """
            import sys
            from cronguard.stores.server import functions, schema, values

            for module in (functions, schema, values):
                module.SCHEMA_VERSION = int(sys.argv[1])
            from cronguard.cli import main
            main(["doctor", "--json"])
            """,
            self.version,
        )
        checks = json.loads(done.stdout)["checks"]
        return [
            check["message"]
            for check in checks
            if check["check"] in ("store", "schema") and check["status"] != "ok"
        ]


@contextlib.contextmanager
def clients_of(version, kind, stack, folder):
    """Yield a database with that version's schema, a client of that version, and one of today's."""
    database = stack.database("newer")
    apply(database, RELEASED[version])
    project = Project(database) if kind == "supabase" else None
    environ = {"CRONGUARD_STORE": database.url}
    if project:
        environ = {
            "CRONGUARD_STORE": "supabase",
            "SUPABASE_URL": project.url,
            "SUPABASE_SECRET_KEY": project.secret_key,
        }
    yield (
        database,
        Client(folder / "old", version, environ),
        Client(folder / "new", SCHEMA_VERSION, environ),
    )
    if project:
        project.close()
    database.drop()


def recorded(database):
    """(status, count) of the runs in the order of their ends."""
    with database.connect() as db:
        return db.execute(
            "select status, consecutive_failure_count from cron_execution_logs order by finished_at"
        ).fetchall()


@pytest.fixture(params=["postgres", "supabase"])
def clients(request, stack, tmp_path):
    """(a database with version 1's schema, a client of version 1, one of today's)."""
    with clients_of(1, request.param, stack, tmp_path) as made:
        yield made


@pytest.mark.long
def test_one_history_through_both(clients):
    """Before the migration today's waits, after it both go on, and a downgrade is survived."""
    database, old, new = clients
    assert old.runs("success", "failure") == []

    # Today's before the migration: kept there, said once, with what to do.
    (said,) = new.runs("failure", "failure")
    assert "older schema than this cronguard needs: run cronguard init" in said
    (said,) = new.doctor()
    assert "run cronguard init" in said
    assert old.doctor() == []
    assert recorded(database) == [("success", 0), ("failure", 1)]

    # After it: what waited is told first, then each goes on from the other's count.
    apply(database, migration_sql(from_version=1))
    assert new.runs("failure") == []
    assert old.runs("failure") == []
    failures = [("failure", count) for count in range(1, 8)]
    assert recorded(database) == [("success", 0), *failures[:5]]
    (said,) = old.doctor()
    assert "newer schema than this cronguard knows: upgrade cronguard here" in said
    assert new.doctor() == []

    # Version 1's file, which cannot know better, is applied once more: today's waits again.
    apply(database, RELEASED[1])
    assert len(new.runs("failure")) == 1
    assert old.runs("failure") == []
    apply(database, migration_sql(from_version=1))
    assert new.runs("success") == []
    found = recorded(database)
    assert (found[0], sorted(found[1:-1]), found[-1]) == (("success", 0), failures, ("success", 0))
    # One incident, one alert: today's, before the migration, without knowing of the first failure.
    assert (old.alerts, new.alerts) == (0, 1)


@pytest.mark.long
@pytest.mark.parametrize(
    "version", [version for version in RELEASED if 1 < version < SCHEMA_VERSION]
)
def test_a_later_version_and_todays(stack, tmp_path, version):
    """The same; its file knows better, and stops where it would put the older functions back."""
    kind = "supabase" if version == SCHEMA_VERSION - 1 else "postgres"
    with clients_of(version, kind, stack, tmp_path) as (database, old, new):
        assert old.runs("success", "failure") == []
        (said,) = new.runs("failure")
        assert "older schema than this cronguard needs: run cronguard init" in said
        assert recorded(database) == [("success", 0), ("failure", 1)]
        apply(database, migration_sql(from_version=version))
        assert new.runs("failure") == []
        assert old.runs("failure") == []
        (said,) = old.doctor()
        assert "newer schema than this cronguard knows: upgrade cronguard here" in said
        before = catalog(database)
        with pytest.raises(psycopg.Error) as caught:
            apply(database, RELEASED[version])
        assert caught.value.sqlstate == "CG002"
        assert catalog(database) == before
        assert old.runs("failure") == []
        assert new.runs("success") == []
        failures = [("failure", count) for count in range(1, 6)]
        assert recorded(database) == [("success", 0), *failures, ("success", 0)]
        assert old.alerts + new.alerts == 1


def test_a_downgrade_is_made_good_by_the_upgrade(stack):
    """Version 1's file over today's schema leaves nothing behind that the upgrade does not mend."""
    database, fresh = stack.database("newer"), stack.database("newer")
    for text in (migration_sql(), RELEASED[1], migration_sql(from_version=1)):
        apply(database, text)
    apply(fresh)
    assert catalog(database) == catalog(fresh)
    database.drop()
    fresh.drop()


def test_a_client_before_any_schema_loses_nothing(stack, tmp_path):
    """It says once what is missing; what it kept is told when it is there."""
    database = stack.database("newer")
    client = Client(tmp_path / "host", SCHEMA_VERSION, {"CRONGUARD_STORE": database.url})
    (said,) = client.runs("failure", "failure")
    assert "has no cronguard schema, or an old one: run cronguard init postgres" in said
    apply(database)
    assert client.runs("success") == []
    assert recorded(database) == [("failure", 1), ("failure", 2), ("success", 0)]
    database.drop()
