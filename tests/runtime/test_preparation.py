"""What a failure needs is there before it is needed, and loading it disturbs nobody."""

import json
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from support.imports import MODULES, imports_of
from support.processes import Place

from cronguard.process import imports, lifecycle
from cronguard.runtime.preparation import Preparation
from cronguard.settings.loading import ChannelSettings, Settings
from cronguard.stores.spooled import SpooledStore
from cronguard.testing import MemoryStore

NOT_NEEDED = {
    "apprise": "imported by the process that sends",
    "asyncio": "loaded where there is a task, or a channel that may be asynchronous",
    "atexit": "the first run loads it",
    "cronguard.process.hidden": "loaded with cronguard itself where a file hides a module",
    "cronguard.stores.server.supabase": "imported by the store itself",
    "cronguard.stores.sqlite.activity": "shown to people",
    "cronguard.stores.sqlite.views": "shown to people",
    "cronguard.stores.timeouts": "the first run loads it",
    "cronsim": "a decorator with a schedule loads it",
    "difflib": "finds what a wrong name may have meant",
    "hashlib": "the first run loads it",
    "importlib.metadata": "for a third party's plugins",
    "importlib.resources": "for a zip archive, read once",
    "multiprocessing.util": "the first run loads it",
    "pkgutil": "lists plugins for people",
    "requests": "imported by the process that sends",
    "resource": "imported by the process that sends",
    "tempfile": "the first run loads it",
    "tomllib": "the first run loads it",
    "urllib": "loaded where a proxy is set",
    "zoneinfo": "a decorator with a time zone loads it",
}
"""What a function of cronguard's imports and `Preparation` does not load, and why."""
EVERY_CHANNEL = {
    "CRONGUARD_CHANNELS": "slack,webhook,email-resend,email-postmark,email-smtp,console,log",
    "CRONGUARD_EMAIL_RESEND_API_KEY": "re_key",
    "CRONGUARD_EMAIL_RESEND_FROM": "a@one.example",
    "CRONGUARD_EMAIL_RESEND_TO": "b@one.example",
    "CRONGUARD_EMAIL_POSTMARK_SERVER_TOKEN": "token",
    "CRONGUARD_EMAIL_POSTMARK_FROM": "a@one.example",
    "CRONGUARD_EMAIL_POSTMARK_TO": "b@one.example",
    "CRONGUARD_EMAIL_SMTP_HOST": "localhost",
    "CRONGUARD_EMAIL_SMTP_PORT": "1",
    "CRONGUARD_EMAIL_SMTP_SECURITY": "none",
    "CRONGUARD_EMAIL_SMTP_FROM": "a@one.example",
    "CRONGUARD_EMAIL_SMTP_TO": "b@one.example",
}


@pytest.fixture
def place(tmp_path):
    (tmp_path / "cronguard.toml").write_text(
        '[job.nightly]\nheartbeat_url = "env:CRONGUARD_WEBHOOK_URL"\n'
    )
    return Place(tmp_path)


@pytest.fixture
def url():
    """An endpoint that takes everything."""

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815  # the name that is looked for

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Taker)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def environ(url):
    return {
        **EVERY_CHANNEL,
        "CRONGUARD_SLACK_WEBHOOK_URL": url,
        "CRONGUARD_WEBHOOK_URL": url,
        "CRONGUARD_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }


def test_what_is_imported_late_is_loaded_before(place, url):
    """Each import inside a function of cronguard's is of what is loaded, or has a reason."""
    place.environ |= environ(url)
    done = place.run(
        preparing("""
        import json, sys
        with guard(job="nightly"):
            pass
        prepare_in_background()
        print(json.dumps(sorted(sys.modules)))
        """)
    )
    loaded = set(json.loads(done.stdout))
    missing = {
        f"{name}:{found.line} imports {found.module}"
        for name in MODULES
        if name in loaded
        for found in imports_of(name)
        if found.lazy and not found.for_types
        if found.module not in loaded and found.module not in NOT_NEEDED
    }
    assert sorted(missing) == []
    assert {"cronguard.channels.slack", "cronguard.channels.transport.smtp"} <= loaded


PREPARE = """
    def prepare_in_background():
        from cronguard.runtime.composition import current
        from cronguard.runtime.preparation import Preparation
        preparation = Preparation(current().settings, current().store)
        while not preparation.go_on():
            pass
"""
STRICT = """
    import os, subprocess, sys, time
    from importlib.machinery import PathFinder

    asked = []

    class Refuse:
        def find_spec(self, name, path=None, target=None):
            if name not in allowed:
                asked.append(name)
            raise ModuleNotFoundError(f"no module {name!r}", name=name)

    # what the program itself imports late, and Python by itself
    allowed = {"traceback", "_strptime"}

    def refuse_imports():
        prepare_in_background()
        sys.meta_path[:] = [Refuse()]
        sys.path.clear()
        sys.path_importer_cache.clear()
"""


def preparing(code):
    return textwrap.dedent(PREPARE) + textwrap.dedent(code)


def strict(code):
    return preparing(textwrap.dedent(STRICT) + textwrap.dedent(code))


def test_nothing_is_imported_when_a_job_fails(place, url):
    """A failure with a message of others, an overrun, a ping; channels of every kind."""
    place.environ |= environ(url)
    place.environ["CRONGUARD_CHANNELS"] = "slack,webhook,email-smtp,console,log"
    done = place.run(
        strict(
            """
            class Odd(Exception):
                def __str__(self):
                    return "could not reach db-7.internal: HTTP 502, 3 of 12 rows written"

            with guard(job="other"):
                pass
            from cronguard.runtime.composition import current
            refuse_imports()
            for error in ValueError("bad"), Odd(), OSError(28, "No space left"), SystemExit(3):
                try:
                    with guard(job="nightly", threshold=1, realert_every=1):
                        raise error
                except BaseException:
                    pass
            with guard(job="late", max_runtime=0.05) as run:
                while not current().store.alerts(job="late"):
                    time.sleep(0.01)
            while current().dispatcher._under_way:
                time.sleep(0.01)
            states = {a.channel: a.state for a in current().store.alerts()}
            print(asked, states, flush=True)
            """
        )
    )
    asked, _, states = done.stdout.partition("] ")
    assert asked == "[", done.stdout + done.stderr
    for channel in ("slack", "webhook", "console", "log"):
        assert f"'{channel}': 'sent'" in states, done.stdout + done.stderr
    assert "'email-smtp': 'pending'" in states


def test_nothing_is_imported_when_the_store_goes(place):
    """Its file is gone with its folder, and comes back: what waits is written."""
    place.path = place.folder / "data" / "runs.db"
    place.environ["CRONGUARD_STORE"] = f"sqlite:///{place.path}"
    done = place.run(
        strict(
            """
            import time
            from pathlib import Path
            with guard(job="nightly"):
                pass
            from cronguard.runtime.composition import current
            refuse_imports()
            current().store.close()
            data = Path("data")
            data.rename("away")
            data.write_text("in the way")
            for _ in range(2):
                try:
                    with guard(job="nightly"):
                        raise ValueError("bad")
                except ValueError:
                    pass
            print(current().store.waiting())
            sys.modules["cronguard.stores.spool.backlog"].REPLAY_SECONDS = 60.0
            data.unlink()
            Path("away").rename(data)
            with guard(job="nightly"):
                pass
            while current().store.waiting():  # where the watchdog was at it, this run did not wait
                time.sleep(0.01)
            print(current().store.waiting(), asked)
            """
        )
    )
    assert done.stdout.split() == ["2", "0", "[]"], done.stdout + done.stderr
    assert place.statuses() == ["success", "failure", "failure", "success"]


def test_what_a_command_waits_for_is_little(place, url):
    """Before a command starts nothing is loaded that takes long, and all that a deploy of
    cronguard takes away."""
    place.environ |= environ(url)
    done = place.run(
        preparing("""
        import json, sys
        with guard(job="other"):  # without a heartbeat, which loads it in the background
            pass
        from cronguard.runtime.composition import current
        current().open_runs._prepare = None  # this machine may be busy
        before = set(sys.modules)
        current().preload()
        print(json.dumps(sorted(set(sys.modules) - before)))
        prepare_in_background()
        print(json.dumps([name for name in sys.modules if name not in before]))
        """)
    )
    assert not done.stderr
    soon, later = (set(json.loads(line)) for line in done.stdout.splitlines())
    assert "cronguard.stores.spool.backlog" in soon
    assert not {"httpx", "httpcore", "email.policy"} & soon
    late = {name for name in later - soon if name.startswith("cronguard.channels")}
    assert late == {
        "cronguard.channels.transport._httpcore_backend",
        "cronguard.channels.transport.smtp",
    }


# --- in the background ----------------------------------------------------------------------------


def test_no_lock_is_held_where_others_import(monkeypatch):
    """They would wait for it, and we for their module."""
    monkeypatch.setattr(lifecycle, "imports_of_others", lambda: [("pandas", 1)])
    with imports.importing_alone():
        thread = threading.Thread(target=lambda: __import__("this_is_not_there_at_all"))
        monkeypatch.setattr(threading, "excepthook", lambda _: None)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def preparation():
    channel = ChannelSettings("console", "console")
    return Preparation(Settings(channels=(channel,)), SpooledStore(MemoryStore(), None))


def test_loading_waits_for_imports_of_others(preparation, monkeypatch):
    """While somebody else imports, nothing is loaded; later than never, it is."""
    monkeypatch.setattr(lifecycle, "imports_of_others", lambda: [("pandas", 1)])
    tried = [preparation.go_on() for _ in range(10)]
    assert tried == [False] * 9 + [True]


def test_loading_goes_on_where_it_stopped(preparation, monkeypatch):
    """Somebody imports between two steps."""
    others = iter([[], [], [("pandas", 1)]])
    monkeypatch.setattr(lifecycle, "imports_of_others", lambda: next(others, []))
    assert not preparation.go_on()
    assert preparation.go_on()


def test_nobody_imports_meanwhile(tmp_path, monkeypatch):
    """Another thread's import waits for the block, and is complete then."""
    (tmp_path / "a_job_module.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "a_job_module", raising=False)
    begun, values = threading.Event(), []

    def job():
        begun.set()
        import a_job_module

        values.append(a_job_module.value)

    with imports.importing_alone() as alone:
        assert alone
        thread = threading.Thread(target=job)
        thread.start()
        assert begun.wait(60)
        thread.join(0.05)
        assert values == []
    thread.join(60)
    assert values == [1]


def test_an_import_under_way_is_seen(tmp_path, monkeypatch):
    """Then the block is not alone, and holds nobody up."""
    (tmp_path / "a_slow_module.py").write_text("import threading\nwait()\nvalue = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    reached, opened = threading.Event(), threading.Event()

    def wait():
        reached.set()
        assert opened.wait(60)

    monkeypatch.setitem(__builtins__, "wait", wait)
    thread = threading.Thread(target=lambda: __import__("a_slow_module"))
    thread.start()
    assert reached.wait(60)
    with imports.importing_alone() as alone:
        assert not alone
    opened.set()
    thread.join(60)
    with imports.importing_alone() as alone:
        assert alone
