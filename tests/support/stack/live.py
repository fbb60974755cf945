"""A live Supabase project in the place of the local one: reached over REST alone.

Only for a project that exists for tests: its cronguard tables and secrets are emptied.
"""

import fcntl
import tempfile
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import httpx

SHIFTED = {
    "cron_execution_logs": ("run_id", ("lease_expires_at",)),
    "cronguard_jobs": ("job", ("snoozed_until",)),
    "cronguard_alerts": ("alert_id", ("due_at", "claimed_until", "created_at", "settled_at")),
}
"""Table → its key, and the columns that are times of the server's."""


class LiveProject:
    """What the store's tests ask of a project."""

    def __init__(self, url, key):
        self.url, self.service_key = url.rstrip("/"), key
        self.requests = None
        """Nobody counts them here."""

    def __str__(self):
        return "live"

    @contextmanager
    def alone(self):
        """In this block no other worker's test uses it."""
        with Path(tempfile.gettempdir(), "cronguard-live-project.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self

    def empty(self):
        """No run, job, alert or secret is left."""
        for table, (key, _) in SHIFTED.items():
            self._rest("DELETE", f"{table}?{key}=not.is.null")
        for secret in self._rest("POST", "rpc/cronguard_secrets", json={"request": {}}).json():
            self._rest("POST", "rpc/cronguard_secret_unset", json={"request": secret})

    def let_pass(self, seconds):
        """Put every time of the server's back by so much."""
        for table, (key, columns) in SHIFTED.items():
            for row in self._rest("GET", f"{table}?select={key},{','.join(columns)}").json():
                moved = {
                    column: (
                        datetime.fromisoformat(row[column]) - timedelta(seconds=seconds)
                    ).isoformat()
                    for column in columns
                    if row[column]
                }
                if moved:
                    self._rest("PATCH", f"{table}?{key}=eq.{row[key]}", json=moved)

    def _rest(self, method, path, **more):
        headers = {"apikey": self.service_key, "Authorization": f"Bearer {self.service_key}"}
        answer = httpx.request(
            method, f"{self.url}/rest/v1/{path}", headers=headers, timeout=30, **more
        )
        answer.raise_for_status()
        return answer
