"""What a user's type checker sees. ``mypy --strict`` reads this file too (see pyproject.toml): an
`assert_type` that does not hold, or an ignored error that is none, makes it fail.
"""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, assert_type

import pytest

from cronguard import ConfigError, GuardedRun, configure, cron_guarded, guard
from cronguard.channels.console import ConsoleChannel
from cronguard.channels.email_postmark import EmailPostmarkChannel
from cronguard.channels.email_resend import EmailResendChannel
from cronguard.channels.email_smtp import EmailSmtpChannel
from cronguard.channels.log import LogChannel
from cronguard.channels.slack import SlackChannel
from cronguard.channels.webhook import WebhookChannel
from cronguard.core.interfaces import Channel, SecretSource, Store
from cronguard.settings.secret_sources.env import EnvironmentSecrets
from cronguard.settings.secret_sources.vault import VaultSecrets
from cronguard.stores.server.postgres import PostgresStore
from cronguard.stores.server.supabase import SupabaseStore
from cronguard.stores.sqlite.store import SQLiteStore
from cronguard.testing import Harness, MemoryStore, RecordingChannel


@cron_guarded
def bare(count: int, *, loud: bool = False) -> str:
    return "X" * count if loud else "x" * count


@cron_guarded(job="named", threshold=3, max_runtime=timedelta(minutes=5), ignore=(KeyError,))
def named(count: int) -> list[int]:
    return [count]


@cron_guarded(job="later", max_runtime=None, ignore=KeyError)
async def later(count: int) -> float:
    return float(count)


class Jobs:
    @cron_guarded(job="method")
    def method(self, count: int) -> int:
        return count

    @classmethod
    @cron_guarded(job="on_class")
    def on_class(cls, count: int) -> set[int]:
        return {count}

    @cron_guarded(job="static")
    @staticmethod
    def static(count: int) -> bytes:
        return b"x" * count


def test_a_guarded_function_keeps_its_signature(cronguard: Harness) -> None:
    """Bare and with options, async, and as every kind of method."""
    assert assert_type(bare(2, loud=True), str) == "XX"
    assert assert_type(named(2), list[int]) == [2]
    assert assert_type(Jobs().method(2), int) == 2
    assert assert_type(Jobs.on_class(2), set[int]) == {2}
    assert assert_type(Jobs.static(2), bytes) == b"xx"
    coming: Coroutine[Any, Any, float] = later(2)
    coming.close()
    with pytest.raises(TypeError):
        named("2", 3)  # type: ignore[call-arg, arg-type]
    assert cronguard.streak(named) == 1


def test_a_block_knows_its_run(cronguard: Harness) -> None:
    """``run_id`` is None where a run is not recorded."""
    with guard(job="block") as run:
        assert_type(run, GuardedRun)
        assert_type(run.run_id, str | None)
    assert cronguard.streak("block") == 0


def test_options_and_settings_are_typed() -> None:
    """A mistyped keyword, or a value of another type, is seen before it is run."""
    with pytest.raises(ConfigError):
        cron_guarded(thresold=3)  # type: ignore[call-overload]
    with pytest.raises(ConfigError):
        guard(job="block", threshold="3")  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        configure(chanels=["log"])  # type: ignore[call-arg]
    with pytest.raises(ConfigError):
        configure(store_timeout=b"2s")  # type: ignore[arg-type]


def test_what_is_shipped_fits_its_protocol(tmp_path: Path) -> None:
    """By its types: `cronguard.settings.plugins` looks at names only."""
    stores: list[Store] = [SQLiteStore(tmp_path / "runs.db"), MemoryStore()]
    remote: list[type[Store]] = [PostgresStore, SupabaseStore]
    sources: list[SecretSource] = [EnvironmentSecrets(), VaultSecrets()]
    channels: list[Channel] = [
        ConsoleChannel(),
        EmailPostmarkChannel(server_token="t", to="a@example.org", **{"from": "b@example.org"}),
        EmailResendChannel(api_key="k", to="a@example.org", **{"from": "b@example.org"}),
        EmailSmtpChannel(host="localhost", to="a@example.org", **{"from": "b@example.org"}),
        LogChannel(),
        RecordingChannel(),
        SlackChannel(webhook_url="https://hooks.example.org/x"),
        WebhookChannel(url="https://example.org/x"),
    ]
    assert all([stores, remote, sources, channels])
