"""A ping after each ended run: it tells how the run ended, nothing else, and holds nobody up."""

import time

import pytest
from support.hostile import answers, never_answers, refusing_port, serve
from support.processes import Place

from cronguard.runtime.heartbeat_ping import ping_url
from cronguard.settings.loading import load_settings

pytestmark = pytest.mark.one_python

SETTINGS = '[job.nightly]\nheartbeat_url = "env:NIGHTLY_URL"\n'
JOB = """
    import sys, time
    @cron_guarded(job="nightly")
    def job():
        if sys.argv[1:] == ["fail"]: raise ValueError("secret matters")
        if sys.argv[1:] == ["stop"]: raise KeyboardInterrupt
    began = time.monotonic()
    try:
        job()
    except BaseException as error:
        print(type(error).__name__)
    print(time.monotonic() - began < 4)
    """


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    place.patient = True
    (tmp_path / "cronguard.toml").write_text(SETTINGS)
    return place


@pytest.mark.parametrize(
    ("url", "success", "failure"),
    [
        ("https://hc-ping.com/uuid", "https://hc-ping.com/uuid", "https://hc-ping.com/uuid/fail"),
        (
            "https://uptime.betterstack.com/api/v1/heartbeat/T0K3N\n",
            "https://uptime.betterstack.com/api/v1/heartbeat/T0K3N",
            "https://uptime.betterstack.com/api/v1/heartbeat/T0K3N/fail",
        ),
        (
            "https://cronitor.link/p/KEY/nightly?env=prod&state=run",
            "https://cronitor.link/p/KEY/nightly?env=prod&state=complete",
            "https://cronitor.link/p/KEY/nightly?env=prod&state=fail",
        ),
        ("https://h/x/?rid=1", "https://h/x/?rid=1", "https://h/x/fail?rid=1"),
    ],
)
def test_addresses(url, success, failure):
    """As Healthchecks, Better Stack and Cronitor document them."""
    assert ping_url(url, failed=False) == success
    assert ping_url(url, failed=True) == failure


def test_pings(place):
    """One each for success and failure, none for a run that was stopped; no word of the error."""
    hook = answers()
    with serve(hook) as server:
        environ = {"NIGHTLY_URL": f"http://127.0.0.1:{server.port}/uuid"}
        for how in ([], ["fail"], ["stop"]):
            done = place.run(JOB, *how, env=environ)
            assert done.stdout.endswith("True\n"), done.stderr
    assert [request.target for request in hook.received] == ["/uuid", "/uuid/fail"]
    for request in hook.received:
        assert request.body == b""
        assert not {"nightly", "secret matters"} & set(request.headers.values())


def test_a_command_pings_too(place):
    """`cronguard run`, with the settings of its job."""
    hook = answers()
    with serve(hook) as server:
        environ = {"NIGHTLY_URL": f"http://127.0.0.1:{server.port}/uuid"}
        command = "from cronguard.cli import main; main(['run', 'nightly', '--', 'false'])"
        place.run(command, env=environ)
    assert [request.target for request in hook.received] == ["/uuid/fail"]


def test_nobody_answers(place):
    """The job is not held up, the process waits five seconds at most, and the address is secret."""
    place.patient = False
    with serve(never_answers) as server:
        environ = {"NIGHTLY_URL": f"http://127.0.0.1:{server.port}/T0K3N"}
        begin = time.monotonic()
        done = place.run(JOB, env=environ)
        assert time.monotonic() - begin < 20
    assert done.stdout == "True\n"
    assert "T0K3N" not in done.stderr


@pytest.mark.parametrize(
    ("url", "code"),
    [
        (None, "secret_missing"),
        ("no address", "bad_url"),
        ("http://example.org/T0K3N", "insecure_url"),
        ("http://127.0.0.1:{port}/T0K3N", "connection_refused"),
    ],
)
def test_what_goes_wrong_is_a_code(place, url, code):
    """One line in the log; the run is recorded as ever."""
    environ = {"NIGHTLY_URL": url and url.format(port=refusing_port())}
    done = place.run(JOB, env=environ)
    assert done.stdout == "True\n"
    assert f"the heartbeat of nightly did not reach env:NIGHTLY_URL ({code}" in done.stderr
    assert "T0K3N" not in done.stderr
    assert place.statuses() == ["success"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"OK (not found)", "heartbeat_not_found: the service knows no such check"),
        (b"OK (rate limited)\n", "heartbeat_rate_limited: the service takes no more pings"),
        (b"<html>Sign in</html>", "web_page: a web page came back"),
    ],
)
def test_a_ping_that_was_not_taken(place, answer, says):
    """Healthchecks says so with status 200 (https://healthchecks.io/docs/http_api/)."""
    with serve(answers(200, answer)) as server:
        done = place.run(JOB, env={"NIGHTLY_URL": f"http://127.0.0.1:{server.port}/T0K3N"})
    assert f"the heartbeat of nightly did not reach env:NIGHTLY_URL ({says}" in done.stderr
    assert "T0K3N" not in done.stderr


@pytest.mark.parametrize("answer", [b"OK", b"", b"OK (started)", b'{"ok":true}'])
def test_a_ping_that_was_taken(place, answer):
    """Nothing is said."""
    with serve(answers(200, answer)) as server:
        done = place.run(JOB, env={"NIGHTLY_URL": f"http://127.0.0.1:{server.port}/x"})
    assert done.stderr == ""


def test_an_address_is_not_written_into_settings(tmp_path):
    """It is a secret: refused with the way to name it."""
    (tmp_path / "cronguard.toml").write_text('[job.a]\nheartbeat_url = "https://hc-ping.com/x"\n')
    loaded = load_settings({}, environ={}, cwd=tmp_path, main=None)
    (problem,) = loaded.problems
    assert "env:NIGHTLY_HEARTBEAT_URL" in problem
    assert "hc-ping" not in problem
