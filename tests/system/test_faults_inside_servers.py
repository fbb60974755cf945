"""Cronguard itself stops working under a job whose runs are recorded by a server.

As in `test_faults_inside`: the job runs every time, all outcomes are recorded in the end with the
exact streak, each incident is told once, and the next run of the job starts.
"""

import pytest
from support import faults
from support.processes import Place

from cronguard.stores.server.postgres import PostgresStore

pytestmark = [pytest.mark.one_python, pytest.mark.long]


@pytest.fixture(params=["postgres", "supabase"])
def server(request):
    return request.getfixturevalue("database" if request.param == "postgres" else "project")


@pytest.fixture
def place(tmp_path, server):
    """A place where cronguard is imported from ``site``, which a script may break."""
    made = Place(tmp_path)
    made.patient = True
    made.environ |= {
        "PYTHONPATH": str(faults.install(tmp_path)),
        "PYTHONWARNINGS": "",
        "CRONGUARD_STORE_TIMEOUT": "20",
        "CRONGUARD_STORE": getattr(server, "database", server).url,
    }
    if hasattr(server, "secret_key"):
        made.environ |= {
            "CRONGUARD_STORE": "supabase",
            "SUPABASE_URL": server.url,
            "SUPABASE_SECRET_KEY": server.secret_key,
        }
    return made


def outcomes(server):
    store = PostgresStore(getattr(server, "database", server).url)
    rows = store.history("nightly")[::-1]
    store.close()
    return [(row.status, row.consecutive_failure_count) for row in rows]


def check_aftermath(place, server):
    """The next run starts with the default overlap, and no row of an ended run goes on."""
    done = place.run('with guard(job="nightly"):\n    print("it ran")')
    assert done.stdout == "it ran\n", done.stderr
    assert outcomes(server)[-1] == ("success", 0)
    assert "running" not in dict(outcomes(server))


COLD = ("removed", "no descriptors", "no import")
CASES = [*((fault, "warm") for fault in faults.FAULTS), *((fault, "cold") for fault in COLD)]


@pytest.mark.parametrize(("fault", "when"), CASES)
def test_a_worker_goes_on_whatever_breaks(place, server, fault, when):
    """After its first second, and within it, when what a failure needs is not loaded yet."""
    done = place.run(
        faults.script(faults.FAULTS[fault], faults.JOBS["sync"], faults.LONG_LIVED), when
    )
    assert done.returncode == 0, done.stderr
    assert outcomes(server) == faults.EXPECTED, done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr
    if when == "warm":
        said = done.stderr.count("cronguard: nightly is failing: 2 failures in a row")
        assert 1 <= said <= 2, done.stderr
    check_aftermath(place, server)
