"""Guarded jobs whose log is a Supabase project, through the real PostgREST behind a gateway."""

import json
import logging
import os
import subprocess
import sys

import httpx
import pytest
import supabase
from support import hostile
from support.stack.gateway import token

from cronguard.stores.server.schema import SCHEMA_VERSION
from cronguard.stores.server.supabase import SupabaseStore

pytestmark = pytest.mark.one_python

JOB = """
import sys
from cronguard import cron_guarded

@cron_guarded(job="assignment_reminder", threshold=2)
def remind(fails):
    if fails == "failure":
        raise ValueError("the smtp server is gone")

for word in sys.argv[1:]:
    try:
        remind(word)
    except ValueError:
        pass
"""
START, FINISH = "/rest/v1/rpc/cronguard_start_run", "/rest/v1/rpc/cronguard_finish_run"


@pytest.fixture
def guarded(tmp_path):
    """Run a process of guarded runs, one for each word; it ends well, and says what is given back:
    nothing, or something with ``says`` in it."""
    script = tmp_path / "reminder.py"
    script.write_text(JOB)

    def go(project, *words, says="", **environ):
        done = subprocess.run(
            [sys.executable, str(script), *words],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "CRONGUARD_STORE": "supabase",
                "SUPABASE_URL": project.url,
                "SUPABASE_SECRET_KEY": project.service_key,
                "CRONGUARD_STORE_TIMEOUT": "20",
                "CRONGUARD_CHANNELS": "log",
                "CRONGUARD_REDACT": "strict",
                **environ,
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "")
        assert (done.stderr == "") is (says == "")
        assert says in done.stderr
        return done.stderr

    return go


@pytest.mark.long
@pytest.mark.parametrize("words", [["success"], ["failure"], ["success", "failure", "success"]])
def test_two_requests_a_run(guarded, project, words):
    """One at its start, one at its end, success or failure, and none besides."""
    guarded(project, *words)
    assert project.requests == [("POST", START), ("POST", FINISH)] * len(words)


def test_a_run_loads_no_client(project, tmp_path):
    """Importing it takes several times as long as all the rest."""
    code = (
        "import sys, cronguard\n"
        "cronguard.cron_guarded(job='j')(lambda: None)()\n"
        "heavy = {'supabase', 'postgrest', 'httpx', 'httpcore', 'pydantic', 'anyio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "CRONGUARD_STORE": "supabase",
        "SUPABASE_URL": project.url,
        "SUPABASE_SECRET_KEY": project.service_key,
        "CRONGUARD_STORE_TIMEOUT": "20",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
    assert project.requests == [("POST", START), ("POST", FINISH)]


def test_two_failures_alert_once_and_a_success_resets(guarded, newer_project):
    """The requirement: one alert with the facts at the sink, count 0 on the new row."""
    sink = hostile.answers()
    with hostile.serve(sink) as server:
        guarded(
            newer_project,
            "success",
            "failure",
            "failure",
            "success",
            CRONGUARD_CHANNELS="webhook",
            CRONGUARD_WEBHOOK_URL=server.url,
        )
    (alert,) = [request.json for request in sink.received]
    store = SupabaseStore(newer_project.url, newer_project.service_key)
    newest, failed, _, first = store.history("assignment_reminder")
    (job,) = store.jobs()
    (row,) = store.alerts()
    store.close()
    assert (newest.status, newest.consecutive_failure_count) == ("success", 0)
    assert job.consecutive_failure_count == 0
    assert (alert["kind"], alert["consecutive_failure_count"]) == ("failing", 2)
    assert (alert["run_id"], alert["error_type"]) == (failed.run_id, "ValueError")
    assert alert["last_success_at"] == first.finished_at.isoformat().replace("+00:00", "Z")
    assert (row.state, row.alert_id) == ("sent", alert["alert_id"])


def test_a_vault_reference_is_resolved_when_sending(guarded, newer_project):
    """The address is in the vault alone; the job's environment and settings only name it."""
    told_through_vault(guarded, newer_project)


def test_a_vault_reference_is_resolved_in_postgresql(guarded, project):
    """Likewise where the jobs reach the same database without its API."""
    told_through_vault(guarded, project, CRONGUARD_STORE=project.database.url)


def told_through_vault(guarded, project, **environ):
    store = SupabaseStore(project.url, project.service_key)
    sink = hostile.answers()
    with hostile.serve(sink) as server:
        store.set_secret("cronguard_sink", server.url)
        guarded(
            project,
            "failure",
            "failure",
            CRONGUARD_CHANNELS="webhook",
            CRONGUARD_WEBHOOK_URL="vault:cronguard_sink",
            **environ,
        )
    assert [request.json["kind"] for request in sink.received] == ["failing"]
    assert [alert.state for alert in store.alerts()] == ["sent"]
    store.close()


@pytest.mark.long
def test_an_alert_waits_for_a_secret_that_is_missing(guarded, newer_project):
    """A clear code on the row, and nothing is given up."""
    guarded(
        newer_project,
        "failure",
        "failure",
        CRONGUARD_CHANNELS="webhook",
        CRONGUARD_WEBHOOK_URL="vault:cronguard_nowhere",
        says="secret_missing",
    )
    store = SupabaseStore(newer_project.url, newer_project.service_key)
    (alert,) = store.alerts()
    store.close()
    assert (alert.state, alert.error_code) == ("pending", "secret_missing")


def test_an_alert_waits_for_a_secret_that_cannot_be_decrypted(guarded, project):
    """What to do is said; the secret set again, the same alert is sent."""
    store = SupabaseStore(project.url, project.service_key)
    store.set_secret("cronguard_sink", "sentinel-1c6")
    project.database.encrypt_under_another_root_key("cronguard_sink")
    settings = {"CRONGUARD_CHANNELS": "webhook", "CRONGUARD_WEBHOOK_URL": "vault:cronguard_sink"}
    guarded(
        project,
        "failure",
        "failure",
        **settings,
        says="secret_unreadable: the vault cannot decrypt this secret any more, so set it again:"
        " cronguard vault set cronguard_sink",
    )
    (alert,) = store.alerts()
    assert (alert.state, alert.error_code) == ("pending", "secret_unreadable")
    sink = hostile.answers()
    with hostile.serve(sink) as server:
        store.set_secret("cronguard_sink", server.url)
        project.let_pass(3600)
        guarded(project, "success", **settings)
    assert [request.json["alert_id"] for request in sink.received] == [alert.alert_id]
    assert [each.state for each in store.alerts()] == ["sent"]
    store.close()


def broken(project, how):
    """The environment of a job whose project is not as it should be."""
    gateway = project.gateway
    if how == "address":
        return {"SUPABASE_URL": "https://project.invalid"}
    if how == "key":
        return {"SUPABASE_SECRET_KEY": "sb_secret_of_another_project"}
    if how == "expired":
        return {"SUPABASE_SECRET_KEY": token("service_role", expires_in=-60)}
    if how == "public":
        return {"SUPABASE_SECRET_KEY": gateway.publishable_key}
    if how == "schema":
        code = {"code": "PGRST202", "message": "", "details": None, "hint": None}
        gateway.answer = (404, json.dumps(code))
    elif how == "down":
        gateway.answer = (503, '{"message": "name resolution failed"}')
    elif how == "57014":
        code = {"code": "57014", "message": "", "details": None, "hint": None}
        gateway.answer = (500, json.dumps(code))
    return {}


@pytest.mark.long
@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("address", "cannot be found: check the host name"),
        ("key", "refuses the key: set SUPABASE_SERVICE_ROLE_KEY or SUPABASE_SECRET_KEY"),
        ("expired", "says that the key has expired"),
        ("public", "the Supabase key is a publishable one"),
        ("schema", "has no cronguard schema, or an old one: run cronguard init supabase"),
        ("down", "is the project paused or restarting?"),
        ("57014", "its statement_timeout was over"),
    ],
)
def test_a_project_that_is_not_as_it_should_be(guarded, project, how, says):
    """One clear line for all the runs of a process, whose job is unharmed."""
    environ = broken(project, how)
    said = guarded(project, "success", "failure", "success", says=says, **environ)
    assert len([line for line in said.splitlines() if " is failing: " not in line]) == 1


@pytest.mark.parametrize("which", ["service_key", "secret_key"])
def test_either_form_of_key_and_a_client_of_ones_own(project, which):
    """A service_role JWT, an sb_secret_ key, and a supabase.Client that somebody else made."""
    key = getattr(project, which)
    http = httpx.Client()
    client = supabase.create_client(project.url, key, supabase.ClientOptions(httpx_client=http))
    for store in (SupabaseStore(project.url, key), SupabaseStore(client=client)):
        assert store.jobs() == []
        assert store.schema_version() == SCHEMA_VERSION
        store.close()
    assert client.rpc("cronguard_schema_version", {}).execute().data == SCHEMA_VERSION
    http.close()


def test_a_forked_child_leaves_its_parents_client_alone(project, monkeypatch):
    """Sockets are the parent's: the child makes a client of its own, and closes only that."""
    http = httpx.Client()
    client = supabase.create_client(
        project.url, project.service_key, supabase.ClientOptions(httpx_client=http)
    )
    store = SupabaseStore(client=client)
    assert store.jobs() == []
    monkeypatch.setattr("os.getpid", lambda: -1)
    monkeypatch.setattr(client, "rpc", None)
    assert store.jobs() == []
    store.close()
    assert not http.is_closed
    http.close()


@pytest.mark.parametrize("own", [False, True], ids=["ours", "own client"])
def test_requests_are_in_no_log(project, caplog, own):
    """At DEBUG for everything: no line of httpx's stands in the job's log, and the key in none."""
    http = httpx.Client()
    client = supabase.create_client(
        project.url, project.service_key, supabase.ClientOptions(httpx_client=http)
    )
    with caplog.at_level(logging.DEBUG):
        store = SupabaseStore(project.url, project.service_key, client=client if own else None)
        assert store.jobs() == []
        store.close()
        libraries = {record.name.partition(".")[0] for record in caplog.records}
        assert not libraries & {"httpx", "httpcore", "hpack"}
        assert project.service_key not in caplog.text
        client.rpc("cronguard_schema_version", {}).execute()
    assert "HTTP Request" in caplog.text, "the program's own requests stay in its log"
    assert project.service_key not in repr(store)
    http.close()


def test_a_proxy_in_the_environment_is_not_asked(project, monkeypatch):
    """The key goes to the project and nowhere else."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{hostile.refusing_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{hostile.refusing_port()}")
    store = SupabaseStore(project.url, project.service_key)
    assert store.jobs() == []
    store.close()
