"""A job in a one-folder bundle of PyInstaller's: built-ins are found there, and what they read."""

import os
import subprocess
import sys

import pytest
from support.processes import Place

pytestmark = [pytest.mark.long, pytest.mark.one_python]

LEFT_OUT = (
    *("apprise", "gevent", "postgrest", "psycopg", "rich", "supabase", "trio"),
    *("cryptography", "pygments", "requests", "urllib3"),
)
"""What is installed for tests and no job here needs; each would take its time."""


def test_a_bundle_records_and_alerts(tmp_path):
    """A failing job, by the default settings and with a channel that has options."""
    place = Place(tmp_path)
    script = place.write(
        """
        @cron_guarded(job="nightly", threshold=1)
        def nightly():
            raise ValueError("could not connect to server")
        try:
            nightly()
        except ValueError:
            print("raised")
        """
    )
    left_out = [word for name in LEFT_OUT for word in ("--exclude-module", name)]
    subprocess.run(
        [sys.executable, "-m", "PyInstaller", "--onedir", "--name", "job", *left_out, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYINSTALLER_CONFIG_DIR": str(tmp_path / "cache")},
        capture_output=True,
        check=True,
    )
    done = subprocess.run(
        [tmp_path / "dist" / "job" / "job"],
        cwd=tmp_path,
        env={
            **place.environ,
            "CRONGUARD_CHANNELS": "console,webhook",
            "CRONGUARD_WEBHOOK_URL": "http://localhost:1/",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "raised\n"
    assert "cronguard: nightly is failing" in done.stderr
    assert "could not connect to server" in done.stderr
    assert place.statuses() == ["failure"]
    states = {channel: state for _, channel, state, _ in place.alerts()}
    assert states == {"console": "sent", "webhook": "pending"}
    assert "connection_refused" in done.stderr
